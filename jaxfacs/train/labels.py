"""Which labels a network is asked for, and in the form in which it answers them."""

import jax.numpy as jnp
from jax import Array

from jaxfacs.data.mixture import Mixture
from jaxfacs.data.pipeline import experiment_aus
from jaxfacs.train.config import Experiment, LossConfig

Batch = dict[str, Array]

# output -> its axes where there is one answer a clip; one more where there is one a frame
CLIP_AXES = {
    "occurrence": 2,
    "probability": 2,
    "intensity": 2,
    "valence_arousal": 2,
    "ordinal": 3,
    "landmarks": 3,
    "confidence": 2,
    "edge": 3,
    "heatmap": 4,
}
# label -> its key in a batch
PER_FRAME = {
    "occurrence": "occurrence_BTA",
    "intensity": "intensity_BTA",
    "landmarks": "landmarks_BT682",
    "valence_arousal": "valence_arousal_BT2",
}
HIGHEST = ("occurrence", "intensity")  # what `clip_label="any"` takes the highest of


def network_aus(experiment: Experiment, records: Mixture) -> tuple[str, ...]:
    """The AUs that the network answers; none for one of emotions or affect alone."""
    return experiment_aus(experiment.data, records) if experiment.model.occurrence else ()


def answered_frames(outputs: dict[str, Array]) -> int | None:
    """How many frames of a clip the network answers, or None if it answers once for all."""
    for name, axes in CLIP_AXES.items():
        if name in outputs:
            return outputs[name].shape[1] if outputs[name].ndim > axes else None
    return None


def labels_for(config: LossConfig, outputs: dict[str, Array], batch: Batch) -> dict[str, Array]:
    """The labels in the form the network answers in: per clip (B, ...) or per frame (B, T', ...).

    Where a network has fewer frames than the clip, an answer has the label of the middle of the
    frames it stands for. Landmarks and affect of a clip are always those of its centre frame.
    """
    answers = answered_frames(outputs)
    found = {}
    for name, key in PER_FRAME.items():
        if key not in batch:
            continue
        label_BT = batch[key]
        frames = label_BT.shape[1]
        if answers is not None:
            middles = [(2 * i + 1) * frames // (2 * answers) for i in range(answers)]
            found[name] = label_BT[:, jnp.asarray(middles)]
        elif config.clip_label == "any" and name in HIGHEST:
            found[name] = _any_frame(label_BT)
        else:
            found[name] = label_BT[:, frames // 2]
    return found


def _any_frame(label_BTA: Array) -> Array:
    """The highest label over the frames; unknown if none is known, or if an unknown could be 1."""
    highest = label_BTA.max(axis=1)
    could_be = (label_BTA < 0).any(axis=1) & (highest <= 0)
    return jnp.where(could_be, -jnp.ones_like(highest), highest)
