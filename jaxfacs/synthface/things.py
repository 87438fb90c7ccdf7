"""What comes between a face and the camera: hands, cups, telephones, masks, other people's heads.

A thing is drawn once a clip as a small picture with transparency and then moved over the frames:
nobody can tell at the size of a crop, and a frame costs a third of a millisecond. Lengths are in
real centimetres; x runs to the right in the picture and y down.
"""

from dataclasses import dataclass

import cv2
import numpy as np

KINDS = ("hand", "mug", "phone", "microphone", "paper", "blob", "head", "mask", "scarf")
_SHARE = np.array([0.55, 0.08, 0.06, 0.09, 0.03, 0.05, 0.05, 0.06, 0.03])

# What a thing is held to: landmarks whose mean is the place.
TARGETS = {
    "mouth": tuple(range(48, 68)),
    "chin": (7, 8, 9),
    "cheek right": (2, 31, 48),
    "cheek left": (14, 35, 54),
    "eye right": tuple(range(36, 42)),
    "eye left": tuple(range(42, 48)),
    "eyes": tuple(range(36, 48)),
    "nose": (30, 33),
    "forehead": (19, 24, 27),
    "jaw right": (4, 5),
    "jaw left": (11, 12),
    "ear right": (0, 1),
    "ear left": (15, 16),
}
_LIKELY = np.array([0.2, 0.14, 0.09, 0.09, 0.06, 0.06, 0.05, 0.05, 0.06, 0.06, 0.06, 0.04, 0.04])

# Where each kind is held when it is not a hand, which goes anywhere.
_HELD = {
    "mug": ("mouth", "chin"),
    "phone": ("ear right", "ear left", "nose", "mouth"),
    "microphone": ("mouth", "chin", "jaw right", "jaw left"),
    "paper": ("mouth", "chin", "jaw left"),
    "head": ("jaw right", "jaw left", "chin"),
}


@dataclass(frozen=True)
class Thing:
    """One thing before the face.

    Attributes:
      kind: one of KINDS; seed: of its own shape and colours.
      target: one of TARGETS; aside_2: how far from there, cm.
      turn: degrees; scale: factor on its size.
      follows: moves along with the face; otherwise it keeps its place in the picture.
      sway_2: cm, how far it moves to and fro; swing: how often in 25 frames; phase.
      leaves: cm a frame that it moves away by, downwards (0: it stays).
      defocus: σ of its blur, cm.
    """

    kind: str
    seed: int
    target: str
    aside_2: tuple[float, float]
    turn: float
    scale: float
    follows: bool
    sway_2: tuple[float, float]
    swing: float
    phase: float
    leaves: float
    defocus: float


def sample_things(rng: np.random.Generator) -> tuple[Thing, ...]:
    """None in nine of ten scenes, else one, seldom two."""
    drawn = [_thing(rng) for _ in range(2)]
    many = int(np.searchsorted((0.895, 0.99), rng.random()))
    return tuple(drawn[:many])


def _thing(rng: np.random.Generator) -> Thing:
    kind = str(rng.choice(KINDS, p=_SHARE))
    target = str(rng.choice(list(TARGETS), p=_LIKELY))
    other = int(rng.integers(1 << 20))
    if kind in _HELD:
        target = _HELD[kind][other % len(_HELD[kind])]
    near = rng.normal(0, 1.3, 2)
    turn = float(rng.normal(0, 55 if kind in ("hand", "blob") else 12))
    leaves = float(rng.uniform(0.2, 1.2) * (rng.random() < 0.2))
    sway = rng.uniform(0, 1.5, 2) * (rng.random() < 0.6)
    close = rng.random() < 0.12  # held out towards the camera: larger, and out of focus
    return Thing(
        kind=kind,
        seed=int(rng.integers(1 << 31)),
        target=target,
        aside_2=(float(near[0]), float(near[1])),
        turn=turn,
        scale=float(rng.uniform(0.85, 1.15)) * (float(rng.uniform(1.2, 1.7)) if close else 1.0),
        follows=bool(rng.random() < 0.75),
        sway_2=(float(sway[0]), float(sway[1])),
        swing=float(rng.uniform(0.2, 1.5)),
        phase=float(rng.uniform(0, 2 * np.pi)),
        leaves=leaves,
        defocus=float(rng.uniform(0.1, 0.5)) if close else 0.0,
    )


@dataclass(frozen=True, eq=False)
class Sprite:
    """albedo_HW3 linear reflectance, normal_HW3 (y up, z to the camera), cover_HW 0..1, with the
    point at `at_2` (pixels) lying on the target."""

    albedo_HW3: np.ndarray
    normal_HW3: np.ndarray
    cover_HW: np.ndarray
    at_2: tuple[float, float]


