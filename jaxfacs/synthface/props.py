"""Things that heads do not bring: hair, glasses, earrings, headwear, shoulders.

Each is a small mesh in the head's own coordinates, cm. All but the shoulders, which stay while the
head turns, move with the skull.
"""

from dataclasses import replace

import numpy as np

from jaxfacs.synthface import hairstyles
from jaxfacs.synthface import paint as painting
from jaxfacs.synthface.canvas import HAIR, HAIR_ROWS, SKIN, SKIN_ROWS, WIDTH, Canvas
from jaxfacs.synthface.clothes import neckline, shoulders
from jaxfacs.synthface.heads import Head
from jaxfacs.synthface.headwear import FLATTENS, HIDES_HAIR, headwear
from jaxfacs.synthface.look import Look
from jaxfacs.synthface.prop import PLAIN_UV, Prop, grid_triangles, lifted, plain, tube

__all__ = ["HAIRY", "PLAIN_UV", "Prop", "glasses", "lenses", "neckline", "props", "shoulders"]

HAIRY = tuple(hairstyles.STYLES)


def props(head: Head, neutral_V3: np.ndarray, sheet: Canvas, look: Look) -> list[Prop]:
    """All that this look wears."""
    made = [shoulders(head, neutral_V3, sheet, look)]
    if look.hair in HAIRY and look.headwear not in HIDES_HAIR:
        made += hair(head, neutral_V3, sheet, look)
    made += headwear(head, neutral_V3, sheet, look)
    if look.glasses is not None:
        made += glasses(head, neutral_V3, sheet, look)
    if look.earrings and look.headwear not in HIDES_HAIR:
        made += earrings(head, neutral_V3, sheet, look)
    return made


def hair(head: Head, neutral_V3: np.ndarray, sheet: Canvas, look: Look) -> list[Prop]:
    """A shell close to the scalp, locks over it, and the mass of long or bound hair."""
    style = hairstyles.STYLES[look.hair]
    flat = look.headwear in FLATTENS
    if flat:
        look = replace(look, hair_thickness=0.15, fringe=False)
    made = []
    if not np.any(head.part_F == HAIR):
        made.append(hair_shell(head, neutral_V3, sheet, look))
    if flat and style.curtain is None:
        return made
    vertices, triangles, colour, uv, edge = hairstyles.locks(head, neutral_V3, sheet, look)
    made.append(
        Prop(
            vertices_N3=vertices,
            triangles_M3=triangles,
            albedo_3=colour,
            gloss=0.8,
            uv_N2=uv,
            edge_N=edge,
            hairy=True,
            two_sided=True,
            turns=1.0,
        )
    )
    if style.curtain is not None:
        made.append(curtain(head, neutral_V3, sheet, look, style.curtain))
    if look.hair in ("bun", "ponytail") and not flat:
        made.append(_bound(head, neutral_V3, sheet, look))
    return made


def hair_shell(head: Head, neutral_V3: np.ndarray, sheet: Canvas, look: Look) -> Prop:
    """The scalp (and a fringe) lifted by the thickness of the hair, ragged at its edge."""
    rng = np.random.default_rng((look.seed, 3))
    cover = painting.scalp(sheet, look)
    part = lifted(head, neutral_V3, sheet, cover)
    at = neutral_V3[part.used] / sheet.unit
    # Rises within two centimetres of the edge.
    rise = np.clip((part.deep_N - 0.3) / 0.6, 0, 1) ** 0.7
    wave = rng.normal(0, 0.9, (3, 6))
    lumps = np.cos(at @ wave + rng.uniform(0, 6, 6)).sum(axis=1) / 3.5
    top = np.clip((at[:, 1] - neutral_V3[head.landmarks_68[27], 1] / sheet.unit) / 8, 0, 1)
    style = {"full": 1.2, "afro": 1.4, "curly": 1.2, "bun": 0.4, "ponytail": 0.4}.get(
        look.hair, 0.7
    )
    side = {"afro": 2.4, "curly": 0.8}.get(look.hair, 0.15)
    parted = 1 + 0.12 * look.part * np.clip(at[:, 0] / 7, -1, 1)
    lift = look.hair_thickness * rise * (side + (style + 0.2) * top * parted + 0.15 * lumps) + 0.1
    uv = sheet.uv_V2[part.used].copy()
    uv[:, 1] = SKIN_ROWS + 4 + (HAIR_ROWS - 8) * uv[:, 1] / SKIN_ROWS
    return Prop(
        vertices_N3=(neutral_V3[part.used] + part.normals_N3 * (lift * sheet.unit)[:, None]).astype(
            np.float32
        ),
        triangles_M3=part.triangles_M3,
        albedo_3=_darker(look, 0.8),
        gloss=0.6,
        uv_N2=uv,
        edge_N=part.edge_N,
        hairy=True,
        two_sided=True,
        turns=1.0,
    )


