"""How much arithmetic a clip takes, and what share of a device's best a run therefore uses (MFU).

Two counts. `formula` walks the network as it was traced and counts convolutions and products of
matrices alone, two operations a multiply-add, as papers do: it is the same for every device and
every way to compile. `compiled` is what the compiler counts in the program that runs.

MFU (Chowdhery et al., PaLM, 2022, appendix B) = formula's training FLOPs of a clip × clips a
second and device / `peak`. It says nothing about work done twice: that is not in the formula.
"""

import itertools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxfacs.train import terms
from jaxfacs.train.compiled import abstract_batch
from jaxfacs.train.config import Experiment
from jaxfacs.train.optim import held
from jaxfacs.train.state import Plan
from jaxfacs.train.step import forward
from jaxfacs.train.terms import Facts

Edges = dict[int, list[int]]

# A pattern of `device_kind` -> dense TFLOP/s in float32 and in bfloat16, None where a device has no
# units for it. Float32 is what XLA makes of it by default: TF32 from Ampere on, plain before
# (jax.lax.Precision.DEFAULT). From NVIDIA's data sheets of each product, half of what these give
# "with sparsity"; GeForce and RTX: appendices of the GA102, Ada and RTX Blackwell whitepapers, with
# float32 accumulation; V100: its data sheet of 2020; T4: its data sheet of 2019.
_PEAKS: tuple[tuple[str, float, float | None], ...] = (
    (r"NVIDIA B200", 1125.0, 2250.0),
    (r"NVIDIA GH200\b.*", 494.7, 989.4),
    (r"NVIDIA H[12]00 NVL", 417.5, 835.5),
    (r"NVIDIA H100 PCIe", 378.0, 756.0),
    (r"NVIDIA H100 80GB HBM3|NVIDIA H200", 494.7, 989.4),
    (r"NVIDIA A100\b.*", 156.0, 312.0),
    (r"NVIDIA A40", 74.8, 149.7),
    (r"NVIDIA A30", 82.0, 165.0),
    (r"NVIDIA A10", 62.5, 125.0),
    (r"NVIDIA L40S", 183.0, 362.05),
    (r"NVIDIA L40", 90.5, 181.05),
    (r"NVIDIA L4", 60.0, 121.0),
    (r"NVIDIA RTX A6000", 77.4, 154.8),
    (r"NVIDIA RTX 6000 Ada Generation", 182.1, 364.2),
    (r"NVIDIA GeForce RTX 3080", 29.8, 59.5),
    (r"NVIDIA GeForce RTX 3090", 35.6, 71.0),
    (r"NVIDIA GeForce RTX 4080", 48.7, 97.5),
    (r"NVIDIA GeForce RTX 4090", 82.6, 165.2),
    (r"NVIDIA GeForce RTX 5090", 104.8, 209.5),
    (r"Tesla V100S-PCIE\b.*", 16.4, None),
    (r"Tesla V100-PCIE\b.*", 14.0, None),
    (r"Tesla V100-SXM2\b.*", 15.7, None),
    (r"Tesla T4", 8.1, None),
)


@dataclass(frozen=True)
class Flops:
    """Operations on one clip.

    Attributes:
      forward: to answer, as in evaluation.
      training: forward, and backward to every parameter that moves; the optimiser is left out.
    """

    forward: float
    training: float


