"""The terms of the loss: a table from what a network answers to what is minimised of it."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from jaxfacs.errors import UserError
from jaxfacs.models import heatmaps
from jaxfacs.train import losses
from jaxfacs.train.config import LossConfig
from jaxfacs.train.labels import Batch, labels_for
from jaxfacs.train.losses import Sum

Outputs = dict[str, Array]


@dataclass(frozen=True, eq=False)
class Facts:
    """What terms need besides answers and labels.

    Attributes:
      aus: the labels of the answers' columns.
      frame_size: side in pixels of the frames, in which landmarks are given.
      label_weight_A: of the occurrence term (`weights.label_weights`); None: 1.
      correlation_AA: of the training labels (`weights.correlation`); None: no such term.
    """

    aus: tuple[str, ...]
    frame_size: int
    label_weight_A: Array | None = None
    correlation_AA: Array | None = None


@dataclass(frozen=True, eq=False)
class _Case:
    """All that a term may look at: the answers, their labels, and the weight of each example."""

    config: LossConfig
    outputs: Outputs
    labels: dict[str, Array]
    batch: Batch
    facts: Facts

    @property
    def weight_B(self) -> Array:
        return self.batch["weight_B"]


def loss_terms(config: LossConfig, outputs: Outputs, batch: Batch, facts: Facts) -> dict[str, Sum]:
    """The (sum, weight) of every term that the outputs allow and whose scale is not 0.

    Raises UserError where clips were blended and a term cannot take shares for labels.
    """
    case = _Case(config, outputs, labels_for(config, outputs, batch), batch, facts)
    found = {
        name: term
        for name, (scale, needed, term) in TERMS.items()
        if getattr(config, scale)
        and any(key in outputs for key in needed)
        and (name != "cooccurrence" or facts.correlation_AA is not None)
    }
    if "occurrence" in case.labels and jnp.issubdtype(
        case.labels["occurrence"].dtype, jnp.floating
    ):
        _refuse_shares(config, found)
    return {name: term(case) for name, term in found.items()}


def _refuse_shares(config: LossConfig, names: Collection[str]) -> None:
    """Raises UserError if a term asks whether an AU is there, and not how much of it."""
    instead = {
        "--loss.occurrence bce": "occurrence" in names and config.occurrence in ("focal", "bp_mll"),
        "--loss.edge-scale 0": "edge" in names,
        "--loss.heatmap-scale 0": "heatmap" in names,
        "--loss.clip-label centre": config.clip_label == "any",
    }
    if any(instead.values()):
        raise UserError(
            "data.augment.mixup blends clips, whose AUs then are there in part, and this loss "
            f"takes whole ones; set {' '.join(k for k, v in instead.items() if v)}, or mixup 0"
        )


def scaled(config: LossConfig, means: dict[str, Array]) -> Array:
    """The total: each term's mean times its scale, added."""
    parts = (getattr(config, TERMS[name][0]) * mean for name, mean in means.items())
    return sum(parts, jnp.zeros(()))


def counts(config: LossConfig, outputs: Outputs, batch: Batch) -> dict[str, Array]:
    """How the answers of occurrence stand to their labels at 0.5: float32 (A,) each, or nothing.

    `true_positive_A`, `false_positive_A`, `false_negative_A` and `known_A`, the labels that are
    known, of clips whose weight is not 0. A blended label of at least 0.5 counts as present.
    """
    if "occurrence" not in outputs and "probability" not in outputs:
        return {}
    y = labels_for(config, outputs, batch)["occurrence"]
    weighed = (batch["weight_B"] > 0).reshape(-1, *[1] * (y.ndim - 1))
    known, present, said = (y >= 0) & weighed, y >= 0.5, probability(outputs) >= 0.5
    table = {
        "true_positive_A": known & present & said,
        "false_positive_A": known & ~present & said,
        "false_negative_A": known & present & ~said,
        "known_A": known,
    }
    rows = tuple(range(y.ndim - 1))
    return {name: jnp.sum(cases, rows, dtype=jnp.float32) for name, cases in table.items()}


def logits(outputs: Outputs) -> Array:
    """Occurrence as logits, whichever way the network answers."""
    if "occurrence" in outputs:
        return outputs["occurrence"]
    return losses.probability_to_logit(outputs["probability"])


def probability(outputs: Outputs) -> Array:
    """Occurrence as probabilities, whichever way the network answers."""
    if "probability" in outputs:
        return outputs["probability"]
    return losses.logit_to_probability(outputs["occurrence"])


