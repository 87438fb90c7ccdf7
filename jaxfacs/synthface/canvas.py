"""The unwrapped head: where each vertex lies in the texture atlas, and maps drawn there once.

Skin is unwrapped on a cylinder about the vertical axis, so hairs, freckles and creases can be
painted finer than the mesh. Atlas rows from the top: skin, then a band of hair strands, then a
band of patches: the eye (by angle from its optical axis) and a white patch for everything that
has no texture. Everything here depends on the head model alone and is kept for the process.
"""

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from jaxfacs.synthface import raster
from jaxfacs.synthface.heads import PARTS, Head

WIDTH = 768  # of the atlas; one turn of the head, 14 texels a centimetre
SKIN_ROWS, HAIR_ROWS, EYE_ROWS = 432, 64, 128
HEIGHT = SKIN_ROWS + HAIR_ROWS + EYE_ROWS
EYE_SPAN = np.deg2rad(75.0)  # angle from the optical axis at the rim of the eye patch
IRIS_SPAN = np.deg2rad(29.0)  # of the iris, where the head does not say
CREASE_SCALE = 2  # crease maps are this many times coarser than the atlas

# How much deeper than their drawn height creases are that a whole sheet of skin is pushed into.
_FOLDS = {"1": 1.5, "2": 1.5, "4": 1.3, "6": 1.2, "9": 1.2, "10": 1.8, "11": 1.5, "12": 1.8,
          "14": 1.3, "15": 1.2, "17": 1.4, "20": 1.4}  # fmt: skip

SKIN, SCLERA, IRIS, TEETH, MOUTH, LASHES, HAIR = range(len(PARTS))


@dataclass(frozen=True, eq=False)
class Canvas:
    """What the atlas says about a head.

    Attributes:
      uv_V2: float32 atlas position of each vertex, texels.
      unit: cm of this head per real centimetre (the outer corners of the eyes are 9 cm apart);
        heads differ in scale.
      texel: texels per real centimetre on the skin.
      masks: name -> float32 SKIN_ROWS×WIDTH, the head's masks drawn in the atlas.
      creases: labels of the crease maps, in order.
      crease_KHW3: float32 (slope along u, slope along v, depth) at intensity 5, coarser by
        CREASE_SCALE, cut to `window`.
      window: the rows and columns of the crease maps outside which all are flat.
      holes_V: 1 where the resting skin faces down or inwards (the nostril's hole), 0 on its wing.
      occlusion_V: float32, how much of the sky each vertex sees at rest, 0..1.
      part_V: uint8 part of each vertex (of its last triangle).
      landmarks_68x2: the landmarks in the atlas.
    """

    uv_V2: np.ndarray
    unit: float
    texel: float
    masks: dict[str, np.ndarray]
    creases: tuple[str, ...]
    crease_KHW3: np.ndarray
    window: tuple[slice, slice]
    holes_V: np.ndarray
    occlusion_V: np.ndarray
    part_V: np.ndarray
    landmarks_68x2: np.ndarray


@functools.lru_cache(maxsize=4)
def canvas(head: Head) -> Canvas:
    """Unwraps a head; takes about a second, once."""
    vertices = head.vertices_V3
    part_V = np.zeros(len(vertices), np.uint8)
    part_V[head.triangles_F3] = head.part_F[:, None]
    corners = vertices[head.landmarks_68]
    unit = float(np.linalg.norm(corners[36] - corners[45])) / 9.0
    skin = np.isin(part_V, (SKIN, HAIR))
    above_chin = skin & (vertices[:, 1] > corners[8, 1])
    axis = (vertices[above_chin].min(axis=0) + vertices[above_chin].max(axis=0))[[0, 2]] / 2
    radius = float(np.linalg.norm(corners[30, [0, 2]] - axis))
    texel_per_cm = WIDTH / (2 * np.pi * radius)
    x, z = vertices[:, 0] - axis[0], vertices[:, 2] - axis[1]
    uv = np.empty((len(vertices), 2), np.float32)
    uv[:, 0] = (np.arctan2(x, z) / (2 * np.pi) + 0.5) * WIDTH
    top = vertices[skin, 1].max()
    uv[:, 1] = np.clip((top - vertices[:, 1]) * texel_per_cm + 8, 2, SKIN_ROWS - 3)
    outward = np.hypot(x, z)
    masks, creases = _unwrap(head, uv, outward)
    for eye in head.eyes:
        uv[eye.vertices] = _eye_uv(vertices[eye.vertices] - eye.centre_3)
    plain = np.isin(part_V, (TEETH, MOUTH, LASHES))
    uv[plain] = (EYE_ROWS * 2, HEIGHT - EYE_ROWS / 2)
    labels = list(head.wrinkles)
    for label, height in _fine_folds(uv[head.landmarks_68], texel_per_cm * unit).items():
        if label in labels:
            creases[labels.index(label)] += height
        else:
            labels.append(label)
            creases.append(height)
    slopes = _slopes(creases, texel_per_cm * unit)
    for slope, label in zip(slopes, labels, strict=True):
        slope *= _FOLDS.get(label.lstrip("LR"), 1.0)
    rows, columns = window = _window(slopes)
    normals = vertex_normals(vertices, head.triangles_F3)
    return Canvas(
        uv_V2=uv,
        unit=unit,
        texel=texel_per_cm * unit,
        masks=masks,
        creases=tuple(labels),
        crease_KHW3=slopes[:, rows, columns].copy(),
        window=window,
        holes_V=np.clip(-normals[:, 1] * 1.6 - 0.2, 0, 1),
        occlusion_V=_sky(vertices, skin, unit),
        part_V=part_V,
        landmarks_68x2=uv[head.landmarks_68],
    )


