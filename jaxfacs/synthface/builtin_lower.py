"""Actions of the lower face: nose, cheeks, lips, chin and jaw. A function gives both sides."""

import numpy as np

from jaxfacs.synthface import builtin_surface as surface
from jaxfacs.synthface.builtin_skin import Skin
from jaxfacs.synthface.builtin_surface import smoothstep
from jaxfacs.synthface.builtin_upper import move_lids

JAW_PIVOT_YZ = np.array([-1.9, 0.9])  # the jaw's joint, just ahead of the ear
JAW_DROP_DEG, JAW_STRETCH_DEG = 11.0, 24.0  # AU26 and AU27 at E

# --- nose and cheeks -----------------------------------------------------------------------


def _furrow(k: Skin, depth: float, top: float = -4.2, bottom: float = -7.4) -> np.ndarray:
    """Deepens the furrow from the nose's wing to the mouth's corner and fills its cheek side."""
    across = surface.beyond_furrow(k.x, k.y)
    on = smoothstep(k.y, bottom - 0.9, bottom) * smoothstep(k.y, top + 0.5, top)
    groove = on * np.exp(-0.5 * (across / 0.20) ** 2)
    pad = on * np.exp(-0.5 * ((across - 0.65) / 0.42) ** 2)
    return k.push(pad, outwards=depth) - k.push(groove, outwards=depth)


def nose_wrinkler(k: Skin) -> np.ndarray:
    """9: the skin beside the nose and its wings rise, the root wrinkles, the brows sink."""
    d = k.pull(k.at(1.45, -4.2, 0.65, 0.8), up=0.55, out=0.05)
    d += k.pull(k.at(2.0, -2.2, 1.0, 1.1), up=0.45, out=-0.15)
    d += k.pull(k.lip(True, 1.3, 1.0, centre=1.0, corner=0.2), up=0.42) + k.pull(
        k.opposite(True, 1.4, 0.5), up=0.20
    )
    d += k.pull(k.at(0.9, 1.6, 1.3, 0.8), up=-0.45, out=-0.12)
    d += k.push(k.at(0.75, -0.6, 0.5, 0.6), outwards=0.16) + k.push(
        k.at(2.0, -1.3, 0.9, 0.4), outwards=0.22
    )
    d += k.push(k.at(1.5, -4.3, 0.4, 0.4), out=0.12)
    folds = np.cos(2 * np.pi * (k.y + 1.5 + 0.5 * k.x) / 0.56) * smoothstep(k.x, 1.5, 0.7)
    d -= k.push(folds * smoothstep(k.y, -1.9, -1.4) * smoothstep(k.y, 0.5, 0.1), outwards=0.10)
    return d + _furrow(k, 0.16, -3.8, -6.2) + move_lids(k, upper_cm=-0.08, lower_cm=0.16)


def upper_lip_raiser(k: Skin) -> np.ndarray:
    """10: the upper lip rises, most beside its middle; the cheek fold hangs over it."""
    d = k.pull(k.lip(True, 1.35, 1.15, centre=1.15, corner=0.30), up=0.70)
    d += k.pull(k.opposite(True, 1.8, 0.5), up=0.26)
    d += k.pull(k.at(1.5, -4.5, 0.5, 0.55), up=0.24, out=0.10)
    d += k.pull(k.at(2.9, -3.9, 1.1, 1.0), up=0.36)
    d += k.push(k.at(2.9, -3.2, 0.9, 0.6, 15), outwards=0.22)
    return d + _furrow(k, 0.22, -4.0, -6.6)


def nasolabial_deepener(k: Skin) -> np.ndarray:
    """11: the upper and middle part of the nasolabial furrow deepens."""
    d = k.pull(k.lip(True, 0.7, 0.9, centre=1.7, corner=0.35), up=0.22, out=0.06)
    d += k.pull(k.lip(False, 0.7, 0.4, centre=1.7, corner=0.35), up=0.22, out=0.06)
    d += k.pull(k.at(2.6, -4.6, 0.7, 0.9), up=0.26, out=0.10)
    return d + _furrow(k, 0.30, -3.9, -6.3)


