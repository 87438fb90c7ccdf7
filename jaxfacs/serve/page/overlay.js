// Boxes and active regions over the picture.

const FACES = ["#7ee0a0", "#ffd166", "#8ab4ff", "#f49ac2", "#7fe3e0", "#ffab73"];
const REGIONS = { upper: "96, 165, 255", lower: "255, 140, 80" };
const OTHER = "235, 235, 235";

/** The colour of a face: stays with its id. */
export const faceColour = (id) => FACES[((id % FACES.length) + FACES.length) % FACES.length];

/** Where a picture of width × height lies in a canvas that shows all of it: x, y, scale. */
function fitted(canvas, width, height) {
  const scale = Math.min(canvas.width / width, canvas.height / height);
  return { x: (canvas.width - width * scale) / 2, y: (canvas.height - height * scale) / 2, scale };
}

/** Makes the canvas as fine as the screen; true if there is anything to draw on. */
function resize(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * ratio);
  const height = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  return width > 0 && height > 0;
}

/**
 * Draws the faces of one frame.
 *
 * @param canvas lies over the picture and has its shape
 * @param frame {faces}, boxes in pixels of a picture of `width` × `height`; null clears
 * @param how {aus, width, height, selected, boxes, regions, mirrored, grey}
 */
export function drawOverlay(canvas, frame, how) {
  const context = canvas.getContext("2d");
  if (!resize(canvas)) return;
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (!how.width || !how.height) return;
  const place = fitted(canvas, how.width, how.height);
  if (how.grey) {
    context.fillStyle = "#3a3f45";
    context.fillRect(place.x, place.y, how.width * place.scale, how.height * place.scale);
  }
  const ratio = window.devicePixelRatio || 1;
  for (const face of frame?.faces ?? []) {
    const [bx, by, bw, bh] = face.box;
    const left = how.mirrored ? how.width - bx - bw : bx;
    const box = {
      x: place.x + left * place.scale,
      y: place.y + by * place.scale,
      w: bw * place.scale,
      h: bh * place.scale,
    };
    if (how.regions) drawRegions(context, box, face, how);
    if (how.boxes) drawBox(context, box, face, ratio, face.id === how.selected);
  }
}

function drawRegions(context, box, face, how) {
  how.aus.forEach((au, i) => {
    if (!face.c[i]) return;
    const colour = REGIONS[au.region] ?? OTHER;
    const strength = (0.28 + 0.1 * Math.min(5, face.r[i])) * (face.unsure ? 0.4 : 1);
    for (const [cx, cy, rx, ry] of au.ellipses) {
      const x = box.x + (how.mirrored ? 1 - cx : cx) * box.w;
      const y = box.y + cy * box.h;
      // A unit circle, stretched: canvas has no elliptic gradients.
      context.save();
      context.translate(x, y);
      context.scale(Math.max(1, rx * box.w * 1.25), Math.max(1, ry * box.h * 1.25));
      const fade = context.createRadialGradient(0, 0, 0.2, 0, 0, 1);
      fade.addColorStop(0, `rgba(${colour}, ${strength})`);
      fade.addColorStop(0.7, `rgba(${colour}, ${strength * 0.6})`);
      fade.addColorStop(1, `rgba(${colour}, 0)`);
      context.fillStyle = fade;
      context.beginPath();
      context.arc(0, 0, 1, 0, 2 * Math.PI);
      context.fill();
      context.restore();
    }
  });
}

function drawBox(context, box, face, ratio, selected) {
  const colour = faceColour(face.id);
  context.lineWidth = (selected ? 2.5 : 1.5) * ratio;
  context.strokeStyle = colour;
  // At most 0.5: the detector missed the face, and its last place is used.
  context.setLineDash(face.confidence > 0.5 && !face.unsure ? [] : [6 * ratio, 5 * ratio]);
  context.beginPath();
  context.roundRect(box.x, box.y, box.w, box.h, 8 * ratio);
  context.stroke();
  context.setLineDash([]);
  const size = 12 * ratio;
  context.font = `600 ${size}px system-ui, sans-serif`;
  const label = face.unsure ? `Face ${face.id}, unsure` : `Face ${face.id}`;
  const width = context.measureText(label).width + 12 * ratio;
  const height = size + 8 * ratio;
  const above = box.y - height - 3 * ratio;
  const y = above >= 0 ? above : box.y + 4 * ratio;
  const x = above >= 0 ? box.x : box.x + 4 * ratio;
  context.fillStyle = colour;
  context.beginPath();
  context.roundRect(x, y, width, height, 5 * ratio);
  context.fill();
  context.fillStyle = "#101315";
  context.textBaseline = "middle";
  context.fillText(label, x + 6 * ratio, y + height / 2 + 0.5 * ratio);
}
