"""A bundle as an ONNX file, compared with the bundle; in an environment of its own.

    python -m jaxfacs.convert.onnx MODEL.jaxfacs MODEL.onnx

jax2onnx, which does the work, wants an older Orbax than training does: docs/bundles.md says how to
make the environment. It knows no convolutions over time and no choice by platform, so both are
written otherwise first: a 3D convolution becomes a sum of 2D ones, one for each of its places in
time, which is the same sum in another order.
"""

import itertools
import logging
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax import lax
from jax.extend.core import ClosedJaxpr, Literal

from jaxfacs.convert.command import function_of
from jaxfacs.errors import UserError
from jaxfacs.infer import bundle as bundles
from jaxfacs.infer import compiled
from jaxfacs.infer.files import replacing
from jaxfacs.train import config as configs

TOLERANCE = 1e-4
COMPARED_BATCHES = (4, 1)  # random clips at once
_BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # of an equation that is a call of another program


def convert(file: tyro.conf.Positional[Path], out: tyro.conf.Positional[Path], /) -> int:
    """Write the network of a bundle as ONNX, for any batch size, and compare the two.

    The file reads uint8 RGB clips (batch, T, size, size, 3), T as the bundle's, and answers what
    the bundle's network does, float32. Calibration, thresholds and the cutting of faces are in the
    bundle's manifest alone (`jaxfacs inspect --json`). Nothing is written if onnxruntime answers
    otherwise than the bundle.

    Args:
      file: a float32 bundle that `jaxfacs export` wrote
      out: the file to write, by custom *.onnx
    """
    try:
        jax2onnx, onnxruntime = map(_library, ("jax2onnx", "onnxruntime"))
    except ImportError as error:
        raise UserError(
            f"{error.name} is not installed; docs/bundles.md says how to make an environment for it"
        ) from error
    bundle = bundles.read(file)
    function, names = plain_function(bundle)
    spec = bundle.input
    shape = (spec.frames, spec.size, spec.size, 3)
    form = jax.ShapeDtypeStruct((*jax.export.symbolic_shape("batch"), *shape), jnp.uint8)
    try:
        model = jax2onnx.to_onnx(function, inputs=[form], model_name=bundle.path.stem)
    except Exception as error:  # of a library that may lack any operation
        reason = str(error).strip().split("\n", 1)[0][:200]
        raise UserError(f"jax2onnx cannot convert {file}: {reason}") from error
    for answer, name in zip(model.graph.output, names, strict=True):
        _rename(model.graph, answer.name, name)
    _rename(model.graph, model.graph.input[0].name, "frames")
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    network, rng = compiled.network(bundle), np.random.default_rng(0)
    worst = dict.fromkeys(names, 0.0)
    for count in COMPARED_BATCHES:
        clips = rng.integers(0, 256, (count, *shape), np.uint8)
        expected = network(clips)
        for name, value in zip(names, session.run(list(names), {"frames": clips}), strict=True):
            gap = np.abs(value - np.asarray(expected[name])).max(initial=0.0)
            worst[name] = float(np.maximum(worst[name], gap))  # NaN stays NaN
    for name, gap in worst.items():
        print(f"{name}: onnxruntime differs from the bundle by {gap:.2g} at most")
        if not gap <= TOLERANCE * (5 if name == "intensity" else 1):
            raise UserError(f"the ONNX {name} of {file} is off by {gap:.2g}; nothing is written")
    with replacing(out) as temporary:
        temporary.write_bytes(content)
    print(f"{file} -> {out} ({len(content) / 1e6:.1f} MB, opset {model.opset_import[0].version})")
    return 0


