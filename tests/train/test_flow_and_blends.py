"""Training on what rows carry beside pictures: stored flow, and the shares of blended clips."""

import dataclasses
import itertools
from typing import ClassVar

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxfacs.data import flow, records
from jaxfacs.data.config import NO_AUGMENT, DataConfig
from jaxfacs.data.pipeline import train_batches
from jaxfacs.errors import UserError
from jaxfacs.models.network import backbone
from jaxfacs.models.registry import Card
from jaxfacs.train import losses, setup, stored_flow
from jaxfacs.train import mesh as meshes
from jaxfacs.train import state as states
from jaxfacs.train.config import Experiment, LossConfig, ModelConfig, OptimConfig
from jaxfacs.train.step import jit_predict_step, jit_train_step

SIZE, LONG, AUS = 32, 8, ("1", "12")
CARD = Card(frames=1, size=SIZE, mean=(0,) * 3, std=(1,) * 3, paper="", source="", licence="")


class Means(nnx.Module):
    """A layer on the means of a picture's quarters."""

    images = True
    min_size = 4
    taps: ClassVar = {"map": 6, "features": 6}

    def __init__(self, channels, rngs):
        self.channels = channels
        self.stem = nnx.Linear(channels, 6, rngs=rngs)

    def __call__(self, x_NHWC, *, train, dropout_key):
        n, h, w, c = x_NHWC.shape
        map_NHWC = jnp.tanh(self.stem(x_NHWC.reshape(n, 2, h // 2, 2, w // 2, c).mean((2, 4))))
        return {"map": map_NHWC, "features": map_NHWC.mean((1, 2))}


@backbone("means_of_quarters", CARD)
def means_of_quarters(*, dtype, frozen_bn, rngs, channels=3):
    del dtype, frozen_bn
    return Means(channels, rngs)


@pytest.fixture(scope="module")
def flow_set(tmp_path_factory):
    """AU 1 is there where the picture rises; one frame says nothing of that."""
    rng = np.random.default_rng(0)

    def clip(number):
        wide = cv2.GaussianBlur(rng.uniform(0, 255, (80, 80, 3)).astype(np.float32), (0, 0), 2.0)
        wide = np.clip((wide - 127.5) * 5 + 127.5, 0, 255)
        up = number % 2
        at = np.array([[[1, 0, -20], [0, 1, (1 - 2 * up) * 1.5 * t - 24]] for t in range(LONG)])
        frames = [cv2.warpAffine(wide, a.astype(float), (SIZE, SIZE)).astype(np.uint8) for a in at]
        pngs, scale_F = flow.of_clip(list(flow.fields(frames)), 0, LONG)
        return records.clip_from_arrays(
            np.stack(frames),
            clip_id=str(number),
            subject=str(number),
            occurrence_TA=np.tile(np.array([[up, -1]], np.int8), (LONG, 1)),
            flow=pngs,
            flow_scale_F=scale_F,
        )

    made = {"train": [clip(i) for i in range(8)], "validation": [clip(i) for i in range(8, 12)]}
    return records.write_set(tmp_path_factory.mktemp("s") / "set", made, aus=AUS, flow=True)


@pytest.fixture(scope="module")
def base(flow_set):
    return Experiment(
        data=DataConfig(
            source=str(flow_set), frames=1, size=SIZE, batch_size=8, threads=1, flow="y",
            flow_limit=4.0, augment=NO_AUGMENT,
        ),
        model=ModelConfig(
            name="two_stream", backbone="means_of_quarters", options={"flow_limit": 4.0}
        ),
        optim=OptimConfig(name="adamw", learning_rate=0.05, schedule="constant"),
        steps=30,
    )  # fmt: skip


def trained(experiment, steps):
    plan, init = states.plan(
        experiment, mesh=meshes.create(), aus=AUS, num_emotions=0, steps_per_epoch=1
    )
    state, step = init(), jit_train_step(plan, experiment)
    stream = train_batches(experiment.data)
    try:
        rows = []
        for batch in itertools.islice(stream, steps):
            state, metrics = step(state, batch)
            rows.append(float(metrics["loss"]))
        predicted = jit_predict_step(plan, experiment)(state["params"], state["stats"], batch)
    finally:
        stream.close()
    return rows, jax.device_get(predicted), batch


def test_two_stream_learns_from_stored_flow_what_a_frame_cannot_say(base):
    """One frame a clip: without its channels there is no motion to learn from."""
    rows, predicted, batch = trained(base, 40)
    assert rows[-1] < 0.5 * rows[0]
    truth = batch["occurrence_BTA"][:, 0, 0] == 1
    np.testing.assert_array_equal(predicted["probability"][:, 0] > 0.5, truth)


def test_other_numbers_of_channels_are_refused_by_the_network(base):
    data = dataclasses.replace(base.data, flow="xy")
    with pytest.raises(UserError, match="13 channels"):
        trained(dataclasses.replace(base, data=data), 1)


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        ({"flow": "x"}, {"flow_limit": 4.0}, "components x, and the network's option is y"),
        ({}, {}, "flow_limit 4.0, and the network's option is 20.0"),
        ({}, {"flow_limit": 4.0, "preceding": 3}, "preceding 5, and the network's option is 3"),
        ({}, {"flow_limit": 4.0, "borders": "repeat"}, "borders zero"),
    ],
)
def test_flow_that_the_network_would_not_find_itself_is_refused(base, data, options, words):
    changed = dataclasses.replace(
        base,
        data=dataclasses.replace(base.data, **data),
        model=dataclasses.replace(base.model, options=options),
    )
    with pytest.raises(UserError, match=words):
        stored_flow.check(changed)
    stored_flow.check(base)
    stored_flow.check(dataclasses.replace(changed, data=dataclasses.replace(base.data, flow="")))


def test_a_run_with_flow_for_a_network_that_takes_none_does_not_start(base, tmp_path):
    model = ModelConfig(name="means_of_quarters", head="linear")
    with pytest.raises(UserError, match="means_of_quarters takes no optical flow"):
        setup.start(dataclasses.replace(base, model=model), tmp_path / "run", accept_changes=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("weighted", [False, True])
def test_shares_are_expectations_of_whole_labels(weighted):
    """bce and the weighted asymmetric loss are linear in the label."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (5, 3)).astype(np.float32)
    share = rng.uniform(0, 1, (5, 3)).astype(np.float32)
    share[0, 0] = -1
    known = share >= 0
    weight_A = jnp.asarray([1.0, 3.0, 0.5]) if weighted else None
    probability = 1 / (1 + np.exp(-logits))
    for loss in (
        lambda y: losses.bce(logits, y, positive_weight_A=weight_A),
        lambda y: losses.weighted_asymmetric(probability, y, label_weight_A=weight_A),
    ):
        total, count = loss(share)
        assert count == known.sum()
        each = 0.0
        for place in np.argwhere(known):
            one = np.full(share.shape, -1, np.int8)
            for y, weight in ((1, share[tuple(place)]), (0, 1 - share[tuple(place)])):
                one[tuple(place)] = y
                each += weight * float(loss(one)[0])
        assert float(total) == pytest.approx(each, rel=1e-5)


def test_blended_clips_train_and_unknown_labels_have_no_gradient(base):
    data = dataclasses.replace(
        base.data, augment=dataclasses.replace(NO_AUGMENT, mixup=1.0), flow=""
    )
    experiment = dataclasses.replace(
        base,
        data=data,
        model=ModelConfig(name="means_of_quarters", head="linear"),
        optim=OptimConfig(name="sgd", learning_rate=0.5, schedule="constant"),
    )
    plan, init = states.plan(
        experiment, mesh=meshes.create(), aus=AUS, num_emotions=0, steps_per_epoch=1
    )
    state = init()
    before = jax.device_get(state["params"]["head"])
    stream = train_batches(data)
    batch = next(stream)
    stream.close()
    assert ((batch["occurrence_BTA"] > 0) & (batch["occurrence_BTA"] < 1)).any()
    state, metrics = jit_train_step(plan, experiment)(state, batch)
    assert np.isfinite(metrics["loss"]) and int(metrics["skipped"]) == 0
    moved = jax.tree.map(lambda a, b: np.abs(a - b), before, state["params"]["head"])
    for change in jax.tree.leaves(moved):  # the last axis is the AUs; AU 12 was coded in no clip
        assert (change[..., 1] == 0).all() and (change[..., 0] > 0).any()


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ({"occurrence": "focal"}, "--loss.occurrence bce, or mixup 0"),
        ({"occurrence": "bp_mll"}, "--loss.occurrence bce"),
        ({"clip_label": "any"}, "--loss.clip-label centre"),
    ],
)
def test_losses_of_whole_labels_refuse_blended_clips(base, loss, words):
    data = dataclasses.replace(base.data, augment=dataclasses.replace(NO_AUGMENT, mixup=0.5))
    experiment = dataclasses.replace(base, data=data, loss=LossConfig(**loss))
    with pytest.raises(UserError, match=words):
        trained(experiment, 1)
