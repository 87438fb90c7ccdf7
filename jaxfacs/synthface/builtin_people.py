"""What makes the built-in head a person: identity modes.

A mode is a field over space for one standard deviation, in cm: (x ≥ 0, y, z) -> (out, up,
forward). Deep modes move bones, and with them eyes, teeth and ears; the others only what is
attached to the skin.
"""

from collections.abc import Callable

import numpy as np

from jaxfacs.synthface import builtin_surface as surface
from jaxfacs.synthface.builtin_body import Body
from jaxfacs.synthface.builtin_surface import bump, smoothstep

_Field = tuple[np.ndarray | float, np.ndarray | float, np.ndarray | float]


def _plateau(x, y, cx, cy, flat, soft) -> np.ndarray:
    away = np.maximum(np.hypot(x - cx, y - cy) - flat, 0)
    return np.exp(-0.5 * (away / soft) ** 2)


def _face(y, z) -> np.ndarray:
    return smoothstep(z, -1.0, 4.0) * smoothstep(y, 5.0, 1.0)


def _nose(x, y) -> np.ndarray:
    """1 at the tip of the nose, 0 at its root and on the lip."""
    down = smoothstep(y, 0.6, -3.6) * smoothstep(y, -5.7, -4.7)
    return down * np.exp(-0.5 * (x / 1.15) ** 4)


def _width(x, y, z) -> _Field:
    return 0.032 * x, 0, 0


def _length(x, y, z) -> _Field:
    return 0, -0.042 * np.maximum(-0.8 - y, 0) * smoothstep(y, -19, -12), 0


def _depth(x, y, z) -> _Field:
    return 0, 0, 0.025 * (z - 2)


def _jaw_width(x, y, z) -> _Field:
    w = np.exp(-0.5 * (((y + 8.0) / 2.4) ** 2 + ((z - 3.5) / 3.5) ** 2)) * smoothstep(x, 1.2, 4.5)
    return 0.36 * w, -0.10 * w, 0


def _chin(x, y, z) -> _Field:
    w = bump(x, y, 0, -10.5, 1.9, 1.2) * smoothstep(z, 2, 6)
    return 0, -0.24 * w, 0.28 * w


def _chin_width(x, y, z) -> _Field:
    w = bump(x, y, 1.7, -10.2, 1.0, 1.0) * smoothstep(z, 2, 6)
    return 0.28 * w, 0, -0.05 * w


def _prognathism(x, y, z) -> _Field:
    w = bump(x, y, 0, -7.2, 2.6, 1.7) * smoothstep(z, 1, 5)
    return 0, 0, 0.24 * w


def _nose_length(x, y, z) -> _Field:
    return 0, -0.26 * _nose(x, y), 0.02 * _nose(x, y)


def _nose_width(x, y, z) -> _Field:
    w = bump(x, y, 1.35, -4.4, 0.55, 0.75) * smoothstep(z, 5, 8)
    b = bump(x, y, 0.8, -2.0, 0.5, 1.5)
    return 0.21 * w + 0.10 * b, 0, -0.04 * w


def _nose_bridge(x, y, z) -> _Field:
    w = np.exp(-0.5 * ((x / 0.75) ** 2 + ((y + 0.9) / 1.3) ** 2))
    return 0, 0, 0.24 * w


def _nose_tip(x, y, z) -> _Field:
    w = np.exp(-0.5 * ((x / 0.9) ** 2 + ((y + 3.8) / 0.9) ** 2))
    return 0, 0.10 * w, 0.26 * w


def _brow_ridge(x, y, z) -> _Field:
    w = (
        np.exp(-0.5 * (((y - 1.7) / 0.7) ** 2))
        * np.exp(-0.5 * (x / 3.6) ** 4)
        * smoothstep(z, 3, 6)
    )
    return 0, -0.08 * w, 0.20 * w


def _brow_height(x, y, z) -> _Field:
    return 0, 0.17 * bump(x, y, 2.9, 2.0, 1.9, 0.75) * smoothstep(z, 2, 5), 0


def _brow_slant(x, y, z) -> _Field:
    w = bump(x, y, 2.9, 2.0, 1.9, 0.7) * smoothstep(z, 2, 5)
    return 0, 0.075 * (x - 2.6) * w, 0


def _forehead(x, y, z) -> _Field:
    return 0, 0.055 * np.maximum(y - 2.6, 0), -0.02 * np.maximum(y - 2.6, 0) * smoothstep(z, 2, 6)


def _eye_spacing(x, y, z) -> _Field:
    w = _plateau(x, y, surface.EYE[0], 0, 1.75, 0.8) * smoothstep(z, 2.5, 5.0)
    return 0.11 * w, 0, -0.03 * w


