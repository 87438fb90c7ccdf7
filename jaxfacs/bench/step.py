"""`jaxfacs bench step`: one training step against PyTorch, on the same cores in the same run."""

import statistics
from collections.abc import Callable
from importlib import util
from typing import Any

from jaxfacs.bench.timing import core_count, interleaved, machine, parse_clip, ratio
from jaxfacs.errors import UserError
from jaxfacs.ops.memory import keep_freed_memory

NUM_AUS = 12
LEARNING_RATE = 1e-3


def main(
    *,
    model: str = "mobilenet3d_v2",
    clip: str = "16x112x112",
    batch: int = 2,
    rounds: int = 15,
    dtype: str = "float32",
    torch: bool = True,
) -> None:
    """Times a whole training step: forward, backward, Adam. Ours and PyTorch's, interleaved.

    PyTorch runs in both memory layouts, with oneDNN and without. Each round times all once; printed
    are the medians, and the median over rounds of the ratio to the fastest of the four. Memory is
    kept between steps for all (see docs/performance.md).

    Args:
      model: a registered network.
      clip: frames, height and width of the input.
      batch: clips in a step.
      rounds: how often each is timed (a round takes some seconds on two cores).
      dtype: float32 or bfloat16, ours (PyTorch stays in float32).
      torch: compares with PyTorch if it is installed; otherwise times ours alone.
    """
    frames, height, width = parse_clip(clip)
    if dtype not in ("float32", "bfloat16"):
        raise UserError(f"dtype '{dtype}' is neither float32 nor bfloat16")
    if batch < 1 or rounds < 1:
        raise UserError("--batch and --rounds must be at least 1")
    kept = keep_freed_memory()  # before JAX or PyTorch starts a thread
    shape = (batch, frames, height, width, 3)
    ours = f"jaxfacs {dtype}"
    steps = {ours: jax_step(model, shape, dtype)}
    print(f"{model}, {batch} clips of {clip}: forward + backward + Adam")
    print(f"{machine('jax', 'jaxlib', 'flax', 'torch')} · memory kept between steps: {kept}")
    if torch and util.find_spec("torch"):
        steps |= torch_steps(model, shape)
    seconds = interleaved(steps, rounds=rounds)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in median.items():
        print(f"  {name:<34} {value * 1e3:9.1f} ms (median of {rounds})")
    if len(median) > 1:
        best = min(median.keys() - {ours}, key=lambda name: median[name])
        print(f"{ours} is {ratio(seconds[best], seconds[ours]):.2f} times as fast as {best}")


def jax_step(model: str, shape: tuple[int, ...], dtype: str) -> Callable[[], object]:
    """Returns a function that runs one compiled step of ours and waits for it."""
    import jax
    import jax.numpy as jnp
    import optax
    from flax import nnx

    from jaxfacs import models

    network = models.create(model, rngs=nnx.Rngs(0), num_aus=NUM_AUS, dtype=dtype)
    graphdef, params, stats = models.split(network)
    optimiser = optax.adam(LEARNING_RATE)
    x_BTHWC = jax.random.normal(jax.random.key(1), shape)
    labels_BA = jax.random.bernoulli(jax.random.key(2), 0.5, (shape[0], NUM_AUS))

    def step(state, key, x_BTHWC, labels_BA):
        params, stats, moments = state

        def loss(params):
            outputs, new_stats = models.apply(
                graphdef, params, stats, x_BTHWC, train=True, dropout_key=key
            )
            terms = optax.sigmoid_binary_cross_entropy(
                outputs["occurrence"], labels_BA.astype(jnp.float32)
            )
            return terms.mean(), new_stats

        gradients, new_stats = jax.grad(loss, has_aux=True)(params)
        updates, moments = optimiser.update(gradients, moments, params)
        return optax.apply_updates(params, updates), new_stats, moments

    state: Any = (params, stats, optimiser.init(params))
    key = jax.random.key(3)
    compiled = jax.jit(step, donate_argnums=0).lower(state, key, x_BTHWC, labels_BA).compile()

    def run():
        nonlocal state
        state = jax.block_until_ready(compiled(state, key, x_BTHWC, labels_BA))

    return run


def torch_steps(model: str, shape: tuple[int, ...]) -> dict[str, Callable[[], object]]:
    """Returns PyTorch's step in each memory layout, with oneDNN and without."""
    import torch
    from torch import nn

    from jaxfacs.bench.torch_twin import twin

    torch.set_num_threads(core_count())

    def make(memory_format: Any, onednn: bool) -> Callable[[], object]:
        network: Any = twin(model, num_aus=NUM_AUS)
        if network is None:
            raise UserError(f"{model} has no PyTorch twin here; add --no-torch to time it alone")
        network = network.to(memory_format=memory_format)
        batch, frames, height, width, channels = shape
        x = torch.randn(batch, channels, frames, height, width).to(memory_format=memory_format)
        labels = (torch.rand(batch, NUM_AUS) > 0.5).float()
        optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE)

        def run():
            torch.backends.mkldnn.enabled = onednn  # type: ignore[assignment]
            optimiser.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(network(x), labels).backward()
            optimiser.step()

        return run

    layouts = {"contiguous": torch.contiguous_format, "channels_last_3d": torch.channels_last_3d}
    return {
        f"PyTorch {layout}{', oneDNN' if onednn else ''}": make(memory_format, onednn)
        for layout, memory_format in layouts.items()
        for onednn in (True, False)
    }
