"""Flax NNX networks, channels last, and the registry that makes them by name."""

from jaxfacs.models import mobilenet3d as _mobilenet3d
from jaxfacs.models.functional import apply, split
from jaxfacs.models.registry import Card, card, create, names

__all__ = ["Card", "apply", "card", "create", "names", "split"]

del _mobilenet3d  # imported to register its networks
