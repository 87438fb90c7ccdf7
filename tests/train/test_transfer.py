"""--init-from: what loads, what is new, what is refused, and that a restart changes nothing."""

import json
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
import tiny

from jaxfacs import cli
from jaxfacs.errors import UserError
from jaxfacs.train import config as configs
from jaxfacs.train import mesh as meshes
from jaxfacs.train import state as states
from jaxfacs.train import transfer
from jaxfacs.train.command import parse_overrides
from jaxfacs.train.paths import paths
from jaxfacs.train.trained import load_for_inference, save_first

SHORT = "--steps 20 --checkpoint.every 10 --evaluation.every 0".split()


def train(config_path, workdir, *more) -> int:
    return cli.main(["train", str(config_path), "--workdir", str(workdir), *map(str, more)])


@pytest.fixture(scope="module")
def started(straight, config_path, tmp_path_factory):
    """(source, work directory) of a run that began with the straight run's network."""
    folder = tmp_path_factory.mktemp("started")
    source = folder / "source"
    shutil.copytree(straight, source)
    assert train(config_path, folder / "run", "--init-from", source, *SHORT) == 0
    return source, folder / "run"


def test_a_restarted_run_does_not_load_again(started, config_path, capsys):
    """Cut back to step 10, its source gone, it ends with the same bits as the run left alone."""
    source, workdir = started
    cut = workdir.with_name("cut")
    shutil.copytree(workdir, cut)
    shutil.rmtree(cut / "checkpoints" / "20")
    source.rename(source.with_name("moved"))
    try:
        assert train(config_path, cut, "--init-from", source, *SHORT) == 0
    finally:
        source.with_name("moved").rename(source)
    said = capsys.readouterr().err
    assert "resumed from the checkpoint of step 10" in said and "start from" not in said
    assert tiny.digests(cut, 20) == tiny.digests(workdir, 20)
    last = [row for row in tiny.lines(workdir) if row["kind"] == "train"]
    assert [row for row in tiny.lines(cut) if row["kind"] == "train"] == last


def test_checkpoints_say_what_the_run_started_from(started):
    source, workdir = started
    theirs = load_for_inference(source)
    for step in (10, 20):
        manifest = json.loads((workdir / f"checkpoints/{step}/manifest/metadata").read_text())
        assert manifest["started_from"] == {
            "model": "tiny",
            "step": theirs.step,
            "checkpoint_sha256": theirs.manifest["sha256"],
            "data": {k: theirs.manifest["data"][k] for k in ("name", "digest")},
        }


# --- rules, without training ----------------------------------------------------------------------


def begin(config_path, source, *overrides: str, aus=tiny.AUS, emotions=tiny.EMOTIONS):
    """(first state, transfer) of a run with these overrides."""
    experiment = parse_overrides(
        configs.load(config_path), ["--init.source", str(source), *overrides], prog="test"
    )
    plan, init = states.plan(
        experiment,
        mesh=meshes.create(),
        aus=aus,
        num_emotions=len(emotions),
        steps_per_epoch=10.0,
    )
    loaded = transfer.load(experiment, plan, aus=aus, emotions=emotions)
    return transfer.start(init(), plan, loaded), loaded