def lip_corner_puller(k: Skin) -> np.ndarray:
    """12: the corners go up and back, the cheeks are lifted, the furrow deepens."""
    reach = np.exp(-0.5 * (np.hypot((k.x - 2.7) / 1.15, (k.y + 7.2) / 1.15)) ** 2)
    lips = np.exp(-0.5 * (k.u / 0.9) ** 2) * smoothstep(k.s, 0.0, 1.0) ** 1.3 * (k.x < 3.6)
    near = np.maximum(reach, lips * 0.95)
    d = k.pull(near, out=0.86, up=0.62) + k.push(near, forward=-0.12)
    d += k.pull(k.at(3.5, -5.4, 1.1, 1.2), out=0.40, up=0.52)
    d += k.push(k.at(4.0, -3.7, 1.15, 0.95, 20), outwards=0.42) + k.pull(
        k.at(3.9, -3.2, 1.4, 1.0), up=0.30
    )
    d += k.pull(k.at(1.6, -4.5, 0.5, 0.5), out=0.12)
    lower = k.lip(False, 1.5, 0.6)
    d += k.push(lower, up=0.06, forward=-0.14) + k.push(
        k.lip(True, 1.5, 0.5), up=0.02, forward=-0.14
    )
    d += move_lids(k, lower_cm=0.06)
    return d + _furrow(k, 0.24, -4.2, -6.5)


def dimpler(k: Skin) -> np.ndarray:
    """14: the corners are drawn in tightly, with a dimple beside them."""
    near = np.maximum(
        k.at(2.6, -7.2, 0.8, 0.75), np.exp(-0.5 * (k.u / 0.5) ** 2) * k.s**2 * (k.x < 3.4)
    )
    d = k.pull(near, out=0.42, up=0.02) + k.push(near, forward=-0.12)
    d -= k.push(k.at(3.10, -7.2, 0.22, 0.45), outwards=0.32)
    d += k.push(k.at(3.62, -7.2, 0.28, 0.65), outwards=0.26)
    press = np.where(k.up, -1.0, 1.0) * np.exp(
        -0.5 * (np.maximum(np.abs(k.u) - 0.1, 0) / 0.35) ** 2
    )
    d[:, 1] += 0.08 * press * smoothstep(np.abs(k.u), 0.0, 0.5) * (k.x < 2.6) * k.front
    return d


def lip_corner_depressor(k: Skin) -> np.ndarray:
    """15: the corners go down, with a pouch below them."""
    near = np.maximum(
        k.at(2.65, -7.4, 0.85, 0.9), 0.95 * np.exp(-0.5 * (k.u / 0.7) ** 2) * k.s**2.2 * (k.x < 3.4)
    )
    d = k.pull(near, up=-0.72, out=0.14)
    d += k.pull(k.at(2.7, -8.9, 0.9, 1.0), up=-0.22)
    d -= k.push(k.at(2.75, -8.15, 0.22, 0.35, -20), outwards=0.20)
    return (
        d
        + k.push(k.at(3.2, -8.6, 0.45, 0.55), outwards=0.20)
        + k.push(k.lip(False, 1.2, 0.5), forward=0.05)
    )


# --- lips and chin -------------------------------------------------------------------------


def lower_lip_depressor(k: Skin) -> np.ndarray:
    """16: the lower lip is pulled down and the chin flattened."""
    d = k.push(k.lip(False, 1.7, 0.8, centre=0.8, corner=0.10), up=-0.62, forward=0.02)
    d += k.pull(k.at(1.4, -9.0, 1.3, 0.6), up=-0.25)
    return d + k.push(k.at(1.2, -9.3, 1.1, 0.35), outwards=0.14)


def chin_raiser(k: Skin) -> np.ndarray:
    """17: the chin's boss rises and wrinkles, and pushes the lower lip up and out."""
    d = k.pull(k.at(0, -9.6, 1.7, 1.15), up=0.55)
    d += k.push(k.lip(False, 1.35, 0.7), up=0.36, forward=0.28) + k.push(
        k.lip(True, 1.35, 0.55), up=0.36, forward=0.14
    )
    d += k.push(k.at(0, -9.6, 1.0, 0.6), outwards=0.20)
    d += k.pull(k.at(2.7, -7.4, 0.6, 0.6), up=-0.12)
    return d - k.push(k.at(0, -8.55, 1.3, 0.28), outwards=0.20)