def sprite(thing: Thing, pixels_per_cm: float, skin_rgb: np.ndarray) -> Sprite:
    """Draws a thing that is neither a mask nor a scarf, upright; `skin_rgb` is linear."""
    if thing.kind == "hand":
        from jaxfacs.synthface import hands

        return hands.hand(thing, pixels_per_cm, skin_rgb)
    rng = np.random.default_rng(thing.seed)
    return _DRAWN[thing.kind](rng, pixels_per_cm * thing.scale)


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Linear reflectance of a made thing: plain, striped, checked, dotted or mottled, H×W×3."""
    first = (rng.uniform(0.02, 0.75) * rng.uniform(0.25, 1.0, 3)).astype(np.float32)
    second = (rng.uniform(0.02, 0.75) * rng.uniform(0.25, 1.0, 3)).astype(np.float32)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / max(height, width)
    turn, often = rng.uniform(0, np.pi), rng.uniform(3, 22)
    a, b = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    kind = rng.integers(5)
    noise = rng.standard_normal((10, 10)).astype(np.float32)
    cloud = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    if kind == 0:
        share = np.zeros_like(x)
    elif kind == 1:
        share = 0.5 + 0.5 * np.sin(2 * np.pi * often * a)
    elif kind == 2:
        share = (np.floor(a * often) + np.floor(b * often)) % 2
    elif kind == 3:
        share = np.clip(2 * np.cos(6.28 * often * a) * np.cos(6.28 * often * b) - 0.6, 0, 1)
    else:
        share = 1 / (1 + np.exp(-3 * cloud))
    image = first + (second - first) * share[..., None]
    return (image * (1 + 0.06 * cloud)[..., None]).astype(np.float32)


def _canvas(width_cm: float, height_cm: float, scale: float):
    width, height = max(4, round(width_cm * scale)), max(4, round(height_cm * scale))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    normal = np.zeros((height, width, 3), np.float32)
    normal[..., 2] = 1
    return (x + 0.5) / scale, (y + 0.5) / scale, normal, np.zeros((height, width), np.uint8)


def _made(albedo, normal, cover: np.ndarray, at_cm: tuple[float, float], scale: float) -> Sprite:
    at = (at_cm[0] * scale, at_cm[1] * scale)
    return Sprite(albedo.astype(np.float32), normal, cover / np.float32(255), at)


def _fill(cover: np.ndarray, outline_cm: np.ndarray, scale: float) -> None:
    cv2.fillPoly(cover, [np.round(outline_cm * scale * 16).astype(np.int32)], 255, 16, 4)


def _ring(centre, half_2, count: int = 32) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.asarray(centre) + np.c_[np.cos(angle), np.sin(angle)] * half_2


def _mug(rng, scale: float) -> Sprite:
    """A cylinder with a handle, or a paper cup or glass without one."""
    x, y, normal, cover = _canvas(14, 13, scale)
    half, tall = rng.uniform(3.4, 4.6), rng.uniform(8, 11)
    taper = rng.uniform(0, 0.22)
    left, right = 7 - half, 7 + half
    foot = (1 - taper) * half
    body = np.array([(left, 1), (right, 1), (7 + foot, 1 + tall), (7 - foot, 1 + tall)])
    if rng.random() < 0.6:
        side = right + 0.6 if rng.random() < 0.5 else left - 0.6
        ring = _ring((side, 1 + tall * 0.5), (1.9, tall * 0.3))
        cv2.polylines(cover, [np.round(ring * scale * 16).astype(np.int32)], True, 255,
                      max(1, round(1.0 * scale)), 16, 4)  # fmt: skip
    _fill(cover, body, scale)
    _fill(cover, _ring((7, 1), (half, 0.75)), scale)
    _fill(cover, _ring((7, 1 + tall), (half * (1 - taper), 0.75)), scale)
    normal[..., 0] = np.clip((x - 7) / half, -0.97, 0.97)
    normal[..., 2] = np.sqrt(1 - normal[..., 0] ** 2)
    albedo = texture(rng, *x.shape)
    rim = ((x - 7) / half) ** 2 + ((y - 1) / 0.75) ** 2 < 0.85
    albedo[rim] *= 0.35  # the dark inside
    return _made(albedo, normal, cover, (7, rng.uniform(0.5, 2.5)), scale)


def _phone(rng, scale: float) -> Sprite:
    x, y, normal, cover = _canvas(9, 17, scale)
    _fill(cover, np.array([(0.8, 0.8), (8.2, 0.8), (8.2, 16.2), (0.8, 16.2)]), scale)
    albedo = np.full((*x.shape, 3), rng.uniform(0.01, 0.12), np.float32)
    if rng.random() < 0.5:
        albedo[:] = texture(rng, *x.shape)
    camera = np.hypot(x - 2.6, y - 2.8) < 0.9
    albedo[camera] = 0.01
    return _made(albedo, normal, cover, (4.5, rng.uniform(2, 12)), scale)


def _microphone(rng, scale: float) -> Sprite:
    """A ball of wire on a handle, or a studio microphone of another width."""
    x, y, normal, cover = _canvas(8, 26, scale)
    radius = rng.uniform(1.7, 2.9)
    _fill(cover, np.array([(3.0, 3), (5.0, 3), (4.8, 26), (3.2, 26)]), scale)
    _fill(cover, _ring((4, 3), (radius, radius * rng.uniform(0.9, 1.5))), scale)
    head = np.hypot(x - 4, y - 3) < radius * 1.2
    across = np.where(head, (x - 4) / radius, (x - 4) / 1.05)
    normal[..., 0] = np.clip(across, -0.95, 0.95)
    normal[..., 1] = np.where(head, np.clip(-(y - 3) / radius, -0.6, 0.6), 0)
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    mesh = 0.6 + 0.4 * np.sin(x * 14) * np.sin(y * 14)
    albedo = np.where(head, rng.uniform(0.03, 0.4) * mesh, rng.uniform(0.01, 0.1))[..., None]
    albedo = np.broadcast_to(albedo, (*x.shape, 3)).astype(np.float32).copy()
    return _made(albedo, normal, cover, (4, rng.uniform(0.5, 3)), scale)


def _paper(rng, scale: float) -> Sprite:
    """A sheet, a book or a sign."""
    width, tall = rng.uniform(10, 20), rng.uniform(8, 18)
    x, y, normal, cover = _canvas(width + 2, tall + 2, scale)
    lean = rng.normal(0, 0.6, (4, 2))
    corners = np.array([(1, 1), (width + 1, 1), (width + 1, tall + 1), (1, tall + 1)]) + lean * 0.5
    _fill(cover, corners, scale)
    albedo = texture(rng, *x.shape)
    if rng.random() < 0.6:
        lines = (np.floor(y * 1.4) % 2 == 0) & (np.sin(x * 9 + np.floor(y) * 3) > -0.2)
        albedo[:] = np.where(lines[..., None], 0.05, 0.7)
    return _made(albedo, normal, cover, (width / 2 + 1, rng.uniform(-1, 2)), scale)


def _blob(rng, scale: float) -> Sprite:
    """Anything: a random outline with a random pattern, round or flat."""
    radius = float(np.exp(rng.uniform(np.log(1.2), np.log(7.0))))
    x, y, normal, cover = _canvas(2.8 * radius, 2.8 * radius, scale)
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    out = np.ones(48)
    for k in range(2, 6):
        out += rng.normal(0, 0.25 / k) * np.cos(k * angle + rng.uniform(0, 6))
    middle = 1.4 * radius
    stretch = rng.uniform(0.45, 1.0)
    ring = middle + np.c_[np.cos(angle) * stretch, np.sin(angle)] * (out * radius)[:, None]
    _fill(cover, ring, scale)
    if rng.random() < 0.6:
        normal[..., 0] = np.clip((x - middle) / radius / stretch, -0.8, 0.8)
        normal[..., 1] = np.clip((middle - y) / radius, -0.8, 0.8)
        normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    return _made(texture(rng, *x.shape), normal, cover, (middle, middle), scale)


def _head(rng, scale: float) -> Sprite:
    """The back of somebody's head and a shoulder, at the lower edge."""
    x, y, normal, cover = _canvas(40, 34, scale)
    _fill(cover, _ring((20, 14), (7.5, 10.5)), scale)
    _fill(cover, _ring((20, 34), (19, 12)), scale)
    hair = rng.uniform(0.01, 0.3) * np.array([1.0, 0.8, 0.62])
    strands = 1 + 0.35 * cv2.resize(rng.standard_normal((3, 60)).astype(np.float32), x.shape[::-1])
    above = np.hypot((x - 20) / 7.5, (y - 14) / 10.5) < 1.02
    albedo = np.where(above[..., None], hair * strands[..., None], texture(rng, *x.shape))
    normal[..., 0] = np.clip((x - 20) / 11, -0.9, 0.9)
    normal[..., 1] = np.clip((16 - y) / 16, -0.7, 0.7)
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    aside = float(rng.choice([8.0, 32.0]))
    return _made(albedo, normal, cover, (aside, 2), scale)


_DRAWN = {
    "mug": _mug,
    "phone": _phone,
    "microphone": _microphone,
    "paper": _paper,
    "blob": _blob,
    "head": _head,
}
