// A film with its results: player, keys, CSV.

import * as api from "./api.js";
import { $, setText } from "./dom.js";
import { ClockPlayer, VideoPlayer, loads } from "./player.js";
import { frameAt, makeReading } from "./reading.js";
import { Workspace, shapeStage, showClock } from "./work.js";

const UNPLAYABLE = "This browser cannot play this film, so the boxes are drawn on grey. Everything else works.";

/** Where the results do not tell how large the pictures are: large enough for all boxes. */
function extent(reading) {
  let [width, height] = [reading.width, reading.height];
  if (width && height) return { width, height };
  for (const frame of reading.frames) {
    for (const { box: [x, y, w, h] } of frame.faces) {
      width = Math.max(width, 1.1 * (x + w));
      height = Math.max(height, 1.1 * (y + h));
    }
  }
  return { width: width || 640, height: height || 480 };
}

/** Opens a film that was read; resolves a function that closes it. */
export async function openFilm({ model, job, blob, name, results }, fail) {
  const ended = new AbortController();
  const { signal } = ended;
  const video = $("video");
  const reading = makeReading(model, results);
  const source = URL.createObjectURL(blob);
  const still = reading.frames.length < 2;
  $("film-bar").hidden = false;
  $("live-bar").hidden = $("live-numbers").hidden = $("neutral-help").hidden = true;
  setText($("kept-note"), "The film is forgotten when you leave.");
  setText($("timeline-hint"), "Click a moment, or use the arrow keys.");
  setText($("work-title"), `Results of ${name}`);
  video.controls = false;
  video.muted = true;
  $("sound").setAttribute("aria-pressed", "false");
  $("work").hidden = false;
  const picture = await pictureOf(blob, source);
  const plays = !picture && (await loads(video, source, signal));
  const size = extent(reading);
  const shown = plays ? { width: video.videoWidth, height: video.videoHeight } : size;
  shapeStage(shown.width, shown.height);
  $("stage").classList.toggle("grey", !plays && !picture);
  $("stage").classList.remove("mirrored");
  $("stage-note").hidden = plays || Boolean(picture);
  setText($("stage-note"), UNPLAYABLE);
  setText($("warnings"), reading.warnings.map((text) => `The film: ${text}.`.replace(/\.\.$/, ".")).join(" "));
  $("warnings").hidden = !reading.warnings.length;
  if (picture) video.poster = source;

  let workspace;
  let player;
  const seek = (time) => player.seek(time);
  const ontime = (time) => {
    const frame = reading.frames[frameAt(reading, time)] ?? null;
    workspace.at(time, frame, { settle: !player?.playing });
    showClock(time, reading.duration, frame);
  };
  const onplaying = (playing) => {
    $("play").classList.toggle("playing", playing);
    $("play").setAttribute("aria-label", playing ? "Pause" : "Play");
    if (!playing) {
      ontime(player.time);
      workspace.announcer.say(workspace.describe(), { now: true });
    }
  };
  workspace = new Workspace(reading, {
    // Boxes are in the pixels of the frames as the server decoded them.
    width: () => (reading.width && reading.height ? size.width : shown.width),
    height: () => (reading.width && reading.height ? size.height : shown.height),
    mirrored: false,
    grey: !plays && !picture,
    onseek: seek,
  });
  player = plays
    ? new VideoPlayer(video, reading.duration, ontime, onplaying)
    : new ClockPlayer(reading.duration, ontime, onplaying);
  player.speed = Number($("speed").value);
  ontime(0);

  /** The next or last frame; asked for a little late in it, so that it is the one on the screen. */
  const step = (by) => {
    player.pause();
    const at = Math.min(reading.frames.length - 1, Math.max(0, frameAt(reading, player.time) + by));
    const time = reading.frames[at]?.timestamp ?? 0;
    const next = reading.frames[at + 1]?.timestamp ?? time + 1 / reading.fps;
    seek(time + 0.25 * (next - time));
  };
  const toggle = () => (player.playing ? player.pause() : player.play());
  const listen = (id, name, listener) => $(id).addEventListener(name, listener, { signal });
  for (const id of ["back", "play", "forward", "speed", "sound"]) $(id).disabled = still;
  $("sound").hidden = !plays;
  listen("play", "click", toggle);
  listen("back", "click", () => step(-1));
  listen("forward", "click", () => step(1));
  listen("speed", "change", () => { player.speed = Number($("speed").value); });
  listen("sound", "click", () => {
    video.muted = !video.muted;
    $("sound").setAttribute("aria-pressed", String(!video.muted));
  });
  listen("csv", "click", async () => {
    try {
      save(await api.csv(job), `${name.replace(/\.[^.]*$/, "") || "film"}.csv`);
    } catch (error) {
      fail(error);
    }
  });
  if (plays) video.addEventListener("error", () => fail(new Error("The film cannot be played any further.")), { signal });
  keys({ step, toggle, seek, player, reading, workspace }, signal);

  return () => {
    ended.abort();
    player.close();
    workspace.close();
    video.removeAttribute("src");
    video.removeAttribute("poster");
    video.load();
    $("stage").classList.remove("grey");
    $("stage-note").hidden = true;
    URL.revokeObjectURL(source);
    api.forget(job);
  };
}

/** An <img> if the file is a still that the browser shows; null otherwise. */
function pictureOf(blob, source) {
  if (blob.type && !blob.type.startsWith("image/")) return Promise.resolve(null);
  return new Promise((resolve) => {
    const image = new Image();
    image.addEventListener("load", () => resolve(image));
    image.addEventListener("error", () => resolve(null));
    image.src = source;
  });
}

/** Saves bytes under a name, as a download of the browser. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const FIELDS = new Set(["INPUT", "SELECT", "TEXTAREA"]);

/** Whether a key was meant for the field or button that has the focus. */
export function isTaken(event) {
  const { tagName, role } = event.target;
  if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return true;
  if (document.querySelector("dialog[open]") || FIELDS.has(tagName)) return true;
  return (event.key === " " || event.key === "Enter") && (tagName === "BUTTON" || role === "button");
}

function keys({ step, toggle, seek, player, reading, workspace }, signal) {
  const table = {
    ArrowLeft: (event) => (event.shiftKey ? seek(player.time - 1) : step(-1)),
    ArrowRight: (event) => (event.shiftKey ? seek(player.time + 1) : step(1)),
    PageDown: () => seek(player.time + reading.duration / 10),
    PageUp: () => seek(player.time - reading.duration / 10),
    Home: () => seek(0),
    End: () => seek(reading.frames.at(-1)?.timestamp ?? 0),
    " ": () => toggle(),
    f: () => workspace.faces.step(1),
    b: () => $("show-boxes").click(),
    r: () => $("show-regions").click(),
  };
  // The timeline is a slider, for which up and down mean more and less.
  const slider = { ArrowUp: () => step(1), ArrowDown: () => step(-1) };
  document.addEventListener("keydown", (event) => {
    const onSlider = event.target.getAttribute?.("role") === "slider";
    const paging = ["PageUp", "PageDown", "Home", "End"].includes(event.key);
    if (isTaken(event) || (paging && !onSlider)) return; // elsewhere these scroll the page
    const act = (onSlider && slider[event.key]) || table[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    act(event);
  }, { signal });
}