def lip_pucker(k: Skin) -> np.ndarray:
    """18: the corners come in, the lips go forward and are gathered."""
    round_mouth = np.exp(
        -0.5 * (np.maximum(np.hypot(k.x / 1.15, (k.y + 7.3) * 1.35) - 1.6, 0) / 1.0) ** 2
    )
    d = (
        np.stack([-0.46 * np.minimum(k.x, 3.2) * round_mouth, 0 * k.x, 0 * k.x], axis=1)
        * k.front[:, None]
    )
    centre = np.exp(-0.5 * ((k.x / 1.75) ** 2 + ((k.y + 7.2) / 1.15) ** 2))
    d += k.push(centre, forward=0.72)
    middle = np.exp(-0.5 * (k.x / 1.0) ** 2)
    red = np.exp(-0.5 * ((np.abs(k.u) - 0.45) / 0.4) ** 2) * smoothstep(np.abs(k.u), 0.0, 0.4)
    d += k.push(np.where(k.up, 1.0, -1.0) * red * middle, up=0.16)
    return d - k.push(k.at(3.0, -7.2, 0.6, 1.0), outwards=0.22)


def lip_stretcher(k: Skin) -> np.ndarray:
    """20: the corners go straight out, the lips are stretched flat."""
    near = np.maximum(
        k.at(2.8, -7.35, 1.1, 1.0), np.exp(-0.5 * (k.u / 0.8) ** 2) * k.s**1.2 * (k.x < 3.7)
    )
    d = k.pull(near, out=0.95, up=-0.16) + k.push(near, forward=-0.12)
    d += k.pull(k.at(3.7, -8.3, 1.2, 1.4), out=0.45, up=-0.18)
    flat = np.exp(-0.5 * (k.u / 0.7) ** 2) * (1 - 0.5 * k.s)
    d += k.push(flat, forward=-0.20)
    thin = smoothstep(np.abs(k.u), 0.0, 0.5) * np.exp(
        -0.5 * (np.maximum(np.abs(k.u) - 0.5, 0) / 0.4) ** 2
    )
    d += k.push(np.where(k.up, -1.0, 1.0) * thin * (1 - k.s**2), up=0.13)
    return d - k.push(k.at(3.75, -7.6, 0.3, 0.8), outwards=0.16)


def lip_funneler(k: Skin) -> np.ndarray:
    """22: the lips turn outwards in a funnel and part."""
    round_mouth = np.exp(
        -0.5 * (np.maximum(np.hypot(k.x / 1.15, (k.y + 7.3) * 1.35) - 1.7, 0) / 1.0) ** 2
    )
    d = (
        np.stack([-0.30 * np.minimum(k.x, 3.2) * round_mouth, 0 * k.x, 0 * k.x], axis=1)
        * k.front[:, None]
    )
    d += k.push(np.exp(-0.5 * ((k.x / 2.0) ** 2 + ((k.y + 7.2) / 1.2) ** 2)), forward=0.62)
    d += k.push(k.lip(True, 1.3, 0.7), up=0.40, forward=0.22) + k.push(
        k.lip(False, 1.3, 0.7), up=-0.52, forward=0.24
    )
    return d


def _roll(k: Skin, amount: float) -> np.ndarray:
    """Turns the red of both lips inwards: its border comes to the line where they meet."""
    d = np.zeros((len(k.x), 3))
    for upper in (True, False):
        side = k.up if upper else ~k.up
        red = np.maximum(np.abs(surface.lip_border(k.x, upper) - surface.slit(k.x)), 0.03)
        part = np.abs(k.u) / red
        take = np.where(part < 1, part, np.exp(-0.5 * ((part - 1) * red / 0.5) ** 2))
        sign = -1.0 if upper else 1.0
        shift = amount * take * red * (1 - k.s**6) * side * (k.x < surface.MOUTH_HALF)
        d[:, 1] += sign * shift * k.front
        tuck = np.exp(-0.5 * (part / 0.8) ** 2) * side * (1 - k.s**2)
        d[:, 2] -= 0.42 * amount * tuck * k.front
    return d


def lip_tightener(k: Skin) -> np.ndarray:
    """23: the red of the lips grows narrow and tight."""
    d = _roll(k, 0.48)
    band = np.exp(-0.5 * (k.u / 0.8) ** 2)
    d += np.stack([-0.09 * np.minimum(k.x, 3) * band * k.front, 0 * k.x, 0 * k.x], axis=1)
    return d + k.push(np.exp(-0.5 * ((np.abs(k.u) - 0.75) / 0.25) ** 2) * (1 - k.s), outwards=0.08)


