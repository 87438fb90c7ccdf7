"""Renders a posed head as a photograph. numpy and OpenCV only; a pure function of its input.

    dressed = dress(head, neutral_V3, look)                        # once a person
    stage = prepare(head, neutral_V3, look, scene, size=192, dressed=dressed)  # once a clip
    picture = draw(stage, vertices_V3, wrinkles, pose_6, frame=t)  # once a frame

or `render(...)` for all. What is constant for a head model is in its `canvas`.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from jaxfacs.synthface import canvas as canvases
from jaxfacs.synthface import lashes, overlay, raster, scene, shade
from jaxfacs.synthface import paint as painting
from jaxfacs.synthface.canvas import IRIS, SCLERA, SKIN
from jaxfacs.synthface.dress import ALBEDO, EDGE, GLOSS, NORMAL, OPEN, SHADOW, UV, Dressed, dress
from jaxfacs.synthface.framing import Lens, lens
from jaxfacs.synthface.heads import Head, rotation
from jaxfacs.synthface.look import Look, skin_rgb
from jaxfacs.synthface.scene import Scene

OVERSAMPLE = 1.5  # samples per pixel and axis; the lens blurs what is left of the steps
CLOSE_OVERSAMPLE = 1.3  # of pictures laid about a face: what is cut of them is made smaller still
_HIDDEN_CM = 0.8  # what lies so far before a landmark hides it; lids and lashes lie less far
STILL = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Rendered:
    """One picture and where the face is in it.

    Attributes:
      image_HWC: uint8 RGB, size×size×3.
      landmarks_68x2: float32 (x, y) pixels, iBUG order; hidden ones are projected all the same.
      covered_68: bool, landmarks that the picture does not show: outside it, behind a thing, behind
        hair or glasses, or on the far side of the face.
      box_4: float32 (x, y, w, h) pixels: the landmarks and the forehead above them.
    """

    image_HWC: np.ndarray
    landmarks_68x2: np.ndarray
    box_4: np.ndarray
    covered_68: np.ndarray


@dataclass(frozen=True, eq=False)
class Stage:
    """All that is constant over a clip; made by `prepare`.

    texel is how many samples of the stage's atlas one texel of the whole atlas is.
    """

    dressed: Dressed
    scene: Scene
    size: int
    atlas_HW3: np.ndarray
    texel: float
    background_HW3: np.ndarray
    tables: shade.Materials
    camera: Lens
    overlays: overlay.Overlay

    @property
    def head(self) -> Head:
        return self.dressed.head


def prepare(
    head: Head,
    neutral_V3: np.ndarray,
    look: Look,
    view: Scene,
    *,
    size: int = 192,
    dressed: Dressed | None = None,
    oversample: float = OVERSAMPLE,
) -> Stage:
    """Puts one person into one scene.

    Args:
      head: the head model.
      neutral_V3: this person at rest, from `heads.identity`.
      look: from `sample_look`.
      view: from `sample_scene`.
      size: of the pictures, pixels; at least 32.
      dressed: what `dress.dress(head, neutral_V3, look)` gave, where it is at hand: most of the
        work, and the same in every scene.
      oversample: samples per pixel and axis.
    """
    if size < 32:
        raise ValueError(f"a picture of {size} pixels cannot show a face; 32 is the least")
    dressed = dressed or dress(head, neutral_V3, look)
    view = scene.metered(view, float(skin_rgb(look.melanin, look.haemoglobin).mean()))
    unit = dressed.sheet.unit
    fine = round(size * oversample)
    camera = lens(head, neutral_V3, view, unit, fine)
    # Texels per sample: where the picture is coarser than the atlas, a coarser one is used.
    shrink = dressed.sheet.texel * view.distance / camera.focal
    level = min(max(round(float(np.log2(shrink / 1.1))), 0), 3)
    return Stage(
        dressed=dressed,
        scene=view,
        size=size,
        atlas_HW3=dressed.atlas(level),
        texel=0.5**level,
        background_HW3=scene.background(view, fine),
        tables=_tables(),
        camera=camera,
        overlays=overlay.prepare(head, neutral_V3, dressed.sheet, look, view, size),
    )


def draw(
    stage: Stage,
    vertices_V3: np.ndarray,
    wrinkles: Mapping[str, float] | None = None,
    pose_6: Sequence[float] | np.ndarray = STILL,
    *,
    frame: int = 0,
) -> Rendered:
    """Renders one frame.

    Args:
      stage: from `prepare`.
      vertices_V3: the posed head, from `heads.deform`.
      wrinkles: AU label ("L12", or "12" for both sides) -> 0..1, how far the action is on.
      pose_6: yaw, pitch, roll in degrees (`heads.rotation`) and the head's shift in real cm.
      frame: number of the frame in its clip; it picks the noise of the sensor.

    Raises:
      ValueError: the vertices are not those of the stage's head.
    """
    if vertices_V3.shape != stage.dressed.neutral_V3.shape:
        raise ValueError(
            f"{vertices_V3.shape} vertices for a stage of {stage.dressed.neutral_V3.shape}"
        )
    fine = stage.background_HW3.shape[0]
    turn = rotation(pose_6[:3])
    table = stage.dressed.attributes_VC.copy(order="F")
    _posed_attributes(stage, table, vertices_V3, turn)
    shift_3 = np.asarray(pose_6[3:], np.float32) * np.float32(stage.camera.unit)
    at = _place(stage, vertices_V3, turn, shift_3)
    inverse = stage.camera.inverse_depth(at)
    xy = stage.camera.project(at, inverse)

    shown = np.concatenate([stage.dressed.open_S, _through_lips(stage, vertices_V3, xy)])
    seen = _find(stage, xy, inverse, shown, fine)
    if len(stage.dressed.ragged_S):
        seen = _over(seen, _comb(stage, table, xy, inverse, fine), fine)
    rows = _interpolate(stage, table[:, :EDGE], seen, xy, inverse, fine)

    normal = rows[:, NORMAL]
    x, y, z = normal.T
    normal.T[:] *= 1 / np.maximum(np.sqrt(x * x + y * y + z * z), 1e-6)
    np.abs(z, out=z)  # the back of a two-sided surface, or an edge
    open_N = rows[:, OPEN]
    detail = _painted(stage, rows[:, UV])
    material = stage.dressed.material_F.take(seen.triangle_N)
    gloss = rows[:, GLOSS]
    # Brows, stubble and the lash line are painted on the skin but do not shine like it.
    gloss *= np.where(material == SKIN, np.clip(detail[:, 1], 0.1, 1), 1)
    _fold(stage, wrinkles or {}, rows[:, UV], normal, open_N, turn[:, 1])
    linear = shade.shade(
        stage.tables,
        stage.scene,
        material_N=material,
        normal_N3=normal,
        albedo_N3=rows[:, ALBEDO] * detail,
        gloss_N=gloss,
        open_N=open_N,
        shadow_N=rows[:, SHADOW],
    )
    _lashes(stage, seen, xy, inverse, linear, fine)
    hidden_68 = _behind(stage, seen, xy, inverse, fine)
    _lash_bands(stage, seen.pixel_N, material, vertices_V3, xy, hidden_68, linear)
    image = stage.background_HW3.copy()
    image.reshape(-1, 3)[seen.pixel_N] = scene.expose(linear, stage.scene)
    image = cv2.resize(image, (stage.size, stage.size), interpolation=cv2.INTER_AREA)
    ratio = np.float32(stage.size / fine)
    marks = xy[stage.head.landmarks_68] * ratio

    def project(points_N3: np.ndarray) -> np.ndarray:
        at = points_N3.astype(np.float32) @ turn.T + shift_3
        return stage.camera.project(at, stage.camera.inverse_depth(at)) * ratio

    covered = overlay.draw(stage.overlays, image, marks, project, frame)
    photo = scene.photograph(image, stage.scene, frame)
    return Rendered(photo, marks, _box(marks), covered | hidden_68)


def render(
    head: Head,
    vertices_V3: np.ndarray,
    look: Look,
    view: Scene,
    *,
    size: int = 192,
    wrinkles: Mapping[str, float] | None = None,
    pose_6: Sequence[float] | np.ndarray = STILL,
    neutral_V3: np.ndarray | None = None,
) -> Rendered:
    """One picture: `prepare` and `draw`. For clips call those, which is ten times faster."""
    neutral = head.vertices_V3 if neutral_V3 is None else neutral_V3
    return draw(prepare(head, neutral, look, view, size=size), vertices_V3, wrinkles, pose_6)


def _find(stage: Stage, xy, inverse, triangles_S: np.ndarray, fine: int) -> raster.Raster:
    """Rasterises some of the triangles; the numbers in the answer are those of the stage."""
    seen = raster.rasterize(
        xy,
        inverse,
        stage.dressed.triangles_F3.T.take(triangles_S, axis=1).T,
        height=fine,
        width=fine,
        two_sided_F=stage.dressed.two_sided_F.take(triangles_S),
    )
    return dataclasses.replace(seen, triangle_N=triangles_S.take(seen.triangle_N))


def _interpolate(stage: Stage, table_VC, seen: raster.Raster, xy, inverse, fine: int) -> np.ndarray:
    corner, weight = raster.barycentric(seen, xy, inverse, stage.dressed.triangles_F3, width=fine)
    return raster.interpolate(table_VC, corner, weight)


def _comb(stage: Stage, table_VC, xy, inverse, fine: int) -> raster.Raster:
    """The pixels of hair, with its edges torn along the strands."""
    hair = _find(stage, xy, inverse, stage.dressed.ragged_S, fine)
    rows = _interpolate(stage, table_VC[:, UV.start :], hair, xy, inverse, fine)
    strand = _painted(stage, rows[:, :2])[:, 1] - 1
    kept = rows[:, 2] + 0.8 * strand > 0.5
    return raster.Raster(hair.pixel_N[kept], hair.triangle_N[kept], hair.inverse_depth_N[kept])


def _behind(stage: Stage, seen: raster.Raster, xy, inverse, fine: int) -> np.ndarray:
    """Which landmarks something nearer hides: bool 68."""
    depth = np.zeros(fine * fine, np.float32)
    depth[seen.pixel_N] = seen.inverse_depth_N
    marks = stage.head.landmarks_68
    column, row = np.clip(xy[marks].astype(np.int32), 0, fine - 1).T
    before = 1 / inverse[marks] - 1 / np.maximum(depth[row * fine + column], 1e-9)
    return before > _HIDDEN_CM * stage.camera.unit


def _painted(stage: Stage, uv_N2: np.ndarray) -> np.ndarray:
    """The atlas at points of it: factors on colour, N×3."""
    # Integer coordinates are the middles of texels, of whatever size.
    at = uv_N2 * np.float32(stage.texel) + np.float32((stage.texel - 1) / 2)
    return shade.look_up(stage.atlas_HW3, at) * np.float32(1 / painting.ATLAS_ONE)


def _over(below: raster.Raster, above: raster.Raster, fine: int) -> raster.Raster:
    """Both, by depth."""
    depth = np.zeros(fine * fine, np.float32)
    triangle = np.empty(fine * fine, np.int32)
    depth[below.pixel_N], triangle[below.pixel_N] = below.inverse_depth_N, below.triangle_N
    nearer = above.inverse_depth_N >= depth[above.pixel_N]
    pixel = above.pixel_N[nearer]
    depth[pixel], triangle[pixel] = above.inverse_depth_N[nearer], above.triangle_N[nearer]
    pixel = np.flatnonzero(depth).astype(np.int32)
    return raster.Raster(pixel, triangle[pixel], depth[pixel])


@functools.lru_cache(maxsize=1)
def _tables() -> shade.Materials:
    return shade.materials()


def _lashes(stage: Stage, seen: raster.Raster, xy, inverse, linear_N3, fine: int) -> None:
    """Darkens what lies behind the lashes, in place. Single lashes are thinner than a pixel."""
    lashes_L3 = stage.dressed.fixed.lashes_L3
    if not len(lashes_L3):
        return
    over = raster.rasterize(
        xy,
        inverse,
        lashes_L3,
        height=fine,
        width=fine,
        two_sided_F=np.ones(len(lashes_L3), bool),
    )
    corner, weight = raster.barycentric(over, xy, inverse, lashes_L3, width=fine)
    at = np.minimum(np.searchsorted(seen.pixel_N, over.pixel_N), len(seen.pixel_N) - 1)
    # A hair's breadth of slack: roots lie in the lid.
    front = over.inverse_depth_N > seen.inverse_depth_N[at] * 0.998
    front &= seen.pixel_N[at] == over.pixel_N
    cover = (stage.dressed.lash_V[corner] * weight).sum(axis=1)
    linear_N3[at[front]] *= 1 - 0.95 * cover[front, None]


def _lash_bands(stage: Stage, pixel_N, material_N, vertices_V3, xy, hidden_68, linear_N3) -> None:
    """Darkens the lids' edges, in place; hair and things of the head before the eye stay."""
    marks = stage.head.landmarks_68
    dressed, fine = stage.dressed, stage.background_HW3.shape[0]
    mask = lashes.bands(
        vertices_V3[marks], xy[marks], dressed.look, hidden_68, size=fine, unit=dressed.sheet.unit
    )
    if mask is None:
        return
    cover = mask.reshape(-1)[pixel_N]
    hit = np.flatnonzero((cover > 0) & np.isin(material_N, (SKIN, SCLERA, IRIS)))
    linear_N3[hit] *= 1 - (lashes.DARK / 255) * cover[hit, None].astype(np.float32)