def vertex_normals(vertices_V3: np.ndarray, triangles_F3: np.ndarray) -> np.ndarray:
    """Unit normals, averaged over the triangles by area; float32 V×3."""
    corners = np.ascontiguousarray(triangles_F3.T, np.intp)
    count = len(vertices_V3)
    totals = [
        sum(np.bincount(corner, face, minlength=count) for corner in corners)
        for face in _faces(vertices_V3, corners)
    ]
    total = np.stack(totals, axis=1).astype(np.float32)
    return total / np.maximum(np.sqrt((total**2).sum(axis=1, keepdims=True)), 1e-12)


def _faces(at_V3: np.ndarray, corners_3F: np.ndarray) -> tuple[np.ndarray, ...]:
    """Normals of triangles, as long as twice their area, column by column."""
    columns = np.ascontiguousarray(at_V3.T)
    (x, y, z), (bx, by, bz), (cx, cy, cz) = (
        [column.take(corner) for column in columns] for corner in corners_3F
    )
    for other, first in ((bx, x), (cx, x), (by, y), (cy, y), (bz, z), (cz, z)):
        other -= first
    return by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx


Smoothing = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def smoothing(triangles_F3: np.ndarray) -> Smoothing:
    """(corners 3×F, triangles in the order of corner vertices, those vertices, their runs)."""
    flat = triangles_F3.ravel()
    order = np.argsort(flat, kind="stable")
    vertices, starts = np.unique(flat[order], return_index=True)
    corners = np.ascontiguousarray(triangles_F3.T, np.intp)
    return corners, (order // 3).astype(np.intp), vertices.astype(np.intp), starts


def smooth_normals(smooth: Smoothing, at_V3: np.ndarray, out_V3: np.ndarray) -> None:
    """Writes unit normals, averaged by area, of the vertices that `smoothing` was made for.

    Fastest with planar arrays (`raster.planar`).
    """
    corners, by_corner, vertices, starts = smooth
    faces = _faces(at_V3, corners)
    nx, ny, nz = (np.add.reduceat(face.take(by_corner), starts) for face in faces)
    scale = 1 / np.maximum(np.sqrt(nx * nx + ny * ny + nz * nz), 1e-12)
    for column, total in zip(out_V3.T, (nx, ny, nz), strict=True):
        column[vertices] = total * scale


def _eye_uv(from_centre_N3: np.ndarray) -> np.ndarray:
    """Azimuthal equidistant: distance from the patch's middle = angle from the optical axis."""
    x, y, z = from_centre_N3.T
    off = np.arctan2(np.hypot(x, y), z)
    scale = np.minimum(off / EYE_SPAN, 0.97) * (EYE_ROWS / 2) / np.maximum(np.hypot(x, y), 1e-9)
    return np.stack([EYE_ROWS / 2 + x * scale, HEIGHT - EYE_ROWS / 2 - y * scale], axis=1)


def _unwrap(head: Head, uv_V2: np.ndarray, outward_V: np.ndarray):
    """Draws masks and creases of the outermost skin into the atlas."""
    part = np.isin(head.part_F, (SKIN, HAIR))
    corner_u = uv_V2[head.triangles_F3, 0]
    no_seam = np.ptp(corner_u, axis=1) < WIDTH / 4
    triangles = head.triangles_F3[part & no_seam]
    nearness = (0.1 + outward_V / outward_V.max()).astype(np.float32)
    seen = raster.rasterize(
        uv_V2,
        nearness,
        triangles,
        height=SKIN_ROWS,
        width=WIDTH,
        two_sided_F=np.ones(len(triangles), bool),
    )
    flat = np.ones(len(nearness), np.float32)
    corner, weight = raster.barycentric(seen, uv_V2, flat, triangles, width=WIDTH)

    def drawn(field_V: np.ndarray) -> np.ndarray:
        image = np.zeros(SKIN_ROWS * WIDTH, np.float32)
        image[seen.pixel_N] = (field_V[corner] * weight).sum(axis=1)
        return image.reshape(SKIN_ROWS, WIDTH)

    small = (WIDTH // CREASE_SCALE, SKIN_ROWS // CREASE_SCALE)
    creases = [
        cv2.resize(drawn(field), small, interpolation=cv2.INTER_AREA)
        for field in head.wrinkles.values()
    ]
    return {name: drawn(mask) for name, mask in head.masks.items() if name != "iris"}, creases


def _fine_folds(marks_68x2: np.ndarray, texel: float) -> dict[str, np.ndarray]:
    """Label -> height (cm / 10) of what is too fine to be drawn line by line: the pebbles that the
    mentalis makes of the chin, and the upright lines about lips that are pursed or tightened."""
    v, u = np.mgrid[0 : SKIN_ROWS // CREASE_SCALE, 0 : WIDTH // CREASE_SCALE].astype(np.float32)
    marks, cm = marks_68x2 / CREASE_SCALE, texel / CREASE_SCALE
    noise = np.random.default_rng(17).standard_normal(v.shape, np.float32)
    pebbles = cv2.GaussianBlur(noise, (0, 0), 0.14 * cm)
    pebbles *= 0.45 / pebbles.std()
    chin = (marks[57] + marks[8]) / 2
    off = ((u - chin[0]) / (1.7 * cm)) ** 2 + ((v - chin[1]) / (1.15 * cm)) ** 2
    mouth = marks[48:60].mean(axis=0)
    half = (np.ptp(marks[48:60, 0]) / 2 + 0.2 * cm, np.ptp(marks[48:60, 1]) / 2 + 0.1 * cm)
    out = np.hypot((u - mouth[0]) / half[0], (v - mouth[1]) / half[1])
    about = np.exp(-(((out - 1.35) / 0.3) ** 2)) * np.clip(
        1.3 - np.abs(u - mouth[0]) / half[0], 0, 1
    )
    lines = -0.45 * np.maximum(np.cos((u - mouth[0]) / cm * 2 * np.pi / 0.5), 0) * about
    flat = {"17": pebbles * np.exp(-(off**2)), "18": lines, "22": 0.5 * lines, "23": 0.8 * lines}
    return {label: height.astype(np.float32) for label, height in flat.items()}


def _slopes(creases: list[np.ndarray], texel: float) -> np.ndarray:
    """Height maps (cm / 10) -> slopes and the depth of the furrows, K×H×W×3."""
    maps = np.zeros((len(creases), SKIN_ROWS // CREASE_SCALE, WIDTH // CREASE_SCALE, 3), np.float32)
    step_cm = CREASE_SCALE / texel
    for out, height in zip(maps, creases, strict=True):
        height = cv2.GaussianBlur(height, (0, 0), 1.1)
        out[..., 0] = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=0.1 / 8 / step_cm)
        out[..., 1] = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=0.1 / 8 / step_cm)
        out[..., 2] = np.maximum(-height, 0)
    return maps


def _window(slopes_KHW3: np.ndarray) -> tuple[slice, slice]:
    bent = np.abs(slopes_KHW3).max(axis=(0, 3), initial=0) > 1e-4
    rows, columns = np.flatnonzero(bent.any(axis=1)), np.flatnonzero(bent.any(axis=0))
    if not len(rows):
        return slice(0, 1), slice(0, 1)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _sky(vertices_V3: np.ndarray, skin_V: np.ndarray, unit: float) -> np.ndarray:
    """The share of directions, weighted to the front and above, that a vertex sees freely."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(64, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    directions = directions[directions @ [0, 0.3, 1.0] > -0.1]
    lit = np.zeros(len(vertices_V3), np.float32)
    for direction in directions:
        lit += 1 - shadow(vertices_V3, skin_V, direction.astype(np.float32), unit)
    return lit / len(directions)


def shadow(
    points_V3: np.ndarray, casts_V: np.ndarray, towards_3: np.ndarray, unit: float
) -> np.ndarray:
    """How far each point lies in the shade of the others for light from `towards_3`: 0..1.

    A depth map of points instead of triangles, a third of a centimetre a cell: half a
    millisecond, and soft at the edge, which is what skin shows under any but the hardest light.
    """
    side = np.cross(towards_3, [0, 1, 0] if abs(towards_3[1]) < 0.9 else [1, 0, 0])
    side /= np.linalg.norm(side)
    up = np.cross(side, towards_3)
    frame = np.stack([side, up, towards_3]).astype(np.float32)
    a, b, depth = frame @ points_V3.T
    cell = 0.36 * unit
    a, b = (a - a.min()) / cell + 2, (b - b.min()) / cell + 2
    rows, columns = int(b.max()) + 4, int(a.max()) + 4
    nearest = np.full(rows * columns, -1e3, np.float32)
    np.maximum.at(
        nearest,
        b[casts_V].astype(np.int32) * columns + a[casts_V].astype(np.int32),
        depth[casts_V],
    )
    nearest = cv2.dilate(nearest.reshape(rows, columns), np.ones((2, 2), np.uint8)).reshape(-1)
    shade = np.zeros(len(depth), np.float32)
    for da, db in ((-0.6, -0.2), (0.2, -0.6), (0.6, 0.2), (-0.2, 0.6)):
        cells = (b + db).astype(np.int32) * columns + (a + da).astype(np.int32)
        shade += np.clip((nearest[cells] - depth - 0.5 * unit) / (0.5 * unit), 0, 1)
    return shade * 0.25