def _darker(look: Look, by: float) -> tuple[float, float, float]:
    r, g, b = (c * by for c in look.hair_rgb)
    return r, g, b


def _bound(head: Head, neutral_V3: np.ndarray, sheet: Canvas, look: Look) -> Prop:
    """A bun on the head or at its back, or the tail that falls from there."""
    rng = np.random.default_rng((look.seed, 8))
    unit = sheet.unit
    scalp = neutral_V3[head.masks["hair"] > 0.6]
    angle = np.deg2rad(rng.uniform(70, 175) if look.hair == "bun" else rng.uniform(110, 150))
    middle = (scalp.min(axis=0) + scalp.max(axis=0)) / 2
    half = np.ptp(scalp, axis=0) / 2
    radius = rng.uniform(2.2, 4.0) * unit
    long = 1.0 if look.hair == "bun" else rng.uniform(2.5, 4.5)
    up, behind = np.cos(angle - np.pi / 9), -np.sin(angle - np.pi / 9)
    at = middle + np.array([0, half[1] * up, half[2] * behind])
    at = at + np.array([0, 0.25 * radius, -0.5 * radius])
    t = np.linspace(0.02, np.pi - 0.02, 9)[:, None]
    around = np.linspace(0, 2 * np.pi, 19)[:-1]
    lumps = 1 + 0.12 * np.sin(3 * around + 5 * t + rng.uniform(0, 6))
    x = at[0] + radius * np.sin(t) * np.cos(around) * lumps + rng.normal(0, 1.0) * unit * (long - 1)
    z = at[2] + radius * np.sin(t) * np.sin(around) * lumps
    y = at[1] + radius * np.cos(t) * (1 + 0 * around)
    if long > 1:
        y = at[1] + radius * (1 - (1 - np.cos(t)) * long) + 0 * around
    vertices = np.stack([x, y, z], -1).reshape(-1, 3)
    u = np.broadcast_to(np.linspace(0, WIDTH * 0.7, len(around)), x.shape)
    v = np.broadcast_to(SKIN_ROWS + 4 + t / np.pi * (HAIR_ROWS - 8), x.shape)
    return Prop(
        vertices_N3=vertices.astype(np.float32),
        triangles_M3=grid_triangles(*x.shape, closed=True),
        albedo_3=look.hair_rgb,
        gloss=0.7,
        uv_N2=np.stack([u, v], -1).reshape(-1, 2).astype(np.float32),
        edge_N=None,
        hairy=True,
        two_sided=True,
        turns=1.0,
    )


