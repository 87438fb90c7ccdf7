"""Muscle actions of the built-in head.

Every action is a displacement of the resting skin at full intensity (E), written from its FACS
description as a sum of smooth pulls and pushes: what moves, which way, how many centimetres.
A function gives the action of both sides; one side alone is the same field faded out across the
midline, so that L + R is exactly the action of both. Pieces (teeth, lashes, lips' inner side)
take their movement from the skin or the jaw.

Pulls slide along the skull: a pull to the side follows the curve of the face backwards.
"""

from collections.abc import Callable

import numpy as np

from jaxfacs.synthface import builtin_surface as surface
from jaxfacs.synthface.builtin_surface import bump, smoothstep

JAW_PIVOT_YZ = np.array([-1.9, 0.9])  # the jaw's joint, just ahead of the ear
JAW_DROP_DEG, JAW_STRETCH_DEG = 11.0, 24.0  # AU26 and AU27 at E


class Skin:
    """Coordinates of all vertices that the fields are written in, and the two verbs.

    Attributes:
      x: distance from the midline, ≥ 0; y, z: as in the head; cm.
      sign: which way is outwards, ±1 in x.
      up: True above the lips' line, and on the upper lip.
      u: height above the line where the lips meet; negative below.
      s: 0 at the midline to 1 at the corner of the mouth.
    """

    def __init__(
        self, at_V3: np.ndarray, below_V: np.ndarray, normal_V3: np.ndarray, v_V: np.ndarray
    ):
        self.x, self.y, self.z = np.abs(at_V3[:, 0]), at_V3[:, 1], at_V3[:, 2]
        self.sign = np.where(at_V3[:, 0] < 0, -1.0, 1.0)
        self.normal = normal_V3 * np.stack([self.sign, self.sign * 0 + 1, self.sign * 0 + 1], 1)
        self.up = ~below_V
        self.u = self.y - surface.slit(self.x)
        self.s = np.clip(self.x / surface.MOUTH_HALF, 0, 1)
        self.front = smoothstep(self.z, 0.0, 3.0)
        self.v = v_V

    def pull(
        self, weight: np.ndarray, out: float = 0, up: float = 0, forward: float = 0
    ) -> np.ndarray:
        """Moves skin along the skull by (out, up, forward) cm where `weight` is 1."""
        way = np.array([out, up, forward], float)
        size = np.linalg.norm(way)
        along = way - (self.normal @ way)[:, None] * self.normal
        along *= size / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 0.5 * size)
        return along * (weight * self.front)[:, None]

    def push(self, weight: np.ndarray, outwards: float = 0, **way: float) -> np.ndarray:
        """Moves skin freely: `outwards` along the skull's normal, or out=, up=, forward=."""
        free = np.array([way.get("out", 0), way.get("up", 0), way.get("forward", 0)], float)
        return (self.normal * outwards + free) * (weight * self.front)[:, None]

    def at(self, cx, cy, sx, sy, tilt=0.0) -> np.ndarray:
        return bump(self.x, self.y, cx, cy, sx, sy, tilt)

    def lip(
        self, upper: bool, sx: float, reach: float, centre: float = 0.0, corner: float = 0.0
    ) -> np.ndarray:
        """1 on one lip (full over its red), fading over `reach` cm; `corner` is what is left of
        it at the corner of the mouth, where both lips are one."""
        side = self.up if upper else ~self.up
        red = np.abs(surface.lip_border(self.x, upper) - surface.slit(self.x))
        away = np.maximum(np.abs(self.u) - 0.8 * red, 0)
        across = np.exp(-0.5 * ((self.x - centre) / sx) ** 2) + np.exp(
            -0.5 * ((self.x + centre) / sx) ** 2
        )
        across = across / (1 + np.exp(-0.5 * (2 * centre / sx) ** 2))
        hold = 1 - (1 - corner) * smoothstep(self.x, 0.55 * surface.MOUTH_HALF, surface.MOUTH_HALF)
        return np.where(side, across * hold * np.exp(-0.5 * (away / reach) ** 2), 0)

    def opposite(self, upper: bool, sx: float, reach: float, centre: float = 0.0) -> np.ndarray:
        """The other lip, as far as it is taken along."""
        side = ~self.up if upper else self.up
        across = np.exp(-0.5 * ((self.x - centre) / sx) ** 2)
        return np.where(side, across * np.exp(-0.5 * (self.u / reach) ** 2), 0)


# --- lids ----------------------------------------------------------------------------------


