"""Experiments to JSON and back, what may change on resume, and config files that are not right."""

import dataclasses
import json
from pathlib import Path

import pytest

from jaxfacs.data.config import Augment, DataConfig
from jaxfacs.errors import UserError
from jaxfacs.train import config as configs
from jaxfacs.train.command import parse_overrides
from jaxfacs.train.config import Experiment, MeshConfig, ModelConfig, OptimConfig

RICH = Experiment(
    data=DataConfig(source="records", aus=("1", "L12"), augment=Augment(zoom=(0.5, 1.5))),
    model=ModelConfig(options={"norm": False, "k": 3, "name": "x"}),
    optim=OptimConfig(frozen=("a", "b"), boundaries_epochs=(1.5, 2.0)),
    mesh=MeshConfig(fsdp=(("fc6", (None, "data")), ("fc7", ("data",)))),
    profile=(3, 5),
)


def test_json_and_back_is_the_same_experiment():
    assert configs.from_json(configs.to_json(RICH)) == RICH


def test_a_field_of_another_version_is_named():
    tree = configs.to_json(RICH)
    tree["optim"]["lookahead"] = 3
    with pytest.raises(UserError, match=r"optim\.lookahead is unknown"):
        configs.from_json(tree)


def test_differences_name_fields_and_pass_over_how_a_run_is_watched():
    other = dataclasses.replace(
        RICH,
        steps=7,
        watchdog_s=1.0,
        data=dataclasses.replace(RICH.data, threads=9, source="moved"),
        model=ModelConfig(options={"norm": True, "k": 3, "name": "x"}),
    )
    lines = configs.differences(configs.to_json(RICH), configs.to_json(other))
    assert lines == ["model.options.norm: False -> True", "steps: 10000 -> 7"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"accumulate": 3}, "does not divide into 3 micro-batches"),
        ({"ema": 1.0}, "ema is 1.0"),
        ({"optim": OptimConfig(learning_rate=0.0)}, "optim.learning-rate"),
        ({"steps": 5, "optim": OptimConfig(warmup_steps=5)}, "leave nothing of 5 steps"),
    ],
)
def test_what_cannot_be_is_named(changes, words):
    with pytest.raises(UserError, match=words):
        configs.check(dataclasses.replace(RICH, **changes))


def test_overrides_reach_every_level_and_keep_types():
    arguments = "--data.batch-size 64 --optim.learning-rate 3e-4 --optim.frozen x y --ema 0.99"
    changed = parse_overrides(RICH, [*arguments.split(), "--model.options.k", "5"], prog="x")
    assert changed.data.batch_size == 64 and changed.optim.learning_rate == 3e-4
    assert changed.optim.frozen == ("x", "y") and changed.ema == 0.99
    assert changed.model.options == {"norm": False, "k": 5, "name": "x"}
    assert changed.mesh == RICH.mesh


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--optim.learning-rat", "3"], "--optim.learning-rate"),
        (["--steps", "many"], "invalid literal"),
        (["--optim.name", "adamm"], "invalid choice 'adamm'"),
    ],
)
def test_a_wrong_override_is_one_line(arguments, words):
    with pytest.raises(UserError) as error:
        parse_overrides(RICH, arguments, prog="x")
    text = str(error.value)
    assert words in text and "\n" not in text and "│" not in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def get_config(:", "SyntaxError"),
        ("import nowhere_to_be_found", "ModuleNotFoundError"),
        ("x = 1", r"no function get_config\(\)"),
        ("def get_config(): return 3", "returns a int"),
    ],
)
def test_a_wrong_config_file_is_named(tmp_path, text, words):
    path = tmp_path / "c.py"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        configs.load(path)


def test_a_missing_config_file_is_named():
    with pytest.raises(UserError, match=r"nothing\.py does not exist"):
        configs.load("nothing.py")


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "configs").glob("*.py")), ids=lambda p: p.stem
)
@pytest.mark.parametrize("smoke", [False, True])
def test_the_configs_that_come_along_are_right(path, smoke):
    """Each loads, checks, goes through JSON, and its docstring says how it is run."""
    experiment = configs.check(configs.load(path, smoke=smoke))
    assert configs.from_json(configs.to_json(experiment)) == experiment
    assert f"jaxfacs train configs/{path.name}" in path.read_text().split('"""')[1]


def test_a_run_from_before_a_field_existed_goes_on(tmp_path):
    from jaxfacs.train import workdir

    manifest = {
        "experiment": configs.to_json(RICH), "aus": ["1"], "emotions": [],
        "data": {"digest": "d"},
    }  # fmt: skip
    older = json.loads(json.dumps(manifest))
    del older["experiment"]["data"]["require_face"]  # has its default in RICH
    (tmp_path / "config.json").write_text(json.dumps(older))
    workdir.compare(tmp_path, manifest, accept_changes=False)
    workdir.claim(tmp_path, manifest)
    assert json.loads((tmp_path / "config.json").read_text()) == manifest
    older["experiment"]["steps"] = RICH.steps + 1
    (tmp_path / "config.json").write_text(json.dumps(older))
    with pytest.raises(UserError, match=f"steps: {RICH.steps + 1} -> {RICH.steps}"):
        workdir.compare(tmp_path, manifest, accept_changes=False)
