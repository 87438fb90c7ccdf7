"""Emotions by learning: small classifiers on AU probabilities, baselines of Tlili 2019, §7.2.

Kept as plain arrays: every kind here is one network of dense layers with ReLU between (logistic
regression, a linear SVM and Bernoulli naive Bayes have a single layer), so that applying one needs
numpy alone and no pickle exists. The single layers are fitted here with scikit-learn; those with
hidden ones in Flax, by `train.emotion_networks`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxfacs.emotion.reading import Evidence, Reading, emotion_names, softmax
from jaxfacs.errors import UserError
from jaxfacs.facs import parse_label

WEIGHT_LIMIT = 1e6  # far above what a fit gives; beyond, sums could overflow (NaN fails the test)
KINDS = ("logistic", "naive_bayes", "svm")
# Scales of an SVM's margins, of which the one is taken that makes its probabilities likeliest.
SVM_SCALES = np.geomspace(0.25, 8, 21)


@dataclass(frozen=True, eq=False)
class LearnedMapper:
    """Dense layers on AU probabilities.

    Attributes:
      emotions, aus: E names, A labels.
      mean_A: average of each input in the data; stands in for an AU that nobody can tell.
      layers: pairs of a weight matrix (in × out) and a bias (out).
      trained_as: one of `KINDS`, or "mlp" or "emotiram".
    """

    emotions: tuple[str, ...]
    aus: tuple[str, ...]
    mean_A: np.ndarray
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    trained_as: str

    kind = "learned"

    def __post_init__(self):
        sizes = [len(self.aus), *(bias.size for _, bias in self.layers)]
        shapes = [weight.shape for weight, _ in self.layers]
        if shapes != list(pairwise(sizes)) or sizes[-1] != len(self.emotions):
            raise ValueError(f"layers of {shapes} between {sizes[0]} AUs and {len(self.emotions)}")
        if self.mean_A.shape != (sizes[0],):
            raise ValueError(f"means of shape {self.mean_A.shape} for {sizes[0]} AUs")
        arrays = (self.mean_A, *(array for layer in self.layers for array in layer))
        check_finite(arrays)

    def apply(
        self,
        aus: Sequence[str],
        probability_TA: ArrayLike,
        *,
        intensity_TA: ArrayLike | None = None,
    ) -> Reading:
        """See `Mapper.apply`. Intensity is not read.

        Weights: by how much the emotion's logit would fall, beside the others', if the AU were at
        its average (leave one AU out). In a single layer that is the linear weight times the
        distance from the average.
        """
        evidence = Evidence(aus, probability_TA, intensity_TA)
        return leaving_out(self.emotions, self.aus, self.mean_A, self._logits_each_out, evidence)

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "trained_as": self.trained_as,
            "emotions": list(self.emotions),
            "aus": list(self.aus),
            "mean": self.mean_A.tolist(),
            "layers": [{"weight": w.tolist(), "bias": b.tolist()} for w, b in self.layers],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "LearnedMapper":
        layers = tuple(
            (np.asarray(layer["weight"], float), np.asarray(layer["bias"], float))
            for layer in content["layers"]
        )
        return cls(
            emotion_names(content["emotions"]),
            tuple(map(parse_label, content["aus"])),
            np.asarray(content["mean"], float),
            layers,
            str(content["trained_as"]),
        )

    def _logits_each_out(self, input_TA: np.ndarray) -> np.ndarray:
        """T×V×E: of the frames as they are (0), then with each AU at its average."""
        variants = [input_TA]
        for a, mean in enumerate(self.mean_A):
            without_TA = input_TA.copy()
            without_TA[:, a] = mean
            variants.append(without_TA)
        return np.stack([self._logits(variant_TA) for variant_TA in variants], axis=1)

    def _logits(self, input_TA: np.ndarray) -> np.ndarray:
        hidden = input_TA
        for n, (weight, bias) in enumerate(self.layers):
            hidden = hidden @ weight + bias
            if n < len(self.layers) - 1:
                hidden = np.maximum(hidden, 0)
        return hidden


def leaving_out(
    emotions: tuple[str, ...],
    aus: Sequence[str],
    mean_A: np.ndarray,
    logits: Callable[[np.ndarray], np.ndarray],
    evidence: Evidence,
) -> Reading:
    """What a mapper without readable weights says, each AU credited by leaving it out.

    Args:
      emotions, aus: the mapper's, E and A.
      mean_A: average of each input, which stands in for an AU that nobody can tell.
      logits: T×A inputs -> T×(1+A)×E: of the frames as they are, then with each AU at its average.
      evidence: what was seen.
    """
    present_TA = np.stack([evidence.present(au) for au in aus], axis=1)
    logit_TVE = logits(np.where(np.isnan(present_TA), mean_A, present_TA))
    shape = evidence.frames, len(emotions), evidence.probability_TA.shape[1]
    weight_TEA = np.zeros(shape, np.float32)
    for a, au in enumerate(aus):
        say_TE = logit_TVE[:, 0] - logit_TVE[:, a + 1]
        evidence.credit(weight_TEA, au, say_TE - say_TE.mean(axis=1, keepdims=True))
    probability_TE = softmax(logit_TVE[:, 0])
    probability_TE[np.isnan(evidence.probability_TA).all(axis=1)] = np.nan
    return Reading(
        emotions,
        evidence.aus,
        evidence.probability_TA,
        probability_TE,
        weight_TEA,
        dict.fromkeys(emotions, untold(aus, evidence)),
    )


def untold(aus: Sequence[str], evidence: Evidence) -> tuple[str, ...]:
    """The AUs of `aus` that no frame of the evidence tells."""
    return tuple(au for au in aus if np.isnan(evidence.present(au)).all())


def fit(
    occurrence_NA: ArrayLike,
    emotion_N: ArrayLike,
    *,
    aus: Sequence[str],
    emotions: Sequence[str],
    trained_as: str = "logistic",
    seed: int = 0,
) -> LearnedMapper:
    """Trains a classifier; every emotion weighs the same, however many frames it has.

    Args:
      occurrence_NA: labels (−1 unknown) or a network's probabilities (0-1, negative unknown).
      emotion_N: index into `emotions`, −1 unknown (left out).
      aus, emotions: labels and names.
      trained_as: one of `KINDS`.
      seed: of the rows that are drawn again so that every emotion is as frequent.

    Raises:
      UserError: an emotion without a labelled frame, or an unknown kind.
    """
    if len(emotions) < 2:
        raise UserError("a classifier needs at least two emotions to tell apart")
    if trained_as not in KINDS:
        raise UserError(f"no classifier {trained_as!r}; there are: {', '.join(KINDS)}")
    input_NA, emotion_N, mean_A = prepared(occurrence_NA, emotion_N, emotions)
    if trained_as == "naive_bayes":
        layers = _naive_bayes(input_NA, emotion_N, len(emotions))
    else:
        count_E = np.bincount(emotion_N, minlength=len(emotions))
        order = _balanced_rows(emotion_N, count_E, seed)
        layers = _scikit_layers(trained_as, input_NA[order], emotion_N[order], seed)
    return LearnedMapper(tuple(emotions), tuple(aus), mean_A, layers, trained_as)


def prepared(
    occurrence_NA: ArrayLike, emotion_N: ArrayLike, emotions: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rows to fit on: inputs with averages for unknowns, emotions, and the averages (A).

    Raises:
      UserError: an emotion without a labelled frame.
    """
    input_NA, emotion_N = np.asarray(occurrence_NA, float), np.asarray(emotion_N)
    rows = (emotion_N >= 0) & (input_NA >= 0).any(axis=1)
    input_NA, emotion_N = input_NA[rows], emotion_N[rows]
    count_E = np.bincount(emotion_N, minlength=len(emotions))
    if np.any(count_E == 0):
        names = [name for name, count in zip(emotions, count_E, strict=True) if count == 0]
        raise UserError(f"no labelled frame of {', '.join(names)}; leave the emotion out")
    known_NA = input_NA >= 0
    count_A = np.maximum(known_NA.sum(axis=0), 1)
    mean_A = np.where(known_NA, input_NA, 0).sum(axis=0) / count_A
    return np.where(known_NA, input_NA, mean_A), emotion_N, mean_A


