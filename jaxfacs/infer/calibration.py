"""A bundle's calibration as functions: from what the network says to what comes true."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxfacs.evaluate.calibration import Curve, Curves, apply

__all__ = ["Curves", "apply", "curves"]


def curves(aus: Sequence[str], calibration: Mapping[str, Any]) -> Curves:
    """The curve of each AU, in order; none where its probability is taken as it is.

    Args:
      aus: labels.
      calibration: label -> {"probability": […], "calibrated": […]}, as a bundle holds it.

    Raises:
      ValueError, KeyError: knots that are no monotone curve.
    """
    found = tuple(Curve.from_json(calibration[au]) if calibration.get(au) else None for au in aus)
    return found if any(found) else ()
