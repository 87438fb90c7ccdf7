"""What makes the built-in head a person: identity modes, painted masks, creases, landmarks."""

from collections.abc import Callable

import numpy as np

from jaxfacs.synthface import builtin_surface as surface
from jaxfacs.synthface.builtin_actions import Skin
from jaxfacs.synthface.builtin_surface import bump, smoothstep

BROW_X = np.array([0.95, 1.6, 2.6, 3.8, 5.05])
BROW_Y = np.array([1.72, 1.95, 2.22, 2.22, 1.66])


def brow_line(x: np.ndarray) -> np.ndarray:
    """y of the middle of the brow."""
    curve = np.polyfit(BROW_X, BROW_Y, 3)
    return np.polyval(curve, np.clip(x, BROW_X[0], BROW_X[-1]))


# --- identity ------------------------------------------------------------------------------
# A mode is a field over space for one standard deviation, in cm: (x ≥ 0, y, z) -> (out, up,
# forward). Deep modes move bones, and with them eyes, teeth and ears; the others only skin.

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
    return 0.24 * w, 0.04 * w, 0.18 * w


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
    along = np.clip((-4.5 - y) / 3.2, 0, 1)
    across = x - (1.95 + 1.25 * along**0.8)
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


# (field, deep: bones too, sided)
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


def identity_modes(body) -> np.ndarray:
    """M×V×3 displacements for one standard deviation of each mode of MODES."""
    from jaxfacs.synthface.builtin import PIECES

    at = body.vertices_V3
    x, y, z = np.abs(at[:, 0]), at[:, 1], at[:, 2]
    side = np.where(at[:, 0] < 0, -1.0, 1.0)
    rigid = np.isin(
        body.kind_V,
        [
            PIECES.index(p)
            for p in (
                "eyeball",
                "ear",
                "upper_teeth",
                "upper_gum",
                "lower_teeth",
                "lower_gum",
                "tongue",
            )
        ],
    )
    eyeball = body.kind_V == PIECES.index("eyeball")
    modes = []
    for field, deep in MODES:
        arguments = (x, y, z, side) if field in (_crooked, _uneven) else (x, y, z)
        out, up, forward = (np.broadcast_to(f, x.shape) for f in field(*arguments))
        moved = np.stack([side * out, up, forward], axis=1) * (1.0 if deep else ~rigid[:, None])
        if field is not _eye_size:
            for s in (-1, 1):  # an eyeball keeps its shape
                own = eyeball & (side == s)
                moved[own] = moved[own].mean(axis=0)
        modes.append(moved)
    return np.stack(modes).astype(np.float32)


# --- paint ---------------------------------------------------------------------------------


def masks(body, k: Skin, scalp_V: np.ndarray) -> dict[str, np.ndarray]:
    """The masks of `heads.MASKS`, float32 V in 0..1, zero off the skin."""
    x, y, z = k.x, k.y, k.z
    t = np.clip((x - BROW_X[0]) / (BROW_X[-1] - BROW_X[0]), 0, 1)
    half = 0.36 * (1 - 0.62 * t**1.5) * (0.8 + 0.2 * smoothstep(t, 0.0, 0.2))
    over = np.abs(y - brow_line(x)) / half
    ends = smoothstep(x, BROW_X[0] - 0.25, BROW_X[0] + 0.15) * smoothstep(
        x, BROW_X[-1] + 0.25, BROW_X[-1] - 0.3
    )
    brow = smoothstep(over, 1.35, 0.65) * ends * k.front
    lip = np.zeros_like(x)
    for upper in (True, False):
        red = np.abs(surface.lip_border(x, upper) - surface.slit(x))
        inside = smoothstep(np.abs(k.u) - red, 0.05, -0.07)
        lip += np.where(k.up == upper, inside, 0) * (x < surface.MOUTH_HALF + 0.02)
    lip *= smoothstep(z, 4, 6)
    reach = surface.eye_reach(x - surface.EYE[0], y)
    beard = np.maximum(
        smoothstep(y, -6.6, -8.2) * smoothstep(k.v, surface.descend(-12.6), surface.descend(-11.9)),
        bump(x, y, 0, -5.9, 1.7, 0.5) ** 0.7,
    )
    side_line = smoothstep(x, 4.2, 5.8) * smoothstep(y, -1.0, -4.0) * smoothstep(z, -1.2, 0.2)
    side_line *= smoothstep(k.v, surface.descend(-12.6), surface.descend(-11.9))
    beard = np.maximum(beard * smoothstep(z, -1.2, 0.2), side_line) * (1 - lip)
    paint = {
        "brow": brow,
        "lip": lip,
        "lid": smoothstep(reach, 0.95, 0.70) * k.front,
        "nostril": np.clip(1.25 * bump(x, y, 0.66, -5.0, 0.30, 0.17, 14), 0, 1)
        * smoothstep(z, 7, 8),
        "cheek": bump(x, y, 4.2, -3.2, 1.5, 1.2) * k.front,
        "beard": beard,
        "hair": smoothstep(scalp_V, -0.5, 0.8),
        "neck": smoothstep(k.v, surface.descend(-11.7), surface.descend(-12.8)),
    }
    skin = body.skin_V
    inner_lip = body.kind_V == 4
    out = {
        name: np.where(skin, np.clip(value, 0, 1), 0).astype(np.float32)
        for name, value in paint.items()
    }
    out["lip"] = np.where(inner_lip & (body.follow_V > 0.8), 1, out["lip"]).astype(np.float32)
    lid_margin = body.kind_V == 2
    out["lid"] = np.where(lid_margin, 1, out["lid"]).astype(np.float32)
    return out


