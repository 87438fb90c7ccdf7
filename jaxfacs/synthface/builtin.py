"""The built-in head: a face made by formulas alone, so that everything works offline.

`head()` builds it in about a second and keeps it for the life of the process. The resting surface
is in `builtin_surface`, its triangles in `builtin_mesh`, eyes and mouth in `builtin_parts`, all of
it joined in `builtin_body`. The table of muscle actions is in `builtin_actions`, written out in
`builtin_upper` and `builtin_lower` in the terms of `builtin_skin`; what people differ in is in
`builtin_people`; masks, creases and landmarks are in `builtin_paint`.
"""

import functools
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from jaxfacs.synthface import builtin_actions as actions
from jaxfacs.synthface import builtin_paint as paint
from jaxfacs.synthface import builtin_people as people
from jaxfacs.synthface import builtin_surface as surface
from jaxfacs.synthface import heads
from jaxfacs.synthface.builtin_body import Body, body
from jaxfacs.synthface.builtin_lower import turn_jaw
from jaxfacs.synthface.builtin_skin import Skin
from jaxfacs.synthface.builtin_upper import upper_lid


@functools.cache
def head() -> heads.Head:
    """The built-in head. Takes about a second at the first call; do not write to its arrays."""
    whole = body()
    at = whole.vertices_V3
    k = Skin(at, whole.below_V, _outwards(at), whole.v_V)
    skin = whole.of("skin")
    modes_M_V3 = people.identity_modes(whole)
    return heads.Head(
        name="builtin",
        vertices_V3=at.astype(np.float32),
        triangles_F3=whole.triangles_F3.astype(np.int32),
        part_F=whole.part_F.astype(np.uint8),
        shapes=dict(_shapes(whole, k)),
        identity_M_V3=modes_M_V3,
        landmarks_68=paint.landmarks(whole),
        masks=paint.masks(whole, k),
        wrinkles={
            label: (np.clip(field, -1, 1) * skin).astype(np.float32)
            for au, both in paint.creases(k).items()
            for label, field in _sides(au, both[:, None], at[:, 0])
            for field in (field[:, 0],)
        },
        eyes=_eyes(whole),
        correctives=tuple(_correctives(whole, k)),
        gaze_shapes=dict(_gaze_shapes(whole, k)),
        traits=people.traits(modes_M_V3),
        finish=_lid_closer(whole, k),
    )


def _outwards(at_V3: np.ndarray) -> np.ndarray:
    """Outward directions of the skull without its features, at every vertex."""
    x, y = np.abs(at_V3[:, 0]), at_V3[:, 1]
    q, v = surface.locate(np.stack([np.minimum(x, 6.9), np.clip(y, -10.5, 11)], axis=1)).T
    step = 1e-2
    dq = surface.skull(q + step, v) - surface.skull(np.maximum(q - step, 0), v)
    dv = surface.skull(q, v - step) - surface.skull(q, v + step)
    normal = np.cross(dq, dv)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    normal[at_V3[:, 0] < 0, 0] *= -1
    return normal


def _carry(whole: Body, moved_V3: np.ndarray, jaw_degrees: float = 0.0) -> np.ndarray:
    """Lets the pieces move with the skin and the jaw; float32."""
    jaw = turn_jaw(whole.vertices_V3, jaw_degrees) * whole.jaw_V[:, None]
    held = np.where(whole.bind_V[:, None] >= 0, moved_V3[whole.bind_V], 0)
    follow = whole.follow_V[:, None]
    moved = np.where(whole.of("skin")[:, None], moved_V3, follow * held + (1 - follow) * jaw)
    return moved.astype(np.float32)


