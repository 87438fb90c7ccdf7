"""A hand made of capsules: palm, five fingers of three bones, a forearm, skin and nails.

Drawn from the front as a height field: of all capsules over a pixel the nearest one counts, its
roundness gives the normal, so that fingers are shaded like fingers and cast dark lines between.
"""

import cv2
import numpy as np

from jaxfacs.synthface.things import Sprite, Thing, texture

POSES = ("flat", "spread", "fist", "point", "relaxed", "victory")
_POSE_SHARE = np.array([0.34, 0.12, 0.16, 0.1, 0.22, 0.06])

# (x, y of the knuckle, length of the three bones, radius), cm; the wrist is at (0, 0), y is up.
_FINGERS = (
    (3.1, 8.9, (4.0, 2.4, 1.9), 0.88),
    (1.05, 9.5, (4.5, 2.8, 2.0), 0.92),
    (-1.0, 9.2, (4.2, 2.6, 2.0), 0.86),
    (-2.9, 8.2, (3.3, 2.0, 1.7), 0.74),
)
_REACH = 21.0  # cm that the sprite shows above and beside the wrist


def hand(thing: Thing, pixels_per_cm: float, skin_rgb: np.ndarray) -> Sprite:
    """The hand of `thing`, palm or back to the camera, with `skin_rgb` as its own or another's."""
    rng = np.random.default_rng(thing.seed)
    scale = pixels_per_cm * thing.scale
    pose = str(rng.choice(POSES, p=_POSE_SHARE))
    mirrored, palm = rng.random() < 0.5, rng.random() < 0.35
    bones, nails = _bones(rng, pose)
    sleeve = rng.uniform(2.5, 9.0)
    bones.append(((0.0, 1.0), (rng.normal(0, 2.5), -24.0), 2.7, 3.5, -0.5))
    side = 2 * _REACH
    height, width = round((_REACH + 24) * scale), round(side * scale)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = (x + 0.5) / scale - _REACH, _REACH - (y + 0.5) / scale
    if mirrored:
        x = -x
    top = np.full(x.shape, -1e3, np.float32)
    normal = np.zeros((*x.shape, 3), np.float32)
    cover = np.zeros(x.shape, np.float32)
    for start, end, r0, r1, lift in bones:
        _capsule(x, y, start, end, r0, r1, lift, scale, top, normal, cover)
    # Flesh: no edges where one bone ends and the next begins.
    normal = cv2.GaussianBlur(normal, (0, 0), max(0.22 * scale, 0.5))
    normal /= np.maximum(np.linalg.norm(normal, axis=2, keepdims=True), 1e-3)
    if mirrored:
        normal[..., 0] *= -1
    noise = rng.standard_normal((12, 12)).astype(np.float32)
    mottled = cv2.resize(noise, x.shape[::-1], interpolation=cv2.INTER_CUBIC)
    own = np.asarray(skin_rgb, np.float32)
    if rng.random() < 0.2:  # somebody else's hand
        own = np.array([0.62, 0.43, 0.33], np.float32) ** np.float32(rng.uniform(0.7, 2.2))
    if palm:  # palms have little pigment and much blood
        own = own + (np.array([0.62, 0.40, 0.32], np.float32) - own) * np.float32(0.45)
    albedo = own * (1 + 0.07 * mottled)[..., None]
    # Where the surface falls away it is darker: fingers lie close together and shade each other.
    albedo *= (0.45 + 0.55 * normal[..., 2:3]) if palm else (0.5 + 0.5 * normal[..., 2:3])
    if not palm:
        for cx, cy, ax, ay, r in nails:
            along = (x - cx) * ax + (y - cy) * ay
            across = (x - cx) * ay - (y - cy) * ax
            nail = np.clip(
                1.5 - (along / r / 1.1) ** 2 * 1.5 - (across / r / 0.75) ** 2 * 1.5, 0, 1
            )
            paint = np.minimum(own * 1.1 + np.array([0.1, 0.05, 0.05], np.float32), 0.85)
            albedo += nail[..., None] * (paint - albedo)
    if rng.random() < 0.6:
        cloth = (y < -sleeve) & (cover > 0)
        albedo[cloth] = texture(rng, *x.shape)[cloth]
    at = (float(rng.normal(0, 1.5)), float(rng.uniform(4.0, 15.0)))
    if pose == "fist":
        at = (at[0], 9.5)
    column = (_REACH + (-at[0] if mirrored else at[0])) * scale
    return Sprite(albedo, normal, cover, (column, (_REACH - at[1]) * scale))


