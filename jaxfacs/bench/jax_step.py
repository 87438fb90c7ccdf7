"""Our training step as the benchmarks run it: any registered network on drawn data."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from jaxfacs import models
from jaxfacs.bench.floor import Work, work_of
from jaxfacs.bench.timing import parse_clip
from jaxfacs.facs import DATASET_AUS
from jaxfacs.train import losses
from jaxfacs.train.named_options import split

LEARNING_RATE = 1e-3
EDGE_SCALE = 0.05  # of ME-GraphAU's edge loss: ResNet-50 on BP4D

# The AUs of networks that have a node or a map for each, where not the twelve of BP4D.
AUS = {"scc": DATASET_AUS["bp4d_intensity"], "open_graphau": DATASET_AUS["opengraphau"]}
# Flow that was computed before, behind the colours: both sides are timed without its computation.
MORE_CHANNELS = {"two_stream": 10}

Outputs = dict[str, jax.Array]


def input_shape(model: str, clip: str, batch: int) -> tuple[int, ...]:
    """(B, T, H, W, C) of a step: `clip` if given, else the frames and size of the card."""
    name = split(model)[0]
    card, more = models.card(name), MORE_CHANNELS.get(name, 0)
    size = parse_clip(clip) if clip else (1 if more else card.frames, card.size, card.size)
    return (batch, *size, 3 + more)


def network(model: str, *, num_aus: int, dtype: str = "float32") -> nnx.Module:
    """Makes "NAME:KEY=VALUE,…" with weights of seed 0."""
    name, options = split(model)
    given: dict[str, Any] = dict(options)
    if "aus" in models.options(name):
        given["aus"] = AUS.get(name, DATASET_AUS["bp4d"])
        num_aus = len(given["aus"])
    return models.create(name, rngs=nnx.Rngs(0), num_aus=num_aus, dtype=dtype, **given)


def jax_step(
    model: str, shape: tuple[int, ...], *, dtype: str, num_aus: int
) -> tuple[Callable[[], object], Work]:
    """A function that runs one compiled step of ours and waits for it, and its work."""
    graphdef, params, stats = models.split(network(model, num_aus=num_aus, dtype=dtype))
    optimiser = optax.adam(LEARNING_RATE)
    key = jax.random.key(3)
    x_BTHWC = jax.random.normal(jax.random.key(1), shape)

    def forward(params, stats, x_BTHWC):
        return models.apply(graphdef, params, stats, x_BTHWC, train=True, dropout_key=key)

    forms = jax.eval_shape(forward, params, stats, x_BTHWC)[0]
    wanted = targets(forms)

    def step(state, x_BTHWC, wanted):
        params, stats, moments = state

        def objective(params):
            outputs, new_stats = forward(params, stats, x_BTHWC)
            return loss(outputs, wanted), new_stats

        gradients, new_stats = jax.grad(objective, has_aux=True)(params)
        updates, moments = optimiser.update(gradients, moments, params)
        return optax.apply_updates(params, updates), new_stats, moments

    state: Any = (params, stats, optimiser.init(params))
    compiled = jax.jit(step, donate_argnums=0).lower(state, x_BTHWC, wanted).compile()

    def run():
        nonlocal state
        state = jax.block_until_ready(compiled(state, x_BTHWC, wanted))

    return run, work_of(compiled)


def targets(outputs: dict[str, Any]) -> Outputs:
    """Drawn labels of the forms of a network's outputs."""
    key = jax.random.key(2)
    wanted: Outputs = {}
    for name in ("occurrence", "probability"):
        if name in outputs:
            present = jax.random.bernoulli(key, 0.5, outputs[name].shape)
            wanted["present"] = present.astype(jnp.int32)
    if "heatmap" in outputs:
        wanted["heatmap"] = jax.random.uniform(key, outputs["heatmap"].shape)
    return wanted


def loss(outputs: Outputs, wanted: Outputs) -> jax.Array:
    """What the network is trained with: by its outputs, as `train.step` chooses too.

    Heatmaps: squared error. Probabilities: the weighted asymmetric loss, and with edges their
    cross entropy. Logits: binary cross entropy.
    """
    if "heatmap" in outputs:
        return _mean(losses.heatmap_mse(outputs["heatmap"], wanted["heatmap"]))
    present = wanted["present"]
    if "probability" not in outputs:
        return _mean(losses.bce(outputs["occurrence"], present))
    total = _mean(losses.weighted_asymmetric(outputs["probability"], present))
    if "edge" in outputs:
        total += EDGE_SCALE * _mean(losses.edge_cross_entropy(outputs["edge"], present))
    return total


def _mean(term: losses.Sum) -> jax.Array:
    return term[0] / term[1]