def _posed_attributes(stage: Stage, table_VC, vertices_V3, turn_33) -> None:
    """Fills normals, shadow and the dark of eyes and mouth, which change with the pose."""
    head, unit = stage.head, stage.dressed.sheet.unit
    total = len(vertices_V3)
    normals = stage.dressed.resting_V3.copy(order="F")
    canvases.smooth_normals(stage.dressed.fixed.smooth, vertices_V3, normals)
    marks = vertices_V3[head.landmarks_68]
    for first, eye, axis in zip((36, 42), head.eyes, stage.dressed.fixed.eye_axis, strict=True):
        at = vertices_V3[eye.vertices]
        centre = at.mean(axis=0)
        out = at - centre
        out /= np.linalg.norm(out, axis=1, keepdims=True)
        ahead = vertices_V3[axis] - centre
        ahead /= np.linalg.norm(ahead)
        cosine = out @ ahead
        # The cornea is more curved than the ball, so lamps show in it over a wider range.
        cornea = np.clip((cosine - 0.80) / 0.08, 0, 1)[:, None]
        normals[eye.vertices] = out + 0.55 * cornea * (out - cosine[:, None] * ahead)
        table_VC[eye.vertices, OPEN] = shade.under_lids(at, marks[first : first + 6], unit)
    cavity = stage.dressed.fixed.cavity_V
    light = shade.in_mouth(vertices_V3[cavity], marks, unit)
    table_VC[:total][cavity, OPEN] = 1 - stage.dressed.look.mouth_shadow * (1 - light)
    towards = np.array(stage.scene.lights[0].towards_3, np.float32)
    if stage.scene.lights[0].shadow > 0:
        casts = stage.dressed.fixed.skin_V
        table_VC[:total, SHADOW] = canvases.shadow(vertices_V3, casts, towards @ turn_33, unit)
    table_VC[:total, NORMAL] = (turn_33 @ normals.T).T
    start = total
    for prop_normals in stage.dressed.prop_normals:
        rows = slice(start, start + len(prop_normals))
        table_VC[rows, NORMAL] = prop_normals @ turn_33.T
        start += len(prop_normals)


