"""Checkpoints that were damaged, and which one is used instead."""

import errno
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jaxfacs import cli
from jaxfacs.errors import UserError
from jaxfacs.train import checkpoint, trained
from jaxfacs.train import config as configs
from jaxfacs.train import mesh as meshes
from jaxfacs.train import state as states
from jaxfacs.train.checkpoint import Checkpoints, NonFiniteStateError
from jaxfacs.train.config import CheckpointConfig
from jaxfacs.train.trained import load_for_inference


@pytest.fixture(scope="module")
def abstract(config_path):
    experiment = configs.load(config_path)
    plan, _ = states.plan(
        experiment, mesh=meshes.create(), aus=("1", "2", "4"), num_emotions=2, steps_per_epoch=1
    )
    return plan.abstract


def steps(workdir):
    return sorted(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit())


def largest(folder):
    """The file that holds the arrays' values."""
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def flip(path, at=None):
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 0x10
    path.write_bytes(data)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES = {
    "a flipped bit in the parameters": lambda step: flip(largest(step / "network" / "d")),
    "a flipped bit in the moments": lambda step: flip(largest(step / "training" / "d")),
    "a truncated array file": lambda step: truncate(largest(step / "network" / "d")),
    "a missing array file": lambda step: largest(step / "training" / "d").unlink(),
    "a flipped bit in the manifest": lambda step: flip(step / "manifest" / "metadata", 400),
    "a truncated manifest": lambda step: truncate(step / "manifest" / "metadata"),
    "truncated metrics": lambda step: truncate(step / "metrics" / "metrics"),
    "an empty folder": lambda step: (shutil.rmtree(step), step.mkdir()),
}


def test_latest_and_best_are_kept(straight):
    """Latest 2 of every 10 steps; the best by validation (every 20) beside them."""
    kept = steps(straight)
    assert kept[-2:] == [50, 60] and len(kept) in (2, 3)
    rows = [row for row in tiny.lines(straight) if row["kind"] == "validation"]
    assert [row["step"] for row in rows] == [20, 40, 60]
    best = max(rows, key=lambda row: (row["mean_average_precision"], row["step"]))
    chosen = load_for_inference(straight, step="best")
    assert chosen.metrics["mean_average_precision"] == best["mean_average_precision"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_step_is_named_and_the_one_before_is_used(damage, copy_of, abstract, capsys):
    workdir = copy_of()
    DAMAGES[damage](workdir / "checkpoints" / "60")
    state, manifest = Checkpoints(workdir, CheckpointConfig()).restore(abstract)
    assert int(state["step"]) == manifest["step"] == 50
    said = capsys.readouterr().err
    assert "checkpoints/60 is damaged" in said and "step 50 is used" in said
    assert 60 not in steps(workdir) and (workdir / "damaged" / "60-0").is_dir()


def test_training_goes_on_from_the_step_before_and_ends_as_it_would_have(
    copy_of, config_path, straight, capsys
):
    workdir = copy_of()
    flip(largest(workdir / "checkpoints" / "60" / "network" / "d"))
    assert cli.main(["train", str(config_path), "--workdir", str(workdir)]) == 0
    assert "60 is damaged" in capsys.readouterr().err
    assert tiny.digests(workdir, 60) == tiny.digests(straight, 60)
    assert tiny.lines(workdir) == tiny.lines(straight)


def test_damage_in_an_older_step_does_not_stop_the_newest(copy_of, abstract, capsys):
    workdir = copy_of()
    truncate(workdir / "checkpoints" / "50" / "manifest" / "metadata")
    state, _ = Checkpoints(workdir, CheckpointConfig()).restore(abstract)
    assert int(state["step"]) == 60
    assert "checkpoints/50 is damaged" in capsys.readouterr().err


def test_when_every_step_is_damaged_nothing_starts_from_scratch(copy_of, abstract):
    workdir = copy_of()
    for step in steps(workdir):
        truncate(workdir / "checkpoints" / str(step) / "manifest" / "metadata")
    before = steps(workdir)
    with pytest.raises(UserError, match=r"every checkpoint in .* is damaged; restore one"):
        Checkpoints(workdir, CheckpointConfig()).restore(abstract)
    assert steps(workdir) == before


def test_inference_names_damage_and_takes_the_next(copy_of, capsys):
    workdir = copy_of()
    flip(largest(workdir / "checkpoints" / "60" / "network" / "d"))
    assert load_for_inference(workdir, step="latest").step == 50
    assert "checkpoints/60 is damaged" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"can be used \(tried: 60\)"):
        load_for_inference(workdir, step=60)
    assert 60 in steps(workdir)  # reading moves nothing


