"""Backbones; importing one registers it, and the network of its name with any head."""

from jaxfacs.models.backbones import (
    mobilenet3d,
    resnet,
    swin,
)

__all__ = [
    "mobilenet3d",
    "resnet",
    "swin",
]