def _eye_size(x, y, z) -> _Field:
    w = 0.05 * _plateau(x, y, surface.EYE[0], 0, 1.75, 0.8) * smoothstep(z, 2.5, 5.0)
    return w * (x - surface.EYE[0]), w * y, w * (z - surface.EYE[2])


def _eye_depth(x, y, z) -> _Field:
    return 0, 0, 0.13 * _plateau(x, y, surface.EYE[0], 0, 1.6, 0.7) * smoothstep(z, 2.5, 5.0)


def _eye_tilt(x, y, z) -> _Field:
    w = _plateau(x, y, surface.EYE[0], 0, 1.2, 0.7) * smoothstep(z, 5, 6.5)
    return 0, 0.055 * (x - surface.EYE[0]) * w, 0


def _lid_opening(x, y, z) -> _Field:
    w = np.exp(-0.5 * (((x - surface.EYE[0]) / 0.9) ** 2)) * smoothstep(z, 5, 6.5)
    return 0, w * (0.075 * bump(x, y, x, 0.62, 1, 0.32) - 0.03 * bump(x, y, x, -0.5, 1, 0.25)), 0


def _lid_fold(x, y, z) -> _Field:
    w = bump(x, y, 3.2, 1.05, 1.2, 0.30) * smoothstep(z, 5, 6.5)
    return 0, -0.12 * w, 0.12 * w


def _lip_fullness(x, y, z) -> _Field:
    s = np.clip(x / surface.MOUTH_HALF, 0, 1)
    u = y - surface.slit(x)
    w = np.exp(-0.5 * ((np.abs(u) - 0.62) / 0.38) ** 2) * smoothstep(np.abs(u), 0, 0.4)
    w = w * (1 - s**2) * smoothstep(z, 5, 8)
    near = np.exp(-0.5 * (u / 0.7) ** 2) * (1 - s**2) * smoothstep(z, 5, 8)
    return 0, 0.13 * np.sign(u) * w, 0.07 * near


def _mouth_width(x, y, z) -> _Field:
    w = np.exp(-0.5 * ((y + 7.2) / 1.2) ** 2) * np.exp(-0.5 * (np.maximum(x - 2.5, 0) / 0.9) ** 2)
    w = w * smoothstep(z, 3, 6)
    return 0.075 * np.minimum(x, 2.6) * w, 0, -0.03 * w * x / 2.6


def _mouth_height(x, y, z) -> _Field:
    w = bump(x, y, 0, -7.3, 2.8, 1.3) * smoothstep(z, 4, 7)
    return 0, 0.16 * w, 0


def _mouth_corners(x, y, z) -> _Field:
    """Resting mouths that look a little pleased or displeased: less than a trace of 12 or 15."""
    w = bump(x, y, 2.6, -7.2, 0.7, 0.8) * smoothstep(z, 4, 7)
    return 0, 0.055 * w, 0


def _cheekbones(x, y, z) -> _Field:
    w = bump(x, y, 5.2, -1.9, 1.5, 1.1) * smoothstep(z, -0.5, 3)
    return 0.17 * w, 0.03 * w, 0.13 * w


def _fat(x, y, z) -> _Field:
    w = bump(x, y, 4.5, -6.2, 1.8, 2.4) * smoothstep(z, -1, 3)
    u = np.exp(-0.5 * (((y + 12.0) / 1.6) ** 2 + ((z - 4.5) / 3.5) ** 2 + (x / 4.5) ** 2))
    n = smoothstep(y, -11, -15)
    return 0.34 * w + 0.04 * n * x, -0.42 * u, 0.18 * w + 0.10 * u


def _sag(x, y, z) -> _Field:
    """Age: brows and cheeks sink, jowls, bags under the eyes, deeper furrows, thinner lips."""
    brow = bump(x, y, 4.2, 1.6, 1.3, 0.8)
    jowl = bump(x, y, 3.4, -9.2, 0.9, 1.0)
    bag = bump(x, y, 3.1, -0.95, 1.0, 0.25)
    trough = bump(x, y, 3.0, -1.40, 1.2, 0.18, 6)
    across = surface.beyond_furrow(x, y)
    on = smoothstep(y, -8.4, -7.2) * smoothstep(y, -4.0, -4.8)
    groove = on * (np.exp(-0.5 * ((across - 0.5) / 0.4) ** 2) - np.exp(-0.5 * (across / 0.18) ** 2))
    front = smoothstep(z, 1, 4)
    return (
        front * 0.08 * jowl,
        front * (-0.14 * brow - 0.14 * jowl),
        front * (0.07 * bag - 0.08 * trough + 0.11 * groove + 0.06 * jowl),
    )


