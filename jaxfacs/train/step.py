"""One step of training and one of evaluation: pure functions, and how they are compiled."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import PartitionSpec

from jaxfacs import models, ops
from jaxfacs.errors import UserError
from jaxfacs.train import groups, optim, spikes, terms
from jaxfacs.train import mesh as meshes
from jaxfacs.train.config import Experiment
from jaxfacs.train.labels import Batch, answered_frames, labels_for
from jaxfacs.train.state import Plan, State
from jaxfacs.train.terms import Facts

Metrics = dict[str, Array]

INPUTS = ("frames_BTHWC", "flow_BTHWF")  # what of a batch the network sees; the rest are labels
EMA_WARMUP = 10.0  # decay (1 + n) / (10 + n) until it reaches its value, so a young average follows


def jit_train_step(
    plan: Plan,
    experiment: Experiment,
    *,
    label_weight_A: Array | None = None,
    correlation_AA: Array | None = None,
) -> Callable[[State, Batch], tuple[State, Metrics]]:
    """The compiled training step; the state passed in is donated and must not be used again.

    For `label_weight_A` and `correlation_AA` see `terms.Facts`.
    """
    facts = Facts(plan.aus, experiment.data.size, label_weight_A, correlation_AA)
    return jax.jit(
        partial(train_step, plan, experiment, facts),
        donate_argnums=0,
        out_shardings=(plan.shardings, meshes.replicated(plan.mesh)),
    )


def jit_predict_step(
    plan: Plan,
    experiment: Experiment,
    *,
    label_weight_A: Array | None = None,
    correlation_AA: Array | None = None,
) -> Callable[[dict, dict, Batch], dict[str, Array]]:
    """The compiled evaluation step; every process gets the rows of all."""
    facts = Facts(plan.aus, experiment.data.size, label_weight_A, correlation_AA)
    return jax.jit(
        partial(predict_step, plan, experiment, facts),
        out_shardings=meshes.replicated(plan.mesh),
    )


def train_step(
    plan: Plan, experiment: Experiment, facts: Facts, state: State, batch: Batch
) -> tuple[State, Metrics]:
    """Takes one optimiser step on `batch`, or none if it is a spike or not finite anywhere.

    The batch may be cut into micro-batches whose sums are added before the one division, so that
    the gradient is that of the whole batch. BatchNorm sees each micro-batch by itself, and its
    running statistics move once for each.

    Metrics are scalars, among them those of `groups.numbers`, and the (A,) arrays of
    `terms.counts` over the batch, which is the whole one though its step be skipped.
    """
    key = jax.random.fold_in(jax.random.key(experiment.seed), state["step"])
    whole_batch = partial(_gradients, plan, experiment, facts)
    if experiment.mesh.statistics != "global":
        rows, axes = meshes.batch_sharding(plan.mesh).spec, plan.mesh.axis_names
        whole_batch = jax.shard_map(
            partial(whole_batch, axes=axes),
            mesh=plan.mesh,
            in_specs=(PartitionSpec(), PartitionSpec(), PartitionSpec(), rows),
            out_specs=PartitionSpec(),
            # Checked, the gradient would be reduced where it arises: in every micro-batch.
            check_vma=False,
        )
    grads, stats, means, counts = whole_batch(state["params"], state["stats"], key, batch)
    if experiment.optim.sam_rho:  # statistics and losses stay those of the first pass
        uphill = optim.uphill(state["params"], grads, rho=experiment.optim.sam_rho)
        grads, *_ = whole_batch(uphill, state["stats"], key, batch)
    total = terms.scaled(experiment.loss, means)
    grad_norm = optax.tree.norm(grads)

    updates, opt_state = plan.tx.update(grads, state["opt_state"], state["params"])
    stats = jax.tree.map(
        lambda frozen, old, new: old if frozen else new, plan.frozen_stats, state["stats"], stats
    )
    new = {
        "params": optax.apply_updates(state["params"], updates),
        "stats": stats,
        "opt_state": opt_state,
    }
    applied = state["step"] - state["skipped"]
    new["ema"] = _moved_average(experiment.ema, applied, state["ema"], new)
    # Squares overflow before values do, so a finite norm means finite second moments as well.
    norms = (total, grad_norm, optax.tree.norm(updates), optax.tree.norm(stats))
    good = jnp.isfinite(jnp.stack(norms)).all()
    leap = jnp.zeros((), bool)
    if "spikes" in state:
        measured = {"loss": total, "grad_norm": grad_norm}
        leap = good & spikes.found(
            state["spikes"], measured, deviations=experiment.spike_deviations
        )
        good &= ~leap
        new["spikes"] = spikes.after(state["spikes"], measured)
    kept = {k: jax.tree.map(partial(jnp.where, good), new[k], state[k]) for k in new}
    bad = 1 - good.astype(jnp.int32)
    counters = {
        "step": state["step"] + 1,
        "skipped": state["skipped"] + bad,
        "skipped_in_row": (state["skipped_in_row"] + 1) * bad,
    }
    if "spikes" in kept:
        kept["spikes"]["in_row"] += leap
    metrics = {
        "loss": total,
        **{f"loss_{name}": mean for name, mean in means.items() if len(means) > 1},
        "grad_norm": grad_norm,
        "learning_rate": plan.schedule(applied),
        "skipped": counters["skipped"],
        "skipped_in_row": counters["skipped_in_row"],
        **({"spikes_in_row": kept["spikes"]["in_row"]} if "spikes" in kept else {}),
        **groups.numbers(
            groups.of(state["params"], plan.frozen_params),
            grads=grads,
            updates=updates,
            # Those after the step: what is overwritten would have to be copied to be read again.
            params=kept["params"],
        ),
        **counts,
    }
    return {**kept, **counters}, metrics


def predict_step(
    plan: Plan,
    experiment: Experiment,
    facts: Facts,
    params: dict,
    stats: dict,
    batch: Batch,
) -> dict[str, Array]:
    """What the network says of a batch beside what is true of it.

    Returns rows, one per clip or per (clip, frame), of what the network answers: `probability` and
    `occurrence` (N, A), `predicted_intensity` and `intensity` (N, A), `predicted_valence_arousal`
    and `valence_arousal` (N, 2), `weight` (N,) 0 for padding and `set` (N,); one per clip:
    `predicted_emotion` (B, E) probabilities and `emotion`, `emotion_weight`, `emotion_set`, `index`
    (B,); and `sum_*`, `weight_*`: the terms of the loss.
    """
    outputs, _ = forward(plan, params, stats, batch)
    labels = labels_for(experiment.loss, outputs, batch)
    rows: dict[str, Array] = {"index": batch["index_B"]}
    pairs: dict[str, tuple[str, Array]] = {}  # label -> (row of the answer, answer)
    if "occurrence" in outputs or "probability" in outputs:
        pairs["occurrence"] = "probability", terms.probability(outputs)
    for name in ("intensity", "valence_arousal"):
        if name in outputs:
            pairs[name] = f"predicted_{name}", outputs[name]
    for name, (row, answer) in pairs.items():
        rows[row] = answer.reshape(-1, answer.shape[-1])
        rows[name] = labels[name].reshape(-1, answer.shape[-1])
        for label, key in (("weight", "weight_B"), ("set", "set_B")):
            rows[label] = jnp.repeat(batch[key], answered_frames(outputs) or 1)
    if "emotion" in outputs:
        rows["predicted_emotion"] = jax.nn.softmax(outputs["emotion"].astype(jnp.float32))
        rows["emotion"] = batch["emotion_B"]
        rows["emotion_weight"], rows["emotion_set"] = batch["weight_B"], batch["set_B"]
    for name, (total, weight) in terms.loss_terms(experiment.loss, outputs, batch, facts).items():
        rows[f"sum_{name}"], rows[f"weight_{name}"] = total, weight
    return rows


def forward(
    plan: Plan,
    params: dict,
    stats: dict,
    batch: Batch,
    *,
    dropout_key: Array | None = None,
) -> tuple[dict[str, Array], dict]:
    """Normalises uint8 frames on the device and runs the network; trains it if a key is given.

    Stored flow, where the batch has some, follows the colours of each frame as it is.
    """
    x_BTHWC = (batch["frames_BTHWC"].astype(jnp.float32) - jnp.asarray(plan.mean_3)) / jnp.asarray(
        plan.std_3
    )
    if "flow_BTHWF" in batch:
        flow_BTHWF = batch["flow_BTHWF"].astype(jnp.float32)
        x_BTHWC = jnp.concatenate([x_BTHWC, flow_BTHWF], axis=-1)
    return models.apply(
        plan.graphdef,
        params,
        stats,
        x_BTHWC,
        train=dropout_key is not None,
        dropout_key=dropout_key,
    )


def _gradients(
    plan: Plan,
    experiment: Experiment,
    facts: Facts,
    params: dict,
    stats: dict,
    key: Array,
    batch: Batch,
    *,
    axes: tuple[str, ...] = (),
) -> tuple[dict, dict, Metrics, Metrics]:
    """Gradient of the whole batch, statistics after it, means of the loss terms, and counts.

    With `axes` each device of those of the mesh has its own rows, and adds up with the others at
    the end alone; its dropout is its own.
    """
    shared = axes if experiment.mesh.statistics == "synchronised" else ()
    key = jax.random.fold_in(key, jax.lax.axis_index(axes)) if axes else key
    parts = jax.tree.map(partial(_interleave, experiment.accumulate), batch)
    first = jax.tree.map(lambda x: x[0], parts)
    forms, _ = jax.eval_shape(partial(forward, plan), params, stats, first)
    weights = _term_weights(experiment, facts, forms, parts, axes)
    count = partial(terms.counts, experiment.loss)

    def loss(params: dict, stats: dict, part: Batch, key: Array) -> tuple[Array, Any]:
        params = optim.held(params, plan.frozen_params)
        outputs, stats = forward(plan, params, stats, part, dropout_key=key)
        sums = terms.loss_terms(experiment.loss, outputs, part, facts)
        means = {name: total / weights[name] for name, (total, _) in sums.items()}
        return terms.scaled(experiment.loss, means), (stats, means, count(outputs, part))

    def add_part(carry: Any, numbered: tuple[Array, Batch]) -> tuple[Any, None]:
        grads, stats, *sums = carry
        index, part = numbered
        with ops.shared_batch(shared):
            (_, (stats, *part_sums)), part_grads = jax.value_and_grad(loss, has_aux=True)(
                params, stats, part, jax.random.fold_in(key, index)
            )
        return (_add(grads, part_grads), stats, *_add(sums, part_sums)), None

    zeros = (_zeros(params), stats, _zeros(weights), _zeros(jax.eval_shape(count, forms, first)))
    numbered = (jnp.arange(experiment.accumulate), parts)
    if experiment.accumulate == 1:  # a loop of one hides the step from XLA's optimisations
        found = add_part(zeros, jax.tree.map(lambda x: x[0], numbered))[0]
    else:
        found = jax.lax.scan(add_part, zeros, numbered)[0]
    if not axes:
        return found
    grads, stats, means, counts = found
    grads, means, counts = jax.lax.psum((grads, means, counts), axes)
    return grads, jax.lax.pmean(stats, axes), means, counts


def _term_weights(
    experiment: Experiment,
    facts: Facts,
    forms: dict[str, Any],
    parts: Batch,
    axes: tuple[str, ...],
) -> Metrics:
    """The weight of every loss term over all micro-batches, before any of them is run.

    A weight depends on labels alone, so outputs of zeros, in their `forms`, give it; XLA drops the
    rest.
    """

    def weights(part: Batch) -> Metrics:
        sums = terms.loss_terms(experiment.loss, _zeros(forms), part, facts)
        return {name: weight for name, (_, weight) in sums.items()}

    labels = {k: v for k, v in parts.items() if k not in INPUTS}
    totals = jax.tree.map(jnp.sum, jax.vmap(weights)(labels))
    totals = jax.lax.psum(totals, axes) if axes else totals
    # Nothing known: 0 over 1. Not the larger of the two: weights of examples may be below 1.
    found = jax.tree.map(lambda total: jnp.where(total > 0, total, 1.0), totals)
    if not found:
        raise UserError(
            f"nothing is trained: {experiment.model.name} answers {', '.join(sorted(forms))}, and "
            "every loss scale of these is 0"
        )
    return found


def _interleave(k: int, x: Array) -> Array:
    """(B, ...) -> (k, B/k, ...), micro-batch j holding rows j, j + k, ...

    Not rows j B/k onwards: those lie on one part of the devices and would have to move.
    """
    return x.reshape(x.shape[0] // k, k, *x.shape[1:]).swapaxes(0, 1)


def _moved_average(decay: float, applied: Array, ema: dict, new: State) -> dict:
    if not ema:
        return {}
    d = jnp.minimum(decay, (1.0 + applied) / (EMA_WARMUP + applied))
    return jax.tree.map(lambda e, x: d * e + (1.0 - d) * x, ema, {k: new[k] for k in ema})


def _zeros(tree: Any) -> Any:
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), tree)


def _add(left: Any, right: Any) -> Any:
    return jax.tree.map(jnp.add, left, right)
