// The course of emotions and AUs over time, on a canvas; a click or the arrow keys seek.

import { capital, clock, el, letter } from "./dom.js";
import { faceOf, frameAt, isClear, likeliest } from "./reading.js";

const ROW = 20; // px
const RIBBON = 26;
const AXIS = 22;
const GAP = 10;
const MOST_EMOTIONS = 6;
const NARROW = 560; // px: below, names of AUs make way for their numbers

const colours = (root) => {
  const style = getComputedStyle(root);
  const get = (name) => style.getPropertyValue(name).trim();
  return {
    ink: get("--ink"), muted: get("--muted"), line: get("--line"), grid: get("--grid"),
    upper: get("--upper"), lower: get("--lower"), other: get("--accent"),
    soft: get("--track"), ribbonInk: get("--ribbon-ink"),
    ribbon: Array.from({ length: 8 }, (_, i) => get(`--e${i}`)),
  };
};

/** Values of one face for drawing: what each column of pixels shows is found in `columns`. */
function columns(reading, id, count, start, span) {
  const aus = reading.aus.length;
  const emotions = reading.emotions.length;
  const table = Array.from({ length: count }, () => null);
  for (let i = 0; i < reading.frames.length; i += 1) {
    const frame = reading.frames[i];
    const face = faceOf(frame, id);
    if (!face) continue;
    const until = reading.frames[i + 1]?.timestamp ?? frame.timestamp + 1 / reading.fps;
    const first = Math.max(0, Math.floor(((frame.timestamp - start) / span) * count));
    // A hole in the times (frames left out) is a hole here.
    const end = Math.min(until, frame.timestamp + Math.max(0.5, 4 / reading.fps));
    const last = Math.min(count - 1, Math.max(first, Math.ceil(((end - start) / span) * count) - 1));
    for (let c = first; c <= last; c += 1) {
      const cell = (table[c] ??= { r: new Float32Array(aus), c: new Uint8Array(aus), e: new Float32Array(emotions), top: -1, clear: false });
      for (let a = 0; a < aus; a += 1) {
        cell.r[a] = Math.max(cell.r[a], face.r[a]);
        cell.c[a] |= face.c[a];
      }
      for (let e = 0; e < emotions; e += 1) cell.e[e] = Math.max(cell.e[e], face.emotions[e]);
      cell.top = likeliest(face);
      cell.clear = isClear(face.emotions);
    }
  }
  return table;
}

/** A step between ticks that leaves them readable: 0.5, 1, 2, 5, 10, 15, 30 seconds, 1, 2, 5 minutes … */
function tickStep(span, width) {
  const wanted = (span * 72) / width;
  return [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600].find((s) => s >= wanted) ?? 7200;
}

