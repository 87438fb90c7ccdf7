"""Exported networks answer as the trained ones do, for any batch, and carry their origin."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tiny_trained import tiny_trained

import jaxfacs
from jaxfacs import models
from jaxfacs.cli import main
from jaxfacs.convert.command import export_trained, network_form, over_mirror_images
from jaxfacs.convert.export import flat, nested, write_bundle
from jaxfacs.data.config import DataConfig
from jaxfacs.emotion import RuleMapper
from jaxfacs.errors import UserError
from jaxfacs.infer.bundle import InputSpec, read
from jaxfacs.train.config import Experiment, ModelConfig
from jaxfacs.train.state import create_module
from jaxfacs.train.trained import Trained

AUS, EMOTIONS = ("1", "4", "6", "12"), ("neutral", "happy", "angry")


def trained(**options) -> Trained:
    """A network as if it had been trained: random weights, random statistics."""
    model = ModelConfig(name="mobilenet3d_v1", width=0.25, **options)
    data = DataConfig(source="/somewhere/private/records", frames=4, size=32)
    experiment = Experiment(data=data, model=model)

    def init():
        module = create_module(model, aus=AUS, num_emotions=len(EMOTIONS), dtype="float32", seed=0)
        return models.split(module)[1:]

    params, stats = jax.jit(init)()
    rng = np.random.default_rng(0)
    # Statistics that fit random weights badly let the signal fade to nothing or saturate: small
    # variances and a narrow last layer keep the input visible in the answer.
    stats = jax.tree.map(lambda s: s * 0.02 + np.float32(0.02 * rng.random(s.shape)), stats)
    params = jax.tree.map(lambda p: p + np.float32(0.05 * rng.standard_normal(p.shape)), params)
    params["head"] = jax.tree.map(lambda p: p * np.float32(1e-6), params["head"])
    return Trained(
        experiment=experiment,
        aus=AUS,
        emotions=EMOTIONS,
        params=params,
        stats=stats,
        step=7,
        metrics={"mean_average_precision": 0.5},
        thresholds={"1": 0.25, "4": 0.5, "6": 0.123456, "12": 0.75},
        manifest={
            "data": {"name": "s", "digest": "d", "crop": {"detector": "haar", "margin": 0.1}},
            "sha256": "c",
        },
    )


@pytest.fixture(scope="module", params=["clip", "frame"])
def exported(request, tmp_path_factory):
    net = trained(per_frame=request.param == "frame", intensity=True, emotion=True)
    path = tmp_path_factory.mktemp("export") / "net.jaxfacs"
    return net, export_trained(net, path, emotion_mapper=RuleMapper().to_json())


def test_the_bundle_answers_as_the_module(exported):
    net, path = exported
    predictor = jaxfacs.load(path, batch=3)
    frames = np.random.default_rng(1).integers(0, 256, (5, 4, 32, 32, 3), np.uint8)
    card, graphdef = models.card("mobilenet3d_v1"), network_form(net)
    x = (frames.astype(np.float32) - np.float32(card.mean)) / np.float32(card.std)
    wanted, _ = jax.jit(partial(models.apply, graphdef, train=False))(net.params, net.stats, x)
    answered = predictor.run(frames)
    assert set(answered) == {"probability", "intensity", "emotion"}
    tolerance = {"rtol": 0, "atol": 1e-4}
    expected = jax.nn.sigmoid(wanted["occurrence"])
    np.testing.assert_allclose(answered["probability"], expected, **tolerance)
    np.testing.assert_allclose(answered["intensity"], wanted["intensity"], **tolerance)
    np.testing.assert_allclose(answered["emotion"], jax.nn.softmax(wanted["emotion"]), **tolerance)
    assert np.std(answered["probability"], axis=0).max() > 1e-3  # the input matters
    assert predictor.emotions == EMOTIONS


def test_the_bundle_says_where_it_comes_from(exported):
    net, path = exported
    bundle = read(path)
    about = bundle.manifest["about"]
    assert about["step"] == 7 and about["data"] == {"name": "s", "digest": "d"}
    assert about["experiment"]["model"]["width"] == 0.25 and about["licence"]
    assert about["parameters"] == sum(p.size for p in jax.tree.leaves(net.params))
    assert bundle.thresholds_A.tolist() == [0.25, 0.5, 0.1235, 0.75]
    assert bundle.crop == {"detector": "haar", "margin": 0.1}
    per_frame = net.experiment.model.per_frame
    assert bundle.input.answers == ((0, 1, 2, 3) if per_frame else (2,))
    text = json.dumps(bundle.manifest)
    assert "/somewhere" not in text and "records" in text
    assert b".py" not in bundle.function and b"/jaxfacs/" not in bundle.function


def test_flat_and_nested_are_inverse():
    _, params, _ = models.split(nnx.Linear(2, 3, rngs=nnx.Rngs(0)))
    tree = {"params": {"a": params, "b": {"c": params}}}
    again = nested(flat(**tree))
    assert jax.tree.structure(again) == jax.tree.structure(tree)
    assert all(
        np.array_equal(x, y) for x, y in zip(*map(jax.tree.leaves, (again, tree)), strict=True)
    )


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nan", "is not finite"),
        ("shape", r"shape \(2, 1\), expected \(2, 2\)"),
        ("name", "answers gaze"),
        ("none", "no AU probability"),
        ("batch", "cannot be exported for any batch size"),
    ],
)
def test_what_cannot_be_right_is_not_written(tmp_path, kind, message):
    with pytest.raises(UserError, match=message):
        write_bundle(
            tmp_path / "bad.jaxfacs",
            function=lambda weights, frames: _wrong(kind, weights, frames),
            weights={"w": np.ones(2, np.float32)},
            input=InputSpec(frames=2, size=4),
            aus=("1", "2"),
        )
    assert not list(tmp_path.iterdir())


def _wrong(kind, weights, frames):
    mean_B = frames.astype(jnp.float32).mean((1, 2, 3, 4))
    answer = mean_B[:, None] * weights["w"] / 1000
    if kind == "nan":
        return {"probability": answer * jnp.nan}
    if kind == "shape":
        return {"probability": answer[:, :1]}
    if kind == "name":
        return {"probability": answer, "gaze": answer}
    if kind == "none":
        return {"intensity": answer}
    return {"probability": jnp.zeros((int(frames.shape[0]), 2))}


def test_a_program_that_answers_otherwise_is_not_written(tmp_path):
    """A function that changes between two traces, as one with hidden state would."""
    calls = []

    def function(weights, frames):
        calls.append(1)
        mean_B = frames.astype(jnp.float32).mean((1, 2, 3, 4)) / 255
        return {"probability": mean_B[:, None] * weights["w"] * len(calls)}

    with pytest.raises(UserError, match="differs from the network's"):
        write_bundle(
            tmp_path / "bad.jaxfacs",
            function=function,
            weights={"w": np.full(2, 0.1, np.float32)},
            input=InputSpec(frames=2, size=4),
            aus=("1", "2"),
        )
    assert not list(tmp_path.iterdir())


def test_command_refuses_in_one_line(tmp_path, capfd):
    (tmp_path / "run").mkdir()
    out = ("--out", str(tmp_path / "m.jaxfacs"))
    cases = [
        (("--workdir", str(tmp_path / "run"), *out), "holds no checkpoint"),
        (("--workdir", str(tmp_path / "run"), *out, "--step", "soon"), "--step is 'soon'"),
        (("--workdir", str(tmp_path / "run"), "--out", str(tmp_path)), "is a folder"),
        (("--workdir", "x", *out, "--emotions", "moods"), "no rule table 'moods'"),
        (("--workdir", "x", *out, "--emotions", "gone.json"), "gone.json"),
    ]
    for words, message in cases:
        assert main(["export", *words]) == 2
        err = capfd.readouterr().err.strip()
        assert message in err and "\n" not in err
    assert not (tmp_path / "m.jaxfacs").exists()


def test_rules_and_even_thresholds_stand_in_for_what_is_not_there(tmp_path):
    net, mapper = tiny_trained(), RuleMapper()
    path = export_trained(net, tmp_path / "net.jaxfacs", emotion_mapper=mapper.to_json())
    predictor = jaxfacs.load(path)
    assert predictor.emotions == mapper.emotions
    assert predictor.bundle.thresholds_A.tolist() == [0.5] * 3
    assert predictor.bundle.manifest["about"]["thresholds"] == "0.5, not tuned"


def test_mirror_images_answer_with_sides_changed_back():
    """A face that is its own mirror image has as much on its left as on its right."""
    frames = np.random.default_rng(0).integers(0, 256, (2, 1, 4, 4, 3), np.uint8)

    def left_half(weights, x_BTHWC):  # "L12" is bright on the picture's left
        x = jnp.asarray(x_BTHWC, jnp.float32) / 255
        half = x[..., :2, :].mean((1, 2, 3, 4))
        columns = jnp.stack([half, x.mean((1, 2, 3, 4)), 0 * half], axis=1)
        return {"probability": columns, "intensity": 5 * columns, "confidence": half[:, None]}

    mean = over_mirror_images(left_half, ("L12", "25", "R12"))
    seen = jax.jit(mean)({}, frames)
    right = frames[..., 2:, :].mean((1, 2, 3, 4)) / 255
    left = frames[..., :2, :].mean((1, 2, 3, 4)) / 255
    expected = np.stack([left / 2, (left + right) / 2, right / 2], axis=1)
    np.testing.assert_allclose(seen["probability"], expected, rtol=1e-5)
    np.testing.assert_allclose(seen["intensity"], 5 * expected, rtol=1e-5)
    np.testing.assert_allclose(seen["confidence"][:, 0], (left + right) / 2, rtol=1e-5)
    with pytest.raises(UserError, match="AU R12, which this network does not answer"):
        over_mirror_images(left_half, ("L12", "25"))
