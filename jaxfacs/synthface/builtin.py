"""The built-in head: a face made by formulas alone, so that everything works offline.

`head()` builds it in about a second and keeps it for the life of the process. The resting surface
is in `builtin_surface`, its triangles in `builtin_mesh`, eyes and mouth in `builtin_parts`, the
muscle actions in `builtin_actions`, people and paint in `builtin_people`.
"""

import functools
from dataclasses import dataclass

import numpy as np

from jaxfacs.synthface import builtin_actions as actions
from jaxfacs.synthface import builtin_mesh as mesh
from jaxfacs.synthface import builtin_parts as parts
from jaxfacs.synthface import builtin_people as people
from jaxfacs.synthface import builtin_surface as surface
from jaxfacs.synthface import heads


@dataclass(frozen=True, eq=False)
class Body:
    """The resting mesh with what the actions and the identity need to know about it.

    Attributes:
      vertices_V3, triangles_F3, part_F: as in `heads.Head`.
      mirror_V: index of the mirror image of every vertex.
      skin_V: bool, a vertex of the face's own surface (not of a piece).
      below_V: bool, on the lower lip's side of the mouth.
      bind_V, follow_V, jaw_V: how the pieces move, see `builtin_parts.Piece`.
      eye_loop, upper_lip, lower_lip: see `builtin_mesh.HalfSkin`; of the left half.
      kind_V: which piece (its place in PIECES), 0 for the skin.
      v_V: arc length down the profile, of `builtin_surface.skull`; 0 off the skin.
    """

    vertices_V3: np.ndarray
    triangles_F3: np.ndarray
    part_F: np.ndarray
    mirror_V: np.ndarray
    skin_V: np.ndarray
    below_V: np.ndarray
    bind_V: np.ndarray
    follow_V: np.ndarray
    jaw_V: np.ndarray
    kind_V: np.ndarray
    v_V: np.ndarray
    eye_loop: np.ndarray
    upper_lip: np.ndarray
    lower_lip: np.ndarray


PIECES = ("skin", "eyeball", "lid_margin", "lashes", "mouth", "upper_teeth", "upper_gum",
          "lower_teeth", "lower_gum", "tongue", "ear")  # fmt: skip


def body() -> Body:
    half = mesh.half_skin()
    skin = surface.features(surface.skull(*half.qv_N2.T), half.below_N)
    skin[half.seam_N, 0] = 0
    pieces = [
        parts.eyeball(),
        parts.lid_margin(skin, half.eye_loop),
        parts.lashes(skin, half.eye_loop, mesh.EYE_POINTS),
        parts.mouth_bag(skin, half.upper_lip, half.lower_lip),
        *parts.teeth(upper=True),
        *parts.teeth(upper=False),
        parts.tongue(),
        parts.ear(),
    ]
    n = len(skin)
    vertices, triangles, part = [skin], [half.triangles_F3], [np.zeros(len(half.triangles_F3), int)]
    seam, below = [half.seam_N], [half.below_N]
    bind, follow, jaw = [np.arange(n)], [np.ones(n)], [np.zeros(n)]
    kind, down = [np.zeros(n, int)], [half.qv_N2[:, 1]]
    start = n
    for number, piece in enumerate(pieces, 1):
        own = piece.triangles_F3
        vertices.append(piece.vertices_N3)
        triangles.append(np.where(own >= 0, own + start, -1 - own))
        part.append(np.broadcast_to(piece.part, len(own)))
        seam.append(piece.seam & (np.abs(piece.vertices_N3[:, 0]) < 1e-9))
        below.append(piece.jaw_N > 0.5)
        bind.append(piece.bind_N)
        follow.append(piece.follow_N)
        jaw.append(piece.jaw_N)
        kind.append(np.full(len(piece.vertices_N3), number))
        down.append(np.zeros(len(piece.vertices_N3)))
        start += len(piece.vertices_N3)
    joined = [
        np.concatenate(x)
        for x in (vertices, triangles, part, seam, below, bind, follow, jaw, kind, down)
    ]
    return _mirrored(half, *joined)


def _mirrored(half, vertices, triangles, part, seam, below, bind, follow, jaw, kind, down) -> Body:
    """Adds the right half. Seam vertices are shared."""
    n = len(vertices)
    image = np.where(seam, np.arange(n), n + np.cumsum(~seam) - 1)
    twin = np.flatnonzero(~seam)
    mirror = np.concatenate([image, twin])
    both = lambda x: np.concatenate([x, x[twin]])  # noqa: E731
    right_bind = np.where(bind[twin] < 0, -1, image[bind[twin]])
    return Body(
        vertices_V3=np.concatenate([vertices, vertices[twin] * [-1, 1, 1]]),
        triangles_F3=np.concatenate([triangles, image[triangles][:, ::-1]]),
        part_F=np.concatenate([part, part]),
        mirror_V=mirror,
        skin_V=both(kind == 0),
        below_V=both(below),
        bind_V=np.concatenate([bind, right_bind]),
        follow_V=both(follow),
        jaw_V=both(jaw),
        kind_V=both(kind),
        v_V=both(down),
        eye_loop=half.eye_loop,
        upper_lip=half.upper_lip,
        lower_lip=half.lower_lip,
    )


