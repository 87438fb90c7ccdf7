"""The Prkachin & Solomon pain intensity, a sum over AUs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from jaxfacs.emotion.reading import Evidence
from jaxfacs.facs.emotions import PSPI_GROUPS


def pspi(aus: Sequence[str], intensity_TA: ArrayLike) -> np.ndarray:
    """PSPI of each frame (T, 0-16): AU4 + max(6, 7) + max(9, 10) + 43, where 43 is 0 or 1.

    Args:
      aus: A labels.
      intensity_TA: 0-5; eyes count as closed from intensity 1 (A). Negative or NaN is unknown.

    Returns:
      NaN where a group has no known AU: a missing AU is not an absent one. In a group of two, one
      known AU is enough.
    """
    intensity_TA = np.asarray(intensity_TA, float)
    evidence = Evidence(aus, np.zeros_like(intensity_TA), intensity_TA)
    total_T = np.zeros(evidence.frames)
    for group in PSPI_GROUPS:
        strongest_T = np.full(evidence.frames, np.nan)
        for au in group:
            strongest_T = np.fmax(strongest_T, evidence.intensity(au))
        if group == ("43",):
            strongest_T = np.where(np.isnan(strongest_T), np.nan, strongest_T >= 1)
        total_T += strongest_T
    return total_T
