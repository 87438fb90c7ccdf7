"use strict";
// Everything is drawn from the one JSON block; names go into the page as text, never as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const video = document.querySelector("video");
  const screen = document.querySelector(".screen");
  const sheet = document.querySelector(".screen canvas");
  const count = data.bins;
  if (!count || !data.faces.length) return;

  const bytes = (text, Kind) => {
    const raw = atob(text), out = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
    return new Kind(out.buffer);
  };
  const start = bytes(data.start, Float64Array), number = bytes(data.frame, Int32Array);
  const first = start[0], end = data.end;
  const NONE = 255, FULL = 254;
  for (const face of data.faces) {
    for (const name of ["p", "low", "high", "r", "c", "e", "va", "rows"]) {
      if (face[name]) face[name] = bytes(face[name], Uint8Array);
    }
    if (face.box) face.box = bytes(face.box, Float32Array);
    if (face.why) face.why.at = bytes(face.why.at, Uint16Array);
  }
  let face = data.faces[0], at = 0, place = first, from = first, to = end;
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const share = (value) => (value === NONE ? NaN : value / FULL);
  const binAt = (time) => {
    let low = 0, high = count - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (start[middle] <= time + 6e-4) low = middle; else high = middle - 1;
    }
    return low;
  };
  const clock = (time) => {
    if (!data.timed) return `frame ${Math.round(time)}`;
    const long = end >= 3600, hundredths = Math.round(100 * time), two = (n) => String(n).padStart(2, "0");
    const whole = Math.floor(hundredths / 100), rest = `.${two(hundredths % 100)}`;
    const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
    return (long ? `${hours}:${two(minutes)}` : `${minutes}`) + `:${two(whole % 60)}${rest}`;
  };
  const element = (name, className, text) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  // ---- rows: one for each AU, one of all emotions
  const rows = [];
  const addRow = (label, long, tall) => {
    const row = element("div", tall ? "row tall" : "row"), name = element("span", "", label);
    if (long) name.append(element("span", "long", `  ${long}`));
    name.title = long ? `${label} ${long}` : label;
    const canvas = element("canvas"), value = element("span");
    row.append(name, canvas, value);
    $("rows").append(row);
    return { row, canvas, value };
  };
  data.aus.forEach((au, a) => rows.push({ ...addRow(au.label, au.name, false), a }));
  const feelings = data.emotions.length ? addRow("emotions", "", true) : null;
  if (feelings) {
    const legend = element("div", "legend");
    data.emotions.forEach((emotion, e) => {
      const item = element("span"), swatch = element("i");
      if (data.colours[e]) swatch.style.background = data.colours[e];
      else swatch.className = "neutral";
      item.append(swatch, emotion);
      legend.append(item);
    });
    $("lines").append(legend);
  }
  const bars = data.aus.map((au) => {
    const bar = element("div", `au ${au.region}`), rail = element("span", "rail");
    const fill = element("i"), value = element("span");
    rail.append(fill);
    if (au.threshold !== null) {
      const mark = element("b");
      mark.style.left = `${100 * au.threshold}%`;
      rail.append(mark);
    }
    bar.title = au.name;
    bar.append(element("span", "", au.label), rail, value);
    $("bars").append(bar);
    return { bar, fill, value };
  });

  const ready = (canvas) => {
    const width = canvas.clientWidth, height = canvas.clientHeight, scale = window.devicePixelRatio || 1;
    canvas.width = Math.max(1, Math.round(width * scale));
    canvas.height = Math.max(1, Math.round(height * scale));
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    return [pen, width, height];
  };
  const stops = (width) => {  // the bins that each column of pixels shows
    const columns = Math.max(1, Math.floor(width)), out = new Int32Array(columns + 1);
    for (let x = 0; x <= columns; x++) out[x] = binAt(from + ((to - from) * x) / columns);
    return out;
  };
  const hatch = (pen, x, width, height) => {
    pen.save();
    pen.beginPath();
    pen.rect(x, 0, width, height);
    pen.clip();
    pen.strokeStyle = css("--gap");
    pen.lineWidth = 3;
    pen.beginPath();
    for (let k = x - height; k < x + width + height; k += 7) {
      pen.moveTo(k, height);
      pen.lineTo(k + height, 0);
    }
    pen.stroke();
    pen.restore();
  };
  const gaps = (pen, stop, height) => {
    for (let x = 0; x < stop.length - 1; x++) {
      let there = false;
      for (let b = stop[x]; b <= Math.max(stop[x], stop[x + 1] - 1); b++) there = there || face.rows[b] > 0;
      if (there) continue;
      let last = x;
      while (last < stop.length - 2 && !face.rows[stop[last + 1]]) last++;
      hatch(pen, x, last + 1 - x, height);
      x = last;
    }
  };
  const drawAu = ({ canvas, a }, stop) => {
    const [pen, , height] = ready(canvas), colour = css(data.aus[a].region === "lower" ? "--lower" : "--upper");
    const high = height - 3, base = height - 1, offset = a * count, low8 = face.low || face.p, high8 = face.high || face.p;
    gaps(pen, stop, height);
    const columns = stop.length - 1;
    pen.fillStyle = colour;
    for (let x = 0; x < columns; x++) {
      let bottom = 1, top = 0, sum = 0, known = 0, present = 0;
      for (let b = stop[x]; b <= Math.max(stop[x], stop[x + 1] - 1); b++) {
        const p = face.p[offset + b];
        if (p === NONE) continue;
        known++;
        sum += p / FULL;
        bottom = Math.min(bottom, share(low8[offset + b]));
        top = Math.max(top, share(high8[offset + b]));
        present += face.c[offset + b] === NONE ? 0 : face.c[offset + b];
      }
      if (!known) continue;
      if (present / known >= FULL / 2) {
        pen.globalAlpha = 0.2;
        pen.fillRect(x, 1, 1, base - 1);
      }
      const mean = sum / known;
      pen.globalAlpha = 0.4;
      pen.fillRect(x, base - high * mean, 1, high * mean);
      if (top - bottom > 0.02) pen.fillRect(x, base - high * top, 1, high * (top - bottom));
      pen.globalAlpha = 1;
      pen.fillRect(x, base - high * mean - 0.75, 1, 1.5);
    }
    pen.globalAlpha = 1;
    if (data.aus[a].threshold !== null) {
      pen.strokeStyle = css("--ink");
      pen.globalAlpha = 0.55;
      pen.lineWidth = 1;
      pen.setLineDash([4, 4]);
      pen.beginPath();
      pen.moveTo(0, base - high * data.aus[a].threshold);
      pen.lineTo(columns, base - high * data.aus[a].threshold);
      pen.stroke();
      pen.setLineDash([]);
      pen.globalAlpha = 1;
    }
    const marks = face.segments.filter((s) => s[0] === a && s[2] >= from && s[2] <= to);
    if (marks.length > columns / 12) return;
    pen.fillStyle = css("--ink");
    for (const mark of marks) {
      const x = (columns * (mark[2] - from)) / (to - from);
      pen.beginPath();
      pen.moveTo(x, 0.5);
      pen.lineTo(x + 3, 3.5);
      pen.lineTo(x, 6.5);
      pen.lineTo(x - 3, 3.5);
      pen.fill();
    }
  };
  const drawFeelings = (stop) => {
    const [pen, , height] = ready(feelings.canvas), neutral = css("--neutral");
    gaps(pen, stop, height);
    for (let x = 0; x < stop.length - 1; x++) {
      let base = height;
      data.emotions.forEach((_, e) => {
        let sum = 0, known = 0;
        for (let b = stop[x]; b <= Math.max(stop[x], stop[x + 1] - 1); b++) {
          const value = face.e[e * count + b];
          if (value !== NONE) { sum += value / FULL; known++; }
        }
        if (!known) return;
        const tall = (height * sum) / known;
        pen.fillStyle = data.colours[e] || neutral;
        pen.fillRect(x, base - tall, 1, tall);
        base -= tall;
      });
    }
  };
  const drawRuler = () => {
    const [pen, width, height] = ready($("ruler").querySelector("canvas"));
    const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
    const wanted = ((to - from) * 80) / Math.max(width, 1);
    let step = steps.find((s) => s >= wanted) || wanted;
    if (!data.timed) step = Math.max(1, Math.ceil(wanted));
    pen.fillStyle = css("--soft");
    pen.font = "11px system-ui, sans-serif";
    for (let t = Math.ceil(from / step) * step; t <= to; t += step) {
      const x = (width * (t - from)) / (to - from);
      pen.fillRect(x, height - 4, 1, 4);
      const text = step < 1 ? clock(t) : clock(t).replace(/\.\d+$/, "");
      if (x < width - 30) pen.fillText(text, x + 3, height - 6);
    }
  };
  const drawAll = () => {
    const some = rows.find((r) => !r.row.hidden);
    const stop = stops((some || feelings || { canvas: $("ruler").querySelector("canvas") }).canvas.clientWidth);
    for (const row of rows) if (!row.row.hidden) drawAu(row, stop);
    if (feelings) drawFeelings(stop);
    drawRuler();
    show();
  };

  // ---- the current frame
  const why = () => {
    const box = $("feeling");
    box.replaceChildren();
    if (!face.rows[at]) {
      box.append(element("strong", "", "no face"));
      return;
    }
    if (!data.emotions.length) return;
    let top = -1, best = -1;
    data.emotions.forEach((_, e) => {
      const value = face.e[e * count + at];
      if (value !== NONE && value > best) { best = value; top = e; }
    });
    if (top < 0) return;
    box.append(element("strong", "", `${data.emotions[top]} ${(best / FULL).toFixed(2)}`));
    const told = face.why && face.why.texts[face.why.at[at]];
    if (told) {
      for (const [word, list] of [["for", told[1]], ["against", told[2]], ["not judged", told[3]]]) {
        if (list.length) box.append(element("p", "", `${word}: ${list.join(", ")}`));
      }
    } else {
      const order = data.emotions.map((_, e) => e).filter((e) => e !== top && face.e[e * count + at] !== NONE)
        .sort((a, b) => face.e[b * count + at] - face.e[a * count + at]).slice(0, 3);
      const next = order.map((e) => `${data.emotions[e]} ${share(face.e[e * count + at]).toFixed(2)}`);
      if (next.length) box.append(element("p", "", `then: ${next.join(", ")}`));
      box.append(element("p", "", data.no_reasons));
    }
    if (face.va && face.va[at] !== NONE) {
      const signed = (v) => (v > 0 ? "+" : "") + v.toFixed(2);
      const v = 2 * share(face.va[at]) - 1, w = 2 * share(face.va[count + at]) - 1;
      box.append(element("p", "", `valence ${signed(v)}, arousal ${signed(w)}`));
    }
  };
  const drawBoxes = () => {
    if (!sheet || !data.size || !video) return;
    const width = video.clientWidth, height = video.clientHeight;
    sheet.style.width = `${width}px`;
    sheet.style.height = `${height}px`;
    const [pen] = ready(sheet);
    if (!$("boxes").checked) return;
    const scale = Math.min(width / data.size[0], height / data.size[1]);
    const left = (width - scale * data.size[0]) / 2, top = (height - scale * data.size[1]) / 2;
    for (const other of data.faces) {
      if (!other.box || !other.rows[at] || Number.isNaN(other.box[4 * at])) continue;
      const [x, y, w, h] = [0, 1, 2, 3].map((k) => scale * other.box[4 * at + k]);
      pen.lineWidth = other === face ? 2.5 : 1.5;
      pen.strokeStyle = pen.fillStyle = other === face ? "#ffd84d" : "#ffffff";
      pen.strokeRect(left + x, top + y, w, h);
      pen.font = "12px system-ui, sans-serif";
      if (data.faces.length > 1) pen.fillText(`face ${other.id}`, left + x + 3, top + Math.max(12, y - 4));
      if (other !== face) continue;
      data.aus.forEach((au, a) => {
        const c = face.c[a * count + at];
        if (c === NONE || c < FULL / 2) return;
        pen.strokeStyle = au.region === "lower" ? "#ff9a52" : "#56b4e9";
        pen.lineWidth = 1.5;
        for (const [cx, cy, rx, ry] of au.ellipses) {
          pen.beginPath();
          pen.ellipse(left + x + cx * w, top + y + cy * h, rx * w, ry * h, 0, 0, 7);
          pen.stroke();
        }
      });
    }
  };
  const show = () => {
    const left = (100 * (place - from)) / (to - from);
    $("head").firstElementChild.style.left = `${left}%`;
    $("head").hidden = left < 0 || left > 100;
    $("clock").textContent = `${clock(place)}` + (data.timed ? `, frame ${number[at]}` : "");
    $("time").setAttribute("aria-valuemin", first.toFixed(2));
    $("time").setAttribute("aria-valuemax", end.toFixed(2));
    $("time").setAttribute("aria-valuenow", place.toFixed(2));
    $("time").setAttribute("aria-valuetext", clock(place));
    bars.forEach(({ bar, fill, value }, a) => {
      const p = share(face.p[a * count + at]), r = face.r && face.r[a * count + at], c = face.c[a * count + at];
      const on = c !== NONE && c >= FULL / 2;
      bar.classList.toggle("on", on);
      rows[a].row.classList.toggle("on", on);
      fill.style.width = `${Number.isNaN(p) ? 0 : 100 * p}%`;
      const text = Number.isNaN(p) ? "–" : face.r && r !== NONE ? ((5 * r) / FULL).toFixed(1) : p.toFixed(2);
      value.textContent = text;
      rows[a].value.textContent = Number.isNaN(p) ? "–" : p.toFixed(2);
    });
    why();
    drawBoxes();
  };
  const seek = (time, tellFilm = true) => {
    place = Math.min(Math.max(time, first), Math.max(first, end - 1e-3));
    at = binAt(place);
    if (tellFilm && video && video.readyState > 0) {
      video.currentTime = Math.min(Math.max(0, place - data.offset + 1e-3), video.duration || 1e9);
    } else if (tellFilm && video) {
      video.addEventListener("loadedmetadata", () => { video.currentTime = Math.max(0, place - data.offset); }, { once: true });
    }
    if (place < from || place > to) {
      const span = to - from;
      from = Math.min(Math.max(first, place - span / 2), end - span);
      to = from + span;
      drawAll();
    } else show();
  };
  const zoom = (factor) => {
    const least = Math.min(end - first, Math.max((20 * (end - first)) / data.frames, 1e-6));
    const span = Math.min(end - first, Math.max(least, (to - from) * factor));
    from = Math.min(Math.max(first, place - span / 2), end - span);
    to = from + span;
    drawAll();
  };

  // ---- hands and keys
  const lane = () => $("ruler").querySelector("canvas").getBoundingClientRect();
  const pointed = (event) => {
    const box = lane();
    return from + ((to - from) * Math.min(Math.max(event.clientX - box.left, 0), box.width)) / box.width;
  };
  let dragging = false;
  $("time").addEventListener("pointerdown", (event) => {
    const box = lane();
    if (event.clientX < box.left - 4 || event.clientX > box.right + 4 || event.button) return;
    dragging = true;
    seek(pointed(event));
  });
  window.addEventListener("pointermove", (event) => { if (dragging) seek(pointed(event)); });
  for (const name of ["pointerup", "pointercancel"]) window.addEventListener(name, () => { dragging = false; });
  $("time").addEventListener("keydown", (event) => {
    const tenth = (to - from) / 10;
    const actions = {
      ArrowLeft: () => seek(start[Math.max(0, at - 1)]),
      ArrowRight: () => seek(start[Math.min(count - 1, at + 1)]),
      ArrowUp: () => seek(place + tenth / 10), ArrowDown: () => seek(place - tenth / 10),
      PageUp: () => seek(place - tenth), PageDown: () => seek(place + tenth),
      Home: () => seek(first), End: () => seek(end),
      "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), "0": () => zoom(1e9),
      " ": () => { if (video) { if (video.paused) video.play(); else video.pause(); } },
    };
    const action = actions[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    action();
  });
  $("in").addEventListener("click", () => zoom(0.5));
  $("out").addEventListener("click", () => zoom(2));
  $("whole").addEventListener("click", () => zoom(1e9));
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-seek]");
    if (!button) return;
    seek(Number(button.dataset.seek));
    (screen || $("lines")).scrollIntoView({ block: "nearest" });
  });
  $("seen").addEventListener("change", () => {
    for (const row of rows) {
      const some = face.occurs[row.a];
      row.row.hidden = bars[row.a].bar.hidden = $("seen").checked && !some;
    }
    drawAll();
  });
  const choose = (n) => {
    face = data.faces[n];
    document.querySelectorAll("[data-face]").forEach((part) => { part.hidden = Number(part.dataset.face) !== n; });
    $("seen").dispatchEvent(new Event("change"));
  };
  if (data.faces.length > 1) {
    $("pick").hidden = false;
    data.faces.forEach((other, n) => {
      const option = element("option", "", `${other.id} (${other.frames} frames)`);
      option.value = n;
      $("face").append(option);
    });
    $("face").addEventListener("change", () => choose(Number($("face").value)));
  }
  $("boxes").addEventListener("change", drawBoxes);
  if (video) {
    $("draw").hidden = !data.size || !data.faces.some((f) => f.box);
    const follow = () => { if (!dragging) seek(video.currentTime + data.offset, false); };
    const tick = () => { follow(); if (!video.paused) requestAnimationFrame(tick); };
    video.addEventListener("play", tick);
    const moved = () => Math.abs(video.currentTime + data.offset - place) > 0.02;  // by the film's own controls
    for (const name of ["seeked", "timeupdate"]) {
      video.addEventListener(name, () => { if (!video.paused || moved()) follow(); else drawBoxes(); });
    }
    video.addEventListener("loadedmetadata", () => {
      drawBoxes();
      $("short").hidden = !(data.timed && video.duration + data.offset < end - 1);
    });
    video.addEventListener("error", () => { $("unplayable").hidden = false; });
  }
  let waiting = 0;
  window.addEventListener("resize", () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(drawAll); });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  window.addEventListener("beforeprint", () => { document.documentElement.classList.add("print"); drawAll(); });
  window.addEventListener("afterprint", () => { document.documentElement.classList.remove("print"); drawAll(); });
  $("lines").hidden = false;
  $("seen").checked = data.aus.length > 20;
  choose(0);
})();
