// A film's clock: of a <video>, or of a film that this browser cannot show.

const next = (video, callback) =>
  video.requestVideoFrameCallback
    ? video.requestVideoFrameCallback((_, shown) => callback(shown.mediaTime))
    : requestAnimationFrame(() => callback(video.currentTime));

/** Plays a <video>. `ontime(seconds)` is called for every picture that is shown, and on seeking. */
export class VideoPlayer {
  constructor(video, duration, ontime, onplaying) {
    this.video = video;
    this.duration = duration;
    this.shows = true;
    this.ended = new AbortController();
    const { signal } = this.ended;
    const listen = (name, listener) => video.addEventListener(name, listener, { signal });
    const onframe = (time) => {
      if (signal.aborted) return;
      // A picture that was on its way when somebody sought elsewhere says nothing new.
      if (!video.seeking) ontime(video.paused ? video.currentTime : time);
      next(video, onframe);
    };
    next(video, onframe);
    listen("seeking", () => ontime(video.currentTime));
    listen("seeked", () => ontime(video.currentTime));
    for (const name of ["play", "pause", "ended"]) listen(name, () => onplaying(!video.paused && !video.ended));
  }
  get time() { return this.video.currentTime; }
  get playing() { return !this.video.paused && !this.video.ended; }
  play() { return this.video.play().catch(() => undefined); }
  pause() { this.video.pause(); }
  set speed(value) { this.video.playbackRate = value; }
  seek(time) { this.video.currentTime = Math.min(Math.max(0, time), this.duration); }
  close() {
    this.ended.abort();
    this.video.pause();
  }
}

/** Keeps time alone, for films whose pictures the browser cannot show. */
export class ClockPlayer {
  constructor(duration, ontime, onplaying) {
    Object.assign(this, { duration, ontime, onplaying, time: 0, playing: false, speed: 1, shows: false });
  }
  play() {
    if (this.playing) return;
    if (this.time >= this.duration) this.time = 0;
    this.playing = true;
    this.onplaying(true);
    let last = performance.now();
    const tick = (now) => {
      if (!this.playing) return;
      this.time = Math.min(this.duration, this.time + (this.speed * (now - last)) / 1000);
      last = now;
      this.ontime(this.time);
      if (this.time >= this.duration) this.pause();
      else requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }
  pause() {
    this.playing = false;
    this.onplaying(false);
  }
  seek(time) {
    this.time = Math.min(Math.max(0, time), this.duration);
    this.ontime(this.time);
  }
  close() { this.playing = false; }
}

/**
 * Loads a film into a <video>: resolves whether this browser shows it.
 *
 * A film of MediaRecorder does not know how long it is until it has been read to its end.
 */
export function loads(video, source, signal) {
  return new Promise((resolve) => {
    const finish = (shown) => {
      watching.abort();
      resolve(shown);
    };
    const watching = new AbortController();
    const options = { signal: watching.signal };
    signal.addEventListener("abort", () => finish(false), options);
    video.addEventListener("error", () => finish(false), options);
    video.addEventListener("loadeddata", () => {
      if (!video.videoWidth) return finish(false); // sound alone, or a codec it does not know
      if (Number.isFinite(video.duration)) return finish(true);
      video.addEventListener("seeked", () => {
        video.addEventListener("seeked", () => finish(true), { once: true, signal: watching.signal });
        video.currentTime = 0;
      }, { once: true, signal: watching.signal });
      video.currentTime = 1e6;
    }, { once: true, signal: watching.signal });
    setTimeout(() => finish(video.readyState >= 2 && video.videoWidth > 0), 8000);
    video.src = source;
    video.load();
  });
}
