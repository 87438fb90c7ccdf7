"""Somebody ready to be seen: painted and dressed once, then rendered in any number of scenes.

All that a picture needs and that does not depend on scene, pose or expression is made here, and
what depends on the head model alone is kept for the process. A still costs several times less
where the same person is rendered again.
"""

import functools
import itertools
from dataclasses import dataclass, field

import cv2
import numpy as np

from jaxfacs.synthface import canvas as canvases
from jaxfacs.synthface import paint as painting
from jaxfacs.synthface import props as wardrobe
from jaxfacs.synthface import shade
from jaxfacs.synthface.canvas import EYE_SPAN, IRIS, LASHES, MOUTH, SCLERA, SKIN, TEETH, Canvas
from jaxfacs.synthface.heads import Head
from jaxfacs.synthface.look import Look
from jaxfacs.synthface.raster import planar

# Columns of the per-vertex table that pixels interpolate.
NORMAL, ALBEDO, GLOSS, OPEN, SHADOW, UV, EDGE = (
    slice(0, 3),
    slice(3, 6),
    6,
    7,
    8,
    slice(9, 11),
    11,
)
COLUMNS = 12

# Creases that a face has at rest as it ages, as a share of what the action makes of them.
_AT_REST = {"1": 0.35, "2": 0.35, "4": 0.25, "6": 0.35, "10": 0.15, "12": 0.28, "15": 0.25}


@dataclass(frozen=True, eq=False)
class Fixed:
    """What depends on the head model alone.

    smooth is what `canvas.smooth_normals` needs of the skin; lashes_L3 are the triangles of the
    lashes; eye_axis is the vertex at the middle of each cornea; cavity_V marks teeth, gums and
    tongue, skin_V the skin; seen_F the triangles that can be seen.
    """

    smooth: canvases.Smoothing
    lashes_L3: np.ndarray
    eye_axis: tuple[int, int]
    cavity_V: np.ndarray
    skin_V: np.ndarray
    seen_F: np.ndarray


