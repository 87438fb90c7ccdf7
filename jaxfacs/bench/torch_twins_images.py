"""Image networks that torchvision does not have, in PyTorch, from the tables of their papers."""

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


def _shift_only(channels: int) -> nn.BatchNorm2d:
    """TF-slim's BatchNorm before ReLU, which learns no scale."""
    norm = _norm(channels)
    norm.weight.requires_grad_(False)
    return norm


class _Conv(nn.Sequential):
    """Convolution without bias, BatchNorm, ReLU; "same" padding of odd kernels."""

    def __init__(self, i: int, o: int, size: int, stride: int = 1):
        conv = nn.Conv2d(i, o, size, stride, size // 2, bias=False)
        super().__init__(conv, _shift_only(o), nn.ReLU(inplace=True))


def _separable(i: int, o: int, *, multiplier: int = 1, size: int = 3, stride: int = 1):
    depthwise = nn.Conv2d(i, i * multiplier, size, stride, size // 2, groups=i, bias=False)
    return nn.Sequential(depthwise, nn.Conv2d(i * multiplier, o, 1, bias=False))


class _Classifier(nn.Module):
    def __init__(self, features: nn.Module, channels: int, num_aus: int, dropout: float = 0.2):
        super().__init__()
        self.features = features
        self.last = nn.Sequential(nn.Dropout(dropout), nn.Linear(channels, num_aus))

    def forward(self, x):
        return self.last(self.features(x).mean((2, 3)))


class _XceptionBlock(nn.Module):
    def __init__(self, widths: list[int], *, relu_first: bool = True, stride: int = 2):
        super().__init__()
        layers: list[nn.Module] = []
        for n, (i, o) in enumerate(itertools.pairwise(widths)):
            layers += [nn.ReLU()] if relu_first or n else []
            layers += [_separable(i, o), _norm(o)]
        layers += [nn.MaxPool2d(3, 2, 1)] if stride == 2 else []
        self.layers = nn.Sequential(*layers)
        skip = nn.Conv2d(widths[0], widths[-1], 1, stride, bias=False)
        self.skip = nn.Sequential(skip, _norm(widths[-1])) if stride == 2 else nn.Identity()

    def forward(self, x):
        return self.layers(x) + self.skip(x)


def _xception(num_aus: int) -> nn.Module:
    """Chollet 2017, fig. 5, as keras-applications has it."""
    layers: list[nn.Module] = [
        nn.Sequential(nn.Conv2d(3, 32, 3, 2, bias=False), _norm(32), nn.ReLU(inplace=True)),
        nn.Sequential(nn.Conv2d(32, 64, 3, bias=False), _norm(64), nn.ReLU(inplace=True)),
        _XceptionBlock([64, 128, 128], relu_first=False),
        _XceptionBlock([128, 256, 256]),
        _XceptionBlock([256, 728, 728]),
        *(_XceptionBlock([728] * 4, stride=1) for _ in range(8)),
        _XceptionBlock([728, 728, 1024]),
        *(_separable(1024, 1536), _norm(1536), nn.ReLU(inplace=True)),
        *(_separable(1536, 2048), _norm(2048), nn.ReLU(inplace=True)),
    ]
    return _Classifier(nn.Sequential(*layers), 2048, num_aus)


class _Inception(nn.Module):
    """1x1 | 1x1 -> 3x3 | 1x1 -> 3x3 -> 3x3 | pool -> 1x1; without the ends where it strides."""

    def __init__(self, i: int, widths: tuple, *, pool: str = "avg", stride: int = 1):
        super().__init__()
        one, (r3, o3), (r5, m5, o5), projection = widths
        self.branches = nn.ModuleList(
            [
                nn.Sequential(_Conv(i, r3, 1), _Conv(r3, o3, 3, stride)),
                nn.Sequential(_Conv(i, r5, 1), _Conv(r5, m5, 3), _Conv(m5, o5, 3, stride)),
            ]
        )
        pooling = nn.AvgPool2d(3, 1, 1) if pool == "avg" else nn.MaxPool2d(3, stride, 1)
        self.branches.append(
            nn.Sequential(pooling, _Conv(i, projection, 1)) if projection else pooling
        )
        if one:
            self.branches.insert(0, _Conv(i, one, 1))

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], 1)


# Ioffe & Szegedy 2015 as TF-slim's inception_v2: widths, and what pools.
_INCEPTION_V2: tuple[tuple[int, tuple, str, int], ...] = (
    (192, (64, (64, 64), (64, 96, 96), 32), "avg", 1),
    (256, (64, (64, 96), (64, 96, 96), 64), "avg", 1),
    (320, (0, (128, 160), (64, 96, 96), 0), "max", 2),
    (576, (224, (64, 96), (96, 128, 128), 128), "avg", 1),
    (576, (192, (96, 128), (96, 128, 128), 128), "avg", 1),
    (576, (160, (128, 160), (128, 160, 160), 96), "avg", 1),
    (576, (96, (128, 192), (160, 192, 192), 96), "avg", 1),
    (576, (0, (128, 192), (192, 256, 256), 0), "max", 2),
    (1024, (352, (192, 320), (160, 224, 224), 128), "avg", 1),
    (1024, (352, (192, 320), (192, 224, 224), 128), "max", 1),
)


def _inception_v2(num_aus: int) -> nn.Module:
    stem = [
        _separable(3, 64, multiplier=8, size=7, stride=2),
        *(_shift_only(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)),
        *(_Conv(64, 64, 1), _Conv(64, 192, 3), nn.MaxPool2d(3, 2, 1)),
    ]
    blocks = [_Inception(i, w, pool=pool, stride=s) for i, w, pool, s in _INCEPTION_V2]
    return _Classifier(nn.Sequential(*stem, *blocks), 1024, num_aus)


class _LocalResponse(nn.Module):
    def forward(self, x):
        return F.local_response_norm(x, 5, 1e-4, 0.75, 1.0)


def alexnet_features(channels: int = 3) -> list[nn.Module]:
    """Caffe's AlexNet up to its last pooling: groups of two, local response normalisation."""
    return [
        *(nn.Conv2d(channels, 96, 11, 4), nn.ReLU(inplace=True)),
        *(_LocalResponse(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(96, 256, 5, 1, 2, groups=2), nn.ReLU(inplace=True)),
        *(_LocalResponse(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(256, 384, 3, 1, 1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(384, 384, 3, 1, 1, groups=2), nn.ReLU(inplace=True)),
        *(nn.Conv2d(384, 256, 3, 1, 1, groups=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
    ]


def alexnet(num_aus: int, *, channels: int = 3, fc7: int = 4096, dropout: float = 0.5) -> nn.Module:
    """Caffe's AlexNet on (N, channels, 227, 227); `fc7` is 512 in Bocklisch et al. 2015."""
    return nn.Sequential(
        *alexnet_features(channels),
        *(nn.Flatten(), nn.Linear(9216, 4096), nn.ReLU(inplace=True), nn.Dropout(dropout)),
        *(nn.Linear(4096, fc7), nn.ReLU(inplace=True), nn.Dropout(dropout)),
        nn.Linear(fc7, num_aus),
    )


MAKERS: dict[str, Callable[..., Any]] = {
    "xception": _xception,
    "inception_v2": _inception_v2,
    "alexnet": alexnet,
}
