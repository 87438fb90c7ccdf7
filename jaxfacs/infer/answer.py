"""One calibrated answer per AU: probability, presence and intensity that never contradict.

OpenFace's presence and intensity come from two models and disagree, which is what its users ask
about most. Here all three come from the probability (and, where the network gives one, its
intensity), after rounding to what the table prints: so the table contradicts itself nowhere, and
presence can be recomputed from it.
"""

import numpy as np

PROBABILITY_DECIMALS = 4  # thresholds have as many
INTENSITY_DECIMALS = 2  # OpenFace's
_BELOW_TRACE = 1.0 - 10.0**-INTENSITY_DECIMALS  # the largest printed intensity of an absent AU


def answer(
    probability: np.ndarray, threshold_A: np.ndarray, intensity: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns (probability, present, intensity), each of `probability`'s shape (…, A).

    present = probability ≥ threshold. Intensity is on FACS's scale (1 = A, trace … 5 = E) and at
    least 1 exactly where the AU is present. From the probability alone it rises from 0 at p = 0
    over 1 at the threshold to 5 at p = 1: an ordering, not a measurement. A network's own intensity
    is kept, and held at 1 or more where the AU is present and below 1 where it is not.

    Args:
      probability: in [0, 1].
      threshold_A: in (0, 1), `PROBABILITY_DECIMALS` decimals.
      intensity: the network's own, 0 to 5, or None.
    """
    p = np.round(np.asarray(probability, np.float64), PROBABILITY_DECIMALS)
    present = p >= threshold_A
    if intensity is None:
        above = 1 + 4 * (p - threshold_A) / (1 - threshold_A)
        graded = np.where(present, above, p / threshold_A)
    else:
        graded = np.asarray(intensity, np.float64)
    graded = np.where(present, np.clip(graded, 1, 5), np.clip(graded, 0, _BELOW_TRACE))
    graded = np.round(graded, INTENSITY_DECIMALS)
    return p, present, graded


def centred(probability: np.ndarray, threshold_A: np.ndarray) -> np.ndarray:
    """Probabilities moved, in order, so that every AU's threshold lies at 0.5.

    Rules that read "more likely present than not" then mean the same presence as the table.
    """
    above = 0.5 + 0.5 * (probability - threshold_A) / (1 - threshold_A)
    return np.where(probability >= threshold_A, above, 0.5 * probability / threshold_A)
