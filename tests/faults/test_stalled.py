"""What never ends: the watchdog names it, prints every thread's stack, and the run can go on."""

import json

import faulty
import pytest

from jaxfacs import cli


@pytest.mark.long
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("reader:7:stall", "waiting for a batch for"),
        ("reader:1:stall", "waiting for a batch for"),
        ("validation:1:stall", "no batch of the evaluation"),
        ("save:2:stall", "the save did not end for"),
    ],
)
def test_what_hangs_is_named_and_ends_with_4(fault, words, config_path, straight, tmp_path):
    train = ["train", config_path, "--workdir", tmp_path]
    code, said = faulty.finish(faulty.start(fault, *train, "--watchdog-s", 3))
    assert code == 4, said
    (line,) = (line for line in said.splitlines() if "stacks of all threads follow" in line)
    assert line.startswith(words) and line.endswith("then exit code 4")
    assert ("after step" in line) == (not fault.startswith("reader:1:"))
    # The thread that stands still, and another.
    assert "faulty.py" in said and "in _watch" in said
    told = json.loads((tmp_path / "heartbeat" / "process-0.json").read_text())
    phase = {"reader": "data", "validation": "evaluation", "save": "checkpoint"}
    assert told["phase"] == phase[fault.partition(":")[0]]
    assert cli.main([str(word) for word in train]) == 0
    faulty.assert_ends_as(straight, tmp_path)
