"""Every config, shrunk: trains two steps on rendered faces, evaluates, exports, predicts."""

import csv
import dataclasses
import json
from pathlib import Path

import cv2
import jax
import numpy as np
import pytest

from jaxfacs import cli
from jaxfacs.data.records import open_set, write_set
from jaxfacs.train import config as configs

ROOT = Path(__file__).parents[2]
SIZE = 64

# Every config, and the options of it that have code of their own. demo.py is what `make demo` runs.
SMOKES = (
    "ebplus_mobilenet3d",
    "ebplus_vgg_face",
    "emotionet_aus",
    "emotionet_aus:network=inception_v2",
    "emotionet_valence_arousal",
    "mmi_alexnet_finetune",
    "mmi_flow_stream",
    "mmi_one_vs_all",
    "mmi_two_stream",
    "bp4d_me_graphau",
    "disfa_me_graphau",
    "open_graphau_hybrid",
    "bp4d_scc",
    "disfa_scc",
    "caers_emotiram_scc",
    "caers_emotiram_me_graphau",
    "mobilenet3d_synthface",
    "default_still",
    "default_clip",
)
QUICK = (  # the others compile for more than ten seconds
    "emotionet_aus",
    "emotionet_valence_arousal",
    "mmi_alexnet_finetune",
    "mmi_one_vs_all",
)
# Their networks, heads, losses and flow are tested by themselves in tests/models, tests/parity and
# tests/train: whole in `make test-long` alone.
ALIKE = (
    "default_clip",
    "ebplus_mobilenet3d",
    "ebplus_vgg_face",
    "emotionet_aus:network=inception_v2",
    "mmi_flow_stream",
    "bp4d_scc",
    "caers_emotiram_me_graphau",
    "disfa_scc",
    "disfa_me_graphau",
    "caers_emotiram_scc",
    "mobilenet3d_synthface",
    "mmi_two_stream",
    "open_graphau_hybrid",
)
MARKS = {
    **dict.fromkeys(set(SMOKES) - set(QUICK), pytest.mark.slow),
    **dict.fromkeys(ALIKE, pytest.mark.long),
}
CASES = [pytest.param(n, marks=MARKS[n]) if n in MARKS else n for n in SMOKES]


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> Path:
    """Few small clips of rendered faces in three splits, with an affect drawn for each."""
    folder = tmp_path_factory.mktemp("smoke")
    path = folder / "rendered"
    options = "--clips 12 --frames 6 --subjects 6 --near-frontal --validation 0.25 --test 0.25"
    words = ["--out", str(path), "--size", str(SIZE), "--workers", "1", *options.split()]
    assert cli.main(["data", "build", "synthface", *words]) == 0
    rendered, rng = open_set(path), np.random.default_rng(0)
    clips = {
        split: [
            dataclasses.replace(
                rendered.clip(split, i),
                valence_arousal_T2=np.full((6, 2), rng.uniform(-1, 1), np.float32),
                attributes_TK=None,
                visible_T68=None,
            )
            for i in range(count)
        ]
        for split, count in rendered.splits.items()
    }
    return write_set(folder / "set", clips, aus=rendered.aus, emotions=rendered.emotions)


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    """A rendered face as a camera would see it, which the detector finds."""
    from jaxfacs.synthface import clip

    made = clip.clip(3, frames=1, size=192, fps=25.0, near_frontal=True)
    path = tmp_path_factory.mktemp("picture") / "face.png"
    cv2.imwrite(str(path), cv2.cvtColor(made.frames_THWC[0], cv2.COLOR_RGB2BGR))
    return path


def run(*words: object) -> None:
    assert cli.main([str(word) for word in words]) == 0, words


@pytest.mark.parametrize("name", CASES)
def test_a_shrunk_config_goes_all_the_way(name, records, picture, tmp_path):
    stem, _, options = name.partition(":")
    config = f"{ROOT / 'configs' / stem}.py" + (f":{options}" if options else "")
    workdir, bundle, out = tmp_path / "run", tmp_path / "model.jaxfacs", tmp_path / "out"
    parts = len(configs.load(config, smoke=True).data.mixture)
    fields = [f"mixture.{i}.source" for i in range(parts)] or ["source"]
    sources = [word for field in fields for word in (f"--data.{field}", records)]
    run("train", config, "--smoke", "--workdir", workdir, *sources)
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert max(row["step"] for row in rows) >= 2
    assert all(0 < row["loss"] < np.inf for row in rows if "loss" in row)
    run("evaluate", "--workdir", workdir)
    assert next((workdir / "evaluation" / "test").glob("*/report.json")).stat().st_size
    run("export", "--workdir", workdir, "--out", bundle)
    run("predict", picture, "--model", bundle, "--out", out)
    with (out / "face.csv").open() as file:
        row = next(csv.DictReader(file))
    assert row["success"] == "1"
    jax.clear_caches()


def test_every_config_has_a_smoke():
    tested = {name.partition(":")[0] for name in SMOKES}
    assert tested | {"demo"} == {path.stem for path in (ROOT / "configs").glob("*.py")}