def refusal(config_path, source, *overrides: str, **more) -> str:
    with pytest.raises(UserError) as caught:
        begin(config_path, source, *overrides, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_parameters_statistics_and_averages_begin_with_the_source(straight, config_path):
    """The source's moving averages, where it kept them."""
    state, loaded = begin(config_path, straight)
    theirs = load_for_inference(straight)
    for tree in (state, state["ema"]):
        for kind, expected in (("params", theirs.params), ("stats", theirs.stats)):
            for path, value in paths(expected).items():
                np.testing.assert_array_equal(paths(tree[kind])[path], value)
    assert int(state["step"]) == 0
    assert not any(np.asarray(x).any() for x in jax.tree.leaves(state["opt_state"]))
    rows = [line.split() for line in loaded.table.splitlines()[2:]]
    assert [(row[0], row[3]) for row in rows] == [("head", "0"), ("norm", "0"), ("stem", "0")]
    buffers = [x.unsafe_buffer_pointer() for x in jax.tree.leaves(state)]
    assert len(set(buffers)) == len(buffers)  # the state is donated


def test_another_list_of_aus_needs_a_rule(straight, config_path):
    for aus in (("1", "12"), ("1", "12", "6")):
        if len(aus) == 2:
            told = refusal(config_path, straight, aus=aus)
            assert "head/kernel is (16, 3) there, (16, 2) here" in told and "--init.new" in told
        else:  # of the same size: nothing but the labels tells
            told = refusal(config_path, straight, aus=aus)
            assert "answers for other AUs (1 12 25; this run's: 1 12 6)" in told
        state, loaded = begin(
            config_path, straight, "--init.new", "^head/", "--optim.frozen", "^stem/", aus=aus
        )
        rows = {line.split()[0]: line.split()[1:] for line in loaded.table.splitlines()[2:5]}
        assert rows["head"][1:] == ["0", "2", "0"]  # loaded, new, frozen
        assert rows["stem"][1:] == ["2", "0", "2"]
        assert "2 of the source not used: head/bias, head/kernel" in loaded.table
        assert state["params"]["head"]["kernel"].shape == (16, len(aus))
        stem = load_for_inference(straight).params["stem"]["kernel"]
        np.testing.assert_array_equal(state["params"]["stem"]["kernel"], stem)
    shared = begin(config_path, straight, "--init.shared", "^head/", aus=("1", "12", "6"))[1]
    assert "head/kernel" in shared.values


def test_what_no_rule_names_is_listed(straight, config_path):
    told = refusal(config_path, straight, "--model.intensity", "True")
    assert "2 of the network are not in the source" in told and "intensity/kernel" in told
    begin(config_path, straight, "--model.intensity", "True", "--init.new", "^intensity/")
    told = refusal(config_path, straight, "--init.rename", "^stem/", "root/")
    assert "stem/bias, stem/kernel" in told and "2 of the source have no place" in told
    assert "root/bias, root/kernel" in told
    both = ["--init.rename", "^stem/", "root/", "--init.ignore", "^root/", "--init.new", "^stem/"]
    _, loaded = begin(config_path, straight, *both)
    assert "stem/kernel" not in loaded.values and "head/kernel" in loaded.values


def test_renamed_parameters_are_loaded(straight, config_path, tmp_path):
    """A source whose names are others, as a backbone inside a larger network has."""
    theirs = load_for_inference(straight)
    inner = {"params": {"encoder": theirs.params}, "stats": {"encoder": theirs.stats}}
    manifest = {k: v for k, v in theirs.manifest.items() if k not in ("arrays", "sha256")}
    save_first(tmp_path, manifest, **inner)
    state, _ = begin(config_path, tmp_path, "--init.rename", "^encoder/", "")
    np.testing.assert_array_equal(
        state["params"]["stem"]["kernel"], theirs.params["stem"]["kernel"]
    )
    told = refusal(config_path, tmp_path, "--init.rename", "encoder/.*/(kernel|bias)", "x")
    assert "gives two parameters of the source the place x" in told


@pytest.mark.parametrize(
    "overrides, told",
    [
        (["--init.new", "nothing"], "init rule 'nothing' names nothing"),
        (["--init.ignore", "nothing"], "init rule 'nothing' names nothing"),
        (["--init.rename", "nothing", "x"], "pattern 'nothing' matches nothing"),
        (["--init.step", "7"], "holds no checkpoint of step 7"),
        (["--init.step", "first"], "give a number, best or latest"),
        (["--model.normalisation", "imagenet"], "saw pixels as (RGB - (127.5, 127.5, 127.5)) / "),
        (["--init.new", "("], "init.new '(' is no regular expression"),
        (["--init.rename", "^stem/", r"\9"], "init.rename cannot put"),
    ],
)
def test_bad_rules_are_named(straight, config_path, overrides, told):
    assert told in refusal(config_path, straight, *overrides)


def test_a_refused_start_claims_no_folder(config_path, straight, tmp_path, capsys):
    """So that the same command with a rule more goes on."""
    wrong = ["--init-from", straight, "--init.new", "nothing"]
    assert train(config_path, tmp_path / "w", *wrong) == 2
    assert "names nothing" in capsys.readouterr().err
    assert not (tmp_path / "w" / "config.json").exists()
    assert train(config_path, tmp_path / "w", "--init-from", tmp_path / "nowhere") == 2
    assert "nowhere holds no checkpoint" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.multi_device
def test_two_processes_start_as_one(straight, config_path, tmp_path):
    """With a parameter split over them, as with none."""
    split = tmp_path / "split_config.py"
    rule = 'mesh=MeshConfig(fsdp=(("stem/kernel", (None, "data")),))'
    split.write_text(config_path.read_text().replace("steps=60,", f"steps=60, {rule},"))
    more = "--steps 3 --log-every 1 --model.dropout 0 --optim.name sgd".split()
    one = tiny.run(
        "train", config_path, "--workdir", tmp_path / "one", "--init-from", straight, *more
    )
    assert one.returncode == 0, one.stderr
    launcher = str(tiny.REPOSITORY / "launch" / "local.sh")
    two = subprocess.run(
        [
            *(launcher, "2", str(split), "--workdir", str(tmp_path / "two")),
            *("--init-from", str(straight), *more),
        ],
        env=tiny.environment(PYTHON=sys.executable),
        cwd=tiny.REPOSITORY,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert two.returncode == 0, two.stderr
    assert two.stderr.count("start from") == 1
    losses = [
        [row["loss"] for row in tiny.lines(tmp_path / name) if row["kind"] == "train"]
        for name in ("one", "two")
    ]
    np.testing.assert_allclose(*losses, rtol=1e-4)
