"""Fits the networks from AUs to emotions in Flax: an MLP, EmotiRAM's bottleneck, an LSTM.

What comes out is a mapper of `jaxfacs.emotion`: plain arrays, applied with numpy alone.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxfacs.emotion.learned import LearnedMapper, prepared
from jaxfacs.emotion.recurrent import RecurrentMapper
from jaxfacs.errors import UserError

KINDS = ("mlp", "emotiram", "lstm")
# EmotiRAM's bottleneck (Masur 2022, §4.3) is 2048-1024-512-256 on the 5,760 numbers of heatmaps. On
# tens of AUs an eighth of these widths; `hidden` gives the full ones.
WIDTHS = {"mlp": (32,), "emotiram": (256, 128, 64, 32), "lstm": (32,)}
STEPS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 600, 128, 3e-3, 1e-2
WINDOW = 32  # frames that the LSTM sees before the one whose emotion it learns
LOST_AU = 0.1  # chance that an AU is put at its average, so that no answer hangs on one alone
DIGITS = 6  # of a weight in the file: what is applied is what was stored


class MLP(nnx.Module):
    """Dense layers with ReLU between; x is B×A, the answer B×E logits."""

    def __init__(self, aus: int, emotions: int, hidden: Sequence[int], rngs: nnx.Rngs):
        sizes = (aus, *hidden, emotions)
        self.layers = nnx.List([nnx.Linear(i, o, rngs=rngs) for i, o in pairwise(sizes)])

    def __call__(self, x):
        for layer in self.layers[:-1]:
            x = jax.nn.relu(layer(x))
        return self.layers[-1](x)


class LSTM(nnx.Module):
    """One LSTM layer and a dense one; x is B×W×A, the answer B×W×E logits."""

    def __init__(self, aus: int, emotions: int, hidden: Sequence[int], rngs: nnx.Rngs):
        self.cell = nnx.OptimizedLSTMCell(aus, hidden[0], rngs=rngs)
        self.out = nnx.Linear(hidden[0], emotions, rngs=rngs)

    def __call__(self, x):
        still = jnp.zeros((x.shape[0], self.cell.hidden_features), x.dtype)
        _, hidden = jax.lax.scan(self.cell, (still, still), x.swapaxes(0, 1))
        return self.out(hidden.swapaxes(0, 1))


def fit(
    probability_NA: np.ndarray,
    emotion_N: np.ndarray,
    *,
    aus: Sequence[str],
    emotions: Sequence[str],
    trained_as: str,
    sequences: Sequence[np.ndarray] | None = None,
    hidden: Sequence[int] = (),
    seed: int = 0,
    steps: int = STEPS,
) -> LearnedMapper | RecurrentMapper:
    """Trains a network; every emotion is drawn as often as every other.

    Args:
      probability_NA: labels 0 and 1 or probabilities; negative or NaN is unknown.
      emotion_N: index into `emotions`, −1 unknown: not learned, but the LSTM sees the frame.
      aus, emotions: labels and names.
      trained_as: one of `KINDS`.
      sequences: row numbers of each face of each film, in order; the LSTM needs them.
      hidden: widths of the hidden layers (of the LSTM one), without it `WIDTHS`.
      seed: of the start, the draws and the lost AUs. The same seed gives the same mapper on the
        same machine.
      steps: of Adam with decoupled weight decay.

    Raises:
      UserError: an emotion without a labelled frame, or widths that make no network.
    """
    hidden = tuple(hidden) or WIDTHS[trained_as]
    if min(hidden) < 1 or (trained_as == "lstm" and len(hidden) != 1):
        raise UserError(f"hidden widths {hidden}: all are above 0, and an lstm has one")
    if len(emotions) < 2:
        raise UserError("a classifier needs at least two emotions to tell apart")
    _, _, mean_A = prepared(probability_NA, emotion_N, emotions)
    mean_A = np.round(mean_A, DIGITS)
    values_NA = np.asarray(probability_NA, float)
    known_NA = values_NA >= 0
    input_NA = np.where(known_NA, values_NA, mean_A)
    labelled = np.flatnonzero((np.asarray(emotion_N) >= 0) & known_NA.any(axis=1))
    rng = np.random.default_rng(seed)
    drawn_SB = _draw(labelled, np.asarray(emotion_N)[labelled], len(emotions), steps, rng)
    label_SB = np.asarray(emotion_N)[drawn_SB]
    rngs = nnx.Rngs(seed)
    if trained_as == "lstm":
        window_NW, last_N = _windows(len(input_NA), sequences or [np.arange(len(input_NA))])
        network = LSTM(len(aus), len(emotions), hidden, rngs)
        state = _trained(
            network, input_NA, mean_A, drawn_SB, label_SB, seed, window_NW=window_NW, last_N=last_N
        )
        cell = state["cell"]
        weights = {
            "input": cell["dense_i"]["kernel"],
            "recurrent": cell["dense_h"]["kernel"],
            "bias": cell["dense_h"]["bias"],
            "out": state["out"]["kernel"],
            "out_bias": state["out"]["bias"],
        }
        rounded = {part: _rounded(value) for part, value in weights.items()}
        return RecurrentMapper(tuple(emotions), tuple(aus), mean_A, rounded)
    network = MLP(len(aus), len(emotions), hidden, rngs)
    state = _trained(network, input_NA, mean_A, drawn_SB, label_SB, seed)
    layers = tuple(
        (_rounded(state["layers"][n]["kernel"]), _rounded(state["layers"][n]["bias"]))
        for n in range(len(hidden) + 1)
    )
    return LearnedMapper(tuple(emotions), tuple(aus), mean_A, layers, trained_as)


def _draw(
    labelled: np.ndarray, emotion: np.ndarray, emotions: int, steps: int, rng: np.random.Generator
) -> np.ndarray:
    """Rows of each step's batch (S×B): an emotion first, then one of its frames."""
    chosen_SB = rng.integers(emotions, size=(steps, BATCH))
    rows_SB = np.zeros((steps, BATCH), np.int32)
    for e in range(emotions):
        mine = chosen_SB == e
        rows_SB[mine] = rng.choice(labelled[emotion == e], mine.sum())
    return rows_SB


