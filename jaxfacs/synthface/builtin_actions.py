"""Which FACS action is which movement of the built-in head.

A function of `builtin_upper` or `builtin_lower` gives the action of both sides; one side alone
is the same field faded out across the midline, so that L + R is exactly the action of both.
"""

from collections.abc import Callable

import numpy as np

from jaxfacs.synthface import builtin_lower as lower
from jaxfacs.synthface import builtin_upper as upper
from jaxfacs.synthface.builtin_skin import Skin

# Actions that do more together than apart.
PRODUCTS: dict[tuple[str, str], Callable[[Skin], np.ndarray]] = {("1", "4"): upper.oblique_brows}

# label -> (field of both sides, half-width of the fade across the midline; 0: no sides)
ACTIONS: dict[str, tuple[Callable[[Skin], np.ndarray], float]] = {
    "1": (upper.inner_brow_raiser, 0.7),
    "2": (upper.outer_brow_raiser, 0.7),
    "4": (upper.brow_lowerer, 0.6),
    "5": (upper.upper_lid_raiser, 0.5),
    "6": (upper.cheek_raiser, 0.5),
    "7": (upper.lid_tightener, 0.5),
    "9": (lower.nose_wrinkler, 0.7),
    "10": (lower.upper_lip_raiser, 1.2),
    "11": (lower.nasolabial_deepener, 0.8),
    "12": (lower.lip_corner_puller, 1.2),
    "14": (lower.dimpler, 1.0),
    "15": (lower.lip_corner_depressor, 1.0),
    "16": (lower.lower_lip_depressor, 1.2),
    "17": (lower.chin_raiser, 0),
    "18": (lower.lip_pucker, 0),
    "20": (lower.lip_stretcher, 1.2),
    "22": (lower.lip_funneler, 0),
    "23": (lower.lip_tightener, 0),
    "24": (lower.lip_presser, 0),
    "25": (lower.lips_part, 0),
    "26": (lower.jaw_drop, 0),
    "27": (lower.mouth_stretch, 0),
    "28": (lower.lip_suck, 0),
    "43": (upper.blink, 0.5),
}
# The lids go with the eye; at heads.GAZE_FULL_DEG. Sideways they stay.
GAZE: dict[str, Callable[[Skin], np.ndarray]] = {
    "up": lambda k: upper.move_lids(k, upper_cm=0.26, lower_cm=0.07),
    "down": lambda k: upper.move_lids(k, upper_cm=-0.40, lower_cm=-0.14),
}
JAW_DEG = {"26": lower.JAW_DROP_DEG, "27": lower.JAW_STRETCH_DEG}
