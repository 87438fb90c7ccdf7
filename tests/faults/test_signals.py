"""SIGTERM in every phase ends with 75; the same command ends as the run nobody disturbed."""

import signal
import subprocess
import sys

import faulty
import pytest

from jaxfacs import cli
from jaxfacs.runtime import preemption

# The last three meet a save in the background, and a compilation that has begun.
PHASES = (
    "start:1:term",
    "restore:1:term",
    "compile:1:term",
    "step:5:term",
    "data:7:term",
    "evaluation:1:term",
    "checkpoint:2:term",
    "save:2:term",
    "save:2:term+0.005",
    "save:2:term+0.05",
    "compile:1:term+0.3",
)
SAVED_BEFORE = PHASES[:3] + PHASES[-1:]  # nothing of this start is there to be saved


@pytest.mark.parametrize(
    "fault", [PHASES[5], *(pytest.param(p, marks=pytest.mark.long) for p in PHASES)]
)
def test_sigterm(fault, config_path, straight, tmp_path):
    train = ["train", config_path, "--workdir", tmp_path]
    code, said = faulty.finish(faulty.start(fault, *train))
    assert code == 75 and "Traceback" not in said, said
    if fault in SAVED_BEFORE:
        assert said.splitlines()[-1].startswith("stopped by a signal, nothing unsaved")
    else:
        assert "stopped by a signal after step" in said
    assert cli.main([str(word) for word in train]) == 0
    faulty.assert_ends_as(straight, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("again", ["restore:1:term", "compile:1:term", "step:3:term"])
def test_sigterm_after_a_restart(again, config_path, straight, tmp_path):
    """What the first start saved is neither lost nor changed by the second one's end."""
    train = ["train", config_path, "--workdir", tmp_path]
    for fault in ("step:25:term", again):
        code, said = faulty.finish(faulty.start(fault, *train))
        assert code == 75 and "Traceback" not in said, said
    assert cli.main([str(word) for word in train]) == 0
    faulty.assert_ends_as(straight, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("asked", [0, 1])
@pytest.mark.parametrize("fault", [*PHASES[:2], *PHASES[3:8]])
def test_sigterm_to_one_of_two(fault, asked, config_path, together, tmp_path, cached):
    """Both save after the same step, also where it comes before there is one."""
    train = ["train", config_path, "--workdir", tmp_path]
    found = faulty.ends(faulty.several(2, fault, *train, faulty=asked, **cached))
    assert [code for code, _ in found] == [75, 75], found
    assert "stopped by a signal after step" in found[0][1]
    assert not any("Traceback" in said for _, said in found)
    found = faulty.ends(faulty.several(2, "", *train, **cached))
    assert [code for code, _ in found] == [0, 0], found
    faulty.assert_ends_as(together, tmp_path)


ASKED = "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n"


@pytest.mark.long
def test_sigterm_before_the_processes_have_met(config_path, tmp_path):
    """While the config is read; and while one waits for another that does not come."""
    config = tmp_path / "config.py"
    config.write_text(ASKED + config_path.read_text())
    found = faulty.ends(faulty.several(2, "", "train", config, "--workdir", tmp_path))
    assert [code for code, _ in found] == [75, 75], found
    waiting, other = faulty.several(2, "", "train", config_path, "--workdir", tmp_path)
    other.kill()
    other.communicate()
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(15)  # it has found nobody by then
    waiting.send_signal(signal.SIGTERM)
    code, said = faulty.finish(waiting, 20)
    assert code == 75 and said.count("\n") == 1, said


def test_the_answer_is_there_before_anything_heavy_is_imported():
    script = "import sys, jaxfacs.train.command; print({'jax', 'tyro', 'numpy'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.stdout.strip() == "set()", found.stderr


def test_what_is_unsaved_waits_and_what_was_there_comes_back():
    """In a process of its own: at once outside of the steps, a question within them."""
    script = """
import os, signal
from jaxfacs.runtime import preemption
with preemption.ending_at_once():
    signals = preemption.Preemption()
    signals.hold()
    os.kill(os.getpid(), signal.SIGTERM)
    assert signals.requested()
    signals.close()
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
"""
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert found.returncode == preemption.EXIT_CODE, found.stderr
    with preemption.ending_at_once():
        assert signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, None)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.set_wakeup_fd(-1) == -1
