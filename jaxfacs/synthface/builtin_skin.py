"""The language that the built-in head's muscle actions are written in: places, pulls, pushes.

Every action is a displacement of the resting skin at full intensity (E): a sum of smooth pulls
and pushes that say what moves, which way, and how many centimetres. A pull slides along the
skull, so that a pull to the side follows the curve of the face backwards; a push moves freely.
"""

import numpy as np

from jaxfacs.synthface import builtin_surface as surface
from jaxfacs.synthface.builtin_surface import bump, smoothstep


class Skin:
    """Coordinates of all vertices that the fields are written in, and the two verbs.

    Attributes:
      x: distance from the midline, ≥ 0; y, z: as in the head; cm.
      sign: which way is outwards, ±1 in x.
      up: True above the lips' line, and on the upper lip.
      u: height above the line where the lips meet; negative below.
      s: 0 at the midline to 1 at the corner of the mouth.
      normal: outward direction of the skull (its x counted outwards, like `x`).
      front: 1 on the face, 0 on the back of the head.
      v: arc length down the profile, see `builtin_surface.skull`; 0 off the skin.
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

    def at(self, cx: float, cy: float, sx: float, sy: float, tilt: float = 0.0) -> np.ndarray:
        """A Gaussian place on the face, see `builtin_surface.bump`."""
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