def _sides(au: str, both_VC: np.ndarray, x_V: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Parts a field in the left and the right action, or leaves it whole where FACS does."""
    fade = actions.ACTIONS[au][1]
    if fade == 0:
        yield au, both_VC
        return
    left = surface.smoothstep(x_V, -fade, fade)[:, None]
    yield f"L{au}", both_VC * left
    yield f"R{au}", both_VC * (1 - left)


def _on_both_sides(field: Callable[[Skin], np.ndarray], k: Skin, x_V: np.ndarray) -> np.ndarray:
    moved = field(k)
    moved[:, 0] *= np.where(np.abs(x_V) < 1e-9, 0, k.sign)
    return moved


def _shapes(whole: Body, k: Skin) -> Iterator[tuple[str, np.ndarray]]:
    x = whole.vertices_V3[:, 0]
    for au, (field, _) in actions.ACTIONS.items():
        for label, moved in _sides(au, _on_both_sides(field, k, x), x):
            yield label, _carry(whole, moved, actions.JAW_DEG.get(au, 0.0))


def _correctives(whole: Body, k: Skin) -> Iterator[heads.Corrective]:
    x = whole.vertices_V3[:, 0]
    for (first, second), field in actions.PRODUCTS.items():
        for label, moved in _sides(first, _on_both_sides(field, k, x), x):
            yield heads.Corrective((label, label[0] + second), _carry(whole, moved))


def _gaze_shapes(whole: Body, k: Skin) -> Iterator[tuple[str, np.ndarray]]:
    x = whole.vertices_V3[:, 0]
    for way, field in actions.GAZE.items():
        for side, own in (("L", x > 0), ("R", x < 0)):
            yield side + way, _carry(whole, field(k) * own[:, None])


def _eyes(whole: Body) -> tuple[heads.Eye, heads.Eye]:
    at = whole.vertices_V3
    reach = surface.eye_reach(np.abs(at[:, 0]) - surface.EYE[0], at[:, 1])
    lids = whole.of("skin") & (reach < 0.9) & (at[:, 2] > 4)
    right, left = (
        heads.Eye(
            (surface.EYE * [sign, 1, 1]).astype(np.float32),
            surface.EYE_RADIUS,
            np.flatnonzero(whole.of("eyeball") & (at[:, 0] * sign > 0)).astype(np.int32),
            np.flatnonzero(lids & (at[:, 0] * sign > 0)).astype(np.int32),
        )
        for sign in (-1, 1)
    )
    return right, left


def _lid_closer(whole: Body, k: Skin) -> Callable[[np.ndarray, Mapping[str, np.ndarray]], None]:
    """Makes closing lids meet on every face: people's apertures differ, the shape of 43 does not.

    What is left of the gape is taken from the upper lid in proportion to 43⁴, so that it does not
    show before they are nearly shut; where several actions drive the lids through each other, the
    upper one is held back. The lid keeps its distance from the centre of the eye.
    """
    sides = []
    weight, t = upper_lid(k)
    bound = whole.of("lid_margin", "lashes")
    weight[bound], t[bound] = weight[whole.bind_V[bound]], t[whole.bind_V[bound]]
    weight *= whole.of("skin") | bound
    middle = len(whole.eye_loop) // 2
    for label, sign in (("L43", 1), ("R43", -1)):
        loop = whole.eye_loop if sign > 0 else whole.mirror_V[whole.eye_loop]
        upper, lower = loop[: middle + 1], np.append(loop[middle:], loop[0])[::-1]
        lid = np.flatnonzero((weight > 0) & (whole.vertices_V3[:, 0] * sign > 0))
        place = np.interp(t[lid], t[upper], np.arange(len(upper)))
        low = np.minimum(place.astype(int), len(upper) - 2)
        ball = np.flatnonzero(whole.of("eyeball") & (whole.vertices_V3[:, 0] * sign > 0))
        sides.append((label, upper, lower, lid, weight[lid], low, place - low, ball[-24:]))

    def close(posed_TV3: np.ndarray, weight_by_label: Mapping[str, np.ndarray]) -> None:
        for label, upper, lower, lid, share, low, part, rim in sides:
            shut = np.clip(weight_by_label.get(label, np.zeros(1)), 0, 1) ** 4
            gape = posed_TV3[:, upper, 1] - posed_TV3[:, lower, 1]
            if not shut.any() and gape.min() >= 0:
                continue
            gape *= np.where(gape < 0, 1, shut[:, None])
            left_over = gape[:, low] * (1 - part) + gape[:, low + 1] * part
            centre = posed_TV3[:, rim].mean(axis=1, keepdims=True)
            ray = posed_TV3[:, lid] - centre
            distance = np.linalg.norm(ray, axis=-1, keepdims=True)
            ray[..., 1] -= share * left_over
            ray *= distance / np.maximum(np.linalg.norm(ray, axis=-1, keepdims=True), 1e-6)
            posed_TV3[:, lid] = centre + ray

    return close