def plain_function(bundle: bundles.Bundle) -> tuple[Callable[[Any], Any], tuple[str, ...]]:
    """(uint8 clips -> outputs in order, their names) of a bundle, in operations that ONNX has.

    Made from the network of the bundle's own config, not from its compiled program, in which
    jax.export keeps no JAX operations.

    Raises UserError if it is not in float32 or keeps no config.
    """
    if bundle.precision != "float32":
        raise UserError(
            f"{bundle.path} is {bundle.precision}; export it again with --precision float32"
        )
    about = bundle.manifest["about"]
    try:
        experiment = configs.from_json(about["experiment"])
        emotions = tuple(about["emotions"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{bundle.path} does not say how it was made; export it again") from error
    told = SimpleNamespace(experiment=experiment, aus=bundle.aus, emotions=emotions)
    keep_emotion = bool(bundle.emotions)
    function = function_of(told, "float32", keep_emotion=keep_emotion)
    names = tuple(sorted(compiled.described(bundle)[1]))
    weights = {name: jnp.asarray(array) for name, array in bundle.weights.items()}

    def outputs(frames_BTHWC: Any) -> tuple[Any, ...]:
        answers = function(weights, frames_BTHWC)
        return tuple(answers[name] for name in names)

    return rewritten(outputs), names


def rewritten(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function without calls, without choices by platform, without 3D convolutions."""

    def run(*args: Any) -> Any:
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*args)
        return jax.tree.unflatten(jax.tree.structure(shape), _evaluated(closed, args))

    return run


def _evaluated(closed: ClosedJaxpr, args: Sequence[Any]) -> list[Any]:
    values: dict[Any, Any] = dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
    values |= dict(zip(closed.jaxpr.invars, args, strict=True))
    platforms = set()  # variables that hold the number of the platform

    def read(variable: Any) -> Any:
        return variable.val if isinstance(variable, Literal) else values[variable]

    for equation in closed.jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        if name == "platform_index":
            platforms.add(equation.outvars[0])
            continue
        inputs = equation.invars
        body = next((params[key] for key in _BODIES if key in params), None)
        if name == "clamp" and inputs[1] in platforms:
            platforms.add(equation.outvars[0])
            continue
        if name == "cond" and inputs[0] in platforms:
            found = _evaluated(params["branches"][-1], [read(v) for v in inputs[1:]])
        elif body is not None and isinstance(body, ClosedJaxpr):
            found = _evaluated(body, [read(v) for v in inputs])
        elif name == "conv_general_dilated" and inputs[0].aval.ndim == 5:
            found = [_by_time(*(read(v) for v in inputs), **params)]
        else:
            answer = equation.primitive.bind(*(read(v) for v in inputs), **params)
            found = answer if equation.primitive.multiple_results else [answer]
        values |= dict(zip(equation.outvars, found, strict=True))
    return [read(v) for v in closed.jaxpr.outvars]


def _by_time(x_BTHWC: Any, kernel_TxHxWxIxO: Any, **params: Any) -> Any:
    """A 3D convolution as a sum of 2D ones, channels last, as `ops` writes them."""
    numbers = params["dimension_numbers"]
    if tuple(numbers.lhs_spec) != (0, 4, 1, 2, 3) or tuple(numbers.rhs_spec) != (4, 3, 0, 1, 2):
        raise NotImplementedError("a 3D convolution whose channels are not last")
    stride, *strides = params["window_strides"]
    before, *pads = params["padding"]
    x = jnp.pad(x_BTHWC, ((0, 0), before, (0, 0), (0, 0), (0, 0)))
    length = (x.shape[1] - kernel_TxHxWxIxO.shape[0]) // stride + 1
    total = None
    for t, kernel in enumerate(kernel_TxHxWxIxO):
        taken = lax.slice_in_dim(x, t, t + (length - 1) * stride + 1, stride, axis=1)
        y = lax.conv_general_dilated(
            taken.reshape(-1, *taken.shape[2:]),
            kernel,
            strides,
            pads,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=params["feature_group_count"],
        )
        total = y if total is None else total + y
    assert total is not None
    return total.reshape(-1, length, *total.shape[1:])


def _library(name: str) -> Any:
    return import_module(name)


def _rename(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == old:
                    names[i] = new
    for value in itertools.chain(graph.input, graph.output):
        if value.name == old:
            value.name = new


def main() -> int:
    """The command; its exit code."""
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)  # of shapes that it does not need
    try:
        return tyro.cli(convert, prog="python -m jaxfacs.convert.onnx")
    except UserError as error:
        print(f"jaxfacs.convert.onnx: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
