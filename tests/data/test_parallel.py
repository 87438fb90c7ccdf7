import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxfacs.data.parallel import ordered_map
from jaxfacs.errors import UserError


def slow_square(n: int) -> int:
    time.sleep(0.02 * (n % 3))
    return n * n


def die_at_three(n: int) -> int:
    if n == 3:
        os.kill(os.getpid(), 9)
    return n


def fail_at_three(n: int) -> int:
    if n == 3:
        raise UserError("three is bad")
    return n


def threads_of_blas(_: int) -> str | None:
    return os.environ.get("OPENBLAS_NUM_THREADS")


def test_answers_come_in_order():
    assert list(ordered_map(slow_square, range(20), workers=2)) == [n * n for n in range(20)]


def test_questions_are_not_drawn_far_ahead():
    drawn = []

    def questions():
        for n in range(100):
            drawn.append(n)
            yield n

    answers = ordered_map(slow_square, questions(), workers=2)
    next(answers)
    assert len(drawn) <= 6
    answers.close()


def test_an_error_comes_through():
    with pytest.raises(UserError, match="three is bad"):
        list(ordered_map(fail_at_three, range(6), workers=2))


def test_a_killed_worker_is_an_error_and_no_hang():
    with pytest.raises(UserError, match="a worker process died"):
        list(ordered_map(die_at_three, range(6), workers=2))


def test_each_process_computes_with_one_thread_and_ours_is_left_alone():
    before = os.environ.get("OPENBLAS_NUM_THREADS")
    assert list(ordered_map(threads_of_blas, [0], workers=1)) == ["1"]
    assert os.environ.get("OPENBLAS_NUM_THREADS") == before


def test_workers_leave_when_their_parent_is_killed(tmp_path):
    program = tmp_path / "parent.py"
    program.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import os, time\n"
        "from test_parallel import report_and_wait\n"
        "from jaxfacs.data.parallel import ordered_map\n"
        "if __name__ == '__main__':\n"
        f"    list(ordered_map(report_and_wait, [{str(tmp_path)!r}] * 2, workers=2))\n"
    )
    parent = subprocess.Popen([sys.executable, program], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(pids := list(tmp_path.glob("pid-*"))) < 2:
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    while any(Path(f"/proc/{p.name[4:]}/stat").exists() and not zombie(p.name[4:]) for p in pids):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.05)


def zombie(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def report_and_wait(folder: str) -> None:
    Path(folder, f"pid-{os.getpid()}").touch()
    time.sleep(120)
