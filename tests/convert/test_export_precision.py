"""Fewer bits: what is stored, what it costs as counted by hand, what the bundle says of it."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from tiny_trained import AUS, tiny_trained, write_records

import jaxfacs
from jaxfacs.cli import main
from jaxfacs.convert import command, compare, precision
from jaxfacs.convert.command import export_trained
from jaxfacs.errors import UserError
from jaxfacs.infer import bundle_text
from jaxfacs.infer.bundle import read

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(0, 0.1, (3, 3, 3, 5, 8)).astype(np.float32) * np.logspace(-3, 1, 8, dtype="f4")


def test_int8_is_off_by_half_a_step_of_its_own_channel():
    KERNEL[..., 2] = 0
    weights = {"params/a/kernel": KERNEL, "params/a/bias": np.ones(8, np.float32)}
    stored = precision.stored(weights, "int8")
    kept = stored["params/a/kernel"]
    assert kept.dtype == np.int8 and kept.min() >= -127
    assert np.abs(kept).max((0, 1, 2, 3)).tolist() == [127, 127, 0] + [127] * 5
    restored = precision.restored({name: jnp.asarray(w) for name, w in stored.items()})
    assert set(restored) == set(weights)
    step_C = np.abs(KERNEL).max((0, 1, 2, 3)) / 127
    off = np.abs(np.asarray(restored["params/a/kernel"]) - KERNEL)
    assert (off <= 0.5001 * step_C).all()
    np.testing.assert_array_equal(restored["params/a/bias"], weights["params/a/bias"])


def test_vectors_statistics_and_integers_keep_their_bits():
    weights = {
        "params/norm/scale": np.ones(8, np.float32),
        "stats/norm/mean": np.ones((2, 8), np.float32),
        "params/table": np.ones((2, 8), np.int32),
        "params/kernel": KERNEL,
    }
    for name in precision.PRECISIONS:
        stored = precision.stored(weights, name)
        assert all(stored[key] is weights[key] for key in list(weights)[:3])
    assert precision.stored(weights, "bfloat16")["params/kernel"].dtype == jnp.bfloat16


def test_differences_flips_and_measures_are_those_counted_by_hand():
    first = np.array([[0.2, 0.9], [0.6, 0.9], [0.7, 0.1], [0.4, 0.1], [0.9, 0.9]])
    second = np.array([[0.3, 0.9], [0.4, 0.9], [0.7, 0.1], [0.5, 0.1], [0.0, 0.0]])
    label = np.array([[0, 1], [1, 1], [1, 0], [0, -1], [1, 1]])
    counts = np.array([True, True, True, True, False])  # the last row only fills the batch
    frames = np.zeros((5, 1, 2, 2, 3), np.uint8)
    found = compare.compare(
        lambda _: {"probability": first, "intensity": 5 * first},
        lambda _: {"probability": second, "intensity": 5 * second},
        iter([(frames, counts, label)]),
        aus=("1", "2"),
        presence=lambda p: p >= 0.5,
    )
    assert (found["clips"], found["answers"], found["presences"], found["flipped"]) == (4, 4, 8, 2)
    assert found["outputs"]["probability"] == {"largest": 0.2, "mean": 0.05}
    assert found["outputs"]["intensity"] == {"largest": 1.0, "mean": 0.25}
    one, two = found["per_au"]
    assert (one["flipped"], one["largest"], one["mean"]) == (2, 0.2, 0.1)
    assert one["f1"] == [1.0, 0.5]  # 2 of 2; then one hit, one missed, one false
    assert one["average_precision"] == [1.0, 0.8333]  # ranked 1st and 3rd: (1 + 2/3) / 2
    assert two["flipped"] == 0 and two["f1"] == [1.0, 1.0]
    assert found["mean_f1"] == [1.0, 0.75]


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return write_records(tmp_path_factory.mktemp("data") / "records")


@pytest.fixture(scope="module")
def bundles(records, tmp_path_factory):
    """precision -> the bundle of one network, which knows where its records lie."""
    net = tiny_trained(str(records))
    folder = tmp_path_factory.mktemp("export")
    export = functools.partial(export_trained, net, emotion_mapper=None)
    names = precision.PRECISIONS
    return {name: read(export(folder / f"{name}.jaxfacs", precision=name)) for name in names}


@pytest.mark.parametrize(("name", "near"), [("bfloat16", 0.03), ("int8", 0.02)])
def test_what_the_manifest_says_is_what_the_bundle_does(bundles, records, name, near):
    clips = RNG.integers(0, 256, (9, 4, 16, 16, 3), np.uint8)
    exact, lowered = (jaxfacs.load(bundles[key].path).run(clips) for key in ("float32", name))
    for key, value in exact.items():
        scale = 5 if key == "intensity" else 1
        assert lowered[key].dtype == np.float32
        assert 0 < np.abs(value - lowered[key]).max() < scale * near
    made = bundles[name]
    found = made.manifest["precision"]["against_float32"]
    assert made.precision == name and found["on"] == "clips of validation"
    assert found["clips"] == 14  # 7 clips of 6 frames, in windows of 4
    assert found["answers"] == 14 * 4 and 0 < found["outputs"]["probability"]["largest"] < near
    assert [row["au"] for row in found["per_au"]] == list(AUS)
    assert len(found["mean_average_precision"]) == len(found["mean_f1"]) == 2
    sizes = found["weight_bytes"]
    assert sizes["float32"] == sum(w.nbytes for w in bundles["float32"].weights.values())
    assert sizes["stored"] == sum(w.nbytes for w in made.weights.values()) < sizes["float32"]
    text = "\n".join(bundle_text.precision_lines(made.manifest["precision"]))
    assert f"{name} against float32, on 14 clips of validation" in text and "presences flip" in text


def test_float32_is_the_reference_and_says_nothing(bundles):
    assert bundles["float32"].manifest["precision"] == {"name": "float32"}
    assert list(bundle_text.precision_lines({"name": "float32"})) == []


def test_without_its_records_noise_is_what_is_compared_on(tmp_path):
    made = read(
        export_trained(tiny_trained(), tmp_path / "m", emotion_mapper=None, precision="int8")
    )
    found = made.manifest["precision"]["against_float32"]
    assert found["on"] == compare.RANDOM and found["mean_f1"] is None
    assert found["outputs"]["probability"]["largest"] > 0


def test_evenly_chosen_clips_where_there_are_too_many(records, monkeypatch, tmp_path):
    monkeypatch.setattr(compare, "CLIPS", 5)
    net = tiny_trained(str(records))
    made = read(export_trained(net, tmp_path / "m", emotion_mapper=None, precision="int8"))
    assert made.manifest["precision"]["against_float32"]["clips"] == 5


def test_the_command_prints_the_loss(monkeypatch, records, tmp_path, capfd):
    """--source says where the records lie now."""
    from jaxfacs.train import trained as trained_module

    net = tiny_trained(str(records))
    moved = tiny_trained()  # knows another place
    moved = moved.__class__(**{**vars(moved), "manifest": net.manifest})
    monkeypatch.setattr(trained_module, "load_for_inference", lambda workdir, step: moved)
    out = tmp_path / "m.jaxfacs"
    words = ["export", "--workdir", str(tmp_path), "--out", str(out), "--precision", "int8"]
    assert main([*words, "--source", str(records)]) == 0
    told = capfd.readouterr().out
    assert "int8 against float32, on 14 clips of validation" in told
    assert "mean AP" in told and "int8, clips of any length" in told
    with pytest.raises(UserError, match="gone"):
        command.export(tmp_path, out, precision="int8", source=(str(tmp_path / "gone"),))