def _occurrence(case: _Case) -> Sum:
    y, outputs = case.labels["occurrence"], case.outputs
    weight_A, weight_B = case.facts.label_weight_A, case.weight_B
    table: dict[str, Callable[[], Sum]] = {
        "bce": lambda: losses.bce(
            logits(outputs), y, positive_weight_A=weight_A, weight_B=weight_B
        ),
        "focal": lambda: losses.focal(
            logits(outputs),
            y,
            gamma=case.config.focal_gamma,
            positive_weight_A=weight_A,
            weight_B=weight_B,
        ),
        "weighted_asymmetric": lambda: losses.weighted_asymmetric(
            probability(outputs), y, label_weight_A=weight_A, weight_B=weight_B
        ),
        "bp_mll": lambda: losses.bp_mll(logits(outputs), y, weight_B=weight_B),
    }
    return table[case.config.occurrence]()


def _intensity(case: _Case) -> Sum:
    target = case.labels["intensity"]
    if "ordinal" in case.outputs:  # its intensity is read off these, and has no loss of its own
        return losses.ordinal(case.outputs["ordinal"], target, weight_B=case.weight_B)
    function = {"mse": losses.mse, "ccc": losses.ccc_loss}[case.config.intensity]
    return function(case.outputs["intensity"], target, weight_B=case.weight_B)


def _emotion(case: _Case) -> Sum:
    return losses.softmax_cross_entropy(
        case.outputs["emotion"],
        case.batch["emotion_B"],
        smoothing=case.config.emotion_smoothing,
        weight_B=case.weight_B,
    )


def _valence_arousal(case: _Case) -> Sum:
    target = case.labels["valence_arousal"]
    function = {"mse": losses.mse, "ccc": losses.ccc_loss}[case.config.valence_arousal]
    known = ~jnp.isnan(target)
    return function(case.outputs["valence_arousal"], target, known=known, weight_B=case.weight_B)


def _landmarks(case: _Case) -> Sum:
    target = case.labels["landmarks"] * (2.0 / case.facts.frame_size) - 1.0
    prediction = case.outputs["landmarks"]
    return losses.mse(prediction, target, known=~jnp.isnan(target), weight_B=case.weight_B)


def _confidence(case: _Case) -> Sum:
    """Of a face's answers and labels: those that both have, among those that either has."""
    y, said = case.labels["occurrence"], probability(case.outputs) >= 0.5
    known, present = y >= 0, y >= 0.5
    both = jnp.sum(known & present & said, -1, keepdims=True, dtype=jnp.float32)
    either = jnp.sum(known & (present | said), -1, keepdims=True, dtype=jnp.float32)
    right = jnp.where(either > 0, both / jnp.maximum(either, 1.0), 1.0)
    target = jnp.where(known.any(-1, keepdims=True), right, -1.0)
    return losses.bce(case.outputs["confidence"], target, weight_B=case.weight_B)


def _edge(case: _Case) -> Sum:
    y = case.labels["occurrence"]
    return losses.edge_cross_entropy(case.outputs["edge"], y, weight_B=case.weight_B)


def _heatmap(case: _Case) -> Sum:
    maps = case.outputs["heatmap"]
    landmarks, intensity = case.labels["landmarks"], case.labels["intensity"]
    target = heatmaps.targets(
        landmarks.reshape(-1, 68, 2),
        intensity.reshape(-1, intensity.shape[-1]),
        aus=case.facts.aus,
        frame_size=case.facts.frame_size,
        map_size=maps.shape[-2],
        sigma=case.config.heatmap_sigma,
    )
    return losses.heatmap_mse(maps, target.reshape(maps.shape), weight_B=case.weight_B)


def _cooccurrence(case: _Case) -> Sum:
    correlation_AA = case.facts.correlation_AA
    assert correlation_AA is not None
    return losses.cooccurrence(probability(case.outputs), correlation_AA, weight_B=case.weight_B)


# term -> (field of LossConfig with its scale, outputs of which it takes the first there is, term)
TERMS: dict[str, tuple[str, tuple[str, ...], Callable[[_Case], Sum]]] = {
    "occurrence": ("occurrence_scale", ("occurrence", "probability"), _occurrence),
    "intensity": ("intensity_scale", ("ordinal", "intensity"), _intensity),
    "emotion": ("emotion_scale", ("emotion",), _emotion),
    "valence_arousal": ("valence_arousal_scale", ("valence_arousal",), _valence_arousal),
    "landmarks": ("landmarks_scale", ("landmarks",), _landmarks),
    "confidence": ("confidence_scale", ("confidence",), _confidence),
    "edge": ("edge_scale", ("edge",), _edge),
    "heatmap": ("heatmap_scale", ("heatmap",), _heatmap),
    "cooccurrence": ("cooccurrence_scale", ("occurrence", "probability"), _cooccurrence),
}