@dataclass(frozen=True, eq=False)
class Dressed:
    """One person, painted and dressed; made by `dress`.

    V vertices of the head are followed by those of the props, F triangles likewise. open_S,
    cavity_S and ragged_S number the triangles that are always drawn, those inside the mouth and
    those of hair. attributes_VC has the columns named above. lash_V is how dark the lashes are.
    folds_K is how deep this face makes each crease of the canvas, uneven_HW1 where along it.
    Tables of vertices and triangles are planar, see `raster`.
    """

    head: Head
    sheet: Canvas
    fixed: Fixed
    look: Look
    neutral_V3: np.ndarray
    props: tuple[wardrobe.Prop, ...]
    prop_normals: tuple[np.ndarray, ...]
    triangles_F3: np.ndarray
    material_F: np.ndarray
    two_sided_F: np.ndarray
    open_S: np.ndarray
    cavity_S: np.ndarray
    ragged_S: np.ndarray
    attributes_VC: np.ndarray
    resting_V3: np.ndarray
    lash_V: np.ndarray
    creases_HW3: np.ndarray
    folds_K: np.ndarray
    uneven_HW1: np.ndarray
    _atlases: list[np.ndarray] = field(repr=False)

    def atlas(self, level: int) -> np.ndarray:
        """uint16 RGB, ATLAS_ONE = 1, halved `level` times."""
        while len(self._atlases) <= level:
            last = self._atlases[-1]
            half = (last.shape[1] // 2, last.shape[0] // 2)
            self._atlases.append(cv2.resize(last, half, interpolation=cv2.INTER_AREA))
        return self._atlases[level]


def dress(head: Head, neutral_V3: np.ndarray, look: Look) -> Dressed:
    """Paints and dresses one person.

    Args:
      head: the head model.
      neutral_V3: this person at rest, from `heads.identity`.
      look: from `sample_look`.
    """
    sheet = canvases.canvas(head)
    coat = painting.paint(head, sheet, look)
    props = tuple(wardrobe.props(head, neutral_V3, sheet, look))
    keep = _visible(head, neutral_V3, sheet, look)
    triangles = [head.triangles_F3[keep]]
    material = [head.part_F[keep]]
    two_sided = [np.isin(head.part_F[keep], (LASHES, canvases.HAIR))]
    total = len(head.vertices_V3)
    table = [np.zeros((total, COLUMNS), np.float32)]
    table[0][:, ALBEDO], table[0][:, GLOSS] = coat.albedo_V3, coat.gloss_V
    table[0][:, OPEN], table[0][:, UV] = sheet.occlusion_V, sheet.uv_V2
    ragged = [np.zeros(int(keep.sum()), bool)]
    prop_normals = []
    for prop in props:
        rows = np.zeros((len(prop.vertices_N3), COLUMNS), np.float32)
        rows[:, ALBEDO], rows[:, GLOSS], rows[:, OPEN] = prop.albedo_3, prop.gloss, 0.9
        rows[:, UV] = prop.uv_N2
        if prop.edge_N is not None:
            rows[:, EDGE] = prop.edge_N
        table.append(rows)
        triangles.append(prop.triangles_M3 + total)
        kind = canvases.HAIR if prop.hairy else shade.CLOTH
        material.append(np.full(len(prop.triangles_M3), kind, np.uint8))
        ragged.append(np.full(len(prop.triangles_M3), prop.edge_N is not None))
        two_sided.append(np.full(len(prop.triangles_M3), prop.two_sided))
        prop_normals.append(canvases.vertex_normals(prop.vertices_N3, prop.triangles_M3))
        total += len(rows)
    triangles, material = np.concatenate(triangles), np.concatenate(material)
    cavity = np.isin(material, (MOUTH, TEETH))
    folds, uneven = _own_folds(sheet, look)
    return Dressed(
        head=head,
        sheet=sheet,
        fixed=fixed(head),
        look=look,
        neutral_V3=neutral_V3,
        props=props,
        prop_normals=tuple(prop_normals),
        triangles_F3=planar(triangles, np.intp),
        material_F=material,
        two_sided_F=np.concatenate(two_sided),
        open_S=np.flatnonzero(~(np.concatenate(ragged) | cavity)).astype(np.int32),
        cavity_S=np.flatnonzero(cavity).astype(np.int32),
        ragged_S=np.flatnonzero(np.concatenate(ragged)).astype(np.int32),
        attributes_VC=planar(np.concatenate(table)),
        resting_V3=planar(canvases.vertex_normals(neutral_V3, head.triangles_F3)),
        lash_V=_lash_cover(head, neutral_V3, sheet, look),
        creases_HW3=_resting_creases(sheet, folds, 1.3 * look.age * look.crease) * uneven,
        folds_K=folds,
        uneven_HW1=uneven,
        _atlases=[coat.atlas_HW3],
    )


@functools.lru_cache(maxsize=4)
def fixed(head: Head) -> Fixed:
    sheet = canvases.canvas(head)
    part_V = sheet.part_V
    skin = np.isin(head.part_F, (SKIN, canvases.HAIR))
    return Fixed(
        smooth=canvases.smoothing(head.triangles_F3[skin]),
        lashes_L3=planar(head.triangles_F3[head.part_F == LASHES], np.intp),
        eye_axis=(_axis_vertex(head, head.eyes[0]), _axis_vertex(head, head.eyes[1])),
        cavity_V=np.flatnonzero(np.isin(part_V, (TEETH, MOUTH))),
        skin_V=part_V == SKIN,
        seen_F=_ever_seen(head, sheet),
    )


def _visible(head: Head, neutral_V3: np.ndarray, sheet: Canvas, look: Look) -> np.ndarray:
    """Drops what is never seen, what clothes cover, and hair that this look lacks."""
    keep = fixed(head).seen_F.copy()
    if look.hair not in wardrobe.HAIRY:
        keep &= head.part_F != canvases.HAIR
    below = neutral_V3[:, 1] < wardrobe.neckline(head, neutral_V3, sheet) - 3.5 * sheet.unit
    a, b, c = head.triangles_F3.T
    keep &= ~(below[a] & below[b] & below[c])
    return keep


def _ever_seen(head: Head, sheet: Canvas) -> np.ndarray:
    """All triangles but the backs of the eyeballs, and irises that an opaque cornea covers."""
    keep = head.part_F != LASHES  # drawn apart, see `render._lashes`
    eye = np.isin(head.part_F, (SCLERA, IRIS))
    middle = np.array([canvases.EYE_ROWS / 2, canvases.HEIGHT - canvases.EYE_ROWS / 2])
    off = np.linalg.norm(sheet.uv_V2 - middle, axis=1) / (canvases.EYE_ROWS / 2) * EYE_SPAN
    off_F = off[head.triangles_F3].max(axis=1)
    keep[eye] = off_F[eye] < 0.96 * EYE_SPAN
    sclera_over_iris = (head.part_F == SCLERA) & (off_F < np.deg2rad(12))
    if sclera_over_iris.any():  # the iris is painted on it
        keep[head.part_F == IRIS] = False
    return keep


def _lash_cover(head: Head, neutral_V3: np.ndarray, sheet: Canvas, look: Look) -> np.ndarray:
    """How dark the lashes are at each vertex: thick at the root, nothing at the tip."""
    cover = np.zeros(len(neutral_V3), np.float32)
    lashes = np.flatnonzero(sheet.part_V == LASHES)
    at = neutral_V3[lashes]
    for first in (36, 42):
        lids = neutral_V3[head.landmarks_68[first : first + 6]]
        t = np.linspace(0, 1, 12, dtype=np.float32)[:, None]
        for row, most in ((lids[:4], 1.0), (lids[[3, 4, 5, 0]], 0.35)):
            line = np.concatenate([p + t * (q - p) for p, q in itertools.pairwise(row)])
            # |a - b|² by its three terms: one matrix product instead of an array of differences.
            square = (at**2).sum(1)[:, None] - 2 * (at @ line.T) + (line**2).sum(1)
            gap = np.maximum(square.min(axis=1, initial=np.inf), 0)
            root = most * look.lash * np.exp(-gap / (0.42 * sheet.unit) ** 2)
            cover[lashes] = np.maximum(cover[lashes], root)
    return cover


def _axis_vertex(head: Head, eye) -> int:
    at = head.vertices_V3[eye.vertices] - eye.centre_3
    return int(eye.vertices[np.argmin(np.hypot(at[:, 0], at[:, 1]) - at[:, 2])])


def _own_folds(sheet: Canvas, look: Look) -> tuple[np.ndarray, np.ndarray]:
    """How deep each crease is on this face (K), and where along them it is (H×W×1)."""
    rng = np.random.default_rng((look.seed, 12))
    rows, columns = sheet.window
    height, width = rows.stop - rows.start, columns.stop - columns.start
    own = {x.lstrip("LR"): float(np.exp(rng.normal(0, 0.35))) for x in sorted(set(sheet.creases))}
    both = np.array([own[label.lstrip("LR")] for label in sheet.creases], np.float32)
    cell = max(2.0, 0.9 * sheet.texel / canvases.CREASE_SCALE)  # lines break off after a centimetre
    coarse = rng.standard_normal((int(height / cell) + 2, int(width / cell) + 2)).astype(np.float32)
    cloud = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return both, np.clip(1 + 0.5 * cloud, 0.1, 2.0)[..., None]


def _resting_creases(sheet: Canvas, folds_K: np.ndarray, age: float) -> np.ndarray:
    rows, columns = sheet.window
    total = np.zeros((rows.stop - rows.start, columns.stop - columns.start, 3), np.float32)
    for label, own, one in zip(sheet.creases, folds_K, sheet.crease_KHW3, strict=True):
        share = np.float32(_AT_REST.get(label.lstrip("LR"), 0.0) * age * own)
        if share:
            total += share * one
    return total
