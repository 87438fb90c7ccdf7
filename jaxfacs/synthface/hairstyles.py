"""Hair as locks: narrow ribbons that grow on the scalp, are combed, fall and lie on the head.

A lock starts at a root, runs in the direction in which the style combs it, is drawn down by its
weight, curls, and is kept off the skull and out of the face; a ribbon of triangles follows its
path. Under the locks lies the hair shell (`props.hair_shell`), so that no scalp shows between.
All locks of a head are traced at once: a few milliseconds a person.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from jaxfacs.synthface import paint as painting
from jaxfacs.synthface.canvas import HAIR, HAIR_ROWS, SKIN, SKIN_ROWS, WIDTH, Canvas
from jaxfacs.synthface.heads import Head
from jaxfacs.synthface.look import Look

_POINTS = 7  # along a lock
_GRID = (36, 72)  # rows of elevation, columns of azimuth


@dataclass(frozen=True)
class Style:
    """How hair is worn. Lengths in cm.

    Attributes:
      length: of a lock, and fringe: of one over the forehead (0: none).
      comb: "crown" (away from the whorl), "part" (to both sides), "back", or "up".
      weight: how soon it falls; stiff hair stays where it was combed.
      curl: how far it winds.
      locks: how many; width of each.
      curtain: how far below the chin the mass behind the locks hangs; None: there is none.
    """

    length: float
    fringe: float
    comb: str
    weight: float
    curl: float
    locks: int
    width: float
    curtain: float | None = None


STYLES = {
    "short": Style(2.5, 0.0, "crown", 0.1, 0.15, 90, 0.9),
    "crop": Style(2.6, 0.0, "up", 0.12, 0.3, 110, 0.8),
    "full": Style(6.0, 3.5, "part", 0.25, 0.25, 110, 1.0),
    "fringe": Style(5.5, 6.5, "crown", 0.35, 0.1, 110, 1.0),
    "bob": Style(15.0, 5.0, "part", 0.5, 0.1, 130, 1.4, -1.0),
    "long": Style(27.0, 0.0, "part", 0.55, 0.1, 150, 1.5, 9.0),
    "wavy": Style(23.0, 5.0, "part", 0.5, 0.8, 150, 1.4, 6.0),
    "curly": Style(9.0, 4.0, "up", 0.2, 1.6, 150, 1.0),
    "afro": Style(5.0, 0.0, "up", 0.0, 1.0, 150, 1.3),
    "bun": Style(9.0, 0.0, "back", 0.0, 0.05, 80, 1.2),
    "ponytail": Style(9.0, 4.0, "back", 0.0, 0.1, 80, 1.2),
    "receding": Style(3.5, 0.0, "back", 0.15, 0.2, 70, 0.9),
}


@dataclass(frozen=True, eq=False)
class Skull:
    """The outside of a head by direction from a middle: distance and share of scalp, in cm."""

    centre_3: np.ndarray
    radius_HW: np.ndarray
    scalp_HW: np.ndarray

    def radius(self, direction_N3: np.ndarray) -> np.ndarray:
        return _at(self.radius_HW, direction_N3)

    def scalp(self, direction_N3: np.ndarray) -> np.ndarray:
        return _at(self.scalp_HW, direction_N3)


def locks(head: Head, neutral_V3: np.ndarray, sheet: Canvas, look: Look):
    """(vertices N×3, triangles M×3, colour N×3, atlas positions N×2, edge N) of all locks."""
    style = STYLES[look.hair]
    rng = np.random.default_rng((look.seed, 5))
    marks = neutral_V3[head.landmarks_68] / sheet.unit
    skull = _skull(head, neutral_V3, sheet, look)
    roots, lock_length, front = _roots(rng, skull, style, look, marks)
    paths = _grow(rng, skull, style, look, marks, roots, lock_length, front)
    return _ribbons(rng, skull, style, look, paths, sheet.unit)


def _skull(head: Head, neutral_V3: np.ndarray, sheet: Canvas, look: Look) -> Skull:
    at = neutral_V3 / sheet.unit
    marks = at[head.landmarks_68]
    skin = np.isin(sheet.part_V, (SKIN, HAIR))
    ears = np.abs(at[:, 0]) > np.abs(marks[[0, 16], 0]).max() + 0.2
    used = skin & ~(ears & (at[:, 1] < marks[27, 1] + 1.5))
    scalp_V = _texels(painting.scalp(sheet, look), sheet.uv_V2)
    hairy = at[used & (scalp_V > 0.5)]
    depth = (hairy[:, 2].min() + hairy[:, 2].max()) / 2 if len(hairy) else 0.0
    centre = np.array([0.0, marks[27, 1] + 1.0, depth], np.float32)
    used = np.flatnonzero(used)[::2]  # close enough for cells of five degrees
    out = at[used] - centre
    far = np.linalg.norm(out, axis=1)
    cell = np.round(_cells(out / far[:, None])).astype(int)
    flat = np.clip(cell[:, 1], 0, _GRID[0] - 1) * _GRID[1] + cell[:, 0] % _GRID[1]
    radius = np.zeros(_GRID[0] * _GRID[1], np.float32)
    np.maximum.at(radius, flat, far.astype(np.float32))
    count = np.bincount(flat, minlength=radius.size)
    share = np.bincount(flat, scalp_V[used], minlength=radius.size) / np.maximum(count, 1)
    known = (radius > 0).reshape(_GRID).astype(np.float32)
    return Skull(
        centre,
        _filled(radius.reshape(_GRID), known),
        _filled(share.reshape(_GRID).astype(np.float32), known),
    )


def _texels(image_HW: np.ndarray, uv_V2: np.ndarray) -> np.ndarray:
    """The atlas at each vertex."""
    at = np.clip(np.round(uv_V2).astype(int), 0, np.array(image_HW.shape[::-1]) - 1)
    return image_HW[at[:, 1], at[:, 0]]


def _cells(direction_N3: np.ndarray) -> np.ndarray:
    """Column (azimuth) and row (elevation) of unit directions, fractional."""
    azimuth = np.arctan2(direction_N3[:, 0], direction_N3[:, 2])
    elevation = np.arcsin(np.clip(direction_N3[:, 1], -1, 1))
    column = (azimuth / (2 * np.pi) + 0.5) * _GRID[1]
    return np.stack([column, (0.5 - elevation / np.pi) * (_GRID[0] - 1)], axis=1)


def _filled(image_HW: np.ndarray, known_HW: np.ndarray) -> np.ndarray:
    """Cells that no vertex lies in take the mean of those around; smoothed, round the back too."""
    wide = 12
    image = np.pad(image_HW * known_HW, ((0, 0), (wide, wide)), mode="wrap")
    known = np.pad(known_HW, ((0, 0), (wide, wide)), mode="wrap")
    around = cv2.GaussianBlur(image, (0, 0), 2.5) / np.maximum(
        cv2.GaussianBlur(known, (0, 0), 2.5), 1e-4
    )
    filled = np.where(known > 0, image, around)
    return cv2.GaussianBlur(filled, (0, 0), 0.8)[:, wide:-wide]


def _at(image_HW: np.ndarray, direction_N3: np.ndarray) -> np.ndarray:
    cell = _cells(direction_N3)
    column, row = cell[:, 0], np.clip(cell[:, 1], 0, _GRID[0] - 1.001)
    i, j = np.floor(row).astype(int), np.floor(column).astype(int)
    a, b = row - i, column - j
    j0, j1 = j % _GRID[1], (j + 1) % _GRID[1]
    top = image_HW[i, j0] * (1 - b) + image_HW[i, j1] * b
    low = image_HW[i + 1, j0] * (1 - b) + image_HW[i + 1, j1] * b
    return top * (1 - a) + low * a


def _roots(rng, skull: Skull, style: Style, look: Look, marks: np.ndarray):
    """Unit directions of the roots, the length of each lock, and which fall over the forehead."""
    many = 900
    turn = np.arange(many) * np.pi * (3 - np.sqrt(5)) + rng.uniform(0, 6)
    height = np.linspace(-0.75, 0.999, many) + rng.normal(0, 0.01, many)
    height = np.clip(height, -1, 1)
    wide = np.sqrt(1 - height**2)
    direction = np.stack([wide * np.sin(turn), height, wide * np.cos(turn)], axis=1)
    direction = direction[skull.scalp(direction) > 0.45]
    # The front is what is seen of most heads: three locks there for one behind.
    wanted = rng.random(len(direction)) / np.where(direction[:, 2] > 0, 3.0, 1.0)
    keep = np.argsort(wanted)[: style.locks]
    direction = direction[keep]
    length = style.length * look.hair_length * rng.uniform(0.75, 1.15, len(direction))
    front = np.zeros(len(direction), bool)
    if look.fringe and style.fringe:
        front = (
            (direction[:, 2] > 0.25) & (np.abs(direction[:, 0]) < 0.55) & (direction[:, 1] > 0.1)
        )
        length[front] = style.fringe * rng.uniform(0.8, 1.2, int(front.sum()))
    return direction, length, front


def _grow(rng, skull: Skull, style: Style, look: Look, marks, roots, length, front) -> np.ndarray:
    """Paths of the locks: N×_POINTS×3, cm."""
    count = len(roots)
    at = skull.centre_3 + roots * (skull.radius(roots) + 0.05)[:, None]
    ahead = _combed(rng, skull, style, look, roots, at, front)
    lift = (0.15 + look.hair_thickness * rng.uniform(0.3, 1.0, count)) * (
        0.5 if style.comb == "back" else 1.0
    )
    step = (length / (_POINTS - 1))[:, None]
    deep = (np.minimum(length, 4.0) * rng.uniform(0.25, 0.8, count))[:, None]
    phase, often = rng.uniform(0, 2 * np.pi, count), rng.uniform(0.8, 1.4, count) * 1.7
    crossing = rng.random(count) < look.loose  # strands that fall into the face
    crossing &= (roots[:, 2] > 0.1) & ~front
    over = np.stack([0.4 * np.sign(roots[:, 0]), np.full(count, -0.2), np.ones(count)], axis=1)
    ahead[crossing] = _unit(over)[crossing]
    clear = rng.uniform(0.86, 1.06) * np.ones(count)
    clear[crossing] *= rng.uniform(0.2, 0.8, int(crossing.sum()))
    path = [at]
    for k in range(1, _POINTS):
        out = _unit(at - skull.centre_3)
        across = np.cross(ahead, out)
        wave = np.sin(phase + often * k * (2.2 if style.curl > 1 else 1.0)) * style.curl * 0.7
        bob = np.cos(phase + often * k) * style.curl * 0.35
        pull = ahead + across * wave[:, None] + out * bob[:, None]
        pull[:, 1] -= style.weight * (0.5 + 0.5 * k / _POINTS) * 2
        ahead = _unit(pull)
        at = at + ahead * step
        away = at - skull.centre_3
        far = np.linalg.norm(away, axis=1, keepdims=True)
        least = (skull.radius(away / far) + lift * min(1.0, k / 2.5))[:, None]
        scale = np.maximum(1.0, least / far)
        if style.comb == "back":  # bound: it lies on the head
            scale = least / far
        elif style.comb == "up":  # cut to a layer
            scale = np.minimum(scale, (least + deep) / far)
        at = skull.centre_3 + away * scale
        at = _out_of_face(at, marks, clear, front, look)
        path.append(at)
    return np.stack(path, axis=1)


def _combed(rng, skull: Skull, style: Style, look: Look, roots, at, front) -> np.ndarray:
    """The direction in which each lock leaves its root."""
    count = len(roots)
    whorl = skull.centre_3 + np.array([0.6 * np.sign(look.part), 7.5, -4.5])
    from_whorl = at - whorl
    if style.comb == "part":
        side = np.where(at[:, 0] > look.part, 1.0, -1.0)
        away = np.stack([side * 1.2, np.full(count, -0.25), 0.25 * roots[:, 2]], axis=1)
        behind = np.clip(-roots[:, 2] * 2, 0, 1)[:, None]
        away = away * (1 - behind) + from_whorl * behind * 0.2
    elif style.comb == "back":
        away = np.stack([-0.1 * roots[:, 0], 0.25 + 0 * roots[:, 1], -np.ones(count)], axis=1)
    elif style.comb == "up":
        sweep = np.array([0.4 * np.sign(look.part), 0.0, 0.5])
        away = roots * 1.0 + rng.normal(0, 0.55, (count, 3)) + sweep * (style.curl < 0.5)
    else:
        away = from_whorl * 0.2
    away = away + rng.normal(0, 0.12, (count, 3))
    over = np.array([0.35 * look.part / 2.5, -0.3, 1.0])
    away[front] = over + rng.normal(0, 0.15, (int(front.sum()), 3))
    if style.comb != "up":
        away -= roots * (away * roots).sum(axis=1, keepdims=True)
        away += 0.15 * roots
    return _unit(away)


def _out_of_face(at, marks, clear, front, look: Look) -> np.ndarray:
    """Pushes what hangs before the face to its sides; a fringe ends above the eyes."""
    jaw = marks[0:17]
    half = np.interp(-at[:, 1], -jaw[:9, 1], np.abs(jaw[:9, 0]))
    half = np.where(at[:, 1] > jaw[0, 1], np.abs(jaw[0, 0]), half) * clear
    depth = np.interp(-at[:, 1], -jaw[:9, 1], jaw[:9, 2])
    brow = marks[17:27, 1].max()
    top = brow + np.where(front, look.fringe_clear, 2.2)
    before = (at[:, 2] > depth - 0.5) & (at[:, 1] < top) & (np.abs(at[:, 0]) < half)
    hanging = before & ~front
    side = np.where(at[:, 0] >= 0, 1.0, -1.0)
    at[hanging, 0] = (side * half)[hanging]
    still_over = hanging & (clear > 0.8)
    at[still_over, 2] = np.minimum(at[still_over, 2], depth[still_over] + 2.6)
    ends = before & front
    at[ends, 1] = top[ends]
    return at


def _ribbons(rng, skull: Skull, style: Style, look: Look, path_NK3: np.ndarray, unit: float):
    count, points, _ = path_NK3.shape
    ahead = np.gradient(path_NK3, axis=1)
    out = _unit((path_NK3 - skull.centre_3).reshape(-1, 3)).reshape(path_NK3.shape)
    across = np.cross(ahead, out)
    across /= np.maximum(np.linalg.norm(across, axis=2, keepdims=True), 1e-6)
    t = np.linspace(0, 1, points)
    width = 1.7 * style.width * rng.uniform(0.6, 1.3, count)[:, None] * (1 - 0.55 * t**2)[None]
    half = across * (width / 2)[..., None]
    # One edge lies under the next lock and is whole, the other is torn; ribbons lean that way.
    vertices = np.stack([path_NK3 - half, path_NK3 + half + out * 0.15 * width[..., None]], axis=2)
    edge = np.stack([0.78 - 0.35 * t**2, 1.25 - 0.6 * t**4], axis=1)
    edge = np.broadcast_to(edge, (count, points, 2))
    tone = rng.uniform(0.8, 1.3, count)[:, None, None]
    tips = 1 + (look.tips - 1) * np.clip(t * 1.4 - 0.3, 0, 1)
    light = rng.random(count) < look.streaks
    base = np.array(look.hair_rgb)
    base = np.where(light[:, None], np.minimum(base * 2.2 + 0.03, 0.6), base)
    colour = base[:, None, :] * tone * tips[None, :, None]
    colour = np.repeat(colour[:, :, None, :], 2, axis=2)
    u = rng.uniform(0, WIDTH - 60, count)[:, None, None] + np.arange(2) * 22.0 + 0 * t[:, None]
    start = rng.uniform(0, 0.4, count)[:, None, None]
    v = SKIN_ROWS + 4 + (HAIR_ROWS - 8) * (start + 0.6 * t[None, :, None]) + 0 * u
    grid = np.arange(count * points * 2).reshape(count, points, 2)
    a, b, c, d = grid[:, :-1, :-1], grid[:, 1:, :-1], grid[:, 1:, 1:], grid[:, :-1, 1:]
    triangles = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)])
    return (
        (vertices.reshape(-1, 3) * unit).astype(np.float32),
        triangles.reshape(-1, 3).astype(np.int32),
        np.clip(colour, 0, 0.9).reshape(-1, 3).astype(np.float32),
        np.stack([u, v], axis=-1).reshape(-1, 2).astype(np.float32),
        edge.reshape(-1).astype(np.float32),
    )


def _unit(vector_N3: np.ndarray) -> np.ndarray:
    return vector_N3 / np.maximum(np.linalg.norm(vector_N3, axis=-1, keepdims=True), 1e-9)
