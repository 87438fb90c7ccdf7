// The words and bars beside the picture: faces, the emotion with its reasons, AUs.

import { $, capital, clock, el, letter, percent, setText } from "./dom.js";
import { faceColour } from "./overlay.js";
import { isClear, likeliest, strongest } from "./reading.js";

/** The choice between several faces; hidden where there is one. */
export class FaceChoice {
  constructor(root, onchoose) {
    this.root = root;
    this.onchoose = onchoose;
    this.ids = [];
    root.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      this.step(step);
      this.root.querySelector('[aria-checked="true"]')?.focus();
    });
  }
  show(ids, selected) {
    this.selected = selected;
    if (ids.join() !== this.ids.join()) {
      this.ids = [...ids];
      this.root.replaceChildren(...this.ids.map((id) => {
        const dot = el("i", { class: "dot" });
        dot.style.backgroundColor = faceColour(id);
        return el("button", { type: "button", role: "radio", class: "face", on: { click: () => this.onchoose(id) } },
          dot, `Face ${id}`);
      }));
    }
    this.root.hidden = ids.length < 2;
    [...this.root.children].forEach((button, i) => {
      const on = this.ids[i] === selected;
      button.setAttribute("aria-checked", String(on));
      button.tabIndex = on ? 0 : -1;
    });
  }
  step(by) {
    if (this.ids.length < 2) return;
    const at = this.ids.indexOf(this.selected);
    this.onchoose(this.ids[(at + by + this.ids.length) % this.ids.length]);
  }
}

function barRow(au, extra = {}) {
  const fill = el("span", { class: "fill" });
  const value = el("span", { class: "value" });
  const chance = el("span", { class: "chance" });
  const row = el("li", { class: "au-row", "data-region": au.region, "data-au": au.label, ...extra },
    el("span", { class: "code" }, el("span", { class: "visually-hidden", text: "AU " }), au.label),
    el("span", { class: "name", text: au.name, title: au.name }),
    el("span", { class: "track", "aria-hidden": "true" }, fill),
    value, chance);
  return { row, fill, value, chance };
}

function setBar(parts, intensity, present, probability) {
  parts.fill.style.transform = `scaleX(${Math.min(1, Math.max(0, intensity / 5)).toFixed(3)})`;
  parts.row.classList.toggle("present", present);
  setText(parts.value, present ? `${letter(intensity, true)} ${intensity.toFixed(1)}` : "absent");
  setText(parts.chance, probability == null ? "" : probability.toFixed(2).replace(/^0/, ""));
}

/** Bars of all AUs, in the model's order, so that each keeps its place. */
export class Bars {
  constructor(root, aus) {
    this.parts = aus.map((au) => barRow(au));
    root.replaceChildren(...this.parts.map((part) => part.row));
  }
  show(face) {
    this.parts.forEach((part, i) => {
      if (face) setBar(part, face.r[i], Boolean(face.c[i]), face.p[i]);
      else {
        part.fill.style.transform = "scaleX(0)";
        part.row.classList.remove("present");
        setText(part.value, "–");
        setText(part.chance, "");
      }
    });
  }
}

/** The five strongest AUs. While it runs they change places at most three times a second. */
export class TopNow {
  constructor(root) {
    this.root = root;
    this.rows = new Map();
    this.order = [];
    this.changed = 0;
  }
  show(reading, face, { settle = true, absent = "No face in this frame." } = {}) {
    if (!face) {
      this.order = [];
      this.rows.clear();
      this.root.replaceChildren(el("li", { class: "empty", text: absent }));
      return;
    }
    const now = performance.now();
    if (settle || !this.order.length || now - this.changed > 330) {
      const order = strongest(reading, face).map((entry) => entry.index);
      if (order.join() !== this.order.join()) {
        this.order = order;
        this.changed = now;
        this.rows = new Map(order.map((i) => [i, barRow(reading.aus[i])]));
        this.root.replaceChildren(...order.map((i) => this.rows.get(i).row));
      }
    }
    for (const [i, parts] of this.rows) setBar(parts, face.r[i], Boolean(face.c[i]), face.p[i]);
  }
}

const LEAST = 0.005; // a weight that would read 0.00 says nothing

function reasonChips(entries, side, names) {
  return el("ul", { class: `chips ${side}` }, ...entries.map(([label, weight]) => {
    const absent = /^no /.test(label);
    const code = label.replace(/^no /, "");
    const name = names.get(code) ?? "";
    const said = `${absent ? "no " : ""}AU ${code}`;
    return el("li", { title: `${said}${name ? `, ${name}` : ""}: weight ${weight.toFixed(2)}` },
      el("span", { class: "chip-code", text: said }),
      name && el("span", { class: "chip-name", text: name.toLowerCase() }),
      el("span", { class: "chip-weight", text: Math.abs(weight).toFixed(2) }));
  }));
}

