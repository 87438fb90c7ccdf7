"""Things that heads do not bring: a hair shell, a curtain of long hair, glasses, shoulders.

Each is a small mesh in the head's own coordinates, cm. The hair shell and the glasses follow the
face; the shoulders stay while the head turns.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from jaxfacs.synthface import paint as painting
from jaxfacs.synthface.canvas import (
    EYE_ROWS,
    HAIR,
    HAIR_ROWS,
    HEIGHT,
    SKIN,
    SKIN_ROWS,
    WIDTH,
    Canvas,
    vertex_normals,
)
from jaxfacs.synthface.heads import Head
from jaxfacs.synthface.look import Look

HAIRY = ("short", "full", "long")
PLAIN_UV = (EYE_ROWS * 2.0, HEIGHT - EYE_ROWS / 2)  # the white patch of the atlas


@dataclass(frozen=True, eq=False)
class Prop:
    """A mesh with its paint.

    Attributes:
      vertices_N3, triangles_M3: as in Head.
      albedo_3, gloss, uv_N2: paint; the atlas varies it.
      edge_N: None, or how far inside the hair a vertex lies: 0.5 is the ragged edge.
      hairy: shaded as hair.
      two_sided: seen from behind too.
      turns: 1 moves with the head, less hardly (shoulders).
    """

    vertices_N3: np.ndarray
    triangles_M3: np.ndarray
    albedo_3: tuple[float, float, float]
    gloss: float
    uv_N2: np.ndarray
    edge_N: np.ndarray | None
    hairy: bool
    two_sided: bool
    turns: float


def props(head: Head, neutral_V3: np.ndarray, sheet: Canvas, look: Look) -> list[Prop]:
    """All that this look wears."""
    made = [shoulders(head, neutral_V3, sheet, look)]
    own_hair = bool(np.any(head.part_F == HAIR))
    if look.hair == "cap" or (look.hair in HAIRY and not own_hair):
        made.append(hair_shell(head, neutral_V3, sheet, look))
    if look.hair == "long":
        made.append(curtain(head, neutral_V3, sheet, look))
    if look.glasses is not None:
        made += glasses(head, neutral_V3, sheet, look)
    return made


def hair_shell(head: Head, neutral_V3: np.ndarray, sheet: Canvas, look: Look) -> Prop:
    """The scalp (and a fringe) lifted by the thickness of the hair, ragged at its edge."""
    rng = np.random.default_rng((look.seed, 3))
    cloth = look.hair == "cap"
    if cloth:
        cover = sheet.masks["hair"]
    else:
        cover = np.maximum(painting.scalp(sheet, look), _fringe(rng, sheet, look))
    soft = cv2.GaussianBlur(cover, (0, 0), 0.3 * sheet.texel)
    deep = cv2.GaussianBlur(cover, (0, 0), 1.0 * sheet.texel)
    texel = np.clip(np.round(sheet.uv_V2).astype(int), 0, np.array(cover.shape[::-1]) - 1)
    edge_V = soft[texel[:, 1], texel[:, 0]]
    ears = np.abs(neutral_V3[:, 0]) > np.abs(neutral_V3[head.landmarks_68[[0, 16]], 0]).max()
    low = neutral_V3[:, 1] < neutral_V3[head.landmarks_68[27], 1] + 1.5 * sheet.unit
    edge_V[(ears & low) | (sheet.part_V != SKIN)] = 0
    inside = (edge_V > 0.08)[head.triangles_F3].all(axis=1)
    used, triangles = np.unique(head.triangles_F3[inside], return_inverse=True)
    normals = vertex_normals(neutral_V3, head.triangles_F3)[used]
    at = neutral_V3[used] / sheet.unit
    # Rises within two centimetres of the edge.
    rise = np.clip((deep[texel[:, 1], texel[:, 0]][used] - 0.3) / 0.6, 0, 1) ** 0.7
    thick = 0.5 if cloth else look.hair_thickness
    wave = rng.normal(0, 0.3 if cloth else 0.9, (3, 6))
    lumps = np.cos(at @ wave + rng.uniform(0, 6, 6)).sum(axis=1) / 3.5
    top = np.clip((at[:, 1] - neutral_V3[head.landmarks_68[27], 1] / sheet.unit) / 8, 0, 1)
    style = 1.2 if look.hair == "full" else 0.7
    parted = 1 + rng.normal(0, 0.3) * np.clip(at[:, 0] / 7, -1, 1)
    lift = (
        thick * rise * (0.15 + (style + 0.3) * top * parted + (0 if cloth else 0.15) * lumps) + 0.12
    )
    uv = sheet.uv_V2[used].copy()
    uv[:, 1] = SKIN_ROWS + 4 + (HAIR_ROWS - 8) * uv[:, 1] / SKIN_ROWS
    if cloth:
        uv[:] = PLAIN_UV
    return Prop(
        vertices_N3=(neutral_V3[used] + normals * (lift * sheet.unit)[:, None]).astype(np.float32),
        triangles_M3=triangles.reshape(-1, 3).astype(np.int32),
        albedo_3=look.clothes_rgb if cloth else look.hair_rgb,
        gloss=0.0 if cloth else 0.5,
        uv_N2=uv,
        edge_N=edge_V[used],
        hairy=not cloth,
        two_sided=True,
        turns=1.0,
    )


def _fringe(rng: np.random.Generator, sheet: Canvas, look: Look) -> np.ndarray:
    """Hair over the forehead, never down to the brows: their wrinkles carry AU 1, 2 and 4."""
    cover = np.zeros((SKIN_ROWS, WIDTH), np.float32)
    clear = rng.uniform(1.1, 2.6)
    sweep = rng.normal(0, 0.35)
    if look.hair == "short" or rng.random() < 0.5:
        return cover
    marks, texel = sheet.landmarks_68x2, sheet.texel
    brow = marks[17:27]
    u = np.arange(WIDTH)
    across = (u - marks[27, 0]) / texel
    bottom = brow[:, 1].min() - texel * (clear + sweep * across * 0.5 - 0.02 * across**2)
    half = np.abs(across) < (np.ptp(brow[:, 0]) / texel / 2 - 0.3)
    rows = np.arange(SKIN_ROWS)[:, None]
    highest = brow[:, 1].min() - 7 * texel
    cover[(rows < bottom) & (rows > highest) & half] = 1.0
    return cover


def curtain(head: Head, neutral_V3: np.ndarray, sheet: Canvas, look: Look) -> Prop:
    """Long hair: a sheet that hangs from the scalp around the back and the sides."""
    rng = np.random.default_rng((look.seed, 4))
    unit = sheet.unit
    marks = neutral_V3[head.landmarks_68]
    scalp = neutral_V3[head.masks["hair"] > 0.6]
    centre = np.array([0.0, (scalp[:, 2].min() + scalp[:, 2].max()) / 2])
    half_x = np.abs(scalp[:, 0]).max() + (0.35 + 0.5 * look.hair_thickness) * unit
    half_z = np.ptp(scalp[:, 2]) / 2 + 0.6 * unit
    columns, rows = 48, 14
    # From just before the ears around the back. Angle 0 is the back of the head.
    angle = np.linspace(-1.0, 1.0, columns) * np.deg2rad(112)
    top_y = marks[27, 1] + 3.5 * unit
    bottom_y = marks[8, 1] - rng.uniform(0.0, 7.0) * unit
    wave, phase = rng.uniform(0, 0.5) * unit, rng.uniform(0, 6, columns)
    flare = rng.uniform(-0.05, 0.3)
    t = np.linspace(0, 1, rows)[:, None]
    swell = 0.9 + 0.14 * np.sin(np.pi * np.minimum(t * 1.3, 1)) + flare * t**2 * 0.4
    ragged = rng.normal(0, 0.5 * unit, columns) * t**3
    x = np.sin(angle) * half_x * swell + wave * 0.5 * np.sin(5 * t + phase * 0.2)
    z = centre[1] - np.cos(angle) * half_z * swell + wave * np.sin(4 * t + phase * 0.2)
    y = top_y + (bottom_y - top_y) * t + ragged
    y = np.broadcast_to(y, x.shape)
    grid = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]
    triangles = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)])
    u = np.broadcast_to(np.linspace(0, 1, columns), x.shape) * (WIDTH * 0.8) + 8
    v = np.broadcast_to(SKIN_ROWS + 4 + t * (HAIR_ROWS - 8), x.shape)
    return Prop(
        vertices_N3=np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32),
        triangles_M3=triangles.reshape(-1, 3).astype(np.int32),
        albedo_3=look.hair_rgb,
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
    """Two rims, a bridge and two arms, as tubes."""
    assert look.glasses is not None
    half_w, half_h, round_, rim = (
        value * sheet.unit if i != 2 else value for i, value in enumerate(look.glasses)
    )
    marks = neutral_V3[head.landmarks_68]
    brow = neutral_V3[head.masks["brow"] > 0.3]
    ears = np.abs(marks[[0, 16], 0]).mean()
    tubes = []
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
    for side, pupil in zip((-1, 1), pupils, strict=True):
        centre = np.array([pupil[0] + side * 0.15 * sheet.unit, pupil[1] - 0.15 * sheet.unit])
        x, y = centre[0] + ring[:, 0], centre[1] + ring[:, 1]
        # Frames bow round the face and lean in at the bottom.
        z = front - 0.03 / sheet.unit * x**2 + 0.06 * (y - centre[1])
        tubes.append((np.c_[x, y, z], True))
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
    return [_tube(path, closed, rim, look) for path, closed in tubes]


def shoulders(head: Head, neutral_V3: np.ndarray, sheet: Canvas, look: Look) -> Prop:
    """Clothes from the neck to below the picture."""
    unit = sheet.unit
    top = neckline(head, neutral_V3, sheet)
    skin = sheet.part_V == SKIN
    ring = neutral_V3[skin & (np.abs(neutral_V3[:, 1] - top) < 0.8 * unit)]
    middle_z = (ring[:, 2].min() + ring[:, 2].max()) / 2
    neck_x = np.abs(ring[:, 0]).max() + 0.35 * unit
    neck_z = np.ptp(ring[:, 2]) / 2 + 0.35 * unit
    t = np.linspace(0, 1, 18)[:, None]
    around = np.linspace(0, 2 * np.pi, 41)[:-1]
    out = np.clip(t * 1.3, 0, 1)
    # A collar stands for a centimetre, then the shoulders slope.
    half_x = neck_x + (24.0 * unit - neck_x) * np.sin(out * np.pi / 2) ** 1.1
    half_z = neck_z + (11.0 * unit - neck_z) * np.sin(out * np.pi / 2)
    drop = 0.6 * np.clip(t * 8, 0, 1) + 5.2 * out**1.8 + 30 * np.clip(t - 0.77, 0, 1)
    # A neckline is lower in front.
    y = top - unit * (drop + 1.3 * (np.cos(around) - 0.2) * (1 - 0.5 * out))
    x = half_x * np.sin(around)
    z = middle_z + half_z * np.cos(around)
    rows, columns = x.shape
    grid = np.arange(rows * columns).reshape(rows, columns)
    a, b = grid[:-1], grid[1:]
    c, d = np.roll(b, -1, axis=1), np.roll(a, -1, axis=1)
    triangles = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)])
    vertices = np.stack([x, np.broadcast_to(y, x.shape), z], -1).reshape(-1, 3)
    return Prop(
        vertices_N3=vertices.astype(np.float32),
        triangles_M3=triangles.reshape(-1, 3).astype(np.int32),
        albedo_3=look.clothes_rgb,
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


def _tube(path_K3: np.ndarray, closed: bool, radius: float, look: Look) -> Prop:
    """A square tube along a path: four corners a point are enough at a few pixels."""
    k = len(path_K3)
    ahead = np.roll(path_K3, -1, axis=0) - np.roll(path_K3, 1, axis=0)
    if not closed:
        ahead[0], ahead[-1] = path_K3[1] - path_K3[0], path_K3[-1] - path_K3[-2]
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    across = np.cross(ahead, [0.13, 0.29, 0.95])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    other = np.cross(ahead, across)
    corners = [across, other, -across, -other]
    vertices = np.stack([path_K3 + radius * c for c in corners], axis=1).reshape(-1, 3)
    a = np.arange(k if closed else k - 1)[:, None]
    side = np.arange(4)[None]
    nxt = (a + 1) % k
    p, q = a * 4 + side, a * 4 + (side + 1) % 4
    r, s = nxt * 4 + (side + 1) % 4, nxt * 4 + side
    triangles = np.concatenate([np.stack([p, q, r], -1), np.stack([p, r, s], -1)])
    return Prop(
        vertices_N3=vertices.astype(np.float32),
        triangles_M3=triangles.reshape(-1, 3).astype(np.int32),
        albedo_3=look.glasses_rgb,
        gloss=1.5,
        uv_N2=np.tile(np.array(PLAIN_UV, np.float32), (len(vertices), 1)),
        edge_N=None,
        hairy=False,
        two_sided=True,
        turns=1.0,
    )
