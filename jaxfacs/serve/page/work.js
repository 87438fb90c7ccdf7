// The view of a film or a live session: picture, panel and timeline, all of one moment.

import { $, clock, setText } from "./dom.js";
import { drawOverlay } from "./overlay.js";
import { Announcer, Bars, EmotionCard, FaceChoice, TopNow, rankedNow, showMoments, showTopClip } from "./panel.js";
import { clipReasons, clipSummary, faceIds, faceOf, likeliest, strongest } from "./reading.js";
import { Timeline } from "./timeline.js";

const ONE_FACE = -1;

export class Workspace {
  /**
   * @param reading see reading.js
   * @param how {width(), height(), mirrored, grey, onseek}; no onseek: live
   */
  constructor(reading, how) {
    Object.assign(this, { reading, how });
    this.face = ONE_FACE;
    this.frame = null;
    this.clipName = how.onseek ? "The whole film" : "The last 30 seconds";
    this.bars = new Bars($("bars"), reading.aus);
    this.top = new TopNow($("top-now"));
    this.emotion = new EmotionCard($("emotion-now"), reading);
    this.clipEmotion = new EmotionCard($("emotion-clip"), reading);
    this.faces = new FaceChoice($("faces"), (id) => this.choose(id));
    this.timeline = new Timeline($("timeline"), reading, how.onseek);
    this.announcer = new Announcer();
    this.gone = new AbortController();
    const { signal } = this.gone;
    for (const id of ["show-boxes", "show-regions"]) {
      $(id).addEventListener("click", () => {
        $(id).setAttribute("aria-pressed", String($(id).getAttribute("aria-pressed") !== "true"));
        this.draw();
      }, { signal });
    }
    this.watcher = new ResizeObserver(() => this.draw());
    this.watcher.observe($("stage"));
    const names = reading.emotions.length > 0;
    $("emotion-card").hidden = $("clip-emotion-card").hidden = !names;
    setText($("clip-title"), `${this.clipName}: top five`);
    setText($("clip-emotion-title"), `${this.clipName} ${how.onseek ? "reads" : "read"} as`);
    $("work").hidden = false;
    this.refresh();
  }

  close() {
    this.gone.abort();
    this.watcher.disconnect();
    this.timeline.close();
    drawOverlay($("overlay"), null, { width: 0, height: 0 });
    $("work").hidden = true;
  }

  /** The chosen face, or the one seen most if that is nobody. */
  choose(id) {
    this.face = id;
    this.refresh();
    this.show(this.frame);
  }

  /** What depends on all frames: the choice of faces, timeline, summary. */
  refresh() {
    const ids = faceIds(this.reading);
    if (!ids.includes(this.face)) this.face = ids[0] ?? ONE_FACE;
    this.faces.show([...ids].sort((a, b) => a - b), this.face);
    this.timeline.show(this.face);
    this.summarise();
  }

  summarise() {
    const summary = clipSummary(this.reading, this.face);
    showTopClip($("top-clip"), summary, this.how.onseek);
    const ranked = summary.frames ? summary.emotions.map((row) => ({ name: row.name, share: row.mean })) : [];
    const why = ranked.length ? clipReasons(this.reading, this.face, ranked[0].name) : null;
    const reasons = why ?? (this.#anyReasons() ? { for: [], against: [], unjudged: [] } : null);
    this.clipEmotion.show(ranked, reasons, "No face was found.");
    const reasonsOf = (name) => clipReasons(this.reading, this.face, name);
    showMoments($("moments"), summary.emotions, reasonsOf, this.how.onseek);
  }

  #anyReasons() {
    return this.reading.frames.some((frame) => frame.faces.some((face) => face.why));
  }

  /** Shows a frame's faces: over the picture, as bars, as an emotion. */
  show(frame, { settle = true } = {}) {
    this.frame = frame;
    const face = faceOf(frame, this.face);
    this.bars.show(face);
    const absent = frame?.faces.length ? `Face ${this.face} is not in this frame.` : "No face in this frame.";
    this.top.show(this.reading, face, { settle, absent });
    this.emotion.show(rankedNow(this.reading, face), face?.why ?? null, absent);
    this.draw();
  }

  /** The moment of a film; `frame` is what is on the screen then. */
  at(time, frame, { settle = true } = {}) {
    this.timeline.at(time, { quiet: !settle });
    if (frame !== this.frame || settle) this.show(frame, { settle });
  }

  /** A sentence for those who do not see the bars. */
  describe() {
    const face = faceOf(this.frame, this.face);
    if (!face) return "No face.";
    const top = likeliest(face);
    const present = strongest(this.reading, face, 3).filter((row) => row.present).map((row) => row.au.name || `AU ${row.au.label}`);
    return `${top >= 0 ? `${this.reading.emotions[top]}: ` : ""}${present.join(", ") || "nothing moves"}.`;
  }

  draw() {
    const pressed = (id) => $(id).getAttribute("aria-pressed") === "true";
    drawOverlay($("overlay"), this.frame, {
      aus: this.reading.aus,
      width: this.how.width(),
      height: this.how.height(),
      selected: this.face,
      boxes: pressed("show-boxes"),
      regions: pressed("show-regions"),
      mirrored: this.how.mirrored,
      grey: this.how.grey,
    });
  }
}

/** The picture's shape decides the stage's; very tall or wide ones are framed. */
export function shapeStage(width, height) {
  const shape = width && height ? Math.min(2, Math.max(0.8, width / height)) : 4 / 3;
  $("stage").style.aspectRatio = String(shape);
}

export const showClock = (time, duration, frame) =>
  setText($("clock"), `${clock(time)} / ${clock(duration)}${frame ? ` · frame ${frame.frame}` : ""}`);
