// A live session: pictures of the camera to the server, answers back.
//
// Pictures are sent only while the server's window of frames in flight has room, so a slow server
// or line makes the page leave pictures out; nothing queues up, and everything left out is counted.

import { liveAddress } from "./api.js";

const HEADER = 16; // uint32 sequence, float64 seconds, uint32 length
const LONGEST_SIDE = 640; // px
const TRIES = 5;
const LATEST = 60; // answers that delay and rate are taken from
const LOST_AFTER = 10_000; // ms

const WORDS = {
  connecting: "connecting …",
  running: "live",
  hidden: "paused while this tab is hidden",
  closed: "stopped",
};

/** The size that a picture is sent at. */
function sentSize(video) {
  const scale = Math.min(1, LONGEST_SIDE / Math.max(video.videoWidth, video.videoHeight));
  return { width: Math.round(video.videoWidth * scale), height: Math.round(video.videoHeight * scale) };
}

/** The value below which `share` of the numbers lie. */
function quantile(numbers, share) {
  if (!numbers.length) return 0;
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

export class LiveSession {
  /**
   * @param video plays the camera
   * @param options {baseline, smooth_s, limits}
   * @param on {result(message), state(words), numbers(stats), baseline(set), failed(text, status)}
   */
  constructor(video, options, on) {
    Object.assign(this, { video, options, on });
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d", { willReadFrequently: false });
    this.started = performance.now();
    this.sequence = 0;
    this.flying = new Map(); // sequence -> when it was taken
    this.answered = []; // {at, delay, server}
    this.counts = { sent: 0, read: 0, dropped: 0, skipped: 0, reasons: new Map() };
    this.failures = 0;
    this.quality = 0.8;
    this.ended = false;
    this.gone = new AbortController();
    document.addEventListener("visibilitychange", () => {
      if (this.ready) on.state(document.hidden ? WORDS.hidden : WORDS.running);
    }, { signal: this.gone.signal });
  }

  start() {
    this.#connect();
    this.#pump();
    this.timer = setInterval(() => this.#tell(), 500);
  }

  #connect() {
    this.ready = false;
    this.flying.clear();
    this.on.baseline(false, { asked: false }); // a new session knows no neutral face
    this.on.state(WORDS.connecting);
    const size = sentSize(this.video);
    Object.assign(this.canvas, size);
    Object.assign(this, size);
    const socket = new WebSocket(liveAddress());
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.addEventListener("open", () => {
      const { baseline, smooth_s } = this.options;
      socket.send(JSON.stringify({ type: "start", format: "jpeg", ...size, baseline, smooth_s }));
    });
    socket.addEventListener("message", (event) => {
      if (socket === this.socket && typeof event.data === "string") this.#hear(JSON.parse(event.data));
    });
    socket.addEventListener("close", (event) => {
      if (socket === this.socket) this.#closed(event);
    });
  }

  #hear(message) {
    const handlers = {
      ready: () => {
        this.window = message.window;
        this.ready = true;
        this.on.state(document.hidden ? WORDS.hidden : WORDS.running);
      },
      result: () => this.#answer(message),
      dropped: () => {
        this.flying.delete(message.sequence);
        this.#dropped(message.reason);
      },
      baseline: () => this.on.baseline(message.set, { asked: true }),
      error: () => { this.refused = String(message.error); },
      stopped: () => this.socket.close(),
    };
    handlers[message.type]?.();
  }

  #answer(message) {
    const taken = this.flying.get(message.sequence);
    this.flying.delete(message.sequence);
    this.failures = 0;
    this.counts.read += 1;
    const at = performance.now();
    if (taken != null) this.answered.push({ at, delay: at - taken, server: message.latency_ms?.total ?? 0 });
    if (this.answered.length > LATEST) this.answered.shift();
    this.on.result(message);
  }

  #dropped(reason) {
    this.counts.dropped += 1;
    this.counts.reasons.set(reason, (this.counts.reasons.get(reason) ?? 0) + 1);
  }

  #closed(event) {
    this.ready = false;
    if (this.ended) return;
    for (const _ of this.flying) this.#dropped("connection lost");
    this.flying.clear();
    if (event.code === 4408 && document.hidden) return this.#sleep();
    if (this.refused || event.code === 4401 || event.code === 1008) {
      return this.fail(this.refused || "The server refused the connection.", event.code);
    }
    this.failures += 1;
    if (this.failures > TRIES) {
      return this.fail("The connection was lost and could not be made again. Is the server still running?", event.code);
    }
    this.on.state(`connection lost; trying again, ${this.failures} of ${TRIES}`);
    this.retry = setTimeout(() => this.#connect(), 250 * 2 ** this.failures);
  }

  /** The server ended a session in which nothing came, as from a hidden tab: on when it is seen. */
  #sleep() {
    this.refused = "";
    const { signal } = this.gone;
    document.addEventListener("visibilitychange", () => this.#connect(), { once: true, signal });
  }

  /** Asks for every picture of the camera, and sends those that there is room for. */
  #pump() {
    if (this.ended) return;
    const again = () => this.#pump();
    if (this.video.requestVideoFrameCallback && !this.video.paused) this.video.requestVideoFrameCallback(again);
    else setTimeout(again, 33);
    const now = performance.now();
    const most = Math.min(30, this.options.limits?.frames_per_second || 30);
    if (!this.ready || this.encoding || document.hidden || this.video.readyState < 2) return;
    // A little above the limit, so that a camera of just that rate is not cut to half of it.
    if (now - (this.last ?? 0) < 1000 / most - 4) return;
    if (this.flying.size >= this.window || this.socket.bufferedAmount > 1 << 20) {
      this.counts.skipped += 1;
      this.last = now;
      return;
    }
    this.last = now;
    this.#send(now);
  }

  async #send(taken) {
    this.encoding = true;
    const { socket } = this;
    try {
      this.context.drawImage(this.video, 0, 0, this.width, this.height);
      const blob = await new Promise((resolve) => this.canvas.toBlob(resolve, "image/jpeg", this.quality));
      if (!blob || socket !== this.socket || socket.readyState !== WebSocket.OPEN) return;
      const most = this.options.limits?.frame_bytes || Infinity;
      if (blob.size + HEADER > most) {
        this.quality = Math.max(0.3, this.quality - 0.1);
        return;
      }
      const message = new Uint8Array(HEADER + blob.size);
      const view = new DataView(message.buffer);
      this.sequence = (this.sequence + 1) >>> 0;
      view.setUint32(0, this.sequence, true);
      view.setFloat64(4, (taken - this.started) / 1000, true);
      view.setUint32(12, blob.size, true);
      message.set(new Uint8Array(await blob.arrayBuffer()), HEADER);
      if (socket.readyState !== WebSocket.OPEN) return;
      this.flying.set(this.sequence, taken);
      this.counts.sent += 1;
      socket.send(message);
    } finally {
      this.encoding = false;
    }
  }

  #tell() {
    const now = performance.now();
    for (const [sequence, taken] of this.flying) {
      if (now - taken > LOST_AFTER) {
        this.flying.delete(sequence);
        this.#dropped("no answer");
      }
    }
    const recent = this.answered.filter((entry) => now - entry.at < 3000);
    const span = recent.length > 1 ? (now - recent[0].at) / 1000 : 0;
    const delays = recent.map((entry) => entry.delay);
    this.on.numbers({
      ...this.counts,
      rate: span ? recent.length / span : 0,
      median: quantile(delays, 0.5),
      slowest: quantile(delays, 0.95),
      server: quantile(recent.map((entry) => entry.server), 0.5),
    });
  }

  /** The last two seconds are this person's neutral face; false forgets it. */
  neutral(set) {
    if (!this.ready) return;
    this.socket.send(JSON.stringify(set ? { type: "baseline", action: "set", seconds: 2 } : { type: "baseline", action: "clear" }));
  }

  fail(text, status) {
    this.stop();
    this.on.failed(text, status);
  }

  stop() {
    if (this.ended) return;
    this.ended = true;
    this.gone.abort();
    clearInterval(this.timer);
    clearTimeout(this.retry);
    if (this.socket?.readyState === WebSocket.OPEN) {
      const { socket } = this;
      socket.send(JSON.stringify({ type: "stop" }));
      setTimeout(() => socket.close(), 1000); // where the server does not say that it stopped
    } else this.socket?.close();
    this.on.state(WORDS.closed);
  }
}