def lip_presser(k: Skin) -> np.ndarray:
    """24: the lips are pressed together and bulge above and below."""
    d = _roll(k, 0.34)
    bulge = np.exp(-0.5 * ((k.u - 0.85) / 0.30) ** 2) + np.exp(-0.5 * ((k.u + 1.0) / 0.32) ** 2)
    d += k.push(bulge * np.exp(-0.5 * (k.x / 1.7) ** 2), outwards=0.20)
    d += k.pull(k.at(0, -9.4, 1.5, 0.9), up=0.24)
    corner = k.at(2.7, -7.2, 0.5, 0.5)
    return d - k.push(corner, outwards=0.22) + k.push(k.at(3.2, -7.2, 0.35, 0.7), outwards=0.14)


def lips_part(k: Skin) -> np.ndarray:
    """25: the lips part, the jaw stays."""
    d = k.push(k.lip(True, 1.5, 0.7), up=0.20)
    return d + k.push(k.lip(False, 1.6, 0.8), up=-0.36) + k.pull(k.at(0, -9.0, 1.6, 0.6), up=-0.08)


def lip_suck(k: Skin) -> np.ndarray:
    """28: the red of both lips is sucked in over the teeth."""
    d = _roll(k, 0.90)
    d -= k.push(np.exp(-0.5 * (k.u / 0.75) ** 2) * (1 - k.s**2), forward=0.24)
    return (
        d
        + k.pull(k.at(0, -9.2, 1.6, 0.9), up=0.18)
        + k.push(k.at(0, -9.3, 1.4, 0.45), outwards=0.10)
    )


# --- the jaw -------------------------------------------------------------------------------


def jaw_share(k: Skin) -> np.ndarray:
    """How far the skin goes with the jaw, 0..1. An open mouth is round: towards the corners both
    lips come nearer to half of it, and the cheek goes from nothing to all over a widening band."""
    lag = 1 - np.sqrt(np.clip(1 - k.s**2, 0, 1))
    beyond = np.maximum(k.x - surface.MOUTH_HALF, 0)
    height = (k.u - 0.55 * beyond) / (1.1 + 0.75 * beyond)
    held = 0.5 * lag * np.exp(-(height**2))
    over = np.where(beyond > 0, height > 0, k.up)
    share = np.where(over, held, 1 - held)
    throat = surface.descend(-11.4)
    return share * (1 - smoothstep(k.v, throat, throat + 6.5)) * smoothstep(k.z, -2.5, 2.0)


def turn_jaw(at_N3: np.ndarray, degrees: float) -> np.ndarray:
    """Displacement N×3 of what is fixed to the jaw; the joint also slides forward as it opens."""
    a = np.deg2rad(degrees)
    y, z = at_N3[:, 1] - JAW_PIVOT_YZ[0], at_N3[:, 2] - JAW_PIVOT_YZ[1]
    slide = 0.016 * degrees
    dy = y * np.cos(a) - z * np.sin(a) - y - 0.4 * slide
    dz = y * np.sin(a) + z * np.cos(a) - z + slide
    return np.stack([np.zeros_like(dy), dy, dz], axis=1)


def _open(k: Skin, degrees: float, narrow: float) -> np.ndarray:
    share = jaw_share(k)
    at = np.stack([k.x, k.y, k.z], axis=1)
    d = turn_jaw(at, degrees) * share[:, None]
    # The upper lip gives a little, the corners come in, the cheeks go hollow.
    d += k.push(k.lip(True, 1.5, 0.6), up=0.006 * degrees)
    d += k.push(k.at(2.7, -7.4, 0.9, 1.6), out=-narrow, forward=-0.5 * narrow)
    return d - k.push(k.at(4.4, -6.6, 1.1, 1.8), outwards=0.8 * narrow)


def jaw_drop(k: Skin) -> np.ndarray:
    """26: the jaw drops as if relaxed."""
    return _open(k, JAW_DROP_DEG, 0.14)


def mouth_stretch(k: Skin) -> np.ndarray:
    """27: the jaw is pulled down as far as it goes."""
    return _open(k, JAW_STRETCH_DEG, 0.30)