def _skin_normals(at_V3: np.ndarray, body_: Body) -> np.ndarray:
    """Outward directions of the skull without its features, at every vertex."""
    x, y, z = np.abs(at_V3[:, 0]), at_V3[:, 1], at_V3[:, 2]
    side = np.where(at_V3[:, 0] < 0, -1.0, 1.0)
    q, v = surface.locate(np.stack([np.minimum(x, 6.9), np.clip(y, -10.5, 11)], axis=1)).T
    step = 1e-2
    dq = surface.skull(q + step, v) - surface.skull(np.maximum(q - step, 0), v)
    dv = surface.skull(q, v - step) - surface.skull(q, v + step)
    normal = np.cross(dq, dv)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    return normal * np.stack([side, np.ones_like(side), np.ones_like(side)], axis=1)


def _carry(body_: Body, moved_V3: np.ndarray, jaw_degrees: float) -> np.ndarray:
    """Lets the pieces move with the skin and the jaw."""
    jaw = actions.turn_jaw(body_.vertices_V3, jaw_degrees) * body_.jaw_V[:, None]
    carried = np.where(body_.bind_V[:, None] >= 0, moved_V3[body_.bind_V], 0)
    follow = body_.follow_V[:, None]
    return np.where(body_.skin_V[:, None], moved_V3, follow * carried + (1 - follow) * jaw)


def _shapes(body_: Body, k: actions.Skin) -> dict[str, np.ndarray]:
    x = body_.vertices_V3[:, 0]
    shapes = {}
    for au, (field, fade) in actions.ACTIONS.items():
        both = field(k)
        both[:, 0] *= np.where(np.abs(x) < 1e-9, 0, k.sign)
        degrees = actions.JAW_DEG.get(au, 0.0)
        if fade == 0:
            shapes[au] = _carry(body_, both, degrees).astype(np.float32)
            continue
        share = surface.smoothstep(x, -fade, fade)[:, None]
        shapes[f"L{au}"] = _carry(body_, both * share, 0).astype(np.float32)
        shapes[f"R{au}"] = _carry(body_, both * (1 - share), 0).astype(np.float32)
    return shapes


def _gaze_shapes(body_: Body, k: actions.Skin) -> dict[str, np.ndarray]:
    left = (body_.vertices_V3[:, 0] > 0)[:, None]
    shapes = {}
    for name, field in actions.GAZE.items():
        both = _carry(body_, field(k), 0)
        shapes[f"L{name}"] = np.where(left, both, 0).astype(np.float32)
        shapes[f"R{name}"] = np.where(left, 0, both).astype(np.float32)
    return shapes


def _eyes(body_: Body) -> tuple[heads.Eye, heads.Eye]:
    at = body_.vertices_V3
    reach = surface.eye_reach(np.abs(at[:, 0]) - surface.EYE[0], at[:, 1])
    lids = body_.skin_V & (reach < 0.9) & (at[:, 2] > 4)
    eyes = []
    for sign in (-1, 1):
        own = at[:, 0] * sign > 0
        eyes.append(
            heads.Eye(
                (surface.EYE * [sign, 1, 1]).astype(np.float32),
                surface.EYE_RADIUS,
                np.flatnonzero(own & (body_.kind_V == PIECES.index("eyeball"))).astype(np.int32),
                np.flatnonzero(own & lids).astype(np.int32),
            )
        )
    return eyes[0], eyes[1]


@functools.cache
def head() -> heads.Head:
    """The built-in head. Takes about a second at the first call; do not write to its arrays."""
    body_ = body()
    at = body_.vertices_V3
    k = actions.Skin(at, body_.below_V, _skin_normals(at, body_), body_.v_V)
    wrinkles = {}
    for au, field in people.creases(k).items():
        field = np.where(body_.skin_V, np.clip(field, -1, 1), 0)
        fade = actions.ACTIONS[au][1]
        if fade == 0:
            wrinkles[au] = field.astype(np.float32)
            continue
        share = surface.smoothstep(at[:, 0], -fade, fade)
        wrinkles[f"L{au}"] = (field * share).astype(np.float32)
        wrinkles[f"R{au}"] = (field * (1 - share)).astype(np.float32)
    return heads.Head(
        name="builtin",
        vertices_V3=at.astype(np.float32),
        triangles_F3=body_.triangles_F3.astype(np.int32),
        part_F=body_.part_F.astype(np.uint8),
        shapes=_shapes(body_, k),
        identity_M_V3=people.identity_modes(body_),
        landmarks_68=people.landmarks(body_),
        masks=people.masks(body_, k, parts.scalp(at)),
        wrinkles=wrinkles,
        eyes=_eyes(body_),
        gaze_shapes=_gaze_shapes(body_, k),
    )