def _through_lips(stage: Stage, vertices_V3: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """The triangles inside the mouth that may show between the lips: none where those meet.

    A third of a head's triangles are teeth, gums and throat, so this halves the rasteriser's work.
    """
    inner = stage.head.landmarks_68[60:68]
    gap = np.linalg.norm(vertices_V3[inner[1:4]] - vertices_V3[inner[[7, 6, 5]]], axis=1).max()
    if gap < 0.02 * stage.dressed.sheet.unit:
        return stage.dressed.cavity_S[:0]
    corners = xy[inner]
    slack = 0.25 * np.ptp(corners, axis=0) + 2
    low, high = corners.min(axis=0) - slack, corners.max(axis=0) + slack
    near = np.ones(len(xy), bool)
    for column, least, most in zip(xy.T, low, high, strict=True):
        near &= (column > least) & (column < most)
    a, b, c = stage.dressed.triangles_F3.T.take(stage.dressed.cavity_S, axis=1)
    return stage.dressed.cavity_S[near.take(a) | near.take(b) | near.take(c)]


def _place(stage: Stage, vertices_V3, turn_33, shift_3) -> np.ndarray:
    """Head and props in the world, planar."""
    at = [turn_33 @ vertices_V3.T]
    hardly = turn_33 * 0.15 + np.eye(3, dtype=np.float32) * 0.85
    for prop in stage.dressed.props:
        at.append((turn_33 if prop.turns == 1 else hardly) @ prop.vertices_N3.T)
    placed = np.concatenate(at, axis=1)
    placed += shift_3[:, None]
    return placed.T


def _fold(stage: Stage, wrinkles, uv_N2, normal_N3, open_N, up_3) -> None:
    """Bends normals into the creases and darkens the furrows, in place."""
    rows, columns = stage.dressed.sheet.window
    at = uv_N2 * np.float32(1 / canvases.CREASE_SCALE)
    at -= np.array([columns.start, rows.start], np.float32)
    along, down, depth = shade.look_up(_creases(stage, wrinkles), at).T
    where = np.flatnonzero(np.abs(along) + np.abs(down) > 0.004)
    slope = np.stack([along.take(where), down.take(where)]).T
    bent = shade.bend(normal_N3.T.take(where, axis=1).T, slope, up_3)
    for column, new in zip(normal_N3.T, bent.T, strict=True):
        column[where] = new
    open_N[where] *= np.clip(1 - depth.take(where), 0.42, 1)


def _creases(stage: Stage, wrinkles: Mapping[str, float]) -> np.ndarray:
    """The crease map of this moment, inside the stage's window."""
    dressed = stage.dressed
    # Young skin folds little; between people of one age it differs as much as with age.
    deep = dressed.look.crease * (0.75 + 1.5 * dressed.look.age)
    total = np.zeros_like(dressed.creases_HW3)
    maps = zip(dressed.sheet.creases, dressed.folds_K, dressed.sheet.crease_KHW3, strict=True)
    for label, own, one in maps:
        on = max(wrinkles.get(label, 0.0), wrinkles.get(label.lstrip("LR"), 0.0))
        if on > 0.01:
            total += np.float32(min(on, 1.2) * deep * own) * one
    total *= dressed.uneven_HW1
    total += dressed.creases_HW3
    return total


def _box(marks_68x2: np.ndarray) -> np.ndarray:
    low, high = marks_68x2.min(axis=0), marks_68x2.max(axis=0)
    forehead = 0.22 * (high[1] - low[1])
    return np.array(
        [low[0], low[1] - forehead, high[0] - low[0], high[1] - low[1] + forehead], np.float32
    )
