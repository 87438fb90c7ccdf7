"""Backbones; importing one registers it, and the network of its name with any head."""

from jaxfacs.models.backbones import (
    alexnet,
    mobilenet3d,
    mobilenet_v2,
    resnet,
    swin,
    vgg,
)

__all__ = [
    "alexnet",
    "mobilenet3d",
    "mobilenet_v2",
    "resnet",
    "swin",
    "vgg",
]
