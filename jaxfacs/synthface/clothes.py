"""Shoulders and what is worn on them: necklines, collars, straps, lapels, patterns."""

import numpy as np

from jaxfacs.synthface.canvas import SKIN, Canvas
from jaxfacs.synthface.heads import Head
from jaxfacs.synthface.look import Look, skin_rgb
from jaxfacs.synthface.prop import PLAIN_UV, Prop, grid_triangles


def shoulders(head: Head, neutral_V3: np.ndarray, sheet: Canvas, look: Look) -> Prop:
    """Clothes from the neck to below the picture."""
    rng = np.random.default_rng((look.seed, 7))
    unit = sheet.unit
    high = look.clothes == "high"
    top = neckline(head, neutral_V3, sheet) + (1.2 * unit if high else 0.0)
    skin = sheet.part_V == SKIN
    ring = neutral_V3[skin & (np.abs(neutral_V3[:, 1] - top) < 0.8 * unit)]
    middle_z = (ring[:, 2].min() + ring[:, 2].max()) / 2
    neck_x = np.abs(ring[:, 0]).max() + 0.35 * unit
    neck_z = np.ptp(ring[:, 2]) / 2 + 0.35 * unit
    t = np.linspace(0, 1, 22)[:, None] ** 1.25
    around = np.linspace(0, 2 * np.pi, 57)[:-1]
    out = np.clip(t * 1.3, 0, 1)
    wide = rng.uniform(19.0, 25.0)
    slope = rng.uniform(4.2, 7.5)
    # A collar stands for a centimetre, then the shoulders slope.
    half_x = neck_x + (wide * unit - neck_x) * np.sin(out * np.pi / 2) ** 1.1
    half_z = neck_z + (11.0 * unit - neck_z) * np.sin(out * np.pi / 2)
    stand = 2.2 if high else 0.6
    drop = stand * np.clip(t * 8, 0, 1) + slope * out**1.8 + 30 * np.clip(t - 0.77, 0, 1)
    # A neckline is lower in front.
    front = 0.2 if high else 1.3
    y = top - unit * (drop + front * (np.cos(around) - 0.2) * (1 - 0.5 * out))
    x = half_x * np.sin(around)
    z = middle_z + half_z * np.cos(around)
    vertices = np.stack([x, np.broadcast_to(y, x.shape), z], -1).reshape(-1, 3)
    below = (top - vertices[:, 1]) / unit
    return Prop(
        vertices_N3=vertices.astype(np.float32),
        triangles_M3=grid_triangles(*x.shape, closed=True),
        albedo_3=_colours(rng, look, vertices / unit, below, np.repeat(t, x.shape[1])),
        gloss=0.0,
        uv_N2=np.tile(np.array(PLAIN_UV, np.float32), (len(vertices), 1)),
        edge_N=None,
        hairy=False,
        two_sided=True,
        turns=0.15,
    )


def neckline(head: Head, neutral_V3: np.ndarray, sheet: Canvas) -> float:
    """Height of the collar, cm: below the chin, but not below a short neck's end."""
    lowest = neutral_V3[sheet.part_V == SKIN, 1].min()
    return max(float(neutral_V3[head.landmarks_68[8], 1]) - 3.8 * sheet.unit, lowest + sheet.unit)


def _colours(rng, look: Look, at_N3, below_N, t_N) -> np.ndarray:
    """Cloth, its pattern, and the skin or the shirt that it leaves open; N×3."""
    cloth, other = np.array(look.clothes_rgb), np.array(look.clothes_other_rgb)
    often, turn = rng.uniform(0.5, 2.5), rng.uniform(0, np.pi)
    a = at_N3[:, 0] * np.cos(turn) + below_N * np.sin(turn)
    b = below_N * np.cos(turn) - at_N3[:, 0] * np.sin(turn)
    share = (
        0.5 + 0.5 * np.sin(often * b * 2),
        ((np.floor(a * often * 0.5) + np.floor(b * often * 0.5)) % 2),
        np.clip(2 * np.cos(often * a * 2) * np.cos(often * b * 2), 0, 1),
    )[rng.integers(3)]
    creases = 1 + 0.07 * np.sin(at_N3 @ rng.normal(0, 0.8, 3) + 2 * np.sin(below_N * 0.4))
    colour = cloth + (other - cloth) * (look.clothes_pattern * share)[:, None]
    colour = colour * creases[:, None]
    skin = skin_rgb(look.melanin, look.haemoglobin)
    ahead = at_N3[:, 2] > 0
    across = np.abs(at_N3[:, 0])
    if look.clothes == "deep":
        wide, deep = rng.uniform(3.0, 8.0), rng.uniform(4.0, 12.0)
        colour[ahead & (across < wide * (1 - below_N / deep))] = skin
    elif look.clothes == "straps":
        edge, strap = rng.uniform(5.0, 10.0), rng.uniform(6.5, 11.0)
        bare = (below_N < edge) & (np.abs(across - strap) > rng.uniform(0.6, 2.2))
        colour[bare | (across > 16)] = skin
    elif look.clothes == "collar":
        shirt = np.array([0.7, 0.71, 0.74]) * rng.uniform(0.3, 1.0)
        open_V = ahead & (across < rng.uniform(3.5, 6.5) * (1 - below_N / 16))
        colour[open_V | (t_N < 0.06)] = shirt
        if rng.random() < 0.5:  # a tie
            colour[ahead & (across < 0.7 + 0.12 * below_N) & (t_N > 0.02)] = other
        elif rng.random() < 0.6:
            colour[ahead & (across < 1.6 * (1 - below_N / 6))] = skin
    return np.clip(colour, 0, 0.9).astype(np.float32)
