"""jaxfacs: train facial Action Unit networks at scale and read AUs and emotions out of films.

Importing this package loads neither JAX nor OpenCV; the public names below load what they need
when they are first used.
"""

from importlib import import_module

__version__ = "0.1.0"
__all__ = ["__version__", "load"]

_LAZY = {"load": "jaxfacs.infer.predictor"}
_SUBPACKAGES = frozenset(
    [
        "convert",
        "data",
        "emotion",
        "evaluate",
        "faces",
        "facs",
        "infer",
        "models",
        "ops",
        "runtime",
        "serve",
        "synthface",
        "train",
    ]
)


def __getattr__(name: str):
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if name in _SUBPACKAGES:
        return import_module(f"jaxfacs.{name}")
    raise AttributeError(f"module 'jaxfacs' has no attribute {name!r}")
