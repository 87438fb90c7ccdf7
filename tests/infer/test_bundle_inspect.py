"""`jaxfacs inspect`: everything that is in a bundle, for people and for programs."""

import json

import pytest
from test_bundle_format import CURVE, write

from jaxfacs.cli import run_function
from jaxfacs.errors import UserError
from jaxfacs.infer import bundle, bundle_text
from jaxfacs.infer.inspect_command import inspect

CARD = {
    "intended": "counting movements",
    "data": [
        {"name": "disfa", "licence": "research", "splits": {"train": {"clips": 9, "subjects": 4}}}
    ],
    "measured": {"step": 7, "training": {}, "test": {"mean": {"f1": 0.51234, "roc_auc": None}}},
    "not_for": ["deciding about a person"],
}


@pytest.fixture
def made(tmp_path, bundles):
    return write(
        tmp_path / "m.jaxfacs",
        bundles,
        calibration={"12": CURVE},
        thresholds={"12": 0.71},
        time="any",
        precision={"name": "bfloat16"},
        card=CARD,
        crop={"detector": "haar", "margin": 0.2},
        about={"model": "tiny", "licence": "MIT", "data": {"name": "disfa", "digest": "abc"}},
    )


def run(*words):
    return run_function(inspect, ("inspect",), [str(word) for word in words])


def test_people_read_all_of_it(made, capsys):
    assert run(made) == 0
    lines = capsys.readouterr().out.splitlines()
    text = "\n".join(lines)
    for told in (
        "bundle format 2, whole",
        "clips of 8 × 16 × 16 RGB",
        "clips of any length",
        "probability",
        "bfloat16",
        "cpu, cuda, tpu",
        "detector haar, margin 0.2",
        "licence           MIT",
        "digest abc, name disfa",
        "learned from      disfa",
        "train 9 clips of 4 people",
        "its licence       research",
        "on test           f1 0.512",
        "not for           deciding about a person",
        bundle.read(made).digest,
    ):
        assert told in text
    row = next(line for line in lines if line.split()[:1] == ["12"])
    assert "Lip corner puller" in row and "0.7100" in row
    # Straight lines between (0, .1), (.3, .6) and (1, .9).
    assert "0.27 0.60 0.69 0.77 0.86  isotonic" in row
    left = next(line for line in lines if line.split()[:1] == ["L14"])
    assert "Dimpler, left" in left and left.endswith("0.5000  -")
    for name, part in bundle.read(made).manifest["parts"].items():
        assert any(name in line and part["sha256"] in line for line in lines)


def test_programs_read_json(made, capsys):
    assert run(made, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["platforms"] == ["cpu", "cuda", "tpu"]
    assert found["outputs"] == {"probability": "(b, 4)"}
    assert found["bytes"] == made.stat().st_size and found["card"] == CARD
    assert found["calibration"] == {"12": CURVE} and found["thresholds"]["12"] == 0.71


def test_a_bundle_of_format_1_and_one_without_card_are_shown(bundles, capsys):
    assert run(bundles["full"]) == 0
    out = capsys.readouterr().out
    assert "happy, sad" in out and "8 frames of a clip" in out and "card" not in out


def test_damage_is_named_in_one_line(made, tmp_path):
    raw = bytearray(made.read_bytes())
    raw[raw.index(b"PK\x03\x04", 10) + 200] ^= 1
    made.write_bytes(raw)
    with pytest.raises(UserError, match=r"network\.stablehlo is not what was written") as refused:
        run(made)
    assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match="no model file"):
        run(tmp_path / "gone.jaxfacs")


def test_sizes_for_people():
    assert [bundle_text.size(n) for n in (12, 1_500, 11_100_000, 3_000_000_000)] == [
        "12 B", "1.5 kB", "11.1 MB", "3.0 GB"
    ]  # fmt: skip
