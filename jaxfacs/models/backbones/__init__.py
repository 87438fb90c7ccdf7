"""Backbones; importing one registers it, and the network of its name with any head."""

from jaxfacs.models.backbones import (
    alexnet,
    face_resnet,
    inception_v2,
    inception_v3,
    mobilenet3d,
    mobilenet_v2,
    resnet,
    swin,
    vgg,
    vit,
    xception,
)

__all__ = [
    "alexnet",
    "face_resnet",
    "inception_v2",
    "inception_v3",
    "mobilenet3d",
    "mobilenet_v2",
    "resnet",
    "swin",
    "vgg",
    "vit",
    "xception",
]
