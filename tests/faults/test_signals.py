"""SIGTERM and kill -9 in every phase; the same command then ends as the run nobody disturbed."""

import faulty
import pytest

from jaxfacs import cli

PHASES = ("start:1", "compile:1", "step:5", "evaluation:1", "checkpoint:2", "data:7")


@pytest.mark.parametrize(
    "phase", [PHASES[3], *(pytest.param(p, marks=pytest.mark.long) for p in PHASES)]
)
def test_sigterm(phase, config_path, straight, tmp_path):
    train = ["train", config_path, "--workdir", tmp_path]
    code, said = faulty.finish(faulty.start(f"{phase}:term", *train))
    assert code == 75 and "Traceback" not in said, said
    assert cli.main([str(word) for word in train]) == 0
    faulty.assert_ends_as(straight, tmp_path)