def check_finite(arrays: Iterable[np.ndarray]) -> None:
    """ValueError for a weight beyond `WEIGHT_LIMIT` or NaN."""
    if not all(np.abs(array).max(initial=0) < WEIGHT_LIMIT for array in arrays):
        raise ValueError("a weight is not a finite number of sane size")


def _balanced_rows(emotion_N: np.ndarray, count_E: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = []
    for e, count in enumerate(count_E):
        own = np.flatnonzero(emotion_N == e)
        rows += [own, rng.choice(own, count_E.max() - count)]
    return rng.permutation(np.concatenate(rows))


def _naive_bayes(input_NA: np.ndarray, emotion_N: np.ndarray, num_emotions: int):
    """Bernoulli naive Bayes with add-one smoothing, as one layer on probabilities."""
    rate_EA = np.stack(
        [
            (input_NA[emotion_N == e].sum(axis=0) + 1) / ((emotion_N == e).sum() + 2)
            for e in range(num_emotions)
        ]
    )
    absent_EA = np.log(1 - rate_EA)
    return (((np.log(rate_EA) - absent_EA).T, absent_EA.sum(axis=1)),)


def _scikit_layers(trained_as: str, input_NA: Any, emotion_N: Any, seed: int):
    model: Any
    if trained_as == "logistic":
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(max_iter=2000)
    else:
        from sklearn.svm import LinearSVC

        model = LinearSVC(random_state=seed, max_iter=20000)
    model.fit(input_NA, emotion_N)
    weight, bias = model.coef_.T, model.intercept_
    if bias.size == 1:  # two emotions: scikit-learn keeps the logit of the second alone
        weight, bias = np.concatenate([0 * weight, weight], axis=1), np.r_[0.0, bias]
    if trained_as == "svm":
        margin_NE = input_NA @ weight + bias
        likely = [
            np.log(softmax(scale * margin_NE)[np.arange(len(emotion_N)), emotion_N] + 1e-30).mean()
            for scale in SVM_SCALES
        ]
        scale = SVM_SCALES[np.argmax(likely)]
        weight, bias = scale * weight, scale * bias
    return ((np.asarray(weight, float), np.asarray(bias, float)),)
