"""torchvision's own classes with our number of answers."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn
from torchvision import models


def _last_linear(name: str, num_aus: int, **options: Any) -> nn.Module:
    return getattr(models, name)(num_classes=num_aus, **options)


def _inception_v3(num_aus: int) -> nn.Module:
    return models.inception_v3(num_classes=num_aus, aux_logits=False, init_weights=False)


MAKERS: dict[str, Callable[..., nn.Module]] = {
    "resnet18": partial(_last_linear, "resnet18"),
    "resnet50": partial(_last_linear, "resnet50"),
    "resnet101": partial(_last_linear, "resnet101"),
    "vgg16": partial(_last_linear, "vgg16"),
    "vgg_face": partial(_last_linear, "vgg16"),
    "mobilenet_v2": partial(_last_linear, "mobilenet_v2"),
    "swin_t": partial(_last_linear, "swin_t"),
    "swin_s": partial(_last_linear, "swin_s"),
    "swin_b": partial(_last_linear, "swin_b"),
    "inception_v3": _inception_v3,
}
