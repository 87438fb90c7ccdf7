"""Reads the ICT Face Model Light from the folder its owners publish (MIT licence).

The folder holds 240 MB of OBJ text: the vertices are parsed once and kept in the user's cache
directory, keyed by names, sizes and times of the files. `ict_tables` says how its shapes are read
as FACS. Source: github.com/ICT-VGL/ICT-FaceKit, FaceXModel/ and README.md; what the trial of
rendering it found: the shells M_EyeBlend, M_EyeOcclusion and M_LacrimalFluid need shaders of
their own and are left out.
"""

import hashlib
import json
import os
import tempfile
import warnings
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np

from jaxfacs.errors import UserError
from jaxfacs.progress import track
from jaxfacs.synthface import ict_made as made
from jaxfacs.synthface import ict_tables as tables
from jaxfacs.synthface.heads import EXTRAS, PAIRED, PARTS, SHAPES, Corrective, Eye, Head

NEUTRAL = "generic_neutral_mesh"
INDICES = "vertex_indices.json"
VERTICES = 26719
MODES = 40  # of 100: mode 39 moves no vertex by more than 0.1 cm
MODE_SIGMA = 0.9  # weights of N(0, 0.9²) give plausible, different people

_MATERIAL_PART = {
    "M_Face": "skin",
    "M_BackHead": "skin",
    "M_GumsTongue": "mouth",
    "M_Teeth": "teeth",
    "M_ScleraLeft": "sclera",
    "M_ScleraRight": "sclera",
    "M_EyeLashes": "lashes",
}
# Vertex ranges of the model's README, "Face Model Topology" and "Teeth Details".
_HEAD_SKIN = slice(0, 11248)
_MOUTH_SOCKET = slice(11248, 13294)
_TONGUE = slice(16606, 17039)  # within the gums' range
_EYEBALLS = {"L": slice(21451, 22221), "R": slice(23021, 23791)}  # scleras, cornea included
_LASHES = {"L": slice(25351, 26035), "R": slice(26035, 26719)}
_MOLARS = (slice(17039, 17607), slice(18679, 19815), slice(20884, 21451))  # never seen

_IRIS_DEG = 23.5  # a radius of 0.6 cm on the eyeball of 1.5 cm
_EYE_RADIUS_CM = 1.50  # sclera, measured outside of the cornea's cap
_CORNEA_CM = 0.17


def load(path: str | Path) -> Head:
    """Loads the head.

    Args:
      path: the folder that holds generic_neutral_mesh.obj, or the one above it (FaceXModel).

    Raises:
      UserError: a file is missing or damaged; the message names it.
    """
    folder = _find_folder(Path(path))
    raw = _vertices_of_all(folder)
    triangles_F3, part_F = _read_triangles(folder / f"{NEUTRAL}.obj")
    return _assemble(raw, triangles_F3, part_F, _read_landmarks(folder / INDICES))


def _find_folder(path: Path) -> Path:
    for folder in (path, path / "FaceXModel"):
        if (folder / f"{NEUTRAL}.obj").is_file():
            return folder
    raise UserError(
        f"{path} holds no {NEUTRAL}.obj; give the FaceXModel folder of the ICT Face Model Light"
    )


def _shape_names() -> list[str]:
    recipes = [*tables.RECIPES.values(), *tables.EXTRA_RECIPES.values()]
    recipes += [recipe for _, recipe in tables.PRODUCTS]
    names = {shape for recipe in recipes for shape, _, _ in recipe}
    names |= set(tables.GAZE_SHAPES.values())
    sided = {name.format(s=side) for name in names for side in "LR"}
    return sorted(name for name in sided if not name.startswith(tables.MADE))


def _identity_names() -> list[str]:
    return [f"identity{i:03d}" for i in range(MODES)]