# --- creases -------------------------------------------------------------------------------


def _lines(distance: np.ndarray, spacing: float, count: int) -> np.ndarray:
    """`count` furrows `spacing` apart from distance 0 on, with ridges between them."""
    phase = distance / spacing
    inside = smoothstep(phase, -0.5, 0.0) * smoothstep(phase, count - 0.5, count - 1.0)
    return -np.cos(2 * np.pi * phase) * inside


def creases(k: Skin) -> dict[str, np.ndarray]:
    """AU number -> bump height of both sides in tenths of a centimetre; negative is a furrow."""
    x, y = k.x, k.y
    arch = y - 3.35 + 0.10 * np.cos(x * 0.9)
    forehead = _lines(arch, 0.85, 4)
    along = np.clip((-4.5 - y) / 3.2, 0, 1)
    across = x - (1.95 + 1.25 * along**0.8)
    on = smoothstep(y, -8.0, -7.0) * smoothstep(y, -3.9, -4.6)
    fold = on * (
        0.6 * np.exp(-0.5 * ((across - 0.45) / 0.28) ** 2) - np.exp(-0.5 * (across / 0.14) ** 2)
    )
    angle = np.arctan2(y - 0.1, np.maximum(x - 4.3, 1e-3))
    radius = np.hypot(x - 4.3, y - 0.1)
    fan = np.cos(angle * 7.0) * smoothstep(radius, 0.5, 0.9) * smoothstep(radius, 2.2, 1.2)
    fan = -fan * smoothstep(np.abs(angle), 1.25, 0.9) * (x > 4.35)
    glabella = -np.exp(-0.5 * ((x - 0.42) / 0.12) ** 2) + 0.6 * np.exp(
        -0.5 * ((x - 0.85) / 0.25) ** 2
    )
    glabella = (glabella + 0.4 * np.exp(-0.5 * (x / 0.2) ** 2)) * np.exp(
        -0.5 * ((y - 1.9) / 0.65) ** 2
    )
    under_eye = -bump(x, y, 3.1, -1.12, 1.2, 0.12, 5) + 0.6 * bump(x, y, 3.1, -0.80, 1.0, 0.14)
    root = _lines(y + 0.4, 0.42, 3) * np.exp(-0.5 * (x / 0.85) ** 2)
    bunny = np.cos((y + 0.9 + 0.8 * (x - 0.8)) * 9.0) * bump(x, y, 1.05, -1.1, 0.4, 0.6)
    chin = np.cos(x * 7.0 + 0.5 * np.sin(y * 9.0)) * np.cos(y * 6.5) * bump(x, y, 0, -9.8, 1.1, 0.8)
    bracket = x - 3.15 - 0.25 * ((y + 7.2) / 1.0) ** 2
    comma = np.exp(-0.5 * ((y + 7.2) / 0.8) ** 2) * (
        -np.exp(-0.5 * (bracket / 0.14) ** 2) + 0.5 * np.exp(-0.5 * ((bracket - 0.4) / 0.2) ** 2)
    )
    lip_lines = (
        np.cos(x * 11.0)
        * smoothstep(np.abs(k.u), 0.5, 0.8)
        * smoothstep(np.abs(k.u), 1.5, 1.0)
        * smoothstep(x, 2.0, 1.2)
    )
    chin_fold = -bump(x, y, 0, -8.7, 1.6, 0.15)
    below_corner = -bump(x, y, 2.85, -8.0, 0.14, 0.5, -15)
    fields = {
        "1": forehead * np.exp(-0.5 * (x / 1.9) ** 4),
        "2": forehead * np.exp(-0.5 * ((x - 4.0) / 1.6) ** 4),
        "4": glabella - 0.7 * bump(x, y, 0, 0.75, 0.9, 0.12),
        "6": 0.8 * fan + 0.6 * under_eye,
        "7": 0.6 * under_eye,
        "9": 0.7 * root + 0.6 * bunny + 0.7 * fold * smoothstep(y, -6.6, -5.6),
        "10": fold * smoothstep(y, -7.4, -6.0),
        "11": fold * smoothstep(y, -6.6, -5.4),
        "12": 0.9 * fold + 0.35 * fan + 0.4 * comma,
        "14": comma,
        "15": below_corner + 0.4 * chin_fold,
        "16": 0.5 * chin_fold,
        "17": 0.55 * chin + 0.7 * chin_fold,
        "18": 0.5 * lip_lines,
        "20": 0.7 * comma,
        "23": 0.35 * lip_lines,
        "24": 0.4 * chin_fold + 0.25 * lip_lines,
    }
    return {au: field * k.front for au, field in fields.items()}


