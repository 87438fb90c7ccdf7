"""Numerics that XLA does badly by itself: depthwise 3D convolution, the stem, BatchNorm."""

from jaxfacs.ops.batch_norm import (
    batch_norm_inference,
    batch_norm_train,
    shared_batch,
    shared_mean,
)
from jaxfacs.ops.conv import conv3d, pointwise_conv3d, pointwise_norm
from jaxfacs.ops.depthwise import depthwise_conv3d
from jaxfacs.ops.farneback import farneback, farneback_clip

__all__ = [
    "batch_norm_inference",
    "batch_norm_train",
    "conv3d",
    "depthwise_conv3d",
    "farneback",
    "farneback_clip",
    "pointwise_conv3d",
    "pointwise_norm",
    "shared_batch",
    "shared_mean",
]
