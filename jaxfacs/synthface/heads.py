"""The interface of a head model, and how muscle actions, identity and gaze bend it.

A head is a neutral mesh with one displacement shape for every muscle action (left and right
apart where the two sides can move alone), identity modes, painted masks, crease fields and two
eyeballs. `deform` is one matrix product over the shapes that are used, plus the corrections that
a sum of shapes cannot make: eyelids that slide over the eyeball, lids that follow the gaze,
products of actions.

Units are centimetres. +x points to the SUBJECT'S left, +y up, +z out of the face.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

PARTS = ("skin", "sclera", "iris", "teeth", "mouth", "lashes", "hair")
MASKS = ("brow", "lip", "lid", "nostril", "cheek", "beard", "hair", "neck")

# Muscle actions that a head must be able to make. FACS lets the paired ones act on one side.
PAIRED = ("1", "2", "4", "5", "6", "7", "9", "10", "11", "12", "14", "15", "16", "20", "43")
UNPAIRED = ("17", "18", "22", "23", "24", "25", "26", "27", "28")
SHAPES = tuple(side + au for au in PAIRED for side in "LR") + UNPAIRED

# What a head may make besides: actions that not every head has (19 tongue, 34 puffed cheeks),
# movement that carries no label, the ways in which people's actions differ ("12~" goes with 12,
# more or less of it), and what resting faces differ in. A head ignores those it lacks.
OPTIONAL = ("19", "34")
MOVEMENTS = ("jaw_left", "jaw_right", "jaw_forward", "mouth_left", "mouth_right")
STYLED = ("1", "4", "6", "9", "12")  # paired
RESTING = ("brow", "hood", "fold", "nostril")  # paired, as "Lrest_brow"
EXTRAS = (
    *OPTIONAL,
    *MOVEMENTS,
    *(f"{side}{au}~" for au in STYLED for side in "LR"),
    *("25~", "26~", "27~", "lips"),
    *(f"{side}rest_{name}" for name in RESTING for side in "LR"),
)

FULL_INTENSITY = 5.0  # FACS letter E: a shape is the displacement at this intensity
GAZE_FULL_DEG = 30.0  # the rotation at which a gaze shape (lids that follow) is fully on
SQUINT_MOST = 0.68  # of a person's opening of the eye that 6 and 7 together take away
LID_CLEARANCE_CM = 0.03  # the least thickness of a lid over its eyeball
CORNEA_DEG = 32.0  # half the opening angle of the cap in which the cornea bulges


@dataclass(frozen=True, eq=False)
class Eye:
    """One eyeball, which turns about its centre.

    Attributes:
      centre_3: float32, cm, on the neutral head.
      radius: of the sphere that the sclera follows, cm.
      cornea: how far the cornea stands out of that sphere on its axis (+z at rest), cm.
      vertices: int32 indices of everything that turns with the eye (sclera, iris, pupil).
      lids: int32 indices of the skin that slides over this eyeball.
    """

    centre_3: np.ndarray
    radius: float
    vertices: np.ndarray
    lids: np.ndarray
    cornea: float = 0.0


@dataclass(frozen=True, eq=False)
class Corrective:
    """A displacement that is on only as far as all of `labels` are: weight = Π intensity / 5."""

    labels: tuple[str, ...]
    shape_V3: np.ndarray


@dataclass(frozen=True, eq=False)
class Head:
    """A face that can be posed. V vertices, F triangles, M identity modes.

    Attributes:
      name: "builtin" or "ict".
      vertices_V3: float32 neutral mesh in cm; the origin is near the middle of the head.
      triangles_F3: int32, counter-clockwise seen from outside.
      part_F: uint8 index into PARTS.
      shapes: label of SHAPES -> float32 V×3 displacement at intensity 5 (E); and those of EXTRAS
        that the head has.
      identity_M_V3: float32 M×V×3; weights drawn from N(0, 1) give plausible people.
      landmarks_68: int32 vertex indices in iBUG order (0-16 the jaw from the subject's right,
        36-41 the subject's right eye, 60-67 the inner lips).
      masks: name of MASKS -> float32 V in [0, 1]; a head may add more.
      wrinkles: label of SHAPES -> float32 V in [-1, 1], the bump height (cm / 10) of the creases
        that the action makes at intensity 5; negative is a furrow.
      eyes: (the subject's right, left).
      correctives: products of actions.
      gaze_shapes: "up", "down", "left", "right" with side prefix ("Lup") -> float32 V×3, the
        skin about that eye when it looks GAZE_FULL_DEG that way. May be empty.
      traits: "child", "old", "male" -> float32 V×3, a clear case of each (male < 0: a woman).
      finish: last correction of posed vertices: T×V×3 changed in place, given the weights (T, 1 at
        intensity 5) that were asked for by label.
    """

    name: str
    vertices_V3: np.ndarray
    triangles_F3: np.ndarray
    part_F: np.ndarray
    shapes: dict[str, np.ndarray]
    identity_M_V3: np.ndarray
    landmarks_68: np.ndarray
    masks: dict[str, np.ndarray]
    wrinkles: dict[str, np.ndarray]
    eyes: tuple[Eye, Eye]
    correctives: tuple[Corrective, ...] = ()
    gaze_shapes: dict[str, np.ndarray] = field(default_factory=dict)
    traits: dict[str, np.ndarray] = field(default_factory=dict)
    finish: Callable[[np.ndarray, Mapping[str, np.ndarray]], None] | None = None


def load(path: str | None = None) -> Head:
    """Loads the built-in head, or the ICT Face Model Light where `path` is its folder.

    Args:
      path: the folder that holds generic_neutral_mesh.obj, or the one above it (FaceXModel).

    Raises:
      UserError: a file of the ICT model is missing or damaged; the message names it.
    """
    if path is None:
        from jaxfacs.synthface import builtin

        return builtin.head()
    from jaxfacs.synthface import ict

    return ict.load(path)


def identity(head: Head, weights_M: np.ndarray | Sequence[float] | None) -> np.ndarray:
    """The neutral face of one person: float32 V×3. Fewer weights than modes is allowed."""
    if weights_M is None or len(weights_M) == 0:
        return head.vertices_V3
    weights = np.asarray(weights_M, np.float32)
    if len(weights) > len(head.identity_M_V3):
        raise ValueError(
            f"{len(weights)} identity weights for the {len(head.identity_M_V3)} modes of"
            f" {head.name!r}"
        )
    modes = head.identity_M_V3[: len(weights)].reshape(len(weights), -1)
    return head.vertices_V3 + (weights @ modes).reshape(-1, 3)


def deform(
    head: Head,
    intensity: Mapping[str, float],
    identity_weights_M: np.ndarray | Sequence[float] | None = None,
    gaze_deg: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """One posed face: float32 V×3.

    Args:
      head: the head model.
      intensity: label -> 0..5. A paired action without a side ("12") moves both sides.
      identity_weights_M: as in `identity`.
      gaze_deg: (yaw, pitch) of both eyes; + is to the subject's left, and up.

    Raises:
      KeyError: the head has no such action.
    """
    labels, values = [], []
    for label, value in intensity.items():
        whole = label in head.shapes or label in EXTRAS
        sides = [label] if whole else [f"L{label}", f"R{label}"]
        for side in sides:
            if side not in head.shapes and side not in EXTRAS:
                raise KeyError(f"head {head.name!r} has no action {label!r}")
            labels.append(side)
            values.append(value)
    return deform_clip(
        head,
        identity(head, identity_weights_M),
        labels,
        np.asarray(values, np.float32)[None],
        np.asarray(gaze_deg, np.float32)[None],
    )[0]


def deform_clip(
    head: Head,
    neutral_V3: np.ndarray,
    labels: Sequence[str],
    intensity_TS: np.ndarray,
    gaze_T2: np.ndarray,
) -> np.ndarray:
    """Poses one person in every frame of a clip: float32 T×V×3.

    Args:
      head: the head model.
      neutral_V3: that person at rest, from `identity`.
      labels: S of SHAPES or EXTRAS.
      intensity_TS: 0..5. Below zero is allowed (a resting face that differs the other way).
      gaze_T2: (yaw, pitch) in degrees.
    """
    frames = len(intensity_TS)
    weight = {
        label: intensity_TS[:, i] / FULL_INTENSITY
        for i, label in enumerate(labels)
        if np.any(intensity_TS[:, i]) and (label in head.shapes or label not in EXTRAS)
    }
    open_T = np.zeros(frames)
    closed = {side: np.clip(weight.get(side + "43", open_T), 0, 1) for side in "LR"}
    asked = dict(weight)
    _meet_lids(head, neutral_V3, weight)
    rows = [(weight[label], head.shapes[label]) for label in weight]
    for corrective in head.correctives:
        if all(label in weight for label in corrective.labels):
            product = np.prod([np.maximum(weight[x], 0) for x in corrective.labels], axis=0)
            rows.append((product, corrective.shape_V3))
    rows += _gaze_rows(head, closed, gaze_T2)
    posed = np.broadcast_to(neutral_V3, (frames, *neutral_V3.shape)).astype(np.float32)
    if frames == 1:  # of a still: to bring the shapes together would cost more than the product
        part = np.empty_like(neutral_V3)
        for amount, shape in rows:
            posed[0] += np.multiply(shape, np.float32(amount[0]), out=part)
    elif rows:
        weights_TS = np.stack([w for w, _ in rows], axis=1).astype(np.float32)
        shapes = np.stack([shape.reshape(-1) for _, shape in rows])
        posed += (weights_TS @ shapes).reshape(posed.shape)
    for eye in head.eyes:
        _turn_eye(head, eye, neutral_V3, posed, gaze_T2)
    if head.finish is not None:
        head.finish(posed, asked)
    return posed


def landmarks_of(head: Head, vertices_V3: np.ndarray) -> np.ndarray:
    """The 68 landmarks of posed vertices (any leading axes): float32 …×68×3, cm."""
    return vertices_V3[..., head.landmarks_68, :]


def rotation(pose_deg: Sequence[float] | np.ndarray) -> np.ndarray:
    """The 3×3 rotation of a head pose (yaw, pitch, roll) in degrees: turned = vertices @ R.T.

    Positive is FACS 51 (turned to the subject's left), 53 (up) and 55 (tilted to the left);
    roll is applied first, then pitch, then yaw.
    """
    yaw, pitch, roll = np.deg2rad(np.asarray(pose_deg, np.float64))
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_z = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return (about_y @ about_x @ about_z).astype(np.float32)


_LIDS = {"R": ((37, 38), (41, 40)), "L": ((43, 44), (47, 46))}  # landmarks: upper, lower


def _aperture(head: Head, vertices_V3: np.ndarray, side: str) -> float:
    """Height of the opening between the lids, cm."""
    upper, lower = (vertices_V3[head.landmarks_68[list(lid)], 1] for lid in _LIDS[side])
    return float((upper - lower).mean())


@functools.lru_cache(maxsize=4)
def _closing(head: Head) -> dict[str, float]:
    """Action -> by how much it narrows the generic eye at intensity 5, cm."""
    rest = _aperture(head, head.vertices_V3, "L")
    return {
        au: rest - _aperture(head, head.vertices_V3 + head.shapes["L" + au], "L")
        for au in ("6", "7", "43")
    }


def _meet_lids(head: Head, neutral_V3: np.ndarray, weight: dict[str, np.ndarray]) -> None:
    """Makes closing lids meet and not cross, changing weights in place.

    Wide and narrow eyes close over the same time, so the closure is in proportion to this person's
    opening; what squinting (6, 7) has closed already is left out of it, and the upper lid is
    raised (5) only as far as the eye is open. Squinting alone leaves a slit.
    """
    by = _closing(head)
    for side in "LR":
        closing = weight.get(side + "43")
        squint = sum(by[au] * weight.get(side + au, 0.0) for au in ("6", "7"))
        opening = _aperture(head, neutral_V3, side)
        too_far = np.maximum(squint - SQUINT_MOST * opening, 0.0)
        if closing is None:
            if np.any(too_far):
                weight[side + "43"] = -too_far / by["43"]
            continue
        if side + "5" in weight:
            weight[side + "5"] = weight[side + "5"] * (1 - np.clip(closing, 0, 1))
        left = np.maximum(opening - squint, 0.0)
        weight[side + "43"] = (closing * left - (1 - np.clip(closing, 0, 1)) * too_far) / by["43"]


def _gaze_rows(
    head: Head, closed: Mapping[str, np.ndarray], gaze_T2: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Lids follow the eye, less so the more they are closed already."""
    rows = []
    yaw, pitch = gaze_T2[:, 0] / GAZE_FULL_DEG, gaze_T2[:, 1] / GAZE_FULL_DEG
    for side in "LR":
        for name, amount in (("left", yaw), ("right", -yaw), ("up", pitch), ("down", -pitch)):
            shape = head.gaze_shapes.get(side + name)
            amount = np.clip(amount, 0, 1) * (1 - closed[side])
            if shape is not None and amount.any():
                rows.append((amount, shape))
    return rows


def _turn_eye(
    head: Head, eye: Eye, neutral_V3: np.ndarray, posed_TV3: np.ndarray, gaze_T2: np.ndarray
) -> None:
    """Turns the eyeball and lifts the lids that a straight blend has pushed into it."""
    at = neutral_V3[eye.vertices]
    moved = (at - head.vertices_V3[eye.vertices]).mean(axis=0)
    centre = eye.centre_3 + moved
    spread = np.linalg.norm(at - centre, axis=1).mean()
    spread_generic = np.linalg.norm(head.vertices_V3[eye.vertices] - eye.centre_3, axis=1).mean()
    scale = spread / spread_generic
    turns_T33 = np.stack([rotation((yaw, pitch, 0)) for yaw, pitch in gaze_T2])
    posed_TV3[:, eye.vertices] = (at - centre) @ turns_T33.transpose(0, 2, 1) + centre
    lids = posed_TV3[:, eye.lids] - centre
    distance = np.maximum(np.linalg.norm(lids, axis=-1), 1e-6)
    along_axis = np.einsum("tvk,tk->tv", lids, turns_T33[:, :, 2]) / distance
    off_axis_deg = np.rad2deg(np.arccos(np.clip(along_axis, -1, 1)))
    cap = np.maximum(0, 1 - (off_axis_deg / CORNEA_DEG) ** 2)
    least = scale * (eye.radius + eye.cornea * cap)
    # Identity stretches eyeballs unevenly: this person's own may stand out further.
    least = np.maximum(least, np.interp(off_axis_deg, *_profile(at - centre))) + LID_CLEARANCE_CM
    posed_TV3[:, eye.lids] = centre + lids * np.maximum(1.0, least / distance)[..., None]


def _profile(ray_N3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(degrees off the axis, distance from the centre) of an eyeball's outermost points."""
    distance = np.linalg.norm(ray_N3, axis=1)
    off_axis_deg = np.rad2deg(np.arccos(np.clip(ray_N3[:, 2] / distance, -1, 1)))
    at_deg = np.arange(0, 64, 4)
    near = np.abs(off_axis_deg - at_deg[:, None]) <= 4
    return at_deg, np.where(near, distance, 0).max(axis=1)