def formula(plan: Plan, experiment: Experiment) -> Flops:
    """Counts the network's convolutions and products; traces it twice, compiles and runs nothing.

    A gradient costs what the forward operation does, for each operand that needs one: frozen parts
    and the first layer's input need none. What no loss asks for is not in `training`. Taps on
    padding count; elementwise work, what a gradient is made of beyond that, and repeated forward
    passes do not. Sharpness-aware minimisation takes two gradients. A loop whose length is not
    known counts once.
    """
    data = experiment.data
    forms = abstract_batch(data, num_aus=len(plan.aus), mesh=plan.mesh)
    params, stats = plan.abstract["params"], plan.abstract["stats"]
    key = jax.eval_shape(lambda: jax.random.key(0))
    facts = Facts(plan.aus, data.size)

    def answers(params: dict, stats: dict, batch: dict) -> Any:
        return forward(plan, params, stats, batch)[0]

    def loss(params: dict, stats: dict, batch: dict, key: jax.Array) -> jax.Array:
        params = held(params, plan.frozen_params)
        outputs, _ = forward(plan, params, stats, batch, dropout_key=key)
        sums = terms.loss_terms(experiment.loss, outputs, batch, facts)
        return terms.scaled(experiment.loss, {name: total for name, (total, _) in sums.items()})

    there, _ = count(answers, params, stats, forms)
    _, back = count(loss, params, stats, forms, key)
    passes = 2 if experiment.optim.sam_rho else 1
    return Flops(there / data.batch_size, passes * back / data.batch_size)


def count(function: Callable, params: Any, *rest: Any) -> tuple[float, float]:
    """(forward, forward and backward) FLOPs of a function, with gradients to `params`.

    What its results do not ask for is left out. Arguments may be forms without values.
    """
    jaxpr = jax.make_jaxpr(function)(params, *rest).jaxpr
    tape = _Tape()
    given = [tape.new() for _ in jaxpr.invars]
    results = tape.record(jaxpr, given, times=1)
    moving = _reached(given[: len(jax.tree.leaves(params))], tape.onwards(smooth=True))
    wanted = _reached(results, tape.backwards(smooth=True))
    needed = _reached(results, tape.backwards(smooth=False))
    there = back = 0.0
    for work, left, right, out in tape.products:
        if out in needed:
            gradients = (left in moving) + (right in moving) if out in wanted else 0
            there, back = there + work, back + (1 + gradients) * work
    return there, back


def compiled(step: jax.stages.Compiled, experiment: Experiment, *, devices: int) -> float | None:
    """What the compiler counts in a training step, for each clip; None where it does not count.

    It counts one device's program, and the body of a loop once: micro-batches are multiplied in.
    """
    each = (step.cost_analysis() or {}).get("flops", 0.0)
    if not each > 0:
        return None
    return each * experiment.accumulate * devices / experiment.data.batch_size


def peak(device_kind: str, dtype: str) -> float | None:
    """Dense FLOP/s of one device in "float32" or "bfloat16", or None if it is not in the table.

    Args:
      device_kind: of a `jax.Device`, as "NVIDIA H100 80GB HBM3".
    """
    for pattern, single, half in _PEAKS:
        if re.fullmatch(pattern, device_kind) and "MIG" not in device_kind:
            tera = {"float32": single, "bfloat16": half}[dtype]
            return None if tera is None else tera * 1e12
    return None


def utilisation(training: float, clips_per_s_device: float, peak: float) -> float:
    """MFU of a run: `Flops.training`, clips a second of one device, its FLOP/s -> 0 to 1."""
    return training * clips_per_s_device / peak


