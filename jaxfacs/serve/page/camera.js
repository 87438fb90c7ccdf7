// The camera, and why there is none.

const REASONS = {
  NotAllowedError: "The browser was not allowed to use the camera. Allow it at the camera sign beside the address, then try again.",
  SecurityError: "The browser does not allow the camera on this page.",
  NotFoundError: "No camera was found. Plug one in, then try again; or choose a film.",
  OverconstrainedError: "That camera is gone. Choose another one.",
  NotReadableError: "Another program is using the camera. Close it, then try again.",
  AbortError: "The camera could not be started. Try again.",
};

/** Opens a camera; throws an Error whose message says what to do. */
export async function openCamera(deviceId = "") {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error("Browsers give the camera only to pages that come over https, or from this very computer (localhost). Ask whoever runs the server for an https address.");
  }
  const video = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };
  if (deviceId) video.deviceId = { exact: deviceId };
  else video.facingMode = "user";
  try {
    return await navigator.mediaDevices.getUserMedia({ video, audio: false });
  } catch (error) {
    throw new Error(REASONS[error.name] ?? `The camera could not be started (${error.name}).`);
  }
}

export function closeCamera(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

/** Calls back once when the camera is unplugged or taken away. */
export function whenLost(stream, callback) {
  for (const track of stream.getVideoTracks()) track.addEventListener("ended", callback, { once: true });
}

/** [{id, label}] of the cameras; labels are known once one was opened. */
export async function cameras() {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  return devices
    .filter((device) => device.kind === "videoinput")
    .map((device, i) => ({ id: device.deviceId, label: device.label || `Camera ${i + 1}` }));
}

/** Whether the picture should be shown as in a mirror: yes, unless the camera looks away. */
export function isMirrored(stream) {
  return stream.getVideoTracks()[0]?.getSettings().facingMode !== "environment";
}

/** Records a stream; `stop()` resolves a File. */
export function record(stream) {
  if (!window.MediaRecorder) throw new Error("This browser cannot record films. Use Live, or choose a film.");
  const types = ["video/webm;codecs=vp8", "video/webm", "video/mp4"];
  const mimeType = types.find((type) => MediaRecorder.isTypeSupported(type));
  const recorder = new MediaRecorder(stream, { mimeType, videoBitsPerSecond: 2_500_000 });
  const parts = [];
  recorder.addEventListener("dataavailable", (event) => event.data.size && parts.push(event.data));
  const done = new Promise((resolve) => recorder.addEventListener("stop", resolve, { once: true }));
  recorder.start(1000);
  return {
    async stop() {
      if (recorder.state !== "inactive") recorder.stop();
      await done;
      const type = (recorder.mimeType || "video/webm").split(";")[0];
      return new File(parts, type === "video/mp4" ? "recording.mp4" : "recording.webm", { type });
    },
  };
}