def curtain(head: Head, neutral_V3: np.ndarray, sheet: Canvas, look: Look, below: float) -> Prop:
    """The mass of long hair: a sheet that hangs around the back, to `below` cm under the chin."""
    rng = np.random.default_rng((look.seed, 4))
    unit = sheet.unit
    marks = neutral_V3[head.landmarks_68]
    scalp = neutral_V3[head.masks["hair"] > 0.6]
    centre = np.array([0.0, (scalp[:, 2].min() + scalp[:, 2].max()) / 2])
    half_x = np.abs(scalp[:, 0]).max() + (0.1 + 0.3 * look.hair_thickness) * unit
    half_z = np.ptp(scalp[:, 2]) / 2 + 0.6 * unit
    columns, rows = 48, 14
    # From just before the ears around the back. Angle 0 is the back of the head.
    angle = np.linspace(-1.0, 1.0, columns) * np.deg2rad(118)
    top_y = marks[27, 1] + 3.5 * unit
    bottom_y = marks[8, 1] - (below * look.hair_length + rng.uniform(-1.0, 1.0)) * unit
    wave, phase = rng.uniform(0, 0.5) * unit, rng.uniform(0, 6, columns)
    flare = rng.uniform(-0.05, 0.3)
    t = np.linspace(0, 1, rows)[:, None]
    swell = 0.9 + 0.14 * np.sin(np.pi * np.minimum(t * 1.3, 1)) + flare * t**2 * 0.4
    ragged = rng.normal(0, 0.5 * unit, columns) * t**3
    x = np.sin(angle) * half_x * swell + wave * 0.5 * np.sin(5 * t + phase * 0.2)
    z = centre[1] - np.cos(angle) * half_z * swell + wave * np.sin(4 * t + phase * 0.2)
    y = top_y + (bottom_y - top_y) * t + ragged
    y = np.broadcast_to(y, x.shape)
    u = np.broadcast_to(np.linspace(0, 1, columns), x.shape) * (WIDTH * 0.8) + 8
    v = np.broadcast_to(SKIN_ROWS + 4 + t * (HAIR_ROWS - 8), x.shape)
    return Prop(
        vertices_N3=np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32),
        triangles_M3=grid_triangles(rows, columns),
        albedo_3=_darker(look, 0.7),
        gloss=0.5,
        uv_N2=np.stack([u, v], -1).reshape(-1, 2).astype(np.float32),
        edge_N=np.broadcast_to(np.clip(2.6 - 2.4 * t, 0, 1), x.shape)
        .reshape(-1)
        .astype(np.float32),
        hairy=True,
        two_sided=True,
        turns=1.0,
    )


def glasses(head: Head, neutral_V3: np.ndarray, sheet: Canvas, look: Look) -> list[Prop]:
    """Two rims, a bridge and two arms, as tubes; dark glasses have lenses as well."""
    assert look.glasses is not None
    rims, half_w, half_h, front, pupils, gap = _rims(head, neutral_V3, sheet, look)
    rim = look.glasses[3] * sheet.unit
    marks = neutral_V3[head.landmarks_68]
    ears = np.abs(marks[[0, 16], 0]).mean()
    tubes = [(ring, True) for ring in rims]
    for side, ring in zip((-1, 1), rims, strict=True):
        centre = (ring.max(axis=0) + ring.min(axis=0)) / 2
        hinge = np.array([centre[0] + side * half_w, centre[1] + 0.5 * half_h])
        hinge_z = front - 0.03 / sheet.unit * hinge[0] ** 2
        back = np.array([side * (ears + 0.2 * sheet.unit), hinge[1] - 0.1 * sheet.unit])
        arm = [
            (hinge[0], hinge[1], hinge_z),
            (max(ears * 0.98, abs(hinge[0])) * side, hinge[1], hinge_z - 1.2 * sheet.unit),
            (back[0], back[1], marks[[0, 16], 2].mean() - 1.0 * sheet.unit),
        ]
        tubes.append((np.array(arm), False))
    inner = gap - half_w - 0.15 * sheet.unit
    y = pupils[0][1] + 0.25 * half_h
    bridge = [
        (x, y + 0.25 * sheet.unit * (1 - (x / inner) ** 2), front) for x in (-inner, 0, inner)
    ]
    tubes.append((np.array(bridge), False))
    made = [tube(path, closed, rim, look.glasses_rgb) for path, closed in tubes]
    if look.dark_glasses:
        dark = np.array([0.006, 0.006, 0.007]) + 0.02 * np.array(look.headwear_rgb)
        for ring in rims:
            many = len(ring)
            fan = np.stack([np.full(many, many), np.arange(many), np.roll(np.arange(many), -1)], 1)
            middle = ring.mean(axis=0) + np.array([0, 0.3, 0.55]) * sheet.unit
            # Sky in the upper half: the lens is no hole.
            lift = np.clip((ring[:, 1] - middle[1]) / np.ptp(ring[:, 1]) + 0.3, 0, 1)
            tinted = np.concatenate([dark + 0.05 * lift[:, None], dark[None]])
            made.append(plain(np.concatenate([ring, middle[None]]), fan, tinted, 1.6))
    return made