def _windows(frames: int, sequences: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """For each frame the `WINDOW` rows up to it (N×W) and at which of them it stands (N)."""
    window_NW, last_N = np.zeros((frames, WINDOW), np.int32), np.zeros(frames, np.int32)
    for rows in sequences:
        for at, row in enumerate(rows):
            seen = rows[max(0, at + 1 - WINDOW) : at + 1]
            window_NW[row, : len(seen)], window_NW[row, len(seen) :] = seen, row
            last_N[row] = len(seen) - 1
    return window_NW, last_N


def _trained(
    network: nnx.Module,
    input_NA: np.ndarray,
    mean_A: np.ndarray,
    drawn_SB: np.ndarray,
    label_SB: np.ndarray,
    seed: int,
    *,
    window_NW: np.ndarray | None = None,
    last_N: np.ndarray | None = None,
) -> dict[str, Any]:
    """The parameters after all steps, as nested dicts of arrays."""
    graph, params, rest = nnx.split(network, nnx.Param, ...)
    schedule = optax.cosine_decay_schedule(LEARNING_RATE, len(drawn_SB))
    optimiser = optax.adamw(schedule, weight_decay=WEIGHT_DECAY)
    data = jnp.asarray(input_NA, jnp.float32)
    average = jnp.asarray(mean_A, jnp.float32)
    no_window = np.arange(len(input_NA))[:, None]
    windows = jnp.asarray(no_window if window_NW is None else window_NW)
    last = jnp.asarray(0 * no_window[:, 0] if last_N is None else last_N)

    def loss(params, rows_B, label_B, key):
        x = data[rows_B] if window_NW is None else data[windows[rows_B]]
        # An AU is lost for the whole film, as when a network does not have it.
        shape = (x.shape[0], *(1,) * (x.ndim - 2), x.shape[-1])
        x = jnp.where(jax.random.bernoulli(key, LOST_AU, shape), average, x)
        logits = nnx.merge(graph, params, rest)(x)
        if window_NW is not None:
            logits = logits[jnp.arange(len(rows_B)), last[rows_B]]
        return optax.softmax_cross_entropy_with_integer_labels(logits, label_B).mean()

    def step(carry, batch):
        params, moments = carry
        updates, moments = optimiser.update(jax.grad(loss)(params, *batch), moments, params)
        return (optax.apply_updates(params, updates), moments), None

    @jax.jit
    def all_steps(params, batches):
        return jax.lax.scan(step, (params, optimiser.init(params)), batches)[0][0]

    keys = jax.random.split(jax.random.key(seed), len(drawn_SB))
    params = all_steps(params, (jnp.asarray(drawn_SB), jnp.asarray(label_SB, jnp.int32), keys))
    return nnx.to_pure_dict(params)


def _rounded(value: Any) -> np.ndarray:
    return np.round(np.asarray(value, float), DIGITS)
