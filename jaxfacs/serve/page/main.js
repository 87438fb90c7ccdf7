// The page: which view is seen, films on their way to the server, errors, the token.

import * as api from "./api.js";
import { openLive, recordFilm } from "./camera_view.js";
import { $, bytes, capital, el, percent, setText, spoken } from "./dom.js";
import { openFilm } from "./film.js";

let model = null;
let close = null; // closes what is open
let job = null; // the id of the film that the server has of ours
let way = null; // AbortController of a film on its way
let last = null; // the film that was read last, to be read again
let turn = 0; // counts what was begun, so that what comes late knows that it is
let exampleUrls = [];

const VIEWS = ["start", "record", "busy", "work"];

function view(name) {
  for (const id of VIEWS) $(id).hidden = id !== name;
  $("again").hidden = name === "start";
  setText($("again"), "Start over");
  $("reread").hidden = name !== "work" || !last;
  // One set of choices: they stand on the first view, and under the results.
  const place = name === "work" && last ? $("reread") : $("start");
  if ($("options").parentElement !== place) {
    if (place === $("reread")) place.prepend($("options"));
    else place.insertBefore($("options"), place.querySelector(".notice"));
  }
  document.title = name === "work" ? `${$("work-title").textContent} · jaxfacs` : "jaxfacs";
  window.scrollTo(0, 0);
}

function fail(error) {
  if (!error || error.name === "AbortError") return;
  const text = capital(error.message || String(error));
  setText($("error-text"), text);
  $("error").hidden = false;
  if (error.status === 401 || error.status === 4401) askToken(text);
}

const hush = () => { $("error").hidden = true; };

const options = () => ({ baseline: $("baseline").value, smooth_s: Number($("smooth").value) });

/** Back to the first view: whatever was open is closed, its film forgotten by the server. */
function home({ focus = true } = {}) {
  turn += 1;
  close?.();
  close = null;
  way?.abort();
  way = null;
  last = null;
  view("start");
  if (focus) $("start-title").focus();
}

/** One thing at a time, the newest; errors end at the start with a message. */
async function attempt(action) {
  if (!model) return;
  const mine = ++turn;
  hush();
  try {
    await action(() => mine === turn);
  } catch (error) {
    if (mine !== turn) return;
    home({ focus: false });
    fail(error);
    if (error?.name !== "AbortError") $("error-close").focus();
  }
}

function busy(name) {
  way = new AbortController();
  view("busy");
  setText($("busy-title"), "Sending");
  setText($("busy-name"), name);
  setText($("busy-text"), "");
  $("busy-bar").removeAttribute("value");
  $("busy-title").focus();
  return way.signal;
}

function showJob(state) {
  const { frames = 0, total = 0 } = state;
  setText($("busy-title"), state.state === "queued" ? "Waiting" : "Reading");
  if (state.state === "queued") {
    $("busy-bar").removeAttribute("value");
    const ahead = state.queue_place ?? 0;
    return setText($("busy-text"), ahead > 0 ? `${ahead} ${ahead === 1 ? "film" : "films"} before yours` : "next in line");
  }
  if (total) $("busy-bar").value = Math.min(1, frames / total);
  const left = state.seconds_left != null && frames ? ` · about ${spoken(state.seconds_left)} left` : "";
  setText($("busy-text"), total ? `frame ${frames} of ${total}${left}` : `${frames} frames`);
}

/** From a started job to the open film. `blob` may still be on its way. */
async function follow(started, blob, name, signal, again) {
  job = started.id;
  try {
    await api.finished(job, showJob, signal);
    setText($("busy-text"), "fetching the results");
    const [results, film] = await Promise.all([api.results(job, signal), blob]);
    last = again;
    view("work");
    const id = job;
    const closing = await openFilm({ model, job: id, blob: film, name, results }, fail);
    if (signal.aborted) return closing();
    document.title = `${name} · jaxfacs`;
    close = () => {
      closing();
      if (job === id) job = null;
    };
    $("work-title").focus();
  } catch (error) {
    if (job) api.forget(job);
    job = null;
    throw error;
  }
}

async function readFile(file) {
  const { upload_bytes: most } = model.limits;
  if (!file.size) throw new Error(`${file.name} is empty. Choose another film.`);
  if (most && file.size > most) {
    throw new Error(`${file.name} has ${bytes(file.size)}; this server takes films of up to ${bytes(most)}. Cut it shorter, or make it smaller.`);
  }
  const signal = busy(file.name);
  const started = await api.upload(file, file.name, options(), (share) => {
    $("busy-bar").value = share;
    setText($("busy-text"), `${percent(share)} sent`);
  }, signal);
  await follow(started, file, file.name, signal, () => readFile(file));
}

