"""How much arithmetic a clip takes, and what share of a device's best a run therefore uses (MFU).

Two counts. `formula` walks the network as it was traced and counts convolutions and products of
matrices alone, two operations a multiply-add, as papers do: it is the same for every device and
every way to compile. `compiled` is what the compiler counts in the program that runs.

MFU (Chowdhery et al., PaLM, 2022, appendix B) = formula's training FLOPs of a clip × clips a
second and device / `peak`. It says nothing about work done twice: that is not in the formula.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax.interpreters import partial_eval

from jaxfacs.train import terms
from jaxfacs.train.compiled import abstract_batch
from jaxfacs.train.config import Experiment
from jaxfacs.train.optim import held
from jaxfacs.train.state import Plan
from jaxfacs.train.step import forward
from jaxfacs.train.terms import Facts

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

    there, _ = _work(answers, params, stats, forms)
    _, back = _work(loss, params, stats, forms, key)
    passes = 2 if experiment.optim.sam_rho else 1
    return Flops(there / data.batch_size, passes * back / data.batch_size)


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


def _work(function: Any, params: Any, *rest: Any) -> tuple[float, float]:
    """(forward, forward and backward) of a function, with gradients to `params`."""
    closed = jax.make_jaxpr(function)(params, *rest)
    needed, used = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
    count = len(jax.tree.leaves(params))
    moving = [i < count for i, kept in enumerate(used) if kept]
    there, back, _ = _walk(needed, moving)
    return there, back


def _walk(jaxpr: Any, moving: Sequence[bool]) -> tuple[float, float, list[bool]]:
    """(forward, forward and backward, which results move) of a traced function.

    Args:
      moving: which of its arguments depend on a trained parameter, and so have a gradient.
    """
    there, back = 0.0, 0.0
    known = {var for var, moves in zip(jaxpr.invars, moving, strict=True) if moves}

    def moves(atom: Any) -> bool:
        return not hasattr(atom, "val") and atom in known  # a literal has a value

    for eqn in jaxpr.eqns:
        given = [moves(atom) for atom in eqn.invars]
        name, given_out = eqn.primitive.name, [any(given)] * len(eqn.outvars)
        if name in _PRODUCTS:
            once = 2.0 * _PRODUCTS[name](eqn)
            there, back = there + once, back + once * (1 + sum(given[:2]))
        elif name == "stop_gradient":
            given_out = [False]
        else:
            more, more_back, found = _inside(eqn, given)
            there, back = there + more, back + more_back
            given_out = given_out if found is None else found
        known |= {
            var
            for var, out in zip(eqn.outvars, given_out, strict=True)
            if out and jax.numpy.issubdtype(var.aval.dtype, jax.numpy.floating)
        }
    return there, back, [moves(atom) for atom in jaxpr.outvars]


def _inside(eqn: Any, given: list[bool]) -> tuple[float, float, list[bool] | None]:
    """What `_walk` says of the functions that an operation runs; nothing if it runs none."""
    params = eqn.params
    if eqn.primitive.name == "cond":
        branches = params["branches"]
        if params.get("branches_platforms"):
            branches = branches[-1:]  # the plain operation: how a device computes it is its own
        found = [_walk(branch.jaxpr, given[1:]) for branch in branches]
        there, back, _ = max(found, key=lambda work: work[1])
        return there, back, [any(outs) for outs in zip(*(work[2] for work in found), strict=True)]
    if eqn.primitive.name == "scan":
        first, last = params["num_consts"], params["num_consts"] + params["num_carry"]
        while True:  # what moves after one turn moves before the next
            there, back, out = _walk(params["jaxpr"].jaxpr, given)
            carried = [a or b for a, b in zip(given[first:last], out, strict=False)]
            if carried == given[first:last]:
                return params["length"] * there, params["length"] * back, out
            given = given[:first] + carried + given[last:]
    if eqn.primitive.name == "while":
        consts = params["cond_nconsts"]
        return *_walk(params["body_jaxpr"].jaxpr, given[consts:])[:2], None
    body = params.get("jaxpr", params.get("call_jaxpr"))
    if body is None:
        return 0.0, 0.0, None
    return _walk(getattr(body, "jaxpr", body), given)


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
