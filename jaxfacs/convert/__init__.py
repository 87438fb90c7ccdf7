"""Ways in and out: published weights to checkpoints, checkpoints to inference bundles."""

from importlib import import_module

__all__ = ["from_keras", "from_torch"]

_LAZY = {"from_keras": "jaxfacs.convert.weights", "from_torch": "jaxfacs.convert.weights"}


def __getattr__(name: str):
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'jaxfacs.convert' has no attribute {name!r}")
