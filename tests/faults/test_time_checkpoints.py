"""Checkpoints by time, and what a failing reader leaves: no step that was done is lost.

Checkpoints by time are decided by the first process, made by all at one step, and change nothing
in what is learned.
"""

import re
from functools import partial

import faulty
import pytest
import tiny

from jaxfacs import cli
from jaxfacs.errors import UserError
from jaxfacs.runtime import metrics
from jaxfacs.runtime.clock import Interval
from jaxfacs.runtime.exchange import Rounds
from jaxfacs.train import checkpoint, setup


@pytest.fixture
def saved_steps(monkeypatch):
    """The steps at which a run in this process saves."""
    steps, save = [], checkpoint.Checkpoints.save

    def saving(self, state, *rest):
        steps.append(int(state["step"]))
        return save(self, state, *rest)

    monkeypatch.setattr(checkpoint.Checkpoints, "save", saving)
    return steps


@pytest.fixture
def four_seconds_a_step(monkeypatch):
    """A clock that goes by the steps done, for the time between checkpoints."""
    at, after = [0.0], Rounds.after

    def stepping(self, step):
        at[0] += 4.0
        return after(self, step)

    monkeypatch.setattr(Rounds, "after", stepping)
    monkeypatch.setattr(setup, "Interval", partial(Interval, now=lambda: at[0]))


def train(config_path, workdir, *more):
    return ["train", str(config_path), "--workdir", str(workdir), *more]


def test_saves_by_time_come_between_the_others_and_change_nothing(
    config_path, straight, tmp_path, saved_steps, four_seconds_a_step
):
    half_a_minute = ["--checkpoint.every", "1000", "--checkpoint.every-minutes", "0.5"]
    assert cli.main(train(config_path, tmp_path, *half_a_minute)) == 0
    # Asked in steps 3, 7, 11 ...: step 11 ends at second 44. Evaluations, at 20, 40 and 60, are
    # saved too, and half a minute is counted from the last save of either kind.
    assert saved_steps == [12, 20, 32, 40, 52, 60]
    faulty.assert_ends_as(straight, tmp_path)


def failing_batches(monkeypatch, error, *, at):
    batches = setup.train_batches

    def failing(*passed, start_step, **named):
        for step, batch in enumerate(batches(*passed, start_step=start_step, **named), start_step):
            if step == at:
                raise error
            yield batch

    monkeypatch.setattr(setup, "train_batches", failing)


def test_a_reader_that_fails_costs_no_steps(config_path, straight, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patched:
        failing_batches(patched, UserError("shard 3 is damaged; build it again"), at=27)
        assert cli.main(train(config_path, tmp_path)) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-2] == "reading failed after step 27, which is saved"
    assert said[-1] == "jaxfacs train: shard 3 is damaged; build it again"
    assert cli.main(train(config_path, tmp_path)) == 0
    assert "resumed from the checkpoint of step 27\n" in capsys.readouterr().err
    faulty.assert_ends_as(straight, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize(("fault", "saved"), [("data:9:raise", 8), ("evaluation:2:raise", 40)])
def test_an_error_nobody_foresaw_keeps_its_traceback(fault, saved, config_path, straight, tmp_path):
    code, said = faulty.finish(faulty.start(fault, *train(config_path, tmp_path)))
    assert code == 1 and "RuntimeError: a fault of the tests" in said, said
    assert f"reading failed after step {saved}, which is saved" in said
    assert (tmp_path / "checkpoints" / str(saved)).is_dir()
    assert cli.main(train(config_path, tmp_path)) == 0
    faulty.assert_ends_as(straight, tmp_path)


@pytest.mark.long
def test_killed_between_saves_by_time_it_goes_on_from_the_last(config_path, tmp_path):
    """On the real clock, which decides where: only that the ends are the same is known before."""
    long = ["--steps", "400", "--checkpoint.every", "100000", "--evaluation.every", "0"]
    assert cli.main(train(config_path, tmp_path / "straight", *long)) == 0
    often = [*train(config_path, tmp_path / "killed", *long), "--checkpoint.every-minutes", "0.002"]
    code, said = faulty.finish(faulty.start("step:300:kill", *often))
    assert code == 137, said
    code, said = faulty.finish(faulty.start("", *often))
    assert code == 0, said
    (step,) = map(int, re.findall(r"resumed from the checkpoint of step (\d+)", said))
    assert 0 < step < 300 and step % 4 == 0  # log_every
    faulty.assert_ends_as(tmp_path / "straight", tmp_path / "killed", 400)


@pytest.mark.long
def test_two_processes_save_by_time_at_the_same_steps(config_path, tmp_path):
    long = ["--steps", "240", "--checkpoint.every", "100000", "--evaluation.every", "0"]
    ends = {}
    for name, minutes in (("straight", "0"), ("often", "0.02")):
        workdir = tmp_path / name
        more = ["--checkpoint.every-minutes", minutes, "--checkpoint.latest", "1000"]
        processes = faulty.several(2, "", *train(config_path, workdir, *long, *more))
        for code, said in [faulty.finish(process, 240) for process in processes]:
            assert code == 0, said
        found = sorted(int(p.name) for p in (workdir / "checkpoints").iterdir())
        ends[name] = found, tiny.digests(workdir, 240), tiny.lines(workdir)
    assert ends["straight"][0] == [240] and len(ends["often"][0]) > 2
    assert all(step % 4 == 0 for step in ends["often"][0])
    assert ends["often"][1:] == ends["straight"][1:]


@pytest.mark.long
def test_a_process_whose_reader_is_slow_is_named_by_the_first(config_path, tmp_path):
    """Each batch of the second takes half a second longer; the first waits in its steps.

    Two devices each, on a mesh of two axes: rows of the exchange are found by process.
    """
    arguments = ["--steps", "24", "--evaluation.every", "0", "--mesh.nodes", "2"]
    arguments = train(config_path, tmp_path, *arguments)
    processes = faulty.several(2, "reader:0:nap", *arguments, faulty=1, JAX_NUM_CPU_DEVICES="2")
    (code, said), (other, _) = map(faulty.finish, processes)
    assert (code, other) == (0, 0), said
    assert said.count("every step waits for process 1, which waits for its data") == 1
    rows = metrics.read(tmp_path / "metrics.jsonl", "train")[2:]
    assert all(row["data_wait_process"] == 1 for row in rows)
    assert all(row["data_wait_max"] > max(0.3, row["data_wait"]) for row in rows)
