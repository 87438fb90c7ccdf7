"""Flax NNX networks, channels last, and the registry that makes them by name."""

from jaxfacs.models import backbones, graph_au
from jaxfacs.models.functional import apply, split
from jaxfacs.models.network import backbone_names, create_backbone
from jaxfacs.models.normalisation import NORMALISATIONS, normalisation
from jaxfacs.models.registry import Card, card, create, names, options

__all__ = [
    "NORMALISATIONS",
    "Card",
    "apply",
    "backbone_names",
    "card",
    "create",
    "create_backbone",
    "names",
    "normalisation",
    "options",
    "split",
]

del backbones, graph_au  # imported to register their networks