def test_inference_gives_the_average_and_what_it_was_trained_on(straight, config_path):
    found = load_for_inference(straight, step=60)
    assert found.aus == tiny.AUS and found.emotions == tiny.EMOTIONS
    assert found.experiment == configs.load(config_path)
    digests = tiny.digests(straight, 60)
    path = "stem/kernel"
    digest = checkpoint._describe(path, found.params["stem"]["kernel"])["sha256"]
    assert digest == digests[f"ema/params/{path}"] != digests[f"params/{path}"]


@pytest.mark.parametrize(
    ("step", "words"), [(7, "holds no checkpoint of step 7; it holds"), (None, "train into it")]
)
def test_a_checkpoint_that_is_not_there_is_named(straight, tmp_path, step, words):
    with pytest.raises(UserError, match=words):
        load_for_inference(straight if step else tmp_path, step=step)


def test_another_network_is_refused_with_the_difference(copy_of, config_path, capsys):
    workdir = copy_of()
    arguments = ["train", str(config_path), "--workdir", str(workdir), "--model.width", "2"]
    before = steps(workdir)
    assert cli.main(arguments) == 2
    assert "model.width: 1.0 -> 2.0" in capsys.readouterr().err
    assert cli.main([*arguments, "--accept-changes"]) == 2
    said = capsys.readouterr().err
    assert "another network or optimiser (model tiny)" in said and "[16" in said and "[32" in said
    assert steps(workdir) == before


def tree(value: float, step: int) -> dict:
    return {
        "step": jnp.int32(step),
        "skipped": jnp.int32(0),
        "skipped_in_row": jnp.int32(0),
        "params": {"kernel": jnp.full((3, 2), value), "half": jnp.full(3, value, jnp.bfloat16)},
        "stats": {},
        "ema": {},
        "opt_state": (),
    }


MANIFEST = {
    "experiment": {
        "checkpoint": {"metric": "m", "mode": "max"},
        "data": {"validation_split": "validation"},
        "model": {"name": "tiny"},
    }
}


def save_all(folder, values, **config):
    settings = {"metric": "m", "latest": 2, "best": 1, **config}
    checkpoints = Checkpoints(folder, CheckpointConfig(**settings))
    for step, metric in enumerate(values, start=1):
        metrics = None if metric is None else {"m": metric}
        checkpoints.save(tree(float(step), step), MANIFEST, metrics)
    checkpoints.wait()
    checkpoints.close()


@pytest.mark.parametrize(
    ("values", "config", "kept"),
    [
        ([0.9, 0.8, 0.1, 0.05], {}, [1, 3, 4]),
        ([0.1, float("nan"), 0.3, 0.2, 0.1], {}, [3, 4, 5]),  # a NaN would rank as best
        ([0.5, None, None, None], {}, [1, 3, 4]),
        ([0.1, 0.9, 0.8, 0.7], {"mode": "min"}, [1, 3, 4]),
        ([None, None, None], {}, [2, 3]),
    ],
)
def test_what_is_kept(tmp_path, values, config, kept):
    save_all(tmp_path, values, **config)
    assert steps(tmp_path) == kept


def test_what_comes_back_is_what_was_saved_bit_for_bit(tmp_path):
    save_all(tmp_path, [0.1])
    sharding = meshes.replicated(meshes.create())
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree(0.0, 0)
    )
    state, manifest = Checkpoints(tmp_path, CheckpointConfig()).restore(abstract)
    assert jax.tree.all(jax.tree.map(np.array_equal, state, tree(1.0, 1)))
    assert state["params"]["half"].dtype == jnp.bfloat16 and manifest["metrics"] == {"m": 0.1}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_state_that_is_not_finite_is_never_written(tmp_path, bad):
    checkpoints = Checkpoints(tmp_path, CheckpointConfig())
    with pytest.raises(NonFiniteStateError, match="params/"):
        checkpoints.save(tree(bad, 1), MANIFEST, None)
    assert not (tmp_path / "checkpoints").exists()


