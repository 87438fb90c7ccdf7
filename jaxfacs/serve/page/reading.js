// What was read of a film or a live session, and what is worth saying of it. No page in here.

/** The frames of a film from the server's results, or an empty reading that live frames fill. */
export function makeReading(model, results = null) {
  const known = new Map(model.aus.map((au) => [au.label, au]));
  const aus = results?.aus ?? model.aus.map((au) => au.label);
  return {
    aus: aus.map((au) => {
      const label = typeof au === "string" ? au : au.label;
      return known.get(label) ?? { label, name: "", region: "", ellipses: [] };
    }),
    emotions: results?.emotions ?? model.emotions,
    frames: results?.frames ?? [],
    // The last frame lasts, too.
    duration: (results?.frames.at(-1)?.timestamp ?? 0) + 1 / (results?.fps || 25),
    fps: results?.fps || 25,
    warnings: results?.warnings ?? [],
    width: results?.width ?? 0,
    height: results?.height ?? 0,
  };
}

/** The index of the frame that is on the screen at `time`: the last that began; -1 if none. */
export function frameAt(reading, time) {
  const { frames } = reading;
  if (!frames.length) return -1;
  let low = 0;
  let high = frames.length - 1;
  const until = time + 0.002; // players round times
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (frames[middle].timestamp <= until) low = middle;
    else high = middle - 1;
  }
  return low;
}

export const faceOf = (frame, id) => frame?.faces.find((face) => face.id === id) ?? null;

/** The ids of all faces, the one seen in most frames first. */
export function faceIds(reading) {
  const seen = new Map();
  for (const frame of reading.frames) {
    for (const face of frame.faces) seen.set(face.id, (seen.get(face.id) ?? 0) + 1);
  }
  return [...seen.keys()].sort((a, b) => seen.get(b) - seen.get(a) || a - b);
}

/** A face's AUs, strongest first: those present, then the nearest to it. */
export function strongest(reading, face, count = 5) {
  return reading.aus
    .map((au, i) => ({ au, index: i, present: Boolean(face.c[i]), intensity: face.r[i], probability: face.p[i] }))
    .sort((a, b) => b.present - a.present || b.intensity - a.intensity || b.probability - a.probability)
    .slice(0, count);
}

/** The index of a face's likeliest emotion; -1 if the model names none. */
export function likeliest(face) {
  if (!face?.emotions?.length) return -1;
  return face.emotions.reduce((best, value, i) => (value > face.emotions[best] ? i : best), 0);
}

const LEAD = 0.05;

/** Whether one emotion is ahead of all others by enough to be named. */
export function isClear(shares) {
  const [first, second = 0] = [...shares].sort((a, b) => b - a);
  return first - second >= LEAD;
}

/** One face over all frames: how often and how strongly each AU, and each emotion, was seen. */
export function clipSummary(reading, id) {
  const aus = reading.aus.map((au, index) => ({ au, index, share: 0, intensity: 0, peak: -1, peakTime: 0 }));
  const emotions = reading.emotions.map((name, index) => ({ name, index, mean: 0, shareTop: 0, peak: -1, peakTime: 0 }));
  let count = 0;
  for (const frame of reading.frames) {
    const face = faceOf(frame, id);
    if (!face) continue;
    count += 1;
    for (const row of aus) {
      row.share += face.c[row.index];
      if (face.c[row.index]) row.intensity += face.r[row.index];
      if (face.r[row.index] > row.peak) {
        row.peak = face.r[row.index];
        row.peakTime = frame.timestamp;
      }
    }
    for (const row of emotions) {
      row.mean += face.emotions[row.index];
      if (face.emotions[row.index] > row.peak) {
        row.peak = face.emotions[row.index];
        row.peakTime = frame.timestamp;
      }
    }
    const top = likeliest(face);
    if (top >= 0) emotions[top].shareTop += 1;
  }
  for (const row of aus) {
    row.intensity /= row.share || 1; // where it is present
    row.share /= count || 1;
  }
  for (const row of emotions) {
    row.mean /= count || 1;
    row.shareTop /= count || 1;
  }
  aus.sort((a, b) => b.share * b.intensity - a.share * a.intensity || a.index - b.index);
  emotions.sort((a, b) => b.mean - a.mean || a.index - b.index);
  return { frames: count, aus, emotions };
}

/** The reasons of one emotion, averaged over the frames in which it was named. */
export function clipReasons(reading, id, emotion) {
  const sums = { for: new Map(), against: new Map() };
  const unjudged = new Set();
  let count = 0;
  for (const frame of reading.frames) {
    const why = faceOf(frame, id)?.why;
    if (why?.emotion !== emotion) continue;
    count += 1;
    for (const side of ["for", "against"]) {
      for (const [label, weight] of why[side]) {
        sums[side].set(label, (sums[side].get(label) ?? 0) + Math.abs(weight));
      }
    }
    for (const label of why.unjudged) unjudged.add(label);
  }
  if (!count) return null;
  const side = (name) =>
    [...sums[name]]
      .map(([label, sum]) => [label, sum / count])
      .sort((a, b) => b[1] - a[1])
      .slice(0, 6);
  return { emotion, frames: count, for: side("for"), against: side("against"), unjudged: [...unjudged] };
}
