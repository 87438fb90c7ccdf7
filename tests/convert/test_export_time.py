"""Clips of any length where the network allows; the model card."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from tiny_trained import tiny_trained

from jaxfacs.convert import model_card
from jaxfacs.convert.command import export_trained
from jaxfacs.convert.export import write_bundle
from jaxfacs.infer import compiled
from jaxfacs.infer.bundle import ANY, InputSpec, read
from jaxfacs.ops import depthwise_conv3d


def per_clip(weights, frames_BTHWC):
    x = frames_BTHWC.astype(jnp.float32) / 255
    x = depthwise_conv3d(x, weights["kernel"], (2, 1, 1)).mean((1, 2, 3))
    return {"probability": jax.nn.sigmoid(x)}


def per_frame(weights, frames_BTHWC):
    x = frames_BTHWC.astype(jnp.float32) / 255
    return {"probability": jax.nn.sigmoid(depthwise_conv3d(x, weights["kernel"]).mean((2, 3)))}


def of_four(weights, frames_BTHWC):
    """Weighs each of four frames, as a flow stack does."""
    assert frames_BTHWC.shape[1] == 4, "four frames are wanted"
    return per_clip(weights, frames_BTHWC * jnp.arange(1, 5, dtype=jnp.uint8)[:, None, None, None])


WEIGHTS = {"kernel": np.random.default_rng(0).normal(0, 1, (3, 3, 3, 3)).astype(np.float32)}


def written(path, function, **options):
    answers = (0, 1, 2, 3) if function is per_frame else (2,)
    spec = InputSpec(frames=4, size=8, answers=answers)
    aus = ("1", "2", "4")
    return read(
        write_bundle(path, function=function, weights=WEIGHTS, input=spec, aus=aus, **options)
    )


@pytest.mark.parametrize("function", [per_clip, per_frame])
@pytest.mark.parametrize("frames", [1, 3, 4, 9])
def test_clips_of_any_length_are_answered_as_the_function_does(tmp_path, function, frames):
    made = written(tmp_path / "m.jaxfacs", function)
    assert made.time == ANY
    clips = np.random.default_rng(1).integers(0, 256, (2, frames, 8, 8, 3), np.uint8)
    answered = compiled.network(made)(clips)["probability"]
    expected = function(WEIGHTS, clips)["probability"]
    assert answered.shape == expected.shape
    np.testing.assert_allclose(answered, expected, rtol=0, atol=1e-6)


def test_a_network_of_one_length_is_exported_for_that_and_says_so(tmp_path, capfd):
    made = written(tmp_path / "m.jaxfacs", of_four)
    assert made.time == 4
    line = capfd.readouterr().err.strip()
    assert "clips of 4 frames alone, not of any length: four frames are wanted" in line
    assert "\n" not in line
    clips = np.random.default_rng(1).integers(0, 256, (3, 4, 8, 8, 3), np.uint8)
    np.testing.assert_allclose(
        compiled.network(made)(clips)["probability"],
        of_four(WEIGHTS, clips)["probability"],
        rtol=0,
        atol=1e-6,
    )


def test_three_kinds_of_device_in_one_file(tmp_path):
    made = written(tmp_path / "m.jaxfacs", per_clip)
    assert export.deserialize(bytearray(made.function)).platforms == ("cpu", "cuda", "tpu")
    assert compiled.described(made) == (["cpu", "cuda", "tpu"], {"probability": "(b, 3)"})


def test_a_network_of_pictures_stays_one(tmp_path):
    net = tiny_trained()
    data = dataclasses.replace(net.experiment.data, frames=1)
    net = dataclasses.replace(net, experiment=dataclasses.replace(net.experiment, data=data))
    made = read(export_trained(net, tmp_path / "m.jaxfacs", emotion_mapper=None))
    assert made.time == 1 and made.input.answers == (0,)


def test_calibration_and_card_travel(tmp_path):
    curve = {"probability": [0.0, 0.4, 1.0], "calibrated": [0.0, 0.7, 1.0]}
    net = tiny_trained(calibration={"12": curve, "1": None}, thresholds={"12": 0.6})
    reports = {"test": {"mean": {"f1": 0.5}}}
    path = export_trained(net, tmp_path / "m.jaxfacs", emotion_mapper=None, reports=reports)
    made = read(path)
    assert made.calibration == {"12": curve}
    assert made.card["data"] == [{"name": "s", "digest": "d"}]
    assert made.card["measured"]["test"]["mean"] == {"f1": 0.5}
    assert made.card["answers"] == ["intensity", "probability"]
    assert any("feels" in use for use in made.card["not_for"])
    assert model_card.RENDERED_ONLY not in made.card["not_for"]
    assert "/somewhere" not in json.dumps(made.manifest)


def test_the_card_warns_of_rendered_faces():
    about = dict.fromkeys(("model", "parameters", "paper", "source", "licence", "step"), "")
    rendered = {"name": model_card.RENDERED, "digest": "d"}
    for sets, warned in (([rendered], True), ([rendered, {"name": "disfa"}], False), ([], False)):
        card = model_card.card(about={**about, "validation": {}}, answers=(), sets=sets, reports={})
        assert (model_card.RENDERED_ONLY in card["not_for"]) is warned


def test_reports_of_this_step_alone_and_never_broken_ones(tmp_path):
    def report(split: str, step: int, text: str) -> Path:
        path = tmp_path / "evaluation" / split / str(step) / "report.json"
        path.parent.mkdir(parents=True)
        path.write_text(text)
        return path

    row = {
        "au": "12",
        "average_precision": 0.9,
        "f1": None,
        "known": 5,
        "occurrence": 0.2,
        "accuracy": 1,
    }
    content = {"meta": {"records": "d"}, "mean": {"f1": {"value": 0.5, "of": 1}}, "per_au": [row]}
    report("test", 7, json.dumps(content))
    report("test", 6, json.dumps({"mean": {"f1": {"value": 0.1}}}))
    report("broken", 7, '{"mean": {"f1"')
    assert model_card.read_reports(tmp_path, 7) == {
        "test": {
            "records": "d",
            "mean": {"f1": 0.5},
            "per_au": [{k: v for k, v in row.items() if k != "accuracy"}],
        }
    }
    assert model_card.read_reports(tmp_path / "none", 7) == {}
