// The live view and the recording of a film: from the camera to the picture on the page.

import { cameras, closeCamera, isMirrored, openCamera, record, whenLost } from "./camera.js";
import { $, clock, el, setText } from "./dom.js";
import { isTaken } from "./film.js";
import { LiveSession } from "./live.js";
import { makeReading } from "./reading.js";
import { Workspace, shapeStage } from "./work.js";

const SHOWN_S = 30;
const REDRAW_MS = 250; // of timeline and summary
const UNPLUGGED = "The camera is gone. Plug it in again, then start anew.";

async function play(video, stream) {
  video.removeAttribute("src");
  video.srcObject = stream;
  video.muted = true;
  video.controls = false;
  await video.play();
  if (!video.videoWidth) await new Promise((resolve) => video.addEventListener("loadedmetadata", resolve, { once: true }));
}

/** Starts a live session; resolves a function that ends it. `leave(error)` is called where it cannot go on. */
export async function openLive({ model, options }, leave) {
  const video = $("video");
  const ended = new AbortController();
  const { signal } = ended;
  let stream = await openCamera();
  try {
    await play(video, stream);
  } catch (error) {
    closeCamera(stream);
    throw error;
  }
  const reading = makeReading(model);
  $("film-bar").hidden = true;
  $("live-bar").hidden = $("live-numbers").hidden = $("neutral-help").hidden = false;
  setText($("kept-note"), "Live pictures are never written down.");
  setText($("timeline-hint"), "The last 30 seconds.");
  setText($("work-title"), "Live");
  $("neutral-clear").hidden = true;
  $("stage-note").hidden = $("warnings").hidden = true;

  let session;
  const arrange = () => {
    shapeStage(video.videoWidth, video.videoHeight);
    $("stage").classList.toggle("mirrored", isMirrored(stream));
    workspace.how.mirrored = isMirrored(stream);
  };
  const workspace = new Workspace(reading, {
    width: () => session?.width ?? 0,
    height: () => session?.height ?? 0,
    mirrored: true,
    grey: false,
    onseek: null,
  });
  arrange();

  let drawn = 0;
  const onresult = (message) => {
    const frame = { frame: message.sequence, timestamp: message.timestamp, faces: message.faces };
    reading.frames.push(frame);
    while (reading.frames.length && reading.frames[0].timestamp < frame.timestamp - SHOWN_S) reading.frames.shift();
    if (!frame.faces.some((face) => face.id === workspace.face) && frame.faces.length) workspace.face = frame.faces[0].id;
    workspace.show(frame, { settle: false });
    const now = performance.now();
    if (now - drawn > REDRAW_MS) {
      drawn = now;
      workspace.timeline.start = frame.timestamp - SHOWN_S;
      workspace.timeline.span = SHOWN_S;
      workspace.refresh();
      workspace.announcer.say(workspace.describe());
    }
  };
  const begin = () => {
    reading.frames.length = 0;
    session = new LiveSession(video, { ...options(), limits: model.limits }, {
      result: onresult,
      state(words) {
        setText($("live-state"), words);
        $("live-state").classList.toggle("on", words === "live");
        $("neutral").disabled = words !== "live";
      },
      numbers: showNumbers,
      baseline(set, { asked }) {
        $("neutral-clear").hidden = !set;
        setText($("neutral"), set ? "Take my neutral face anew" : "This is my neutral face");
        if (asked) workspace.announcer.say(set ? "Neutral face taken." : "Neutral face forgotten.", { now: true });
      },
      failed: (text, status) => leave(Object.assign(new Error(text), { status })),
    });
    session.start();
  };

  const listen = (id, name, listener) => $(id).addEventListener(name, listener, { signal });
  const lost = () => { if (!signal.aborted) leave(new Error(UNPLUGGED)); };
  listen("live-stop", "click", () => leave(null));
  listen("neutral", "click", () => session.neutral(true));
  listen("neutral-clear", "click", () => session.neutral(false));
  listen("camera", "change", async () => {
    session.stop();
    closeCamera(stream);
    try {
      stream = await openCamera($("camera").value);
      await play(video, stream);
      whenLost(stream, lost);
      arrange();
      begin();
    } catch (error) {
      leave(error);
    }
  });
  document.addEventListener("keydown", (event) => {
    const act = { n: () => session.neutral(true), b: () => $("show-boxes").click(), r: () => $("show-regions").click(), f: () => workspace.faces.step(1) }[event.key.toLowerCase()];
    if (!act || isTaken(event)) return;
    event.preventDefault();
    act();
  }, { signal });
  whenLost(stream, lost);
  const listed = await cameras();
  $("camera-pick").hidden = listed.length < 2;
  $("camera").replaceChildren(...listed.map(({ id, label }) => el("option", { value: id, text: label })));
  begin();

  return () => {
    ended.abort();
    session.stop();
    closeCamera(stream);
    workspace.close();
    video.srcObject = null;
    $("stage").classList.remove("mirrored");
  };
}

function showNumbers(numbers) {
  const known = numbers.read > 0 && numbers.rate > 0;
  setText($("live-rate"), known ? `${numbers.rate.toFixed(1)} frames/s` : "–");
  setText($("live-delay"), known ? `${Math.round(numbers.median)} ms` : "–");
  $("live-delay").title = known
    ? `From taking the picture to its answer; 95 % within ${Math.round(numbers.slowest)} ms; ${Math.round(numbers.server)} ms of it in the server`
    : "";
  const sent = Math.max(1, numbers.sent);
  setText($("live-dropped"), `${numbers.dropped} of ${numbers.sent}`);
  $("live-dropped").title = [...numbers.reasons].map(([reason, count]) => `${reason}: ${count}`).join(", ") || `none of ${sent}`;
  setText($("live-skipped"), String(numbers.skipped));
}

/** Shows the camera and records; resolves a File, or null if the person turned back. */
export async function recordFilm(longest) {
  const stream = await openCamera();
  const video = $("record-video");
  const ended = new AbortController();
  try {
    await play(video, stream);
    video.parentElement.classList.toggle("mirrored", isMirrored(stream));
    $("record").hidden = false;
    $("record-title").focus();
    setText($("record-go"), "Record");
    setText($("record-time"), `up to ${clock(longest, 0)}`);
    return await new Promise((resolve, reject) => {
      let recording = null;
      let started = 0;
      const finish = async () => {
        const taken = recording;
        recording = null;
        if (taken) resolve(await taken.stop());
      };
      const timer = setInterval(() => {
        if (!recording) return;
        const seconds = (performance.now() - started) / 1000;
        setText($("record-time"), `${clock(seconds, 0)} of ${clock(longest, 0)}`);
        if (seconds >= longest) finish();
      }, 200);
      ended.signal.addEventListener("abort", () => clearInterval(timer));
      $("record-go").addEventListener("click", () => {
        if (recording) return finish();
        try {
          recording = record(stream);
        } catch (error) {
          return reject(error);
        }
        started = performance.now();
        setText($("record-go"), "Stop and read");
      }, { signal: ended.signal });
      $("record-cancel").addEventListener("click", () => resolve(null), { signal: ended.signal });
      whenLost(stream, () => (recording ? finish() : reject(new Error(UNPLUGGED))));
    });
  } finally {
    ended.abort();
    closeCamera(stream);
    video.srcObject = null;
    $("record").hidden = true;
  }
}