export class Timeline {
  /** @param onseek gets seconds; null makes it a picture that only shows (live) */
  constructor(root, reading, onseek) {
    this.root = root;
    this.reading = reading;
    this.onseek = onseek;
    this.face = null;
    this.time = 0;
    this.start = 0;
    this.span = Math.max(reading.duration, 0.001);
    this.canvas = el("canvas", { "aria-hidden": "true" });
    this.head = el("div", { class: "playhead", "aria-hidden": "true" });
    this.handle = onseek
      ? el("div", { class: "seeker", role: "slider", tabindex: 0, "aria-label": "Moment of the film", "aria-valuemin": 0, "aria-valuemax": this.span.toFixed(2) })
      : el("div", { class: "seeker", role: "img", "aria-label": "The last 30 seconds of Action Units and emotions" });
    root.replaceChildren(this.canvas, this.head, this.handle);
    this.gone = new AbortController();
    const { signal } = this.gone;
    if (onseek) this.#listen(signal);
    else this.head.hidden = true;
    this.watcher = new ResizeObserver(() => this.draw());
    this.watcher.observe(root);
    document.addEventListener("themechange", () => this.draw(), { signal });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw(), { signal });
  }

  close() {
    this.gone.abort();
    this.watcher.disconnect();
    this.root.replaceChildren();
  }

  #listen(signal) {
    let dragging = false;
    const seek = (event) => {
      const { left } = this.canvas.getBoundingClientRect();
      const share = (event.clientX - left - this.left) / this.plot;
      this.onseek(Math.min(1, Math.max(0, share)) * this.span);
    };
    this.handle.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      dragging = true;
      this.handle.setPointerCapture(event.pointerId);
      seek(event);
    }, { signal });
    this.handle.addEventListener("pointermove", (event) => dragging && seek(event), { signal });
    for (const name of ["pointerup", "pointercancel"]) {
      this.handle.addEventListener(name, () => { dragging = false; }, { signal });
    }
  }

  /** Which emotions get a row: those that are ever likely, most likely first by their peak. */
  #rows(table) {
    const peaks = this.reading.emotions.map((_, e) => table.reduce((m, cell) => Math.max(m, cell?.e[e] ?? 0), 0));
    const listed = peaks.map((peak, e) => ({ peak, e })).filter(({ peak }) => peak > 0.15)
      .sort((a, b) => b.peak - a.peak).slice(0, MOST_EMOTIONS).map(({ e }) => e).sort((a, b) => a - b);
    // Live the rows must not jump: an emotion that had one keeps it.
    if (!this.onseek) {
      this.kept = [...new Set([...(this.kept ?? []), ...listed])].slice(0, MOST_EMOTIONS).sort((a, b) => a - b);
      return this.kept;
    }
    return listed;
  }

  show(face) {
    this.face = face;
    this.draw();
  }

  /** Live: the window of time that is shown. */
  window(start, span) {
    this.start = start;
    this.span = span;
    this.draw();
  }

  draw() {
    const width = this.root.clientWidth;
    if (!width) return;
    this.left = width < NARROW ? 76 : 168;
    this.plot = Math.max(10, width - this.left - 2);
    const look = colours(this.root);
    const table = columns(this.reading, this.face, Math.ceil(this.plot), this.start, this.span);
    const emotions = this.#rows(table);
    const hasRibbon = this.reading.emotions.length > 0;
    const emotionTop = hasRibbon ? RIBBON + 4 : 0;
    const auTop = emotionTop + emotions.length * ROW + (hasRibbon ? GAP : 0);
    const bottom = auTop + this.reading.aus.length * ROW;
    const height = bottom + AXIS;
    const ratio = window.devicePixelRatio || 1;
    Object.assign(this.canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
    this.handle.style.height = `${height}px`;
    Object.assign(this.handle.dataset, { left: this.left, plot: this.plot });
    this.head.style.height = `${bottom}px`;
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.textBaseline = "middle";
    this.#axis(context, look, bottom);
    if (hasRibbon) this.#ribbon(context, look, table);
    const narrow = this.left < 100;
    emotions.forEach((e, i) => {
      const name = this.reading.emotions[e];
      this.#row(context, look, emotionTop + i * ROW, capital(name), "", look.other,
        table.map((cell) => cell && [cell.e[e], cell.top === e]));
    });
    this.reading.aus.forEach((au, a) => {
      this.#row(context, look, auTop + a * ROW, au.label, narrow ? "" : au.name, look[au.region] ?? look.other,
        table.map((cell) => cell && [cell.r[a] / 5, cell.c[a] === 1]));
    });
    this.at(this.time, { quiet: true });
  }

  #axis(context, look, bottom) {
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = look.muted;
    context.strokeStyle = look.grid;
    context.lineWidth = 1;
    const step = tickStep(this.span, this.plot);
    const first = this.onseek ? 0 : this.start + (this.span % step);
    for (let time = first; time <= this.start + this.span + 1e-6; time += step) {
      const x = Math.round(this.left + ((time - this.start) / this.span) * this.plot) + 0.5;
      context.beginPath();
      context.moveTo(x, 0);
      context.lineTo(x, bottom + 4);
      context.stroke();
      const text = this.onseek ? clock(time, step < 1 ? 1 : 0) : this.#ago(time);
      const half = context.measureText(text).width / 2;
      context.fillText(text, Math.min(x - half, this.left + this.plot - 2 * half), bottom + 13);
    }
  }

  #ago(time) {
    const seconds = Math.round(this.start + this.span - time);
    return seconds ? `−${seconds} s` : "now";
  }

  /** The likeliest emotion of each moment, named where there is room. */
  #ribbon(context, look, table) {
    context.font = "600 12px system-ui, sans-serif";
    context.fillStyle = look.muted;
    if (this.left > 100) context.fillText("Reads as", 0, RIBBON / 2);
    let from = 0;
    for (let c = 1; c <= table.length; c += 1) {
      const { top, clear } = table[from] ?? { top: -1 };
      if (c < table.length && (table[c]?.top ?? -1) === top && table[c]?.clear === clear) continue;
      if (top >= 0) {
        context.fillStyle = look.ribbon[top % look.ribbon.length];
        context.globalAlpha = clear ? 1 : 0.3;
        context.fillRect(this.left + from, 2, c - from, RIBBON - 4);
        context.globalAlpha = 1;
        const name = capital(this.reading.emotions[top]);
        if (clear && context.measureText(name).width + 12 < c - from) {
          context.fillStyle = look.ribbonInk;
          context.fillText(name, this.left + from + 6, RIBBON / 2 + 0.5);
        }
      }
      from = c;
    }
  }

  /** One row: an area as high as the value, strong where `present`, pale elsewhere. */
  #row(context, look, top, label, name, colour, cells) {
    const base = top + ROW - 3;
    const high = ROW - 5;
    context.fillStyle = look.ink;
    context.font = "600 12px system-ui, sans-serif";
    context.fillText(label, 0, top + ROW / 2, this.left - 8);
    if (name) {
      context.fillStyle = look.muted;
      context.font = "12px system-ui, sans-serif";
      context.fillText(name, 30, top + ROW / 2, this.left - 38);
    }
    context.fillStyle = look.line;
    context.fillRect(this.left, base, this.plot, 1);
    for (const strong of [false, true]) {
      context.fillStyle = colour;
      context.globalAlpha = strong ? 1 : 0.3;
      cells.forEach((cell, c) => {
        if (!cell || Boolean(cell[1]) !== strong) return;
        const h = Math.min(1, cell[0]) * high;
        if (h > 0.4) context.fillRect(this.left + c, base - h, 1, h);
      });
    }
    context.globalAlpha = 1;
  }

  /** Moves the playhead. Not drawn anew: that would be work for every picture of the film. */
  at(time, { quiet = false } = {}) {
    this.time = time;
    if (!this.onseek) return;
    const x = this.left + Math.min(1, Math.max(0, time / this.span)) * this.plot;
    this.head.style.transform = `translateX(${x.toFixed(1)}px)`;
    if (quiet) return;
    this.handle.setAttribute("aria-valuenow", time.toFixed(2));
    this.handle.setAttribute("aria-valuetext", this.#spoken(time));
  }

  #spoken(time) {
    const face = faceOf(this.reading.frames[frameAt(this.reading, time)], this.face);
    if (!face) return `${clock(time)}, no face`;
    const top = likeliest(face);
    const present = this.reading.aus
      .map((au, i) => face.c[i] && `${au.name || `AU ${au.label}`} ${letter(face.r[i], true)}`).filter(Boolean);
    return [clock(time), top >= 0 ? this.reading.emotions[top] : "", present.join(", ") || "nothing moves"]
      .filter(Boolean).join(", ");
  }
}
