"""Caps, woollen hats, hats with a brim, headscarves, hoods, helmets, headbands.

Each is the skin that it covers, lifted by its thickness; brims are rings of triangles about it.
"""

import numpy as np

from jaxfacs.synthface.canvas import SKIN_ROWS, WIDTH, Canvas
from jaxfacs.synthface.heads import Head
from jaxfacs.synthface.look import Look
from jaxfacs.synthface.prop import Prop, grid_triangles, lifted, plain

# Those that leave no hair to be seen, and those under which hair lies flat.
HIDES_HAIR = ("scarf", "hood", "helmet")
FLATTENS = ("cap", "beanie", "hat", *HIDES_HAIR)

_THICK = {"cap": 0.9, "beanie": 1.0, "hat": 1.0, "band": 0.7, "scarf": 0.7, "hood": 1.8,
          "helmet": 2.4}  # fmt: skip


def headwear(head: Head, neutral_V3: np.ndarray, sheet: Canvas, look: Look) -> list[Prop]:
    """What this look wears on its head; nothing for "none"."""
    if look.headwear == "none":
        return []
    rng = np.random.default_rng((look.seed, 6))
    unit = sheet.unit
    line = _front_line(rng, sheet, look)
    low = look.headwear in HIDES_HAIR
    part = lifted(head, neutral_V3, sheet, _cover(rng, sheet, look, line), ears=not low)
    if not len(part.used):
        return []
    at = neutral_V3[part.used] / unit
    inside = np.clip((part.edge_N - 0.1) / 0.35, 0, 1)
    thick = _THICK[look.headwear] * (0.35 + 0.65 * inside)
    if look.headwear in ("beanie", "scarf", "hood"):  # wool and cloth make folds
        wave = rng.normal(0, 0.9, (3, 5))
        thick = thick * (1 + 0.16 * np.cos(at @ wave + rng.uniform(0, 6, 5)).sum(axis=1) / 2)
        thick += 0.5 * np.clip(1 - np.abs(part.deep_N - 0.55) / 0.2, 0, 1) * inside  # a rim
    vertices = neutral_V3[part.used] + part.normals_N3 * (thick * unit)[:, None]
    albedo = _cloth(rng, look, at)
    gloss = 1.2 if look.headwear == "helmet" else 0.15
    made = [plain(vertices, part.triangles_M3, albedo, gloss)]
    if look.headwear in ("cap", "hat"):
        made.append(_brim(rng, neutral_V3, head, sheet, look, vertices))
    return made


def _front_line(rng, sheet: Canvas, look: Look) -> float:
    """How far above the brows it ends in front, cm; low ones rest on them."""
    low, high = {"beanie": (0.9, 4.0), "band": (2.0, 5.0)}.get(look.headwear, (1.3, 4.0))
    return float(rng.uniform(low, high))


def _cover(rng, sheet: Canvas, look: Look, line: float) -> np.ndarray:
    """Where it lies, in the atlas."""
    marks, texel = sheet.landmarks_68x2, sheet.texel
    v, u = np.mgrid[0:SKIN_ROWS, 0:WIDTH].astype(np.float32)
    brow = marks[17:27, 1].min()
    front = brow - line * texel
    if look.headwear in HIDES_HAIR:
        middle, chin = marks[27, 0], marks[8, 1]
        wide = (np.abs(marks[[1, 15], 0] - middle)).mean() * (
            1.0 if look.headwear == "scarf" else 1.12
        )
        centre = (front + chin) / 2
        half = (chin - front) / 2 + (0.1 if look.headwear == "scarf" else 0.9) * texel
        # A face's opening is wider than an ellipse at the cheeks.
        off = np.abs((u - middle) / wide) ** 2.6 + np.abs((v - centre) / half) ** 2.6
        cover = (off > 1).astype(np.float32)
        if look.headwear == "helmet":
            cover[v > chin + 1.5 * texel] = 0
        return cover
    back = brow + 3.0 * texel
    turn = 0.5 + 0.5 * np.cos(2 * np.pi * (u - marks[27, 0]) / WIDTH)
    edge = back + (front - back) * turn ** np.float32(0.7)
    cover = v < edge
    if look.headwear == "band":
        cover &= v > edge - rng.uniform(1.5, 4.0) * texel
    return cover.astype(np.float32)


def _cloth(rng, look: Look, at_N3: np.ndarray) -> np.ndarray:
    """One colour, stripes round the head, or panels; N×3."""
    first, other = np.array(look.headwear_rgb), np.array(look.clothes_other_rgb)
    kind = rng.integers(4)
    if kind == 0:
        share = 0.5 + 0.5 * np.sign(np.sin(at_N3[:, 1] * rng.uniform(1.0, 4.0)))
    elif kind == 1:
        share = (np.abs(at_N3[:, 0]) < rng.uniform(2.0, 5.0)) * (at_N3[:, 2] > 0) * 1.0
    else:
        share = np.zeros(len(at_N3))
    mottled = 1 + 0.08 * rng.standard_normal(len(at_N3))[:, None]
    return ((first + (other - first) * share[:, None]) * mottled).astype(np.float32)


def _brim(rng, neutral_V3, head: Head, sheet: Canvas, look: Look, crown_N3: np.ndarray) -> Prop:
    """The visor of a cap, or the brim all round a hat."""
    unit = sheet.unit
    low = crown_N3[:, 1] < np.quantile(crown_N3[:, 1], 0.25)
    front = crown_N3[(crown_N3[:, 2] > np.quantile(crown_N3[:, 2], 0.85))]
    y = front[:, 1].min() + 0.25 * unit
    half_x = np.abs(crown_N3[low, 0]).max()
    middle = (crown_N3[low, 2].min() + crown_N3[low, 2].max()) / 2
    half_z = np.ptp(crown_N3[low, 2]) / 2
    visor = look.headwear == "cap"
    reach = rng.uniform(5.0, 7.5) if visor else rng.uniform(3.5, 8.0)
    angle = np.deg2rad(np.linspace(-62, 62, 25) if visor else np.linspace(0, 360, 49)[:-1])
    out = np.linspace(0, 1, 5)[:, None]
    swell = np.cos(angle * np.pi / 2 / np.deg2rad(66)) ** 0.6 if visor else np.ones(len(angle))
    grow = out * reach * unit * swell
    x = np.sin(angle) * (half_x * 0.94 + grow * (0.35 if visor else 1))
    z = middle + np.cos(angle) * (half_z * 0.97 + grow)
    droop = rng.uniform(0.08, 0.3) if visor else rng.uniform(-0.1, 0.2)
    back = (1 - np.cos(angle)) * (0.0 if visor else -1.2 * unit)
    arch = 0.025 * x**2 / unit if visor else 0.0
    heights = y - droop * grow - arch + back
    vertices = np.stack([x, np.broadcast_to(heights, x.shape), z], axis=-1).reshape(-1, 3)
    colour = look.headwear_rgb if rng.random() < 0.6 else look.clothes_other_rgb
    return plain(vertices, grid_triangles(*x.shape, closed=not visor), colour, 0.2)
