"""A run described without being run: its length, parameters, memory; and what cannot be."""

import re
from dataclasses import replace
from pathlib import Path

import jax
import pytest
import tiny

from jaxfacs import cli
from jaxfacs.data.config import Augment, DataConfig
from jaxfacs.data.pipeline import train_batches
from jaxfacs.errors import UserError
from jaxfacs.train import compiled
from jaxfacs.train import mesh as meshes

PARAMETERS = 48 * 16 + 16 + 2 * 16 + 16 * 3 + 3  # of tests/train/tiny_model.py, three AUs


def test_a_dry_run_says_what_the_run_would_be_and_writes_nothing(config_path, tmp_path, capsys):
    workdir = tmp_path / "run"
    arguments = ["train", str(config_path), "--dry-run", "--workdir", str(workdir)]
    arguments += ["--optim.scaling", "linear", "--optim.base-batch", "4"]
    assert cli.main(arguments) == 0
    said = capsys.readouterr().out
    assert not workdir.exists()
    assert f"{jax.device_count()} ×" in said and "mesh       data 1" in said
    # 22 clips in batches of 8; 60 steps of 8 clips of 4 frames
    assert "22 training clips, 2.8 steps an epoch; 60 steps are 21.8 epochs, 480 clips" in said
    assert "1920 images" in said
    assert "adamw, learning rate 0.02 (linear from 0.01 at batch 4), cosine after 0 steps" in said
    assert re.search(rf"^all +{PARAMETERS} +{PARAMETERS * 4 / 1000:.4g} kB", said, re.M), said
    arguments_kb = float(re.search(r"^arguments +([\d.]+) kB", said, re.M)[1])
    # parameters, two moments and an average; beside them statistics and the batch
    batch = 8 * 4 * 16 * 16 * 3
    assert 4 * PARAMETERS * 4 + batch < arguments_kb * 1000 < 8 * PARAMETERS * 4 + 2 * batch
    assert "GFLOP a device and step" in said and "nothing was run" in said
    # Of a clip: 48 x 16 for each of 4 frames, 16 x 3 once; the first layer has one gradient.
    assert "model      6.24e-06 GFLOP a clip forward, 1.258e-05 in training" in said
    assert 1 < float(re.search(r"compiler's count\): ([\d.]+) times the model's", said)[1]) < 100


@pytest.mark.parametrize(
    "words", [["--model.norm", "1"], ["--data.source", "nowhere"], ["--data.frames", "400"]]
)
def test_a_dry_run_refuses_what_the_run_would_refuse(config_path, capsys, words):
    assert cli.main(["train", str(config_path), "--dry-run", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.multi_device
def test_devices_that_are_not_here_get_their_share(config_path, tmp_path):
    """The kernel's 16 columns lie on the two devices of a node, the other parameters on each."""
    text = config_path.read_text().replace(
        "steps=60,", 'steps=60, mesh=MeshConfig(fsdp=(("stem/kernel", (None, "device")),)),'
    )
    split = tmp_path / "split_config.py"
    split.write_text(text)
    words = "--compile-for 4 --mesh.nodes 2 --mesh.batch-per-device 6 --accumulate 2".split()
    run = tiny.run("train", split, *words, timeout=120)
    assert run.returncode == 0, run.stderr
    assert "4 simulated CPU devices" in run.stdout
    assert "mesh       node 2, device 2" in run.stdout
    assert "batch      24 clips" in run.stdout
    assert "6 a device, as 2 micro-batches of 3" in run.stdout
    assert "0.9 steps an epoch" in run.stdout  # 22 clips
    held = (48 * 16 / 2 + 16) * 4
    assert re.search(
        rf"^stem +784 +3.136 kB +{held / 1000:.4g} kB  over device, replicated", run.stdout, re.M
    ), run.stdout


@pytest.mark.multi_device
def test_a_batch_that_does_not_divide_there_is_one_line(config_path):
    run = tiny.run("train", config_path, "--compile-for", "3", timeout=120)
    assert run.returncode == 2 and run.stderr.count("\n") == 1
    assert (
        "data.batch-size 8 does not divide over 3 devices; give --data.batch-size 9" in run.stderr
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no number of devices"),
        ("0", "is no number"),
        ("many", "is no number"),
        ("-4", "is no number"),
        ("abacus:8", "kind 'abacus' are not described; known: h100"),
        ("h100:12", "no whole nodes of 8"),
    ],
)
def test_devices_that_cannot_be_are_named(text, words):
    with pytest.raises(UserError, match=words):
        compiled.parse_devices(text)


def test_devices_are_read_and_written():
    assert compiled.parse_devices("8") == compiled.Devices(8)
    assert compiled.parse_devices("h100:64") == compiled.Devices(64, "h100")
    assert str(compiled.Devices(64, "h100")) == "64 H100 that are not here"


@pytest.mark.parametrize("words", [["--compile-for"], ["--compile-for", "--smoke"]])
def test_no_devices_given_is_one_line(config_path, capsys, words):
    assert cli.main(["train", str(config_path), *words]) == 2
    assert "write --compile-for 8 or h100:8" in capsys.readouterr().err


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_the_batch_that_is_compiled_for_has_the_forms_of_one_that_is_read(records: Path, mixup):
    config = DataConfig(source=str(records), frames=4, size=16, batch_size=2, threads=1)
    config = replace(config, augment=Augment(mixup=mixup))
    mesh = meshes.create()
    real = meshes.global_batch(next(train_batches(config)), mesh)
    forms = compiled.abstract_batch(config, num_aus=len(tiny.AUS), mesh=mesh)
    assert {k: (v.shape, v.dtype, v.sharding) for k, v in forms.items()} == {
        k: (v.shape, v.dtype, v.sharding) for k, v in real.items()
    }