# --- landmarks -----------------------------------------------------------------------------

_JAW = ((0.0, -11.35), (1.7, -11.05), (3.3, -10.25), (4.6, -8.9), (5.55, -7.2), (6.2, -5.4),
        (6.65, -3.6), (6.9, -1.8), (7.0, 0.1))  # fmt: skip


def landmarks(body) -> np.ndarray:
    """The 68 vertices in iBUG order."""
    at = body.vertices_V3
    pool = np.flatnonzero(body.skin_V & (at[:, 2] > 0.3) & (at[:, 0] >= 0))

    def nearest(x: float, y: float, below: bool | None = None) -> int:
        use = pool if below is None else pool[body.below_V[pool] == below]
        return int(use[np.argmin(np.hypot(at[use, 0] - x, at[use, 1] - y))])

    def centre(y: float, below: bool | None = None) -> int:
        use = pool[at[pool, 0] == 0]
        use = use if below is None else use[body.below_V[use] == below]
        return int(use[np.argmin(np.abs(at[use, 1] - y))])

    flip = body.mirror_V
    jaw = [centre(_JAW[0][1])] + [nearest(*xy) for xy in _JAW[1:]]
    brow = [
        nearest(x, float(brow_line(np.array(x))) + 0.12)
        for x in np.linspace(BROW_X[0], BROW_X[-1], 5)
    ]
    n = len(body.eye_loop) // 2
    loop = body.eye_loop
    third, two = round(n * 0.36), round(n * 0.64)
    eye = [loop[0], loop[third], loop[two], loop[n], loop[2 * n - two], loop[2 * n - third]]
    border = lambda x, upper: nearest(x, float(surface.lip_border(np.array(x), upper)), not upper)  # noqa: E731
    edge = lambda ring, x: int(ring[np.argmin(np.abs(at[ring, 0] - x))])  # noqa: E731
    corner = body.upper_lip[-1]
    top = [border(1.6, True), border(0.45, True)]
    low = [border(1.7, False), border(0.75, False)]
    inner_corner = edge(body.upper_lip, 2.25)
    inner_top, inner_low = edge(body.upper_lip, 0.75), edge(body.lower_lip, 0.75)
    right = lambda ids: [int(flip[i]) for i in ids]  # noqa: E731
    nostril = [nearest(0.62, -5.15), nearest(1.3, -4.95)]
    order = (
        right(jaw[:0:-1]) + jaw
        + right(brow[::-1]) + brow
        + [centre(y) for y in (0.4, -1.0, -2.4, -3.9)]
        + right(nostril[::-1]) + [centre(-5.2)] + nostril
        + right([eye[3], eye[2], eye[1], eye[0], eye[5], eye[4]])
        + [eye[i] for i in (0, 1, 2, 3, 4, 5)]
        + right([corner, *top]) + [centre(float(surface.lip_border(np.array(0.0), True)), False)] + top[::-1] + [corner]
        + low + [centre(float(surface.lip_border(np.array(0.0), False)), True)] + right(low[::-1])
        + right([inner_corner, inner_top]) + [body.upper_lip[0], inner_top, inner_corner]
        + [inner_low, body.lower_lip[0]] + right([inner_low])
    )  # fmt: skip
    return np.array(order, np.int32)
