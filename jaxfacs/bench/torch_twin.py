"""Our networks in PyTorch: what the benchmarks compare with.

torchvision's own classes where it has them; else written here and in `torch_twins_*` from the
tables that ours are made from. A twin has our network's trainable parameters, no more and no less.
"""

import inspect
from collections.abc import Callable
from importlib import util
from typing import Any

from torch import nn

from jaxfacs.models.backbones.mobilenet3d import (
    STEM_CHANNELS,
    STEM_STRIDES,
    V1_STAGES,
    V2_LAST_CHANNELS,
    V2_STAGES,
    Stride,
)


def twin(name: str, *, num_aus: int, **options: Any) -> nn.Module | None:
    """Returns the PyTorch network that does what our network `name` does; None if there is none.

    It maps (N, C, H, W), or (N, C, T, H, W) where ours takes clips, to logits (N, num_aus), or to a
    dict of our outputs' names.
    """
    make = _makers().get(name)
    if make is None:
        return None
    try:
        inspect.signature(make).bind(num_aus, **options)
    except TypeError:  # an option that is ours alone
        return None
    return make(num_aus, **options)


def _makers() -> dict[str, Callable[..., nn.Module]]:
    from jaxfacs.bench import torch_twins_images as images

    makers: dict[str, Callable[..., nn.Module]] = {
        "mobilenet3d_v1": _v1,
        "mobilenet3d_v2": _v2,
        **images.MAKERS,
    }
    if util.find_spec("torchvision"):
        from jaxfacs.bench import torch_twins_systems as systems
        from jaxfacs.bench import torch_twins_torchvision as published

        makers |= {**published.MAKERS, **systems.MAKERS}
    return makers


class _Residual(nn.Sequential):
    def forward(self, input):
        return input + super().forward(input)


class _Network(nn.Module):
    def __init__(self, features: list[nn.Module], channels: int, num_aus: int):
        super().__init__()
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(channels, num_aus))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3, 4)))


def _conv(i: int, o: int, size: int, strides: Stride, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv3d(i, o, size, strides, size // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm3d(o)]


def _v2(num_aus: int) -> nn.Module:
    channels = STEM_CHANNELS
    features: list[nn.Module] = [*_conv(3, channels, 3, STEM_STRIDES), nn.ReLU6(inplace=True)]
    for t, out, repeats, first in V2_STAGES:
        for n in range(repeats):
            strides = first if n == 0 else (1, 1, 1)
            hidden = channels * t
            expand = [*_conv(channels, hidden, 1, (1, 1, 1)), nn.ReLU6(inplace=True)]
            layers = expand if t != 1 else []
            layers += [*_conv(hidden, hidden, 3, strides, hidden), nn.ReLU6(inplace=True)]
            layers += _conv(hidden, out, 1, (1, 1, 1))
            residual = strides == (1, 1, 1) and channels == out
            features.append((_Residual if residual else nn.Sequential)(*layers))
            channels = out
    features += [*_conv(channels, V2_LAST_CHANNELS, 1, (1, 1, 1)), nn.ReLU6(inplace=True)]
    return _Network(features, V2_LAST_CHANNELS, num_aus)


def _v1(num_aus: int) -> nn.Module:
    channels = STEM_CHANNELS
    features: list[nn.Module] = [*_conv(3, channels, 3, STEM_STRIDES), nn.ReLU(inplace=True)]
    for out, repeats, first in V1_STAGES:
        for n in range(repeats):
            strides = first if n == 0 else (1, 1, 1)
            features += [*_conv(channels, channels, 3, strides, channels), nn.ReLU(inplace=True)]
            features += [*_conv(channels, out, 1, (1, 1, 1)), nn.ReLU(inplace=True)]
            channels = out
    return _Network(features, channels, num_aus)