class _Tape:
    """A traced function and all that it calls as one graph of arrays, which go by numbers.

    Attributes:
      products: (FLOPs, left, right, result) of each convolution and product of matrices.
      edges: (argument, result, whether a gradient flows back along it).
    """

    def __init__(self):
        self.products: list[tuple[float, int | None, int | None, int]] = []
        self.edges: list[tuple[int, int, bool]] = []
        self._numbers = itertools.count()

    def new(self) -> int:
        return next(self._numbers)

    def onwards(self, *, smooth: bool) -> Edges:
        return _table((a, b) for a, b, flows in self.edges if flows or not smooth)

    def backwards(self, *, smooth: bool) -> Edges:
        return _table((b, a) for a, b, flows in self.edges if flows or not smooth)

    def record(self, jaxpr: Any, given: Sequence[int | None], *, times: float) -> list[int | None]:
        """Adds a function that runs so many times; returns its results. None: a constant."""
        names = dict(zip(jaxpr.invars, given, strict=True))

        def name(atom: Any) -> int | None:
            return None if hasattr(atom, "val") else names.get(atom)  # a literal has a value

        for eqn in jaxpr.eqns:
            arguments = [name(atom) for atom in eqn.invars]
            names |= zip(eqn.outvars, self._results(eqn, arguments, times), strict=True)
        return [name(atom) for atom in jaxpr.outvars]

    def _results(self, eqn: Any, given: list[int | None], times: float) -> Sequence[int | None]:
        kind, params = eqn.primitive.name, eqn.params
        if kind == "cond":
            branches = params["branches"]
            if params.get("branches_platforms"):
                branches = branches[-1:]  # the plain operation: how a device does it is its own
            longest = max(branches, key=lambda branch: _Tape()._length(branch.jaxpr))
            return self.record(longest.jaxpr, given[1:], times=times)
        if kind == "scan":
            first = params["num_consts"]
            last = first + params["num_carry"]
            turn = [self.new() for _ in given[first:last]]
            inner = [*given[:first], *turn, *given[last:]]
            results = self.record(params["jaxpr"].jaxpr, inner, times=times * params["length"])
            self._join(given[first:last], turn, True)
            self._join(results, turn, True)
            return results
        if kind == "while":
            first = params["cond_nconsts"] + params["body_nconsts"]
            turn = [self.new() for _ in given[first:]]
            inner = [*given[params["cond_nconsts"] : first], *turn]
            results = self.record(params["body_jaxpr"].jaxpr, inner, times=times)
            self._join(given[first:], turn, False)
            self._join(results, turn, False)
            return results
        body = params.get("jaxpr", params.get("call_jaxpr"))
        if body is not None:
            return self.record(getattr(body, "jaxpr", body), given, times=times)
        results = [self.new() for _ in eqn.outvars]
        for var, result in zip(eqn.outvars, results, strict=True):
            flows = jnp.issubdtype(var.aval.dtype, jnp.floating) and kind != "stop_gradient"
            self.edges += [(each, result, flows) for each in given if each is not None]
        if kind in _PRODUCTS:
            work = 2.0 * times * _PRODUCTS[kind](eqn)
            self.products.append((work, given[0], given[1], results[0]))
        return results

    def _length(self, jaxpr: Any) -> float:
        self.record(jaxpr, [self.new() for _ in jaxpr.invars], times=1)
        return sum(work for work, *_ in self.products)

    def _join(self, ends: Sequence[int | None], starts: Sequence[int], flows: bool) -> None:
        """What a turn of a loop ends with, the next begins with."""
        pairs = zip(ends, starts, strict=False)  # of a scan's results the carry comes first
        self.edges += [(end, start, flows) for end, start in pairs if end is not None]


def _table(edges: Iterable[tuple[int, int]]) -> Edges:
    table: Edges = {}
    for start, end in edges:
        table.setdefault(start, []).append(end)
    return table


def _reached(starts: Sequence[int | None], edges: Edges) -> set[int]:
    waiting = [start for start in starts if start is not None]
    found = set(waiting)
    while waiting:
        more = [end for end in edges.get(waiting.pop(), ()) if end not in found]
        found.update(more)
        waiting += more
    return found


def _matrices(eqn: Any) -> float:
    """Multiply-adds of a product of matrices."""
    (contracted, _), _ = eqn.params["dimension_numbers"]
    left = eqn.invars[0].aval.shape
    return math.prod(eqn.outvars[0].aval.shape) * math.prod(left[axis] for axis in contracted)


def _convolution(eqn: Any) -> float:
    """Multiply-adds of a convolution; of a transposed one without the zeros between its inputs."""
    numbers, params = eqn.params["dimension_numbers"], eqn.params
    kernel = eqn.invars[1].aval.shape
    taps = math.prod(kernel[axis] for axis in numbers.rhs_spec[1:])  # inputs of a group, places
    outputs = math.prod(eqn.outvars[0].aval.shape)
    return outputs * taps / math.prod(params["lhs_dilation"])


_PRODUCTS = {"dot_general": _matrices, "conv_general_dilated": _convolution}
