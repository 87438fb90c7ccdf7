"""The state of a run: one nested dict of arrays, all of which the checkpoint holds.

    step            int32   steps done; batch i is drawn at step i, so it is also the data position
    skipped         int32   steps whose update was dropped: something was not finite, or leapt
    skipped_in_row  int32   how many of those came last, without a good one between
    params, stats   dicts   the network's, float32
    opt_state               optax's
    ema             dict    {"params", "stats"}: moving averages of both, or empty
    spikes          dict    the last good steps (`train.spikes`); only where spikes are looked for

There is no random state: dropout keys are folded from (seed, step).
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh

from jaxfacs import models
from jaxfacs.errors import UserError
from jaxfacs.train import mesh as meshes
from jaxfacs.train import optim, spikes
from jaxfacs.train.config import Experiment, ModelConfig
from jaxfacs.train.optim import Schedule

State = dict[str, Any]

# Hundreds of random draws that run once: optimising them took 17 s of compilation, this 4 s
# (3D-MobileNetV2, one busy CPU core).
INIT_COMPILER_OPTIONS = {"xla_backend_optimization_level": 0}


@dataclass(frozen=True)
class Plan:
    """What stays the same through a run: the network's form, the optimiser, where things lie."""

    graphdef: Any
    aus: tuple[str, ...]
    tx: optax.GradientTransformation
    schedule: Schedule
    mean_3: tuple[float, ...]
    std_3: tuple[float, ...]
    frozen_params: Any
    frozen_stats: Any
    mesh: Mesh
    shardings: State
    abstract: State


# Option of a network -> the parameters that it keeps as they are.
_KEPT = {"frozen": r"^((spatial|bank)/)?backbone/", "shared_trunk": "^trunk/"}


def create_module(
    config: ModelConfig,
    *,
    aus: Sequence[str],
    num_emotions: int,
    dtype: str,
    seed: int,
) -> nnx.Module:
    """The network of a config section, for these AUs and so many emotions.

    A field that the network does not know is left out while it has its default, and refused by
    `models.create` when it was set.
    """
    import_network(config)
    known, usual = models.options(config.name), ModelConfig()
    fields = (
        "backbone", "head", "intensity", "valence_arousal", "landmarks", "confidence", "per_frame",
        "width", "dropout",
    )  # fmt: skip
    given = {
        name: getattr(config, name)
        for name in fields
        if getattr(config, name) != getattr(usual, name) or name in known
    }
    given |= {"num_emotions": num_emotions} if config.emotion else {}
    given |= {"aus": tuple(aus)} if "aus" in known else {}  # networks with a node or map for each
    if "normalisation" in known:  # networks that need the pixels back, for optical flow
        given["normalisation"] = config.normalisation
    for name in ("backbone", "head"):  # "" is the network's own
        if not given.get(name):
            given.pop(name, None)
    return models.create(
        config.name,
        rngs=nnx.Rngs(seed),
        num_aus=len(aus),
        dtype=jnp.dtype(dtype),
        **given,
        **config.options,
    )


def frozen_patterns(experiment: Experiment) -> tuple[str, ...]:
    """What never moves: `optim.frozen`, and what the network was told to keep as it is.

    That part has no gradient, but weight decay would still shrink it.
    """
    options = experiment.model.options
    kept = tuple(pattern for option, pattern in _KEPT.items() if options.get(option))
    return (*experiment.optim.frozen, *kept)


def import_network(config: ModelConfig) -> None:
    """Imports the module that registers the network, if the config names one."""
    if not config.module:
        return
    try:
        import_module(config.module)
    except ImportError as error:
        raise UserError(
            f"model.module {config.module} cannot be imported ({error}); put its folder on "
            "PYTHONPATH"
        ) from error


def plan(
    experiment: Experiment,
    *,
    mesh: Mesh,
    aus: Sequence[str],
    num_emotions: int,
    steps_per_epoch: float,
) -> tuple[Plan, Any]:
    """The plan of a run, and a jitted function without arguments that makes its first state.

    Nothing is allocated here: forms come from eval_shape, and the state is born on its shardings.
    """

    def network() -> tuple[Any, dict, dict]:
        return models.split(
            create_module(
                experiment.model,
                aus=aus,
                num_emotions=num_emotions,
                dtype=experiment.dtype,
                seed=experiment.seed,
            )
        )

    graphdef, abstract_params, abstract_stats = jax.eval_shape(network)
    frozen = frozen_patterns(experiment)
    tx, schedule = optim.create(
        dataclasses.replace(
            optim.scaled(experiment.optim, experiment.data.batch_size), frozen=frozen
        ),
        abstract_params,
        steps=experiment.steps,
        steps_per_epoch=steps_per_epoch,
    )

    def init() -> State:
        _, params, stats = network()
        zero = jnp.zeros((), jnp.int32)
        state = {
            "step": zero,
            "skipped": zero,
            "skipped_in_row": zero,
            "params": params,
            "stats": stats,
            "opt_state": tx.init(params),
            "ema": {"params": params, "stats": stats} if experiment.ema else {},
        }
        if experiment.spike_deviations:
            state["spikes"] = spikes.window(experiment.spike_window)
        return state

    abstract = jax.eval_shape(init)
    shardings = meshes.state_shardings(experiment.mesh, mesh, abstract)
    placed = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        abstract,
        shardings,
    )
    mean_3, std_3 = models.normalisation(
        experiment.model.normalisation, model=experiment.model.name
    )
    return (
        Plan(
            graphdef=graphdef,
            aus=tuple(aus),
            tx=tx,
            schedule=schedule,
            mean_3=mean_3,
            std_3=std_3,
            frozen_params=optim.match_any(frozen, abstract_params),
            frozen_stats=optim.match_any(frozen, abstract_stats),
            mesh=mesh,
            shardings=shardings,
            abstract=placed,
        ),
        jax.jit(init, out_shardings=shardings, compiler_options=INIT_COMPILER_OPTIONS),
    )
