"""Flax NNX networks, channels last, and the registry that makes them by name."""

from jaxfacs.models import backbones, emotiram, graph_au, heatmaps, one_vs_all, scc, two_stream
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
    "heatmaps",
    "names",
    "normalisation",
    "options",
    "split",
]

del backbones, emotiram, graph_au, one_vs_all, scc, two_stream  # imported to register
