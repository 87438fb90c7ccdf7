"""What format 2 adds: calibration, time, precision, card, bfloat16; format 1 is read as before."""

import zipfile

import jax.numpy as jnp
import numpy as np
import pytest
from tiny_bundle import AUS, FRAMES, rewritten

from jaxfacs.errors import UserError
from jaxfacs.infer import bundle, compiled

CURVE = {"probability": [0.0, 0.3, 1.0], "calibrated": [0.1, 0.6, 0.9], "method": "isotonic"}


def write(path, bundles, **changes):
    """The tiny bundle again, with other entries in its manifest."""
    made = bundle.read(bundles["clip"])
    given = {
        "function": made.function,
        "weights": made.weights,
        "input": made.input,
        "aus": made.aus,
        **changes,
    }
    return bundle.write(path, **given)


def test_everything_new_comes_back(tmp_path, bundles):
    path = write(
        tmp_path / "m.jaxfacs",
        bundles,
        calibration={"12": CURVE, "4": None},
        time="any",
        precision={"name": "int8", "against_float32": {"clips": 3}},
        card={"model": "tiny", "not_for": ["anything"]},
    )
    made = bundle.read(path)
    assert made.manifest["format"] == 2 and made.time == "any" and made.precision == "int8"
    assert made.calibration == {"12": CURVE}
    assert made.manifest["precision"]["against_float32"] == {"clips": 3}
    assert made.card == {"model": "tiny", "not_for": ["anything"]}


def test_what_is_left_out_is_the_plain_thing(tmp_path, bundles):
    made = bundle.read(write(tmp_path / "m.jaxfacs", bundles))
    assert (made.calibration, made.time, made.precision, made.card) == ({}, FRAMES, "float32", {})


def test_format_1_is_read_and_answers_the_same(tmp_path, bundles):
    def as_before(manifest):
        manifest["format"] = 1
        for name in ("calibration", "time", "precision", "card"):
            del manifest[name]

    old = bundle.read(rewritten(bundles["full"], tmp_path / "old.jaxfacs", as_before))
    assert (old.calibration, old.time, old.precision, old.card) == ({}, FRAMES, "float32", {})
    clips = np.random.default_rng(0).integers(0, 256, (2, FRAMES, 16, 16, 3), np.uint8)
    new = compiled.network(bundle.read(bundles["full"]))(clips)
    for name, value in compiled.network(old)(clips).items():
        np.testing.assert_array_equal(value, new[name])


def test_bfloat16_keeps_its_bits_and_other_types_theirs(tmp_path, bundles):
    bits = np.arange(0, 1 << 16, 7, dtype=np.uint16)  # with infinities and NaNs
    weights = {
        "a": bits.view(jnp.bfloat16).reshape(-1, 1),
        "b": np.arange(-3, 4, dtype=np.int8),
        "c": np.array([1.5], np.float32),
        "d": np.arange(3, dtype=np.uint16),
    }
    made = bundle.read(write(tmp_path / "m.jaxfacs", bundles, weights=weights))
    assert {k: v.dtype for k, v in made.weights.items()} == {k: v.dtype for k, v in weights.items()}
    assert made.weights["a"].shape == (len(bits), 1)
    np.testing.assert_array_equal(made.weights["a"].view(np.uint16).ravel(), bits)
    np.testing.assert_array_equal(made.weights["d"], weights["d"])


@pytest.mark.parametrize(
    "knots",
    [
        {"probability": [0.0, 1.0], "calibrated": [0.5, 0.4]},  # falls
        {"probability": [0.2, 0.2], "calibrated": [0.1, 0.4]},  # jumps
        {"probability": [0.0, 1.0], "calibrated": [0.0, 1.5]},  # leaves 0…1
        {"probability": [0.0, 1.0], "calibrated": [0.0]},
        {"probability": [], "calibrated": []},
        {"probability": [0.0, float("nan")], "calibrated": [0.0, 1.0]},
    ],
)
def test_a_calibration_that_is_no_rising_line_is_neither_written_nor_read(tmp_path, bundles, knots):
    with pytest.raises(ValueError, match=r"calibration|knots"):
        write(tmp_path / "m.jaxfacs", bundles, calibration={AUS[0]: knots})
    assert not list(tmp_path.iterdir())
    if not any(np.isnan(knots["probability"])):
        path = rewritten(
            bundles["clip"],
            tmp_path / "m.jaxfacs",
            lambda manifest: manifest.update(calibration={AUS[0]: knots}),
        )
        with pytest.raises(UserError, match="no valid jaxfacs model"):
            bundle.read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"calibration": {"99": CURVE}}, "no AU of these"),
        ({"calibration": ["x"]}, "no valid jaxfacs model"),
        ({"time": 0}, "neither 'any' nor"),
        ({"time": "long"}, "neither 'any' nor"),
        ({"precision": "int8"}, "no valid jaxfacs model"),
        ({"format": 3}, "bundle format 3, this jaxfacs reads up to 2; update jaxfacs"),
        ({"parts": {}}, "network.stablehlo and weights.npz are not what was written"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused_in_words(tmp_path, bundles, change, message):
    path = rewritten(bundles["clip"], tmp_path / "m.jaxfacs", lambda m: m.update(change))
    with pytest.raises(UserError, match=message):
        bundle.read(path)


def test_all_damaged_parts_are_named_at_once(tmp_path, bundles):
    with zipfile.ZipFile(bundles["clip"]) as file:
        members = {name: bytearray(file.read(name)) for name in file.namelist()}
    for name in (bundle.NETWORK, bundle.WEIGHTS):
        members[name][100] ^= 4
    path = tmp_path / "m.jaxfacs"
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, bytes(content))
    with pytest.raises(UserError, match=r"network\.stablehlo and weights\.npz are not what"):
        bundle.read(path)