def _ears(x, y, z) -> _Field:
    w = smoothstep(x, 6.6, 7.6) * bump(z, y, -0.8, -1.2, 1.6, 4.0)
    return 0.30 * w * smoothstep(z, 0.5, -2), 0.05 * (y + 1.2) * w, 0.03 * (z + 0.5) * w


def _crooked(x, y, z, side) -> _Field:
    """Resting asymmetry of nose, mouth and chin; `side` is the sign of x."""
    front = smoothstep(z, 4, 7)
    nose = 0.10 * _nose(x, y) * front
    mouth = 0.08 * bump(x, y, 0, -8.0, 2.8, 2.4) * front
    lift = 0.06 * bump(x, y, 2.4, -7.2, 1.0, 1.0) * side * front
    return side * (nose - mouth), lift, 0


def _uneven(x, y, z, side) -> _Field:
    """Resting asymmetry of brows and lids."""
    brow = 0.10 * bump(x, y, 3.0, 2.0, 1.7, 0.7)
    lid = 0.035 * bump(x, y, 3.1, 0.6, 0.8, 0.3)
    return 0, smoothstep(z, 2, 5) * side * (brow + lid), 0


_LOPSIDED = (_crooked, _uneven)

# (field, deep: bones too)
MODES: tuple[tuple[Callable[..., _Field], bool], ...] = (
    (_width, True), (_length, True), (_jaw_width, False), (_chin, False), (_nose_length, False),
    (_nose_width, False), (_nose_bridge, False), (_nose_tip, False), (_brow_ridge, False),
    (_eye_spacing, True), (_eye_size, True), (_eye_tilt, False), (_lid_opening, False),
    (_lip_fullness, False), (_mouth_width, False), (_cheekbones, False), (_fat, False),
    (_forehead, True), (_ears, True), (_sag, False), (_crooked, False), (_uneven, False),
    (_brow_height, False), (_brow_slant, False), (_eye_depth, True), (_lid_fold, False),
    (_prognathism, True), (_mouth_height, True), (_mouth_corners, False), (_chin_width, False),
    (_depth, True),
)  # fmt: skip


# What a clear case of a trait is made of, in standard deviations of the modes.
TRAITS: dict[str, dict[Callable[..., _Field], float]] = {
    "child": {
        _length: -2.2,
        _nose_length: -1.5,
        _nose_bridge: -1.6,
        _nose_tip: -0.6,
        _eye_size: 2.0,
        _forehead: 1.5,
        _jaw_width: -1.0,
        _chin: -1.6,
        _fat: 1.0,
        _brow_ridge: -1.0,
        _width: 0.8,
        _cheekbones: -0.5,
    },
    "old": {_sag: 2.0, _brow_height: -0.8, _lid_fold: 1.2, _lip_fullness: -1.0, _ears: 0.6},
    "male": {
        _brow_ridge: 0.9,
        _jaw_width: 0.9,
        _chin: 0.7,
        _chin_width: 0.6,
        _brow_height: -0.6,
        _lip_fullness: -0.5,
        _nose_width: 0.4,
        _cheekbones: -0.3,
        _eye_size: -0.4,
    },
}


def traits(modes_M_V3: np.ndarray) -> dict[str, np.ndarray]:
    """ "child", "old", "male" -> float32 V×3 out of `identity_modes`."""
    number = {field: i for i, (field, _) in enumerate(MODES)}
    return {
        name: np.sum(
            [np.float32(w) * modes_M_V3[number[field]] for field, w in weights.items()], axis=0
        )
        for name, weights in TRAITS.items()
    }


def identity_modes(whole: Body) -> np.ndarray:
    """M×V×3 displacements for one standard deviation of each mode of MODES; float32."""
    at = whole.vertices_V3
    x, y, z = np.abs(at[:, 0]), at[:, 1], at[:, 2]
    side = np.where(at[:, 0] < 0, -1.0, 1.0)
    bone = whole.bind_V < 0
    modes = []
    for field, deep in MODES:
        arguments = (x, y, z, side) if field in _LOPSIDED else (x, y, z)
        out, up, forward = (np.broadcast_to(f, x.shape) for f in field(*arguments))
        moved = np.stack([side * out, up, forward], axis=1) * (1.0 if deep else ~bone[:, None])
        if field is not _eye_size:  # an eyeball keeps its shape
            for sign in (-1, 1):
                own = whole.of("eyeball") & (side == sign)
                moved[own] = moved[own].mean(axis=0)
        modes.append(moved.astype(np.float32))
    return np.stack(modes)
