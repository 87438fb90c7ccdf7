"""The time of day may be wrong and jump: nothing is decided by it."""

import time

import faulty
import pytest
import tiny

from jaxfacs import cli


def test_a_clock_that_is_wrong_and_jumps_changes_nothing(
    config_path, straight, tmp_path, monkeypatch
):
    monkeypatch.setattr(time, "time", time.time)  # given back at the end
    monkeypatch.setattr(time, "time_ns", time.time_ns)
    faulty.skew()
    assert abs(time.time() - time.clock_gettime(time.CLOCK_REALTIME)) > 3000
    assert cli.main(["train", str(config_path), "--workdir", str(tmp_path)]) == 0
    faulty.assert_ends_as(straight, tmp_path)


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
