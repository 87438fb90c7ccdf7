// Elements and words. Whatever comes from a server or a file goes in as text.

export const $ = (id) => document.getElementById(id);

/** An element with attributes, a class, a text, and children. */
export function el(tag, { text, on = {}, ...attributes } = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, String(value));
  }
  if (text != null) node.textContent = String(text);
  for (const [name, listener] of Object.entries(on)) node.addEventListener(name, listener);
  node.append(...children.filter((child) => child != null));
  return node;
}

/** Sets a text only where it differs, so that nothing is laid out or read aloud for nothing. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Seconds as 0:03.2, or 1:02:03.2. */
export function clock(seconds, digits = 1) {
  const unit = 10 ** digits;
  const whole = Math.max(0, Math.round(seconds * unit));
  const s = Math.floor(whole / unit);
  const parts = [Math.floor(s / 60) % 60, s % 60];
  const hours = Math.floor(s / 3600);
  const minutes = hours ? `${hours}:${String(parts[0]).padStart(2, "0")}` : String(parts[0]);
  const rest = digits ? `.${String(whole % unit).padStart(digits, "0")}` : "";
  return `${minutes}:${String(parts[1]).padStart(2, "0")}${rest}`;
}

/** Seconds as a person would say them: "12 seconds", "3 minutes". */
export function spoken(seconds) {
  if (seconds < 1.5) return "a second";
  if (seconds < 90) return `${Math.round(seconds)} seconds`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} minutes`;
  return `${(seconds / 3600).toFixed(1)} hours`;
}

export const percent = (share) => `${Math.round(100 * share)} %`;

export function bytes(count) {
  if (count >= 2 ** 30) return `${(count / 2 ** 30).toFixed(1)} GB`;
  return count >= 2 ** 20 ? `${Math.round(count / 2 ** 20)} MB` : `${Math.ceil(count / 1024)} kB`;
}

/** FACS's letter of an intensity of 1 (A, a trace) to 5 (E); "" where the unit is absent. */
export function letter(intensity, present) {
  if (!present) return "";
  return "ABCDE"[Math.min(4, Math.max(0, Math.round(intensity) - 1))];
}

export const capital = (word) => word.charAt(0).toUpperCase() + word.slice(1);