/** AUs for and against an emotion, and those that nobody could tell. */
function reasons(why, names) {
  const parts = [];
  for (const [side, words] of [["for", "For"], ["against", "Against"]]) {
    const listed = why[side].filter(([, weight]) => Math.abs(weight) >= LEAST).slice(0, 6);
    if (listed.length) parts.push(el("dt", { text: words }), el("dd", {}, reasonChips(listed, side, names)));
  }
  if (why.unjudged.length) {
    const labels = [...why.unjudged].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    const which = labels.length > 1 ? "them" : "it";
    const text = `AU ${labels.join(", ")}: this network does not read ${which}`;
    parts.push(el("dt", { text: "Not judged" }), el("dd", {}, el("p", { class: "fine", text })));
  }
  return el("dl", { class: "reasons" }, ...parts);
}

/** An emotion's card: its name, the share, reasons, and the runners-up. */
export class EmotionCard {
  constructor(root, reading) {
    this.root = root;
    this.names = new Map(reading.aus.map((au) => [au.label, au.name]));
    this.last = "";
  }
  /** @param ranked [{name, share}] best first; @param why {for, against, unjudged} or null */
  show(ranked, why, empty = "No face in this frame.") {
    const key = JSON.stringify([empty, ranked.map((r) => [r.name, r.share.toFixed(2)]),
      why && [why.emotion, why.for.map(([a, w]) => [a, w.toFixed(2)]), why.against.map(([a, w]) => [a, w.toFixed(2)])]]);
    if (key === this.last) return;
    this.last = key;
    if (!ranked.length) {
      this.root.replaceChildren(el("p", { class: "empty", text: empty }));
      return;
    }
    const clear = isClear(ranked.map((entry) => entry.share));
    const [first, ...rest] = ranked;
    const others = (clear ? rest : ranked).filter((entry) => entry.share >= 0.05).slice(0, 3);
    const listed = others.map((entry) => `${entry.name} ${percent(entry.share)}`).join(", ");
    this.root.replaceChildren(...[
      el("p", { class: "emotion-line" },
        el("span", { class: clear ? "emotion-name" : "emotion-name unclear", text: clear ? capital(first.name) : "No clear pattern" }),
        clear ? el("span", { class: "emotion-share", text: percent(first.share) }) : null),
      listed ? el("p", { class: "fine", text: `${clear ? "then" : "nearest:"} ${listed}` }) : null,
      why && !clear ? el("p", { class: "fine why-of", text: `What speaks for ${first.name}, and what against:` }) : null,
      why ? reasons(why, this.names) : el("p", { class: "fine", text: "The network names it from the picture itself; there are no Action Units to give as reasons." }),
    ].filter(Boolean));
  }
}

export function rankedNow(reading, face) {
  if (!face || likeliest(face) < 0) return [];
  return reading.emotions
    .map((name, i) => ({ name, share: face.emotions[i] }))
    .sort((a, b) => b.share - a.share);
}

/** The five AUs of the whole clip, each with a button to its strongest moment. */
export function showTopClip(root, summary, onseek) {
  const top = summary.aus.slice(0, 5);
  if (!summary.frames) {
    root.replaceChildren(el("li", { class: "empty", text: "No face was found." }));
    return;
  }
  root.replaceChildren(...top.map((row) => {
    const parts = barRow(row.au, { class: "au-row clip-row" });
    parts.fill.style.transform = `scaleX(${Math.min(1, row.intensity / 5).toFixed(3)})`;
    parts.row.classList.toggle("present", row.share > 0);
    setText(parts.value, row.intensity.toFixed(1));
    setText(parts.chance, percent(row.share));
    parts.chance.title = "share of the frames in which it is present";
    parts.value.title = "mean intensity where it is present";
    if (onseek) {
      parts.row.append(peakButton(row.peakTime, `AU ${row.au.label}`, onseek));
    } else {
      parts.row.append(el("span", { class: "peak fine", text: `peak ${row.peak.toFixed(1)}` }));
    }
    return parts.row;
  }));
}

const QUIET_MS = 8000;

/** Other emotions of the clip: named in how many frames, for which AUs, and when most. */
export function showMoments(root, rows, reasonsOf, onseek) {
  const named = rows.slice(1).filter((row) => row.shareTop >= 0.01).slice(0, 4);
  root.hidden = !named.length;
  root.replaceChildren(...named.map((row) => {
    const why = reasonsOf(row.name);
    const forIt = (why?.for ?? []).filter(([, weight]) => weight >= LEAST).slice(0, 4).map(([label]) => label);
    return el("li", { class: "moment" },
      el("span", { class: "moment-name", text: capital(row.name) }),
      el("span", { class: "fine", text: `${percent(row.shareTop)} of the frames${forIt.length ? `, for AU ${forIt.join(", ")}` : ""}` }),
      onseek ? peakButton(row.peakTime, row.name, onseek) : null);
  }));
}

const peakButton = (time, what, onseek) => el("button", {
  type: "button", class: "quiet peak", text: `peak ${clock(time)}`,
  "aria-label": `Go to the strongest ${what}, at ${clock(time)}`,
  on: { click: () => onseek(time) },
});

/** Says aloud what changed: seldom, so that it does not talk over everything, and nothing twice. */
export class Announcer {
  constructor(root = $("announce")) {
    this.root = root;
    this.said = "";
    this.at = 0;
  }
  say(text, { now = false } = {}) {
    const time = performance.now();
    if (text === this.said || (!now && time - this.at < QUIET_MS)) return;
    this.said = text;
    this.at = time;
    setText(this.root, text);
  }
}