def _vertices_of_all(folder: Path) -> dict[str, np.ndarray]:
    """File stem -> float32 VERTICES×3, from the cache where the files have not changed."""
    names = [NEUTRAL, *_shape_names(), *_identity_names()]
    facts = []
    for name in names:
        try:
            stat = (folder / f"{name}.obj").stat()
        except OSError as error:
            raise UserError(
                f"{folder / name}.obj is missing; copy the whole FaceXModel folder"
            ) from error
        facts.append((name, stat.st_size, stat.st_mtime_ns))
    key = hashlib.sha256(repr((str(folder.resolve()), facts)).encode()).hexdigest()[:20]
    cached = _cache_folder() / f"ict-{key}.npz"
    try:
        with np.load(cached) as kept:
            return {name: kept[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass  # never parsed, or a cache that something else has damaged: parse again
    parsed = {
        name: _read_vertices(folder / f"{name}.obj")
        for name in track(names, label="reading the ICT head", unit="file")
    }
    _write_cache(cached, parsed)
    return parsed


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "jaxfacs"


def _write_cache(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Keeps what was parsed; a full or read-only disk only costs the time next time."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            temporary = file.name
            np.savez(file, **arrays)  # type: ignore[arg-type]
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        warnings.warn(f"the parsed head is not kept in {path}: {error}", stacklevel=2)


def _read_vertices(path: Path) -> np.ndarray:
    data = path.read_bytes()
    start, end = data.find(b"\nv "), data.find(b"\nvt ")
    vertices = np.empty(0)
    if 0 <= start < end:
        with warnings.catch_warnings():  # numpy warns where the text is not a number
            warnings.simplefilter("ignore", DeprecationWarning)
            vertices = np.fromstring(data[start:end].replace(b"v", b""), sep=" ")
    if vertices.size != 3 * VERTICES or not np.isfinite(vertices).all():
        raise UserError(
            f"{path} is damaged: {vertices.size / 3:.0f} of {VERTICES} vertices; copy it again"
        )
    return vertices.reshape(-1, 3).astype(np.float32)


def _read_triangles(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Polygons of the materials that are shown, fanned into triangles, and the part of each."""
    triangles, parts = [], []
    part = None
    with path.open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            if line.startswith("usemtl"):
                part = _MATERIAL_PART.get(line.split()[1])
            elif line.startswith("f ") and part is not None:
                corners = [int(word.split("/")[0]) - 1 for word in line.split()[1:]]
                for second, third in pairwise(corners[1:]):
                    triangles.append((corners[0], second, third))
                    parts.append(PARTS.index(part))
    triangles_F3 = np.asarray(triangles, np.int32).reshape(-1, 3)
    shown = set(parts)
    missing = [p for p in dict.fromkeys(_MATERIAL_PART.values()) if PARTS.index(p) not in shown]
    if missing or triangles_F3.min() < 0 or triangles_F3.max() >= VERTICES:
        raise UserError(f"{path} is damaged: no polygons for {missing or 'its vertices'}")
    return triangles_F3, np.asarray(parts, np.uint8)


def _read_landmarks(path: Path) -> np.ndarray:
    try:
        landmarks = json.loads(path.read_text())["idx_to_landmark_verts"]
        landmarks_68 = np.asarray(landmarks, np.int32)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is missing or damaged ({error}); copy it again") from error
    if landmarks_68.shape != (68,) or landmarks_68.min() < 0 or landmarks_68.max() >= VERTICES:
        raise UserError(f"{path} is damaged: idx_to_landmark_verts are not 68 vertices")
    return landmarks_68


def _assemble(
    raw: dict[str, np.ndarray], triangles_F3: np.ndarray, part_F: np.ndarray, landmarks: np.ndarray
) -> Head:
    neutral = raw[NEUTRAL].copy()
    offsets = {name: raw[name] - neutral for name in _shape_names()}
    offsets |= made.shapes(neutral, _HEAD_SKIN, _TONGUE)
    regions = _regions(neutral, landmarks)

    def shape(recipe: tables.Recipe, side: str) -> np.ndarray:
        total = np.zeros_like(neutral)
        for name, weight, region in recipe:
            term = weight * offsets[name.format(s=side)]
            total += term * regions[region + side][:, None] if region else term
        return total

    shapes = {
        label: shape(tables.RECIPES[label.lstrip("LR")], label[0] if label[0] in "LR" else "")
        for label in SHAPES
    } | {
        label: shape(tables.EXTRA_RECIPES[label.lstrip("LR")], label[0] if label[0] in "LR" else "")
        for label in EXTRAS
    }
    products = [
        (tuple(x.format(s=side) for x in labels), shape(recipe, side))
        for labels, recipe in tables.PRODUCTS
        for side in ("LR" if "{s}" in "".join(labels) else "L")
    ]
    eyes = tuple(_eye(side, neutral, offsets) for side in "RL")
    for eye in eyes:
        _look_ahead(eye, neutral)
    masks = _masks(neutral, landmarks, offsets)
    part_F = part_F.copy()
    socket = np.zeros(VERTICES, bool)
    socket[_MOUTH_SOCKET] = True
    part_F[socket[triangles_F3].all(axis=1)] = PARTS.index("mouth")
    part_F[_on_iris(eyes, neutral)[triangles_F3].all(axis=1)] = PARTS.index("iris")
    shown = _shown(neutral, triangles_F3)
    triangles_F3, part_F = triangles_F3[shown], part_F[shown]

    kept, compact = np.unique(
        np.concatenate([triangles_F3.ravel(), landmarks]), return_inverse=True
    )
    index_of = np.full(VERTICES, -1, np.int32)
    index_of[kept] = np.arange(len(kept), dtype=np.int32)
    modes_M_V3 = np.stack([raw[name] - raw[NEUTRAL] for name in _identity_names()])
    _seal_lips(modes_M_V3, neutral, landmarks, offsets["jawOpen"])
    sealed = np.stack([shapes[name] for name in tables.SEALED])
    _seal_lips(sealed, neutral, landmarks, offsets["jawOpen"])
    shapes |= dict(zip(tables.SEALED, sealed, strict=True))
    traits = made.traits(neutral, np.float32(MODE_SIGMA) * modes_M_V3, _HEAD_SKIN)
    return Head(
        name="ict",
        vertices_V3=neutral[kept],
        triangles_F3=compact[: triangles_F3.size].reshape(-1, 3).astype(np.int32),
        part_F=part_F,
        shapes={label: displacement[kept] for label, displacement in shapes.items()},
        identity_M_V3=np.ascontiguousarray(np.float32(MODE_SIGMA) * modes_M_V3[:, kept]),
        landmarks_68=index_of[landmarks],
        masks={name: mask[kept] for name, mask in masks.items()},
        wrinkles=_wrinkles(neutral[kept], kept),
        eyes=tuple(_reindexed(eye, index_of) for eye in eyes),  # type: ignore[arg-type]
        gaze_shapes={key: offsets[name][kept] for key, name in tables.GAZE_SHAPES.items()},
        correctives=tuple(Corrective(labels, field[kept]) for labels, field in products),
        traits={name: field[kept] for name, field in traits.items()},
    )


def _shown(neutral: np.ndarray, triangles_F3: np.ndarray) -> np.ndarray:
    """Leaves out the molars and the far side of the eyeballs, which no camera sees."""
    hidden = np.zeros(VERTICES, bool)
    for molars in _MOLARS:
        hidden[molars] = True
    for ball in _EYEBALLS.values():
        hidden[ball] = neutral[ball, 2] < neutral[ball, 2].min() + 1.2
    return np.logical_not(hidden[triangles_F3].all(axis=1))


def _eye(side: str, neutral: np.ndarray, offsets: dict[str, np.ndarray]) -> Eye:
    """The sphere through the eyeball, and the skin and lashes that slide over it."""
    ball = np.arange(VERTICES)[_EYEBALLS[side]]
    at = neutral[ball].astype(np.float64)
    equations = np.c_[2 * at, np.ones(len(at))]
    centre = np.linalg.lstsq(equations, (at**2).sum(axis=1), rcond=None)[0][:3]
    moved = sum(
        np.linalg.norm(offsets[f"{shape}_{side}"], axis=1)
        for shape in ("eyeBlink", "eyeWide", "eyeSquint")
    )
    candidate = np.zeros(VERTICES, bool)
    candidate[_HEAD_SKIN] = True
    candidate[_LASHES[side]] = True
    # The folds behind the lid margin lie inside the sphere at rest and stay there.
    outside = np.linalg.norm(neutral - centre, axis=1) > _EYE_RADIUS_CM + 0.5 * _CORNEA_CM
    lids = np.flatnonzero(candidate & outside & (moved > 0.05))
    return Eye(
        centre_3=centre.astype(np.float32),
        radius=_EYE_RADIUS_CM,
        vertices=ball.astype(np.int32),
        lids=lids.astype(np.int32),
        cornea=_CORNEA_CM,
    )


def _look_ahead(eye: Eye, neutral: np.ndarray) -> None:
    """Turns the eyeball to +z: as published the optical axes part by 19 degrees."""
    at = neutral[eye.vertices] - eye.centre_3
    axis = at[np.argsort(-np.linalg.norm(at, axis=1))[:30]].mean(axis=0)  # the cornea's top
    axis /= np.linalg.norm(axis)
    cross = np.cross(axis, (0.0, 0.0, 1.0))
    skew = np.array([[0, -cross[2], cross[1]], [cross[2], 0, -cross[0]], [-cross[1], cross[0], 0]])
    turn = np.eye(3) + skew + skew @ skew / (1 + axis[2])
    neutral[eye.vertices] = at @ turn.T.astype(np.float32) + eye.centre_3


def _on_iris(eyes: tuple[Eye, ...], neutral: np.ndarray) -> np.ndarray:
    """bool V: the cap of the cornea over the iris, which stands in for the iris behind it."""
    on = np.zeros(VERTICES, bool)
    for eye in eyes:
        ray = neutral[eye.vertices] - eye.centre_3
        off_axis = np.rad2deg(np.arccos(np.clip(ray[:, 2] / np.linalg.norm(ray, axis=1), -1, 1)))
        on[eye.vertices] = off_axis < _IRIS_DEG
    return on


def _reindexed(eye: Eye, index_of: np.ndarray) -> Eye:
    vertices, lids = index_of[eye.vertices], index_of[eye.lids]
    return Eye(eye.centre_3, eye.radius, vertices[vertices >= 0], lids[lids >= 0], eye.cornea)


def _seal_lips(
    modes_M_V3: np.ndarray, neutral: np.ndarray, landmarks: np.ndarray, jaw_open: np.ndarray
) -> None:
    """Makes both lips move alike where they meet, so that every person's mouth shuts at rest.

    As published the modes part or overlap the lips by 0.7 mm (standard deviation over people),
    as much as a slight AU 25. The jaw tells which lip a vertex belongs to.
    """
    upper, lower = landmarks[[60, 61, 62, 63, 64]], landmarks[[60, 67, 66, 65, 64]]
    seam_K3 = (neutral[upper] + neutral[lower]) / 2
    x = np.clip(neutral[: _MOUTH_SOCKET.stop, 0], seam_K3[0, 0], seam_K3[-1, 0])
    seam_V3 = np.stack([np.interp(x, seam_K3[:, 0], seam_K3[:, k]) for k in range(3)], axis=1)
    near = np.exp(-((np.linalg.norm(neutral[: len(x)] - seam_V3, axis=1) / 0.5) ** 2))
    drop = np.linalg.norm(jaw_open[: len(x)], axis=1)
    is_lower = _smoothstep(0.4, 0.6, drop / np.linalg.norm(jaw_open[landmarks[66]]))
    for mode_V3 in modes_M_V3:
        part_K3 = mode_V3[upper] - mode_V3[lower]
        part_V3 = np.stack([np.interp(x, seam_K3[:, 0], part_K3[:, k]) for k in range(3)], axis=1)
        mode_V3[: len(x)] += part_V3 * (near * (is_lower - 0.5))[:, None]


def _smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def _distance(points_V2: np.ndarray, line_K2: np.ndarray) -> np.ndarray:
    """Distance of points to a polyline, in the frontal plane."""
    best = np.full(len(points_V2), np.inf)
    for a, b in pairwise(line_K2):
        along = np.clip((points_V2 - a) @ (b - a) / max((b - a) @ (b - a), 1e-12), 0, 1)
        best = np.minimum(best, np.linalg.norm(points_V2 - a - along[:, None] * (b - a), axis=1))
    return best


def _inside(points_V2: np.ndarray, polygon_K2: np.ndarray) -> np.ndarray:
    """Even-odd rule, in the frontal plane."""
    odd = np.zeros(len(points_V2), bool)
    x, y = points_V2[:, 0], points_V2[:, 1]
    for (x1, y1), (x2, y2) in zip(polygon_K2, np.roll(polygon_K2, -1, axis=0), strict=True):
        if y1 != y2:
            odd ^= ((y1 > y) != (y2 > y)) & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return odd


def _lip_depth(neutral: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Signed distance to the outline of the lips (48-59) seen from the front; + is inside."""
    outline = neutral[landmarks[48:60], :2]
    distance = _distance(neutral[:, :2], np.concatenate([outline, outline[:1]]))
    return np.where(_inside(neutral[:, :2], outline), distance, -distance)


def _lid_weight(side: str, offsets: dict[str, np.ndarray]) -> np.ndarray:
    return _smoothstep(0.03, 0.35, np.linalg.norm(offsets[f"eyeBlink_{side}"], axis=1))


def _regions(neutral: np.ndarray, landmarks: np.ndarray) -> dict[str, np.ndarray]:
    """The regions of ict_tables.RECIPES: name + side ("" for actions without one) -> V."""
    lips = _smoothstep(-0.9, -0.1, _lip_depth(neutral, landmarks))
    regions = {}
    for side, sign in (("L", 1.0), ("R", -1.0), ("", 0.0)):
        regions["side" + side] = 0.5 + 0.5 * np.tanh(sign * neutral[:, 0] / 0.8)
        regions["lips" + side] = lips
        regions["off_lips" + side] = 1 - lips
        regions["medial" + side] = 1 - _smoothstep(1.2, 2.8, np.abs(neutral[:, 0]))
    return {name: region.astype(np.float32) for name, region in regions.items()}


def _masks(
    neutral: np.ndarray, landmarks: np.ndarray, offsets: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What the model has no texture for, painted on its vertices by place."""
    x, y, z = neutral.T
    skin = np.zeros(VERTICES)
    skin[_HEAD_SKIN] = 1.0
    front = skin * _smoothstep(2.0, 4.0, z)
    lip = _smoothstep(-0.06, 0.06, _lip_depth(neutral, landmarks)) * front
    brow = np.zeros(VERTICES)
    for first, last in ((17, 21), (22, 26)):
        line = neutral[landmarks[first : last + 1], :2]
        outward = np.clip((np.abs(x) - 1.2) / 4.6, 0, 1)  # thick at the nose, thin at the temple
        brow = np.maximum(
            brow,
            1 - _smoothstep(0.6, 1.25, _distance(neutral[:, :2], line) / (0.42 - 0.22 * outward)),
        )
    around = np.rad2deg(np.arctan2(np.abs(x), z - 1.0))
    degrees, heights = zip(*tables.HAIRLINE_DEG_CM, strict=True)
    ear = (np.abs(x) > 7.45) & (y > -3.5) & (y < 6) & (z > -2.5)
    hair = _smoothstep(-0.5, 0.5, y - np.interp(around, degrees, heights)) * skin * ~ear
    jaw = y + 8.0 - 0.45 * (11.0 - z)  # how far above the line from the chin back to the neck
    beard = (
        front
        * (
            1
            - _smoothstep(
                -2.6,
                -1.2,
                y + 0.9 * np.maximum(0, 3.2 - np.abs(x)) - 0.9 * np.maximum(0, np.abs(x) - 4.2),
            )
        )
        * _smoothstep(-2.5, -0.5, jaw)
        * (1 - lip)
    )
    cheek = front * np.exp(-((np.abs(x) - 4.1) ** 2 + (y - 0.2) ** 2) / (2 * 1.5**2))
    # The holes lie above and a little outward of the landmarks on the base of the nose.
    nostril_at = neutral[landmarks[[32, 34]]] + np.array([[-0.12, 1.02, 0.2], [0.12, 1.02, 0.2]])
    nostril = np.zeros(VERTICES)
    for at in nostril_at:
        nostril = np.maximum(
            nostril, 1 - _smoothstep(0.4, 0.65, np.linalg.norm(neutral - at, axis=1))
        )
    masks = {
        "brow": brow * front,
        "lip": lip,
        "lid": np.maximum(_lid_weight("L", offsets), _lid_weight("R", offsets)) * skin,
        "nostril": nostril * skin,
        "cheek": cheek,
        "beard": beard,
        "hair": hair,
        "neck": skin * (1 - _smoothstep(-1.0, 0.5, jaw)),
    }
    return {name: mask.astype(np.float32) for name, mask in masks.items()}


def _wrinkles(at_V3: np.ndarray, kept: np.ndarray) -> dict[str, np.ndarray]:
    """Furrows with raised banks along the polylines of the tables, per vertex."""
    face = (kept < _HEAD_SKIN.stop) & (at_V3[:, 2] > 3.0)
    fields: dict[str, np.ndarray] = {}
    for au, lines in tables.CREASES.items():
        for side, sign in (("L", 1.0), ("R", -1.0)):
            field = np.zeros(len(at_V3))
            for line in lines:
                where = np.array(line) * (sign, 1.0)
                u = _distance(at_V3[:, :2], where) / tables.CREASE_WIDTH_CM
                field += -np.exp(-(u**2)) + 0.45 * np.exp(-((u - 2.0) ** 2))
            field = np.clip(field, -1, 1) * face
            key = side + au if au in PAIRED else au
            fields[key] = (
                np.where(np.abs(field) > np.abs(fields[key]), field, fields[key])
                if key in fields
                else field
            )
    return {label: field.astype(np.float32) for label, field in fields.items()}
