"""A thing with a mesh of its own, and the two shapes that many are made of: shells and tubes."""

from dataclasses import dataclass

import cv2
import numpy as np

from jaxfacs.synthface.canvas import EYE_ROWS, HEIGHT, SKIN, Canvas, vertex_normals
from jaxfacs.synthface.heads import Head

PLAIN_UV = (EYE_ROWS * 2.0, HEIGHT - EYE_ROWS / 2)  # the white patch of the atlas

Rgb = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Prop:
    """A mesh with its paint.

    Attributes:
      vertices_N3, triangles_M3: as in Head.
      albedo_3, gloss, uv_N2: paint; the atlas varies it. albedo_3 may be one colour a vertex, N×3.
      edge_N: None, or how far inside the hair a vertex lies: 0.5 is the ragged edge.
      hairy: shaded as hair.
      two_sided: seen from behind too.
      turns: 1 moves with the head, less hardly (shoulders).
    """

    vertices_N3: np.ndarray
    triangles_M3: np.ndarray
    albedo_3: Rgb | np.ndarray
    gloss: float
    uv_N2: np.ndarray
    edge_N: np.ndarray | None
    hairy: bool
    two_sided: bool
    turns: float


def plain(vertices_N3: np.ndarray, triangles: np.ndarray, albedo, gloss: float = 0.3) -> Prop:
    """A thing without texture that moves with the head."""
    return Prop(
        vertices_N3=np.asarray(vertices_N3, np.float32),
        triangles_M3=triangles.reshape(-1, 3).astype(np.int32),
        albedo_3=albedo,
        gloss=gloss,
        uv_N2=np.tile(np.array(PLAIN_UV, np.float32), (len(vertices_N3), 1)),
        edge_N=None,
        hairy=False,
        two_sided=True,
        turns=1.0,
    )


def grid_triangles(rows: int, columns: int, *, closed: bool = False) -> np.ndarray:
    """Triangles of a grid of vertices; `closed` joins the last column to the first."""
    grid = np.arange(rows * columns).reshape(rows, columns)
    if closed:
        grid = np.concatenate([grid, grid[:, :1]], axis=1)
    a, b, c, d = grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]
    triangles = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)])
    return triangles.reshape(-1, 3).astype(np.int32)


@dataclass(frozen=True, eq=False)
class Lifted:
    """The part of the skin under a cover: vertex numbers, triangles among them, unit normals, how
    far inside the cover each lies (0.5 at its edge; deep: over a centimetre)."""

    used: np.ndarray
    triangles_M3: np.ndarray
    normals_N3: np.ndarray
    edge_N: np.ndarray
    deep_N: np.ndarray


def lifted(
    head: Head, neutral_V3: np.ndarray, sheet: Canvas, cover_HW: np.ndarray, *, ears: bool = True
) -> Lifted:
    """What a cover, painted in the atlas, lies on. `ears`: they stay bare below the brows."""
    rows, columns = cover_HW.shape
    half = cv2.resize(cover_HW, (columns // 2, rows // 2), interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(half, (0, 0), 0.15 * sheet.texel)
    deep = cv2.GaussianBlur(half, (0, 0), 0.5 * sheet.texel)
    texel = np.clip((sheet.uv_V2 / 2).astype(int), 0, np.array(half.shape[::-1]) - 1)
    edge_V = soft[texel[:, 1], texel[:, 0]]
    if ears:
        marks = neutral_V3[head.landmarks_68]
        beside = np.abs(neutral_V3[:, 0]) > np.abs(marks[[0, 16], 0]).max()
        edge_V[beside & (neutral_V3[:, 1] < marks[27, 1] + 1.5 * sheet.unit)] = 0
    edge_V[sheet.part_V != SKIN] = 0
    inside = (edge_V > 0.08)[head.triangles_F3].all(axis=1)
    triangles = head.triangles_F3[inside]
    held = np.zeros(len(edge_V), bool)
    held[triangles] = True
    used, triangles = np.flatnonzero(held), (np.cumsum(held) - 1)[triangles]
    normals = vertex_normals(neutral_V3, head.triangles_F3[inside])[used]
    return Lifted(
        used,
        triangles.reshape(-1, 3).astype(np.int32),
        normals,
        edge_V[used],
        deep[texel[used, 1], texel[used, 0]],
    )


def tube(path_K3: np.ndarray, closed: bool, radius: float, albedo, gloss: float = 1.5) -> Prop:
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
    return plain(vertices, triangles, albedo, gloss)
