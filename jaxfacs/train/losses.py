"""Losses. Each returns (sum, weight): what is added up, and what the total is divided by.

Nothing is divided here: sums and weights of shards and micro-batches are added first and divided
once, so that a batch split in any way has one loss. The weight never depends on a prediction.

Labels of AU occurrence are -1 unknown, 0 absent, 1 present; an unknown label adds exactly 0 to the
sum, to the weight and to every gradient. Clips that were blended have shares between 0 and 1, which
`bce` and `weighted_asymmetric` take as well. `weight_B` is a weight per example (0: padding) over
the first axis; between it and the last axes, which the shapes name, there may be more (time). All
sums are float32, whatever the predictions are in.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import log_sigmoid, log_softmax, sigmoid, softplus

Sum = tuple[Array, Array]

TINY = 1e-8  # bound of logarithms and quotients, as in ME-GraphAU's code


def bce(
    logits: Array,
    occurrence: Array,
    *,
    positive_weight_A: Array | None = None,
    weight_B: Array | None = None,
) -> Sum:
    """Binary cross entropy over the known labels (Tlili 2019 §6.1.1).

    Args:
      logits: (B, ..., A).
      occurrence: (B, ..., A), -1 or in [0, 1].
      positive_weight_A: what a present label counts for; an absent one counts 1. The weight that
        the sum is divided by stays the number of known labels, as in PyTorch's `pos_weight`.
    """
    logits, mask = logits.astype(jnp.float32), _known(occurrence, weight_B)
    positive = 1.0 if positive_weight_A is None else positive_weight_A
    present = _share(occurrence)
    loss = positive * present * softplus(-logits) + (1.0 - present) * softplus(logits)
    return _masked_sum(loss, mask), mask.sum()


def focal(
    logits: Array,
    occurrence: Array,
    *,
    gamma: float = 2.0,
    positive_weight_A: Array | None = None,
    weight_B: Array | None = None,
) -> Sum:
    """Focal loss (Lin et al. 2017, eq. 4): BCE times (1 - p of the true answer)^gamma."""
    logits, mask = logits.astype(jnp.float32), _known(occurrence, weight_B)
    positive = 1.0 if positive_weight_A is None else positive_weight_A
    present = (occurrence == 1).astype(jnp.float32)
    signed = jnp.where(present > 0, logits, -logits)
    # (1 - p)^gamma as exp(gamma log(1 - p)): a power has a NaN gradient where 1 - p underflows.
    loss = -jnp.exp(gamma * log_sigmoid(-signed)) * log_sigmoid(signed)
    loss = loss * jnp.where(present > 0, positive, 1.0)
    return _masked_sum(loss, mask), mask.sum()


def weighted_asymmetric(
    probability: Array,
    occurrence: Array,
    *,
    label_weight_A: Array | None = None,
    weight_B: Array | None = None,
) -> Sum:
    """Weighted asymmetric loss of ME-GraphAU (Luo et al. 2022) on probabilities.

    -w (y log p + (1 - y) sg(p) log(1 - p)): easy absences fade with p, whose gradient through the
    fading factor is stopped, as in the published code.
    """
    p, mask = probability.astype(jnp.float32), _known(occurrence, weight_B)
    weight = 1.0 if label_weight_A is None else label_weight_A
    present = _share(occurrence)
    loss = -weight * (
        present * jnp.log(jnp.maximum(p, TINY))
        + (1.0 - present) * jax.lax.stop_gradient(p) * jnp.log(jnp.maximum(1.0 - p, TINY))
    )
    return _masked_sum(loss, mask), mask.sum()


def bp_mll(scores: Array, occurrence: Array, *, weight_B: Array | None = None) -> Sum:
    """BP-MLL (Zhang & Zhou 2006): every present label should score above every absent one.

    Per example the mean over pairs (present k, absent l) of exp(s_l - s_k), which factorises into
    two sums, taken in log space. An example without a present or without an absent label has no
    pair and counts nothing; unknown labels are in neither set.
    """
    scores = scores.astype(jnp.float32)
    present, absent = occurrence == 1, occurrence == 0
    pairs = present.sum(-1) * absent.sum(-1)
    mask = (pairs > 0).astype(jnp.float32) * _examples(weight_B, pairs.ndim)
    safe = pairs[..., None] > 0  # logsumexp over an empty set is -inf, and its gradient NaN
    log_present = jax.nn.logsumexp(jnp.where(safe, -scores, 0.0), axis=-1, where=present | ~safe)
    log_absent = jax.nn.logsumexp(jnp.where(safe, scores, 0.0), axis=-1, where=absent | ~safe)
    loss = jnp.exp(log_present + log_absent - jnp.log(jnp.maximum(pairs, 1)))
    return _masked_sum(loss, mask), mask.sum()


def softmax_cross_entropy(
    logits: Array, label: Array, *, smoothing: float = 0.0, weight_B: Array | None = None
) -> Sum:
    """Cross entropy of one class out of E; label -1 is unknown.

    Args:
      logits: (B, ..., E).
      label: (B, ...) integers in [-1, E).
      smoothing: share of the target that is spread evenly over all E classes.
    """
    mask = (label >= 0).astype(jnp.float32) * _examples(weight_B, label.ndim)
    log_p = log_softmax(logits.astype(jnp.float32))
    true = jnp.take_along_axis(log_p, jnp.maximum(label, 0)[..., None], axis=-1)[..., 0]
    loss = -(1.0 - smoothing) * true - smoothing * log_p.mean(-1)
    return _masked_sum(loss, mask), mask.sum()


def mse(
    prediction: Array,
    target: Array,
    *,
    known: Array | None = None,
    weight_B: Array | None = None,
) -> Sum:
    """Squared error over the known targets.

    Args:
      prediction, target: (B, ..., A), intensities on the scale 0-5 or any other numbers.
      known: bool of that shape; None: targets that are not negative, as intensities are. What is
        unknown may be NaN.
    """
    mask, target = _targets(target, known, weight_B)
    loss = jnp.square(prediction.astype(jnp.float32) - target)
    return _masked_sum(loss, mask), mask.sum()


def ccc_loss(
    prediction: Array,
    target: Array,
    *,
    known: Array | None = None,
    weight_B: Array | None = None,
) -> Sum:
    """1 - concordance correlation (Lin 1989), summed over the AUs; weight = AUs that have one.

    Over all known entries of an AU in this batch: not a sum over examples, so with gradient
    accumulation it is that of the micro-batches. An AU with fewer than two known entries, or whose
    known labels never vary, has no concordance and counts nothing. Arguments as in `mse`.
    """
    axes = tuple(range(target.ndim - 1))
    mask, y = _targets(target, known, weight_B)
    x = jnp.where(mask > 0, prediction.astype(jnp.float32), 0.0)
    count = jnp.maximum(mask.sum(axes), 1.0)

    def mean(values: Array) -> Array:
        return (values * mask).sum(axes) / count

    mean_x, mean_y = mean(x), mean(y)
    variance_y = mean(jnp.square(y - mean_y))
    covariance = mean((x - mean_x) * (y - mean_y))
    spread = mean(jnp.square(x - mean_x)) + variance_y + jnp.square(mean_x - mean_y)
    usable = ((mask > 0).sum(axes) >= 2) & (variance_y > TINY)
    loss = 1.0 - 2.0 * covariance / jnp.where(usable, spread, 1.0)
    return jnp.where(usable, loss, 0.0).sum(), usable.sum().astype(jnp.float32)


def ordinal(
    logits: Array,
    intensity: Array,
    *,
    importance_K: Array | None = None,
    weight_B: Array | None = None,
) -> Sum:
    """Binary cross entropy of the questions "intensity >= 1", ..., ">= K", summed over them.

    CORAL (Cao, Mirjalili & Raschka 2020, eq. 4). The weight is the number of known labels, so that
    five thresholds count as one answer.

    Args:
      logits: (B, ..., A, K), K = 5 for FACS's letters A to E.
      intensity: (B, ..., A) in [0, 5], negative where unknown; a fraction has reached the letters
        below it.
      importance_K: what each threshold counts for; 1 by default.
    """
    logits, mask = logits.astype(jnp.float32), _known(intensity, weight_B)
    level_K = jnp.arange(1, logits.shape[-1] + 1, dtype=jnp.float32)
    reached = (intensity[..., None] >= level_K).astype(jnp.float32)
    loss = reached * softplus(-logits) + (1.0 - reached) * softplus(logits)
    loss = loss if importance_K is None else loss * importance_K
    return _masked_sum(loss, mask[..., None] * jnp.ones_like(level_K)), mask.sum()


def heatmap_mse(maps: Array, target: Array, *, weight_B: Array | None = None) -> Sum:
    """Squared error over all pixels of heatmaps (B, ..., H, W, P) (SCC, Fan et al. 2020 §2.2).

    A map with a negative target anywhere belongs to an AU nobody coded and counts nothing.
    """
    known = (target.min(axis=(-3, -2), keepdims=True) >= 0).astype(jnp.float32)
    mask = jnp.broadcast_to(known, target.shape) * _examples(weight_B, target.ndim)
    loss = jnp.square(maps.astype(jnp.float32) - target)
    return _masked_sum(loss, mask), mask.sum()


def edge_cross_entropy(logits: Array, occurrence: Array, *, weight_B: Array | None = None) -> Sum:
    """Cross entropy of AU pairs (ME-GraphAU stage 2): edge (i, j) has class 2 y_i + y_j.

    Args:
      logits: (B, ..., A * A, 4), edge index i * A + j.
      occurrence: (B, ..., A); a pair with an unknown end counts nothing.
    """
    first, second = occurrence[..., :, None], occurrence[..., None, :]
    label = jnp.where((first >= 0) & (second >= 0), 2 * first + second, -1)
    flat = label.reshape(*label.shape[:-2], -1).astype(jnp.int32)
    return softmax_cross_entropy(logits, flat, weight_B=weight_B)


def cooccurrence(
    probability: Array, correlation_AA: Array, *, weight_B: Array | None = None
) -> Sum:
    """Label co-occurrence regulariser: pairs of AUs should be answered as they go together.

    Per example, over the pairs i < j whose labels correlate with phi_ij in the training split,

        sum of max(phi_ij, 0) (p_i - p_j)^2 + max(-phi_ij, 0) p_i p_j   over   sum of |phi_ij|

    so that AUs that come together differ little, and those that exclude each other are not both
    present. These are a positive-correlation and a negative-competition term as in JPML (Zhao et
    al., CVPR 2015), here on probabilities and weighted by phi instead of listed by hand. It asks
    for no label, so frames that nobody coded count as well.

    Args:
      probability: (B, ..., A).
      correlation_AA: symmetric, in [-1, 1]; 0 where it is not known (`weights.correlation`).
    """
    p = probability.astype(jnp.float32)
    pairs = jnp.triu(correlation_AA, 1)
    together, apart = jnp.maximum(pairs, 0.0), jnp.maximum(-pairs, 0.0)
    differ = jnp.square(p[..., :, None] - p[..., None, :])
    both = p[..., :, None] * p[..., None, :]
    total = (together * differ + apart * both).sum((-2, -1))
    loss = total / jnp.maximum(jnp.abs(pairs).sum(), TINY)
    mask = jnp.ones(loss.shape, jnp.float32) * _examples(weight_B, loss.ndim)
    return _masked_sum(loss, mask), mask.sum()


def probability_to_logit(probability: Array) -> Array:
    """The logit of a network that answers in probabilities, so that any loss takes it."""
    p = jnp.clip(probability.astype(jnp.float32), 1e-6, 1.0 - 1e-6)
    return jnp.log(p) - jnp.log1p(-p)


def logit_to_probability(logits: Array) -> Array:
    return sigmoid(logits.astype(jnp.float32))


def _share(occurrence: Array) -> Array:
    """How much of an AU is there, 0 to 1."""
    return jnp.maximum(occurrence, 0).astype(jnp.float32)


def _known(label: Array, weight_B: Array | None) -> Array:
    return (label >= 0).astype(jnp.float32) * _examples(weight_B, label.ndim)


def _targets(target: Array, known: Array | None, weight_B: Array | None) -> tuple[Array, Array]:
    """(mask, target), the target 0 where it does not count: NaN has a NaN gradient even there."""
    known = target >= 0 if known is None else known
    mask = known.astype(jnp.float32) * _examples(weight_B, target.ndim)
    return mask, jnp.where(mask > 0, target.astype(jnp.float32), 0.0)


def _examples(weight_B: Array | None, ndim: int) -> Array | float:
    return 1.0 if weight_B is None else weight_B.reshape(weight_B.shape + (1,) * (ndim - 1))


def _masked_sum(loss: Array, mask: Array) -> Array:
    # where, not only a product: 0 times an infinite loss of an unknown label would be NaN.
    return jnp.where(mask > 0, loss * mask, 0.0).sum()
