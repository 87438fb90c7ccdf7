"""The time of day may be wrong and jump: nothing is decided by it."""

import time

import faulty
import pytest
import tiny

from jaxfacs import cli
from jaxfacs.runtime import metrics
from jaxfacs.train import checkpoint


def test_a_clock_that_is_wrong_and_jumps_changes_nothing(
    config_path, straight, tmp_path, monkeypatch
):
    monkeypatch.setattr(time, "time", time.time)  # given back at the end
    monkeypatch.setattr(time, "time_ns", time.time_ns)
    saved, save = [], checkpoint.Checkpoints.save
    monkeypatch.setattr(
        checkpoint.Checkpoints,
        "save",
        lambda self, state, *rest: (saved.append(int(state["step"])), save(self, state, *rest))[1],
    )
    faulty.skew()
    assert abs(time.time() - time.clock_gettime(time.CLOCK_REALTIME)) > 3000
    start = time.monotonic()
    train = ["train", str(config_path), "--workdir", str(tmp_path)]
    assert cli.main([*train, "--checkpoint.every-minutes", "1"]) == 0
    faulty.assert_ends_as(straight, tmp_path)
    assert saved == [10, 20, 30, 40, 50, 60]  # none by minutes that did not pass
    (seconds,) = metrics.read(tmp_path / "metrics.jsonl", "seconds")
    lived = [value for name, value in seconds.items() if name.endswith("_s")]
    assert min(lived) >= 0 and sum(lived) <= time.monotonic() - start


@pytest.mark.long
@pytest.mark.parametrize("skewed", [0, 1])
def test_one_of_two_processes_lives_at_another_time(skewed, config_path, two, tmp_path):
    train = ["train", config_path, "--workdir", tmp_path]
    run(*train, fault="born:1:skew", faulty_one=skewed)
    faulty.assert_ends_as(two, tmp_path)


@pytest.fixture(scope="module")
def two(config_path, tmp_path_factory):
    """The work directory of a run of two processes that nobody disturbed."""
    workdir = tmp_path_factory.mktemp("two")
    run("train", config_path, "--workdir", workdir)
    assert tiny.lines(workdir)
    return workdir


def run(*train: object, fault: str = "", faulty_one: int = 0) -> None:
    """Two processes of one run that end well."""
    ended = [faulty.finish(p) for p in faulty.several(2, fault, *train, faulty=faulty_one)]
    assert [code for code, _ in ended] == [0, 0], ended
