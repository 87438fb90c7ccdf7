"""A network as a bundle: traced for any batch size and time, checked against itself, written."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, export

from jaxfacs.errors import UserError
from jaxfacs.infer import bundle
from jaxfacs.infer.bundle import InputSpec

Function = Callable[[dict[str, Array], Array], dict[str, Array]]

PLATFORMS = ("cpu", "cuda", "tpu")
_OUTPUTS = ("probability", "intensity", "valence_arousal", "confidence", "emotion")


def write_bundle(
    out: str | Path,
    *,
    function: Function,
    weights: Mapping[str, np.ndarray],
    input: InputSpec,
    aus: tuple[str, ...],
    tolerance: float = 1e-4,
    any_time: bool = True,
    statistics: Function | None = None,
    **manifest: Any,
) -> Path:
    """Exports `function` for CPU, CUDA and TPU, checks it, and writes the bundle.

    It takes any batch size, and clips of any length where the function does; where not, a line on
    stderr says why, and the manifest's `time` is the length.

    Args:
      out: the file.
      function: (weights, frames_BTHWC uint8) -> dict of `probability` and perhaps others, as
        `infer.bundle` says; normalises its input itself.
      weights: flat dict of arrays, the function's first argument.
      input: what it reads, and which frames its answers are about.
      aus: labels of its answers.
      any_time: whether clips of any length are tried at all.
      tolerance: how far the exported program may be from `function` on random frames.
      statistics: (weights, frames_BTHWC) -> its layers' statistics of these frames, by which
        `jaxfacs adapt` adapts it; where it cannot be exported a line on stderr says why.
      **manifest: further arguments of `infer.bundle.write`.

    Raises:
      UserError: it cannot be exported, answers in other shapes than `input` and `aus` say, or
        the exported program answers otherwise than the function. Nothing is written then.
    """
    serialised, time = serialise(function, weights, input, any_time=any_time)
    check = partial(_check, export.deserialize(bytearray(serialised)), function, weights)
    check(input, input.frames, num_aus=len(aus), tolerance=tolerance)
    if time == bundle.ANY:
        check(input, input.frames + 1, num_aus=len(aus), tolerance=tolerance)
    return bundle.write(
        out,
        function=serialised,
        weights=weights,
        input=input,
        aus=aus,
        time=time,
        statistics=None if statistics is None else _statistics(statistics, weights, input),
        **manifest,
    )


def serialise(
    function: Function,
    weights: Mapping[str, np.ndarray],
    input: InputSpec,
    *,
    any_time: bool = True,
) -> tuple[bytes, int | str]:
    """The StableHLO of `function`, without names of source files, and the bundle's `time`.

    Raises UserError if it cannot be traced for any batch size.
    """
    reason = ""
    if any_time:
        try:
            return _traced(function, weights, input, "b, t"), bundle.ANY
        except Exception as error:  # what a network can do wrong here has many types
            reason = _first_line(error)
    try:
        serialised = _traced(function, weights, input, f"b, {input.frames}")
    except Exception as error:
        raise UserError(
            f"this network cannot be exported for any batch size: {_first_line(error)}"
        ) from error
    if reason:
        told = f"it answers clips of {input.frames} frames alone, not of any length: {reason}"
        print(told, file=sys.stderr)
    return serialised, input.frames


def _statistics(
    function: Function, weights: Mapping[str, np.ndarray], input: InputSpec
) -> bytes | None:
    """The program of a network's statistics, for any batch of clips of the usual length."""
    try:
        return _traced(function, weights, input, f"b, {input.frames}")
    except Exception as error:  # as above; the bundle is good for all else
        told = f"it cannot be adapted with jaxfacs adapt --statistics: {_first_line(error)}"
        print(told, file=sys.stderr)
        return None


def _traced(
    function: Function, weights: Mapping[str, np.ndarray], input: InputSpec, clips: str
) -> bytes:
    shape = (*export.symbolic_shape(clips), input.size, input.size, 3)
    forms = {name: jax.ShapeDtypeStruct(w.shape, w.dtype) for name, w in weights.items()}
    frames = jax.ShapeDtypeStruct(shape, jnp.uint8)
    with _no_source_locations():
        exported = export.export(jax.jit(function), platforms=PLATFORMS)(forms, frames)
        return bytes(exported.serialize())


def flat(**trees: Any) -> dict[str, np.ndarray]:
    """Nested dicts of arrays as one flat dict: {"params/head/kernel": …}."""
    return {name: np.asarray(leaf) for name, leaf in flat_arrays(**trees).items()}


def flat_arrays(**trees: Any) -> dict[str, Any]:
    """`flat` of arrays of any kind, as they are."""
    found = jax.tree_util.tree_flatten_with_path(trees)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in found}


def nested(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flat`."""
    tree: dict[str, Any] = {}
    for path, leaf in weights.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


def _check(
    loaded: export.Exported,
    function: Function,
    weights: Mapping[str, np.ndarray],
    input: InputSpec,
    frames: int,
    *,
    num_aus: int,
    tolerance: float,
) -> None:
    """On clips of so many frames; raises UserError, saying what is wrong."""
    rng = np.random.default_rng(0)
    shape = (2, frames, input.size, input.size, 3)
    frames_BTHWC = rng.integers(0, 256, shape, np.uint8)
    expected = jax.jit(function)(dict(weights), frames_BTHWC)
    answered = jax.jit(loaded.call)(dict(weights), frames_BTHWC)
    if unknown := set(answered) - set(_OUTPUTS):
        raise UserError(
            f"this network answers {', '.join(sorted(unknown))}, which bundles do not hold"
        )
    per_answer = (2, len(input.answers)) if input.per_frame else (2,)
    columns = {"probability": num_aus, "intensity": num_aus, "valence_arousal": 2, "confidence": 1}
    for name, count in columns.items():
        expected_shape = (*per_answer, count)
        if frames != input.frames or name not in answered:
            continue
        if answered[name].shape != expected_shape:
            raise UserError(
                f"this network's {name} has shape {answered[name].shape}, expected {expected_shape}"
            )
    if "probability" not in answered:
        raise UserError("this network answers no AU probability; it cannot be exported")
    for name, values in answered.items():
        if not np.isfinite(values).all():
            raise UserError(f"this network's {name} is not finite; export another --step")
        worst = float(np.abs(np.asarray(values) - np.asarray(expected[name])).max(initial=0.0))
        if worst > tolerance:
            raise UserError(
                f"the exported {name} differs from the network's by {worst:.2g}; nothing is written"
            )


@contextmanager
def _no_source_locations() -> Iterator[None]:
    """Call stacks with this machine's paths would go into the file, and change its bytes."""
    flag = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, flag)
    jax.config.update(flag, 0)
    try:
        yield
    finally:
        jax.config.update(flag, before)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n", 1)[0][:200]
