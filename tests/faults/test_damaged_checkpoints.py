"""Every file of a checkpoint damaged in every way: the step is named and the one before it used."""

import re
import shutil
from pathlib import Path

import pytest
import tiny

from jaxfacs import cli
from jaxfacs.train import checkpoint
from jaxfacs.train import config as configs
from jaxfacs.train import mesh as meshes
from jaxfacs.train import state as states
from jaxfacs.train.checkpoint import Checkpoints
from jaxfacs.train.config import CheckpointConfig

# What every restore needs. Of the rest Orbax never reads some (commit_success.txt, _sharding, nodes
# of its B-trees that it merged into others) and can do without more: damage there changes no bit.
NEEDED = r"manifest/metadata|metrics/metrics|(network|training)/(manifest\.ocdbt|d/\w+)"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def swap(path: Path) -> None:
    """The file of that name of the step before, or what its neighbour holds and that this."""
    step = next(p for p in path.parents if p.name == "60")
    other = step.with_name("50") / path.relative_to(step)
    neighbours = sorted(p for p in path.parent.iterdir() if p.is_file() and p != path)
    if other.exists():
        path.write_bytes(other.read_bytes())
    elif neighbours:
        here, there = path.read_bytes(), neighbours[0].read_bytes()
        path.write_bytes(there)
        neighbours[0].write_bytes(here)
    else:
        path.write_bytes(next((step / "manifest").iterdir()).read_bytes())


DAMAGES = {"flip": flip, "truncate": truncate, "delete": Path.unlink, "swap": swap}


@pytest.fixture(scope="module")
def abstract(config_path):
    plan, _ = states.plan(
        configs.load(config_path),
        mesh=meshes.create(),
        aus=tiny.AUS,
        num_emotions=len(tiny.EMOTIONS),
        steps_per_epoch=1,
    )
    return plan.abstract


def files(step: Path) -> list[Path]:
    return sorted(path for path in step.rglob("*") if path.is_file())


@pytest.mark.long
@pytest.mark.parametrize("damage", DAMAGES)
def test_every_file(damage, straight, abstract, tmp_path, capsys):
    """Named, set aside and the one before used; or every bit is as it was."""
    for path in files(straight / "checkpoints" / "60"):
        name = path.relative_to(straight / "checkpoints" / "60")
        needed = re.fullmatch(NEEDED, name.as_posix())
        shutil.copytree(straight / "checkpoints", tmp_path / "checkpoints")
        DAMAGES[damage](tmp_path / "checkpoints" / "60" / name)
        state, manifest = Checkpoints(tmp_path, CheckpointConfig()).restore(abstract)
        said = capsys.readouterr().err
        assert manifest["step"] == int(state["step"]) == (50 if "is damaged" in said else 60), name
        if needed or manifest["step"] == 50:
            assert "checkpoints/60 is damaged (" in said and "step 50 is used" in said, name
            assert (tmp_path / "damaged" / "60-0").is_dir(), name
            shutil.rmtree(tmp_path / "damaged")
        for item, arrays in manifest["arrays"].items():
            for array, leaf in checkpoint.paths(checkpoint._part(state, item)).items():
                assert checkpoint._describe(array, leaf) == arrays[array], name
        shutil.rmtree(tmp_path / "checkpoints")


@pytest.mark.parametrize(
    "damage",
    ["a renamed step", *(pytest.param(d, marks=pytest.mark.long) for d in ("flip", "empty"))],
)
def test_the_finished_run_is_as_the_straight_one(damage, copy_of, config_path, straight, capsys):
    workdir = copy_of()
    step = workdir / "checkpoints" / "60"
    if damage == "flip":
        flip(max(files(step), key=lambda path: path.stat().st_size))
    else:
        shutil.rmtree(step)
        shutil.copytree(step.with_name("50"), step) if "renamed" in damage else step.mkdir()
    assert cli.main(["train", str(config_path), "--workdir", str(workdir)]) == 0
    assert "checkpoints/60 is damaged" in capsys.readouterr().err
    assert (workdir / "damaged" / "60-0").is_dir()
    assert tiny.digests(workdir, 60) == tiny.digests(straight, 60)
    assert tiny.lines(workdir) == tiny.lines(straight)


def test_all_damaged_is_told_and_nothing_changed(copy_of, config_path, capsys):
    workdir = copy_of()
    for step in (workdir / "checkpoints").iterdir():
        flip(step / "manifest" / "metadata")
    before = files(workdir / "checkpoints")
    assert cli.main(["train", str(config_path), "--workdir", str(workdir)]) == 2
    *named, last = capsys.readouterr().err.strip().splitlines()
    assert "every checkpoint in" in last and all("is damaged (" in line for line in named)
    assert files(workdir / "checkpoints") == before


def test_what_cannot_be_read_is_not_called_damaged(copy_of, config_path, monkeypatch, capsys):
    """A permission that is missing, or a network that is down: the checkpoint may be whole."""
    workdir = copy_of()

    def down(*_):
        raise PermissionError(13, "Permission denied", "metadata")

    monkeypatch.setattr(checkpoint, "read_manifest", down)
    assert cli.main(["train", str(config_path), "--workdir", str(workdir)]) == 2
    said = capsys.readouterr().err
    assert "60 cannot be read (Permission denied: metadata); nothing was changed" in said
    assert said.count("\n") == 1 and not (workdir / "damaged").exists()