def lenses(head: Head, neutral_V3: np.ndarray, sheet: Canvas, look: Look) -> tuple[np.ndarray, ...]:
    """The outlines of both lenses, N×3 in the head's coordinates; none without glasses."""
    if look.glasses is None:
        return ()
    return _rims(head, neutral_V3, sheet, look)[0]


def _rims(head: Head, neutral_V3: np.ndarray, sheet: Canvas, look: Look):
    """(two rings N×3, half width, half height, z of the front, the pupils, half their distance)."""
    assert look.glasses is not None
    half_w, half_h, round_ = (
        value * sheet.unit if i != 2 else value for i, value in enumerate(look.glasses[:3])
    )
    marks = neutral_V3[head.landmarks_68]
    brow = neutral_V3[head.masks["brow"] > 0.3]
    pupils = [marks[36:42].mean(axis=0), marks[42:48].mean(axis=0)]
    front = max(marks[27, 2], brow[:, 2].max()) + 0.45 * sheet.unit
    gap = abs(pupils[0][0] - pupils[1][0]) / 2
    half_w = min(half_w, gap - 0.75 * sheet.unit)
    angle = np.linspace(0, 2 * np.pi, 29)[:-1]
    power = 2 / (2 + 5 * (1 - round_))
    ring = np.c_[
        np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** power * half_w,
        np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** power * half_h,
    ]
    rims = []
    for side, pupil in zip((-1, 1), pupils, strict=True):
        centre = np.array([pupil[0] + side * 0.15 * sheet.unit, pupil[1] - 0.15 * sheet.unit])
        x, y = centre[0] + ring[:, 0], centre[1] + ring[:, 1]
        # Frames bow round the face and lean in at the bottom.
        z = front - 0.03 / sheet.unit * x**2 + 0.06 * (y - centre[1])
        rims.append(np.c_[x, y, z])
    return tuple(rims), half_w, half_h, front, pupils, gap


def earrings(head: Head, neutral_V3: np.ndarray, sheet: Canvas, look: Look) -> list[Prop]:
    """A ring or a drop below each ear."""
    rng = np.random.default_rng((look.seed, 9))
    marks, unit = neutral_V3[head.landmarks_68], sheet.unit
    beside = np.abs(neutral_V3[:, 0]) > np.abs(marks[[0, 16], 0]).max() + 0.1 * unit
    ear = neutral_V3[beside & (sheet.part_V == SKIN) & (neutral_V3[:, 1] > marks[4, 1])]
    if not len(ear):
        return []
    low = ear[np.argmin(ear[:, 1])]
    radius = look.earrings * unit
    angle = np.linspace(0, 2 * np.pi, 13)[:-1]
    made = []
    hoop = rng.random() < 0.5
    for side in (-1, 1):
        x, y, z = side * abs(low[0]), low[1] + 0.2 * unit, low[2]
        ring = np.c_[
            np.full(12, x), y - radius + radius * np.cos(angle), z + radius * np.sin(angle)
        ]
        if not hoop:
            ring = np.c_[x + 0.3 * radius * np.sin(angle), ring[:, 1], np.full(12, z)]
        made.append(tube(ring, True, 0.12 * unit, look.earrings_rgb, 2.5))
    return made
