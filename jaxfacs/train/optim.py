"""The optimiser and its schedule, out of one config section."""

import dataclasses
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jaxfacs.errors import UserError
from jaxfacs.train.config import OptimConfig
from jaxfacs.train.paths import map_paths, paths

Schedule = Callable[[jax.typing.ArrayLike], jax.Array]


def create(
    config: OptimConfig, params: dict, *, steps: int, steps_per_epoch: float
) -> tuple[optax.GradientTransformation, Schedule]:
    """The optax chain for parameters shaped like `params`, and its learning rate over updates.

    Frozen parameters get no moments, no decay, and are not in the norm that is clipped.
    Raises UserError where a pattern of `frozen` matches nothing.
    """
    rate = schedule(config, steps=steps, steps_per_epoch=steps_per_epoch)
    chain = optax.chain(
        optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity(),
        *_rule(config, rate),
    )
    frozen = frozen_mask(config.frozen, params)
    if not any(jax.tree.leaves(frozen)):
        return chain, rate
    labels = jax.tree.map(lambda f: "frozen" if f else "trained", frozen)
    return optax.partition({"trained": chain, "frozen": optax.set_to_zero()}, labels), rate


def scaled(config: OptimConfig, batch_size: int) -> OptimConfig:
    """The section with the learning rate of this global batch, by `config.scaling`."""
    power = {"none": 0.0, "sqrt": 0.5, "linear": 1.0}[config.scaling]
    factor = (batch_size / config.base_batch) ** power if power else 1.0
    return dataclasses.replace(config, learning_rate=factor * config.learning_rate)


def schedule(config: OptimConfig, *, steps: int, steps_per_epoch: float) -> Schedule:
    """Learning rate as a function of the number of updates applied so far."""
    peak, left = config.learning_rate, max(steps - config.warmup_steps, 1)

    def in_steps(epochs: float) -> int:
        return max(round(epochs * steps_per_epoch), 1)

    table: dict[str, Callable[[], optax.Schedule]] = {
        "constant": lambda: optax.constant_schedule(peak),
        "cosine": lambda: optax.cosine_decay_schedule(peak, left, alpha=config.final_fraction),
        "exponential": lambda: optax.exponential_decay(
            peak, in_steps(config.decay_epochs), config.decay_factor, staircase=True
        ),
        "step": lambda: optax.piecewise_constant_schedule(
            peak, {in_steps(epoch): config.decay_factor for epoch in config.boundaries_epochs}
        ),
    }
    after = table[config.schedule]()
    if not config.warmup_steps:
        return lambda count: jnp.asarray(after(count), jnp.float32)
    warm = optax.linear_schedule(0.0, peak, config.warmup_steps)
    joined = optax.join_schedules([warm, after], [config.warmup_steps])
    return lambda count: jnp.asarray(joined(count), jnp.float32)


def frozen_mask(patterns: tuple[str, ...], tree: dict) -> dict:
    """True where a leaf's path matches any pattern; every pattern must match some leaf."""
    for pattern in patterns:
        if not any(re.search(pattern, path) for path in paths(tree)):
            some = ", ".join(list(paths(tree))[:4])
            raise UserError(
                f"optim.frozen pattern '{pattern}' matches no parameter; paths look like {some}"
            )
    return match_any(patterns, tree)


def held(params: dict, frozen: dict) -> dict:
    """`params` with no gradient where `frozen` is true, so that XLA drops what only they ask for.

    Below the first parameter that moves, no backward pass is compiled.
    """
    return jax.tree.map(lambda p, f: jax.lax.stop_gradient(p) if f else p, params, frozen)


def uphill(params: dict, grads: dict, *, rho: float) -> dict:
    """Where adaptive sharpness-aware minimisation takes its gradient (Kwon et al., ICML 2021).

    p + rho p^2 g / |p g|, the norm being over all parameters; those without gradient stay.
    """
    norm = optax.tree.norm(jax.tree.map(jnp.multiply, params, grads))
    scale = rho / (norm + 1e-12)
    return jax.tree.map(lambda p, g: p + scale * jnp.square(p) * g, params, grads)


def match_any(patterns: tuple[str, ...], tree: dict) -> dict:
    """True where a leaf's path matches any of the patterns."""
    return map_paths(lambda path, _: any(re.search(p, path) for p in patterns), tree)


def _rule(config: OptimConfig, rate: Schedule) -> list[optax.GradientTransformation]:
    def decayed(params):
        spared = (config.no_decay,) if config.no_decay else ()  # "" would match every path
        return jax.tree.map(lambda matched: not matched, match_any(spared, params))

    decay = (
        [optax.add_decayed_weights(config.weight_decay, mask=decayed)]
        if config.weight_decay
        else []
    )
    nesterov = config.nesterov
    scale = optax.scale_by_learning_rate(rate)
    adam = optax.scale_by_adam(config.b1, config.b2, config.eps, nesterov=nesterov)
    momentum = [optax.trace(config.momentum, nesterov=nesterov)] if config.momentum else []
    # TF's order, which Bartissol used: the rate is inside the momentum, so that a falling rate
    # does not also shrink what was gathered before.
    rms = optax.scale_by_rms(config.rms_decay, config.eps)

    def adapted(coefficient: float) -> optax.GradientTransformation:
        return optax.masked(optax.scale_by_trust_ratio(trust_coefficient=coefficient), decayed)

    return {
        "adamw": [adam, *decay, scale],
        "adam": [*decay, adam, scale],
        "sgd": [*decay, *momentum, scale],
        "rmsprop": [*decay, rms, scale, *momentum],
        "lars": [*decay, adapted(config.trust), scale, *momentum],
        "lamb": [adam, *decay, adapted(1.0), scale],
    }[config.name]
