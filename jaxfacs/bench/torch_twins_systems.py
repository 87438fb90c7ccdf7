"""AU systems in PyTorch, on torchvision's backbones, from the tables of their papers."""

from collections.abc import Callable
from typing import Any

MAKERS: dict[str, Callable[..., Any]] = {}