def _lid_parts(k: Skin) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Weights of the upper and the lower lid, the gape between them at x, and t along them."""
    inner, outer = surface.INNER_CANTHUS, surface.OUTER_CANTHUS
    t = (k.x - inner[0]) / (outer[0] - inner[0])
    inside = np.clip(t, 0, 1)
    top, bottom = surface.lid_line(inside, True)[:, 1], surface.lid_line(inside, False)[:, 1]
    chord = inner[1] + inside * (outer[1] - inner[1])
    above = np.clip((k.y - top) / 0.95, 0, 1)
    below = np.clip((bottom - k.y) / 1.0, 0, 1)
    near = smoothstep(t, -0.25, 0.02) * smoothstep(t, 1.25, 0.98)
    is_upper = k.y >= np.minimum(chord + 1e-9, top - 1e-6)
    upper = np.where(is_upper & (k.y > top - 0.02), (1 - smoothstep(above, 0.05, 1.0)) * near, 0)
    lower = np.where(
        ~is_upper & (k.y < bottom + 0.02), (1 - smoothstep(below, 0.05, 1.0)) * near, 0
    )
    return upper, lower, top - bottom, inside


def upper_lid(k: Skin) -> tuple[np.ndarray, np.ndarray]:
    """How far each vertex goes with the upper lid, and how far along it is (0 inner, 1 outer)."""
    weight, _, _, t = _lid_parts(k)
    return weight, t


def _on_ball(k: Skin, dy: np.ndarray) -> np.ndarray:
    """Displacement V×3 of skin that moves by dy over the eyeball."""
    dx = k.x - surface.EYE[0]
    here = surface.lid_depth(dx, k.y - surface.EYE[1])
    there = surface.lid_depth(dx, k.y + dy - surface.EYE[1])
    reach = surface.eye_reach(dx, k.y - surface.EYE[1])
    return np.stack([0 * dy, dy, (there - here) * smoothstep(reach, 1.12, 0.62)], axis=1)


def _lids(k: Skin, upper_cm: float = 0, lower_cm: float = 0, close: float = 0) -> np.ndarray:
    """Moves the lid margins up by cm at their middle; `close` lets the upper meet the lower."""
    upper, lower, gape, t = _lid_parts(k)
    hump = (4 * t * (1 - t)) ** 0.75
    dy = (
        upper * (upper_cm * hump - close * np.maximum(gape - 0.07 * hump, 0))
        + lower * (lower_cm + 0.07 * close) * hump
    )
    return _on_ball(k, dy)


def blink(k: Skin) -> np.ndarray:
    fold = k.at(3.1, 1.15, 1.2, 0.35)
    return _lids(k, close=1.0) + k.push(fold, up=-0.10, outwards=-0.06)


def upper_lid_raiser(k: Skin) -> np.ndarray:
    return _lids(k, upper_cm=0.33, lower_cm=-0.03) + k.push(
        k.at(3.1, 1.25, 1.2, 0.3), up=0.08, outwards=-0.08
    )


def lid_tightener(k: Skin) -> np.ndarray:
    d = _lids(k, upper_cm=-0.19, lower_cm=0.27)
    d += k.pull(k.at(3.2, -0.95, 1.3, 0.35), up=0.12, out=-0.04)
    return (
        d
        + k.push(k.at(3.1, -0.62, 1.1, 0.16), outwards=0.08)
        - k.push(k.at(3.1, -1.15, 1.2, 0.15), outwards=0.05)
    )


def cheek_raiser(k: Skin) -> np.ndarray:
    d = k.pull(k.at(3.7, -2.7, 1.5, 1.35, 8), up=0.55, out=-0.08)
    d += k.push(k.at(3.8, -2.0, 1.35, 0.85, 12), outwards=0.30)
    d += _lids(k, upper_cm=-0.08, lower_cm=0.20)
    d += k.pull(k.at(5.3, 0.2, 0.6, 1.1), out=-0.22)
    d += k.pull(k.at(4.6, 1.7, 1.1, 0.6), up=-0.18)
    d += k.push(k.at(3.1, -0.70, 1.2, 0.18), outwards=0.10) - k.push(
        k.at(3.1, -1.18, 1.4, 0.13, 6), outwards=0.12
    )
    return d


# --- brows ---------------------------------------------------------------------------------


def inner_brow_raiser(k: Skin) -> np.ndarray:
    # Falls off quickly to the side: the brows become oblique.
    inner = np.exp(-0.5 * (np.maximum(k.x - 0.9, 0) / 1.15) ** 2)
    rise = np.exp(-0.5 * (np.where(k.y > 1.9, (k.y - 1.9) / 2.1, (k.y - 1.9) / 0.85)) ** 2)
    d = k.pull(inner * rise, up=0.85, out=-0.05)
    return d + _lids(k, upper_cm=0.03) + k.push(inner * k.at(0.6, 2.6, 2.2, 0.5), outwards=0.06)


def outer_brow_raiser(k: Skin) -> np.ndarray:
    outer = np.exp(-0.5 * (np.where(k.x < 4.0, (k.x - 4.0) / 1.35, (k.x - 4.0) / 1.6)) ** 2)
    rise = np.exp(-0.5 * (np.where(k.y > 2.0, (k.y - 2.0) / 2.0, (k.y - 2.0) / 0.8)) ** 2)
    return k.pull(outer * rise, up=0.95, out=0.03) + k.pull(k.at(3.9, 1.05, 0.9, 0.35), up=0.10)


def brow_lowerer(k: Skin) -> np.ndarray:
    band = np.exp(-0.5 * (np.where(k.y > 1.8, (k.y - 1.8) / 1.25, (k.y - 1.8) / 0.75)) ** 2)
    inner = np.exp(-0.5 * (np.maximum(k.x - 1.2, 0) / 1.6) ** 2)
    together = smoothstep(k.x, 0.0, 0.9) * np.exp(-0.5 * (np.maximum(k.x - 1.3, 0) / 1.2) ** 2)
    d = k.pull(inner * band, up=-0.62) + k.pull(together * band, out=-0.50)
    d += k.push(k.at(1.0, 1.55, 0.5, 0.5), outwards=0.20) + k.push(
        k.at(2.2, 1.5, 1.2, 0.35), outwards=0.14
    )
    d -= k.push(k.at(0.42, 1.9, 0.12, 0.6), outwards=0.10) + k.push(
        k.at(0, 0.75, 0.8, 0.18), outwards=0.08
    )
    return d + _lids(k, upper_cm=-0.10)


# --- nose and cheeks -----------------------------------------------------------------------


def _furrow(k: Skin, depth: float, top: float = -4.2, bottom: float = -7.4) -> np.ndarray:
    """Deepens the furrow from the nose's wing to the mouth's corner and fills its cheek side."""
    along = np.clip((-4.5 - k.y) / 3.2, 0, 1)
    across = k.x - (1.95 + 1.25 * along**0.8)
    on = smoothstep(k.y, bottom - 0.9, bottom) * smoothstep(k.y, top + 0.5, top)
    groove = on * np.exp(-0.5 * (across / 0.20) ** 2)
    pad = on * np.exp(-0.5 * ((across - 0.65) / 0.42) ** 2)
    return k.push(pad, outwards=depth) - k.push(groove, outwards=depth)


def nose_wrinkler(k: Skin) -> np.ndarray:
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
    return d + _furrow(k, 0.16, -3.8, -6.2) + _lids(k, upper_cm=-0.08, lower_cm=0.16)


def upper_lip_raiser(k: Skin) -> np.ndarray:
    d = k.pull(k.lip(True, 1.35, 1.15, centre=1.15, corner=0.30), up=0.70)
    d += k.pull(k.opposite(True, 1.8, 0.5), up=0.26)
    d += k.pull(k.at(1.5, -4.5, 0.5, 0.55), up=0.24, out=0.10)
    d += k.pull(k.at(2.9, -3.9, 1.1, 1.0), up=0.36)
    d += k.push(k.at(2.9, -3.2, 0.9, 0.6, 15), outwards=0.22)
    return d + _furrow(k, 0.22, -4.0, -6.6)


def nasolabial_deepener(k: Skin) -> np.ndarray:
    d = k.pull(k.lip(True, 0.7, 0.9, centre=1.7, corner=0.35), up=0.22, out=0.06)
    d += k.pull(k.lip(False, 0.7, 0.4, centre=1.7, corner=0.35), up=0.22, out=0.06)
    d += k.pull(k.at(2.6, -4.6, 0.7, 0.9), up=0.26, out=0.10)
    return d + _furrow(k, 0.30, -3.9, -6.3)


def lip_corner_puller(k: Skin) -> np.ndarray:
    # Along the zygomatic line, up and back to the cheekbone; the lips are stretched over the
    # teeth and the cheek is bunched up under the eye.
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
    d += _lids(k, lower_cm=0.06)
    return d + _furrow(k, 0.24, -4.2, -6.5)


def dimpler(k: Skin) -> np.ndarray:
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
    d = k.push(k.lip(False, 1.7, 0.8, centre=0.8, corner=0.10), up=-0.62, forward=0.02)
    d += k.pull(k.at(1.4, -9.0, 1.3, 0.6), up=-0.25)
    return d + k.push(k.at(1.2, -9.3, 1.1, 0.35), outwards=0.14)


def chin_raiser(k: Skin) -> np.ndarray:
    d = k.pull(k.at(0, -9.6, 1.7, 1.15), up=0.55)
    d += k.push(k.lip(False, 1.35, 0.7), up=0.36, forward=0.28) + k.push(
        k.lip(True, 1.35, 0.55), up=0.36, forward=0.14
    )
    d += k.push(k.at(0, -9.6, 1.0, 0.6), outwards=0.20)
    d += k.pull(k.at(2.7, -7.4, 0.6, 0.6), up=-0.12)
    return d - k.push(k.at(0, -8.55, 1.3, 0.28), outwards=0.20)


def lip_pucker(k: Skin) -> np.ndarray:
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
    d = _roll(k, 0.48)
    band = np.exp(-0.5 * (k.u / 0.8) ** 2)
    d += np.stack([-0.09 * np.minimum(k.x, 3) * band * k.front, 0 * k.x, 0 * k.x], axis=1)
    return d + k.push(np.exp(-0.5 * ((np.abs(k.u) - 0.75) / 0.25) ** 2) * (1 - k.s), outwards=0.08)


def lip_presser(k: Skin) -> np.ndarray:
    d = _roll(k, 0.34)
    bulge = np.exp(-0.5 * ((k.u - 0.85) / 0.30) ** 2) + np.exp(-0.5 * ((k.u + 1.0) / 0.32) ** 2)
    d += k.push(bulge * np.exp(-0.5 * (k.x / 1.7) ** 2), outwards=0.20)
    d += k.pull(k.at(0, -9.4, 1.5, 0.9), up=0.24)
    corner = k.at(2.7, -7.2, 0.5, 0.5)
    return d - k.push(corner, outwards=0.22) + k.push(k.at(3.2, -7.2, 0.35, 0.7), outwards=0.14)


def lips_part(k: Skin) -> np.ndarray:
    d = k.push(k.lip(True, 1.5, 0.7), up=0.20)
    return d + k.push(k.lip(False, 1.6, 0.8), up=-0.36) + k.pull(k.at(0, -9.0, 1.6, 0.6), up=-0.08)


def lip_suck(k: Skin) -> np.ndarray:
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
    return _open(k, JAW_DROP_DEG, 0.14)


def mouth_stretch(k: Skin) -> np.ndarray:
    return _open(k, JAW_STRETCH_DEG, 0.30)


def oblique_brows(k: Skin) -> np.ndarray:
    """1 and 4 together: the raised inner corners are drawn up further than the sum of both."""
    inner = np.exp(-0.5 * (np.maximum(k.x - 0.8, 0) / 0.75) ** 2)
    band = np.exp(-0.5 * (np.where(k.y > 1.9, (k.y - 1.9) / 1.6, (k.y - 1.9) / 0.7)) ** 2)
    return k.pull(inner * band, up=0.34) + k.push(k.at(0.9, 2.3, 0.5, 0.4), outwards=0.08)


# Actions that do more together than apart.
PRODUCTS: dict[tuple[str, str], Callable[[Skin], np.ndarray]] = {("1", "4"): oblique_brows}

# label -> (field of both sides, half-width of the fade across the midline; 0: no sides)
ACTIONS: dict[str, tuple[Callable[[Skin], np.ndarray], float]] = {
    "1": (inner_brow_raiser, 0.7),
    "2": (outer_brow_raiser, 0.7),
    "4": (brow_lowerer, 0.6),
    "5": (upper_lid_raiser, 0.5),
    "6": (cheek_raiser, 0.5),
    "7": (lid_tightener, 0.5),
    "9": (nose_wrinkler, 0.7),
    "10": (upper_lip_raiser, 1.2),
    "11": (nasolabial_deepener, 0.8),
    "12": (lip_corner_puller, 1.2),
    "14": (dimpler, 1.0),
    "15": (lip_corner_depressor, 1.0),
    "16": (lower_lip_depressor, 1.2),
    "17": (chin_raiser, 0),
    "18": (lip_pucker, 0),
    "20": (lip_stretcher, 1.2),
    "22": (lip_funneler, 0),
    "23": (lip_tightener, 0),
    "24": (lip_presser, 0),
    "25": (lips_part, 0),
    "26": (jaw_drop, 0),
    "27": (mouth_stretch, 0),
    "28": (lip_suck, 0),
    "43": (blink, 0.5),
}
# The lids go with the eye; at heads.GAZE_FULL_DEG. Sideways they stay.
GAZE: dict[str, Callable[[Skin], np.ndarray]] = {
    "up": lambda k: _lids(k, upper_cm=0.26, lower_cm=0.07),
    "down": lambda k: _lids(k, upper_cm=-0.40, lower_cm=-0.14),
}
JAW_DEG = {"26": JAW_DROP_DEG, "27": JAW_STRETCH_DEG}