async function readExample(example) {
  const signal = busy(example.title);
  const blob = api.exampleFilm(example.url, signal);
  blob.catch(() => undefined); // it is awaited later
  const started = await api.startExample(example.name, options());
  await follow(started, blob, example.film || `${example.name}.webm`, signal, () => readExample(example));
}

async function goLive(wanted) {
  const ended = (error) => {
    home();
    fail(error);
  };
  const closing = await openLive({ model, options }, ended);
  if (!wanted()) return closing();
  view("work");
  close = closing;
  $("work-title").focus();
}

async function goRecord() {
  for (const id of VIEWS) $(id).hidden = true;
  $("again").hidden = true;
  const file = await recordFilm(Math.min(60, model.limits.film_seconds || 60));
  if (file) await readFile(file);
  else home();
}

function listExamples() {
  for (const url of exampleUrls) URL.revokeObjectURL(url);
  exampleUrls = [];
  $("examples-card").hidden = !model.examples?.length;
  $("examples").replaceChildren(...(model.examples ?? []).map((example) => {
    const video = el("video", { muted: true, preload: "metadata", "aria-hidden": "true", tabindex: -1 });
    video.muted = true;
    api.exampleFilm(example.url).then((blob) => {
      const url = URL.createObjectURL(blob);
      exampleUrls.push(url);
      video.addEventListener("loadedmetadata", () => { video.currentTime = Math.min(1.6, video.duration / 2); }, { once: true });
      video.src = url;
    }).catch(() => undefined); // a missing picture is no reason for a message
    return el("li", {}, el("button", { type: "button", class: "example", "data-example": example.name,
      on: { click: () => attempt(() => readExample(example)) } }, video, el("span", { text: example.title })));
  }));
}

function showModel() {
  const { limits = {} } = model;
  setText($("model-name"), [model.name, `${model.aus.length} AUs`].filter(Boolean).join(" · "));
  const parts = [];
  if (limits.upload_bytes) parts.push(bytes(limits.upload_bytes));
  if (limits.film_seconds) parts.push(spoken(limits.film_seconds));
  setText($("limits"), parts.length ? `Up to ${parts.join(" and ")}.` : "");
  const about = model.card?.note ?? model.card?.about ?? model.card?.intended_use;
  setText($("card-note"), typeof about === "string" ? `About the network: ${about}` : "");
  listExamples();
}

function askToken(error = "") {
  setText($("token-error"), error);
  $("token-error").hidden = !error;
  if (!$("token").open) $("token").showModal();
  $("token-field").focus();
}

async function takeToken(text) {
  const before = api.setToken(text);
  try {
    await api.checkToken();
  } catch (error) {
    api.setToken(before);
    return askToken(error.message);
  }
  $("token-field").value = "";
  $("token").close();
  hush();
  begin();
}

async function begin() {
  try {
    model = await api.model();
  } catch (error) {
    for (const id of ["choose", "go-live", "go-record"]) $(id).disabled = true;
    return fail(error);
  }
  for (const id of ["choose", "go-live", "go-record"]) $(id).disabled = false;
  showModel();
  if (model.token_required && !api.hasToken()) askToken();
}

function takeDrops() {
  const drop = $("drop");
  const over = (event, on) => {
    event.preventDefault();
    drop.classList.toggle("over", on);
  };
  // A film that misses the card must not replace the page.
  for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());
  drop.addEventListener("dragover", (event) => over(event, true));
  drop.addEventListener("dragleave", (event) => over(event, false));
  drop.addEventListener("drop", (event) => {
    over(event, false);
    const [file] = event.dataTransfer.files;
    if (file && model) attempt(() => readFile(file));
  });
}

function listen() {
  const on = (id, name, listener) => $(id).addEventListener(name, listener);
  on("choose", "click", () => $("file").click());
  on("file", "change", () => {
    const [file] = $("file").files;
    $("file").value = ""; // the same film can be chosen again
    if (file) attempt(() => readFile(file));
  });
  on("go-live", "click", () => attempt(goLive));
  on("go-record", "click", () => attempt(goRecord));
  on("again", "click", () => { hush(); home(); });
  on("busy-cancel", "click", () => home());
  on("error-close", "click", () => {
    hush();
    $("main").focus();
  });
  on("options", "submit", (event) => event.preventDefault());
  on("reread-go", "click", () => {
    const again = last;
    close?.();
    close = null;
    attempt(again);
  });
  on("help-open", "click", () => $("help").showModal());
  on("help-close", "click", () => $("help").close());
  on("token-form", "submit", (event) => {
    event.preventDefault();
    takeToken($("token-field").value.trim());
  });
  window.addEventListener("pagehide", () => { if (job) api.forget(job); });
  takeDrops();
}

listen();
begin();
