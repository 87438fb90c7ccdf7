"""A bundle's network, ready to run on one device."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

from jaxfacs.errors import UserError
from jaxfacs.infer import compile_cache
from jaxfacs.infer.bundle import Bundle

_PLATFORM_NAMES = {"gpu": "cuda"}  # jax calls the device gpu and the export target cuda


@dataclass(frozen=True, eq=False)
class Network:
    """A network on a device; may be called from several threads.

    Attributes:
      outputs: names of what it answers, as `infer.bundle` lists them.
      device: where it runs.
    """

    outputs: frozenset[str]
    device: jax.Device
    _call: Any
    _weights: dict[str, jax.Array]
    _folder: Path | None
    _compiled: set[tuple[int, ...]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, clips_BTHWC: np.ndarray) -> dict[str, jax.Array]:
        """Starts the network on uint8 clips and returns its outputs, which may still be computing.

        Each new shape is compiled, or found in the compile cache, when it first comes.
        """
        clips = jax.device_put(clips_BTHWC, self.device)
        if clips.shape in self._compiled:
            return self._call(self._weights, clips)
        with self._lock:  # or several threads compile the same
            start = partial(self._call, self._weights, clips)
            answers = compile_cache.compiling(start, self._folder)
        self._compiled.add(clips.shape)
        return answers


def network(bundle: Bundle, device: jax.Device | None = None) -> Network:
    """The network of a bundle on a device: this machine's first, if none is given.

    Raises:
      UserError: this version of JAX cannot read it, or it was exported for other kinds of device.
    """
    device = device or jax.devices()[0]
    exported = _deserialised(bundle)
    if _PLATFORM_NAMES.get(device.platform, device.platform) not in exported.platforms:
        raise UserError(
            f"{bundle.path} was exported for {', '.join(exported.platforms)}, not for "
            f"{device.platform}; set JAX_PLATFORMS=cpu or export it again"
        )
    return Network(
        outputs=frozenset(_outputs(exported)),
        device=device,
        _call=jax.jit(exported.call),
        _weights=jax.device_put(dict(bundle.weights), device),
        _folder=compile_cache.place(bundle.digest),
    )


def statistics(bundle: Bundle, device: jax.Device | None = None) -> Callable[..., Any]:
    """(weights, uint8 clips) -> the statistics of these clips, by the weights' names.

    Raises:
      UserError: the bundle holds no such program, or this version of JAX cannot read it.
    """
    if bundle.statistics is None:
        raise UserError(
            f"{bundle.path} holds nothing to re-estimate its statistics with; export it again with "
            "this version of jaxfacs (a network without batch normalisation has none)"
        )
    device = device or jax.devices()[0]
    call = jax.jit(_deserialised(bundle, bundle.statistics).call)
    return lambda weights, clips: call(
        jax.device_put(dict(weights), device), jax.device_put(clips, device)
    )


def described(bundle: Bundle) -> tuple[list[str], dict[str, str]]:
    """The platforms that a bundle's program was exported for, and its outputs with their shapes.

    Raises UserError if this version of JAX cannot read it.
    """
    exported = _deserialised(bundle)
    shapes = {name: f"({', '.join(map(str, o.shape))})" for name, o in _outputs(exported).items()}
    return list(exported.platforms), shapes


def _outputs(exported: export.Exported) -> dict[str, Any]:
    return jax.tree.unflatten(exported.out_tree, exported.out_avals)


def _deserialised(bundle: Bundle, function: bytes | None = None) -> export.Exported:
    try:
        return export.deserialize(bytearray(bundle.function if function is None else function))
    except ImportError as error:
        raise UserError(
            f"{bundle.path} is read through jax.export, which needs flatbuffers; install it with "
            "pip install flatbuffers"
        ) from error
    except Exception as error:  # flatbuffers and MLIR raise many types
        raise UserError(
            f"{bundle.path} cannot be run by jax {jax.__version__} "
            f"({type(error).__name__}); update jax, or export the model with this version"
        ) from error
