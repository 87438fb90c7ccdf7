"""What is painted on the built-in head: masks, creases, and where the 68 landmarks lie."""

import numpy as np

from jaxfacs.synthface import builtin_parts as parts
from jaxfacs.synthface import builtin_surface as surface
from jaxfacs.synthface.builtin_body import Body
from jaxfacs.synthface.builtin_skin import Skin
from jaxfacs.synthface.builtin_surface import bump, smoothstep

BROW_X = np.array([0.95, 1.6, 2.6, 3.8, 5.05])
BROW_Y = np.array([1.72, 1.95, 2.22, 2.22, 1.66])


def brow_line(x: np.ndarray) -> np.ndarray:
    """y of the middle of the brow."""
    curve = np.polyfit(BROW_X, BROW_Y, 3)
    return np.polyval(curve, np.clip(x, BROW_X[0], BROW_X[-1]))


def masks(whole: Body, k: Skin) -> dict[str, np.ndarray]:
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
        "hair": smoothstep(parts.scalp(whole.vertices_V3), -0.5, 0.8),
        "neck": smoothstep(k.v, surface.descend(-11.7), surface.descend(-12.8)),
    }
    skin = whole.of("skin")
    out = {
        name: np.where(skin, np.clip(value, 0, 1), 0).astype(np.float32)
        for name, value in paint.items()
    }
    out["lip"][whole.of("mouth") & (whole.follow_V > 0.8)] = 1
    out["lid"][whole.of("lid_margin")] = 1
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
    across = surface.beyond_furrow(x, y)
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
    root = _lines(y + 1.5, 0.52, 4) * np.exp(-0.5 * (x / 0.95) ** 4)
    bunny = -np.cos((y + 0.9 + 0.8 * (x - 0.8)) * 2 * np.pi / 0.62) * bump(
        x, y, 1.15, -1.1, 0.45, 0.75
    )
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
        "9": 1.0 * root + 1.0 * bunny + 0.7 * fold * smoothstep(y, -6.6, -5.6),
        "10": fold * smoothstep(y, -7.4, -6.0),
        "11": fold * smoothstep(y, -6.6, -5.4),
        "12": 0.9 * fold + 0.35 * fan + 0.4 * comma,
        "14": comma,
        "15": below_corner + 0.4 * chin_fold,
        "16": 0.5 * chin_fold,
        "17": 0.9 * chin + 0.7 * chin_fold,
        "18": 0.5 * lip_lines,
        "20": 0.7 * comma,
        "23": 0.35 * lip_lines,
        "24": 0.4 * chin_fold + 0.25 * lip_lines,
    }
    return {au: field * k.front for au, field in fields.items()}


# --- landmarks -----------------------------------------------------------------------------

_JAW = ((0.0, -11.35), (1.7, -11.05), (3.3, -10.25), (4.6, -8.9), (5.55, -7.2), (6.2, -5.4),
        (6.65, -3.6), (6.9, -1.8), (7.0, 0.1))  # fmt: skip


def landmarks(whole: Body) -> np.ndarray:
    """The 68 vertices in iBUG order."""
    at = whole.vertices_V3
    pool = np.flatnonzero(whole.of("skin") & (at[:, 2] > 0.3) & (at[:, 0] >= 0))

    def nearest(x: float, y: float, below: bool | None = None) -> int:
        use = pool if below is None else pool[whole.below_V[pool] == below]
        use = use[at[use, 0] == 0] if x == 0 else use
        return int(use[np.argmin(np.hypot(at[use, 0] - x, at[use, 1] - y))])

    def border(x: float, upper: bool) -> int:
        return nearest(x, float(surface.lip_border(np.array(x), upper)), not upper)

    def along(ring: np.ndarray, x: float) -> int:
        return int(ring[np.argmin(np.abs(at[ring, 0] - x))])

    def right(left: list[int]) -> list[int]:
        """The mirror images, in the order that iBUG goes: from the subject's right."""
        return [int(whole.mirror_V[i]) for i in left[::-1]]

    jaw = [nearest(*xy) for xy in _JAW]
    brow_x = np.linspace(BROW_X[0], BROW_X[-1], 5)
    brow = [nearest(x, float(brow_line(x)) + 0.12) for x in brow_x]
    nostril = [nearest(0.62, -5.15), nearest(1.3, -4.95)]
    loop = whole.eye_loop.tolist()
    n = len(loop) // 2
    near, far = round(n * 0.36), round(n * 0.64)
    lids = [loop[i] for i in (0, near, far, n, 2 * n - far, 2 * n - near)]
    upper, lower = whole.upper_lip, whole.lower_lip
    corner = int(upper[-1])
    top, low = [border(0.45, True), border(1.6, True)], [border(1.7, False), border(0.75, False)]
    inner = [along(upper, 0.75), along(upper, 2.25)]
    inner_low = along(lower, 0.75)
    order = [
        *right(jaw[1:]), *jaw,
        *right(brow), *brow,
        *(nearest(0, y) for y in (0.4, -1.0, -2.4, -3.9)),
        *right(nostril), nearest(0, -5.2), *nostril,
        *right(lids[:4]), *right(lids[4:]),
        *lids,
        *right([*top, corner]), border(0, True), *top, corner,
        *low, border(0, False), *right(low),
        *right(inner), int(upper[0]), *inner,
        inner_low, int(lower[0]), *right([inner_low]),
    ]  # fmt: skip
    return np.array(order, np.int32)