def test_saving_copies_before_the_arrays_are_given_away(tmp_path):
    """The write goes on while later steps overwrite the donated buffers."""
    move = jax.jit(
        lambda s: {**s, "params": jax.tree.map(lambda x: -x, s["params"])}, donate_argnums=0
    )
    state = tree(3.0, 1)
    state["params"]["kernel"] = jnp.full((512, 1024), 3.0)
    checkpoints = Checkpoints(tmp_path, CheckpointConfig())
    checkpoints.save(state, MANIFEST, None)
    for _ in range(5):
        state = move(state)
    checkpoints.wait()
    checkpoints.close()
    folder = tmp_path / "checkpoints" / "1"
    network, _ = trained.restore_network(folder)  # compares the digests
    assert (network["params"]["kernel"] == 3.0).all()


def test_a_manifest_is_that_of_the_moment_of_saving():
    """The loop's clock and sums go on while Orbax writes the manifest in the background."""
    seconds = {"step": 1.0}
    sealed = checkpoint._sealed({**MANIFEST, "host": {"seconds": seconds}})
    seconds["step"] = 2.0
    assert sealed["host"]["seconds"] == {"step": 1.0}
    assert sealed == checkpoint._sealed({k: v for k, v in sealed.items() if k != "sha256"})


def test_thresholds_are_found_for_their_step(copy_of):
    workdir = copy_of()
    assert load_for_inference(workdir, step=60).thresholds is None
    path = trained.thresholds_path(workdir, load_for_inference(workdir, step=60).manifest)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"1": 0.3}))
    assert load_for_inference(workdir, step=60).thresholds == {"1": 0.3}


@pytest.mark.parametrize(("best", "kept"), [(0, [4]), (1, [1, 4]), (2, [1, 2, 4])])
def test_latest_1_keeps_the_newest_beside_the_best(tmp_path, best, kept):
    save_all(tmp_path, [0.9, 0.8, None, float("nan")], latest=1, best=best)
    assert steps(tmp_path) == kept


@pytest.fixture
def broken(monkeypatch):
    """A function that makes the next calls of a method of Orbax raise."""

    def breaks(name: str, *errors: Exception) -> None:
        left, whole = list(errors), getattr(checkpoint.ocp.CheckpointManager, name)

        def method(self, *passed, **named):
            if left:
                raise left.pop(0)
            return whole(self, *passed, **named)

        monkeypatch.setattr(checkpoint.ocp.CheckpointManager, name, method)

    monkeypatch.setattr(checkpoint.retrying.__globals__["time"], "sleep", lambda _: None)
    return breaks


def test_a_save_that_cannot_begin_is_tried_again(tmp_path, broken, capsys):
    broken("save", OSError(errno.EIO, "no"), TimeoutError("late"))
    save_all(tmp_path, [0.1, 0.2])
    assert steps(tmp_path) == [1, 2]
    assert capsys.readouterr().err.count("saving step 1: ") == 2


def test_a_save_that_fails_in_the_background_is_made_good_by_the_next(tmp_path, broken, capsys):
    checkpoints = Checkpoints(tmp_path, CheckpointConfig(metric="m"))
    checkpoints.save(tree(1.0, 1), MANIFEST, None)
    checkpoints._manager.wait_until_finished()
    broken("wait_until_finished", OSError(errno.ESTALE, "Stale file handle"))
    assert not checkpoints.due_again()  # told, and to be asked again a little later
    checkpoints._again_at = 0.0
    assert checkpoints.due_again()
    checkpoints.save(tree(2.0, 2), MANIFEST, None)
    checkpoints.wait()
    assert not checkpoints.due_again()
    checkpoints.close()
    assert steps(tmp_path)[-1] == 2
    assert "Stale file handle); the next save makes it good" in capsys.readouterr().err


def test_the_last_save_is_done_again(tmp_path, broken, capsys):
    checkpoints = Checkpoints(tmp_path, CheckpointConfig(metric="m"))
    checkpoints.save(tree(1.0, 1), MANIFEST, None)
    checkpoints._manager.wait_until_finished()
    shutil.rmtree(tmp_path / "checkpoints" / "1")
    broken("wait_until_finished", OSError(errno.EIO, "Input/output error"))
    checkpoints.wait()
    checkpoints.close()
    assert steps(tmp_path) == [1]
    assert "saving the last step: Input/output error; tried again" in capsys.readouterr().err


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_what_will_not_pass_ends_it_at_once(tmp_path, broken, number, capsys):
    broken("wait_until_finished", *[OSError(number, "no")] * 9)
    with pytest.raises(checkpoint.CannotSaveError, match="could not be written to"):
        save_all(tmp_path, [0.1])
    assert "tried again" not in capsys.readouterr().err