def _bones(rng: np.random.Generator, pose: str):
    """Capsules (start, end, radius, radius, lift) and nails (x, y, direction, radius)."""
    bones, nails = [], []
    for x in (2.4, 0.8, -0.8, -2.2):  # the palm
        knuckle = 1.33 * x
        bones.append(((x * 0.6, 1.2), (knuckle * 0.98, 8.3 - 0.05 * x * x), 1.7, 1.25, 0.2))
    spread = {"spread": 0.2, "victory": 0.12, "flat": 0.04}.get(pose, 0.07) * rng.uniform(0.6, 1.4)
    for k, (x, y, lengths, radius) in enumerate(_FINGERS):
        folded = {"fist": 1.0, "point": float(k != 0), "victory": float(k > 1)}.get(pose, 0.0)
        curl = folded or {"flat": 0.05, "spread": 0.08}.get(pose, 0.3) * rng.uniform(0, 1.6)
        angle = (1.5 - k) * spread * 1.1 + rng.normal(0, 0.03)
        at, lift, bend = np.array([x, y]), 0.3, 0.0
        for j, length in enumerate(lengths):
            bend += curl * (1.45 if j else 1.2) * (0.9 if folded else 0.8)
            seen = np.cos(bend)
            step = np.array([np.sin(angle), np.cos(angle)]) * length * seen
            rises = lift + max(0.0, np.sin(min(bend, np.pi))) * length * 0.5
            end = at + step
            r0, r1 = radius * (1 - 0.1 * j), radius * (1 - 0.1 * (j + 1))
            bones.append((tuple(at), tuple(end), r0, r1, rises))
            at, lift = end, rises
        if bend < 1.0:
            ahead = np.array([np.sin(angle), np.cos(angle)])
            nails.append((*(at - 0.15 * radius * ahead), *ahead, radius * 0.62))
    out = rng.uniform(0.25, 0.95) * (0.3 if pose == "fist" else 1.0)
    at = np.array([2.6, 3.2])
    for length, turn, radius in ((3.8, 0.0, 1.15), (2.9, -0.12, 0.98)):
        end = at + np.array([np.sin(out + turn), np.cos(out + turn)]) * length
        bones.append((tuple(at), tuple(end), radius, radius * 0.88, 0.7))
        at = end
    nails.append((*at, np.sin(out), np.cos(out), 0.62))
    return bones, nails


def _capsule(x, y, start, end, r0, r1, lift, scale, top, normal, cover) -> None:
    """Adds one capsule to the height field, in place, looking only where it can be."""
    rows = np.flatnonzero(_near(y[:, 0], start[1], end[1], max(r0, r1) + 1.5 / scale))
    columns = np.flatnonzero(_near(x[0], start[0], end[0], max(r0, r1) + 1.5 / scale))
    if not len(rows) or not len(columns):
        return
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    dx, dy = end[0] - start[0], end[1] - start[1]
    px, py = x[part] - start[0], y[part] - start[1]
    t = np.clip((px * dx + py * dy) / max(dx * dx + dy * dy, 1e-6), 0, 1)
    radius = r0 + (r1 - r0) * t
    px, py = px - t * dx, py - t * dy
    off = np.sqrt(px * px + py * py)
    inside = np.clip((radius - off) * scale + 0.5, 0, 1)
    height = np.sqrt(np.maximum(radius**2 - off**2, 0)) + lift
    over = (inside > 0.3) & (height > top[part])
    top[part][over] = height[over]
    share = np.minimum(off / radius, 0.98) / np.maximum(off, 1e-6)
    bent = np.stack([px * share, py * share], axis=-1)
    bent = np.concatenate([bent, np.sqrt(1 - (bent**2).sum(axis=-1, keepdims=True))], axis=-1)
    normal[part][over] = bent[over]
    np.maximum(cover[part], inside, out=cover[part])


def _near(at: np.ndarray, one: float, other: float, reach: float) -> np.ndarray:
    return (at > min(one, other) - reach) & (at < max(one, other) + reach)
