// What the page asks of the server, and what went wrong in plain words.

const BASE = new URL(".", document.baseURI);
const TOKEN = "jaxfacs-token";

/** An answer that says no. `status` is 0 where there was no answer at all. */
export class ServerError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

let token = "";
try { token = sessionStorage.getItem(TOKEN) ?? ""; } catch { /* storage may be switched off */ }

export const hasToken = () => token !== "";

/** Keeps a token until the tab is closed; returns the one before. */
export function setToken(text) {
  const before = token;
  token = text;
  try { sessionStorage.setItem(TOKEN, text); } catch { /* kept in memory alone */ }
  return before;
}

const headers = () => (token ? { Authorization: `Bearer ${token}` } : {});
const url = (path) => new URL(path.replace(/^\//, ""), BASE);

const SILENT = "The server does not answer. Is it still running, and are you still connected?";
const BY_STATUS = {
  401: "This server wants a token, or another one.",
  403: "The server refuses this page.",
  404: "The server no longer has this film: its time was up, or it was cancelled.",
  413: "This film is larger than the server takes.",
  429: "Too much at once. Wait a moment, then try again.",
  503: "The server is busy. Wait a moment, then try again.",
};

function refusal(status, body) {
  let said = "";
  try { said = String(JSON.parse(body).error ?? ""); } catch { /* no JSON */ }
  return new ServerError(said || BY_STATUS[status] || `The server answered with error ${status}.`, status);
}

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(url(path), { ...options, headers: { ...headers(), ...options.headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError(SILENT, 0);
  }
  if (!response.ok) throw refusal(response.status, await response.text());
  return response;
}

export const model = async () => (await ask("v1/model")).json();
export const job = async (id, signal) => (await ask(`v1/jobs/${encodeURIComponent(id)}`, { signal })).json();
export const results = async (id, signal) =>
  (await ask(`v1/jobs/${encodeURIComponent(id)}/results`, { signal })).json();
export const csv = async (id) => (await ask(`v1/jobs/${encodeURIComponent(id)}/results?format=csv`)).blob();
export const exampleFilm = async (path, signal) => (await ask(path, { signal })).blob();
export const startExample = async (name, options) =>
  (await ask(`v1/examples/${encodeURIComponent(name)}?${new URLSearchParams(options)}`, { method: "POST" })).json();

/** Throws if the server does not take the token: a job that cannot be there is asked for. */
export async function checkToken() {
  try {
    await job("none");
  } catch (error) {
    if (error.status !== 404) throw error;
  }
}

/** Cancels a job and has its film forgotten; says nothing where it is gone already. */
export function forget(id) {
  return fetch(url(`v1/jobs/${encodeURIComponent(id)}`), {
    method: "DELETE",
    headers: headers(),
    keepalive: true, // also while the page is being left
  }).catch(() => undefined);
}

/** Sends a film; `onprogress` gets shares of it. fetch cannot tell how far it is, this can. */
export function upload(file, name, options, onprogress, signal) {
  const query = new URLSearchParams({ name, ...options });
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", url(`v1/films?${query}`));
    for (const [header, value] of Object.entries(headers())) request.setRequestHeader(header, value);
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onprogress(event.loaded / event.total);
    });
    request.addEventListener("load", () => {
      if (request.status >= 200 && request.status < 300) resolve(JSON.parse(request.responseText));
      else reject(refusal(request.status, request.responseText));
    });
    request.addEventListener("error", () => reject(new ServerError(SILENT, 0)));
    request.addEventListener("abort", () => reject(new DOMException("cancelled", "AbortError")));
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

const pause = (ms, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("cancelled", "AbortError"));
    });
  });

/** Waits for a job; `onstate` sees every state. A server that is silent for a moment is forgiven. */
export async function finished(id, onstate, signal) {
  let silent = 0;
  for (let wait = 250; ; wait = Math.min(1000, wait * 1.2)) {
    try {
      const state = await job(id, signal);
      silent = 0;
      onstate(state);
      if (state.state === "done") return state;
      if (state.state === "failed") throw new ServerError(state.error || "The film could not be read.", 422);
      if (state.state === "cancelled") throw new DOMException("cancelled", "AbortError");
    } catch (error) {
      const passing = error.status === 0 || error.status === 429 || error.status === 503;
      if (!passing || ++silent > 5) throw error;
    }
    await pause(wait, signal);
  }
}

/** The websocket's address; browsers send no headers with it, so the token goes into the query. */
export function liveAddress() {
  const address = url("v1/live");
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  if (token) address.searchParams.set("token", token);
  return address;
}
