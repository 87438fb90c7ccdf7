"""launch/local.sh with a stand-in for Python: which codes start all processes again."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "launch" / "local.sh"

# Process 0 says which start this is and ends with that start's code; "+N": with 137, after a
# checkpoint of step N; "wait": when asked to stop. The other one ends with it, or, where that was a
# failure, when asked to.
STUB = """\
#!/usr/bin/env bash
[[ $1 != -c ]] || exec python3 "$@"
trap 'exit 75' TERM
told="$STUB/$JAXFACS_COORDINATOR" # another one with each start
if ((JAXFACS_PROCESS_INDEX)); then
  until [[ -s $told ]]; do sleep 0.05; done
  code=$(cat "$told")
else
  echo "$*" >>"$STUB/calls"
  start=$(wc -l <"$STUB/calls")
  echo "start $start"
  codes=($STUB_CODES)
  code=${codes[start - 1]:-0}
  if [[ $code == +* ]]; then mkdir -p "$STUB/run/checkpoints/${code#+}"; code=137; fi
  echo "$code" >"$told"
fi
case $JAXFACS_PROCESS_INDEX$code in *wait | 1137 | 14) while :; do sleep 0.05; done ;; esac
exit "$code"
"""


@pytest.fixture
def launch(tmp_path):
    stub = tmp_path / "stub.sh"
    stub.write_text(STUB)
    stub.chmod(0o755)

    def start(codes: str, **environment: str) -> subprocess.Popen:
        return subprocess.Popen(
            [SCRIPT, "2", "config.py", "--workdir", str(tmp_path / "run"), "--steps", "9"],
            env={
                **os.environ,
                "PYTHON": str(stub),
                "STUB": str(tmp_path),
                "STUB_CODES": codes,
                **environment,
            },
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def long(*values):
    return pytest.param(*values, marks=pytest.mark.long)


@pytest.mark.parametrize(
    ("codes", "failures", "code", "starts", "words"),
    [
        ("137 4 0", "3", 0, 3, "code 4: all processes start again, from checkpoint none"),
        ("+10 137 +20 0", "2", 137, 2, "failed 2 times from checkpoint 10; given up"),
        ("2 0", "3", 2, 1, "process 0 ended with code 2"),
        long("137 137 137", "3", 137, 3, "failed 3 times from checkpoint none; given up"),
        long("+10 +20 +30 0", "2", 0, 4, "code 137: all processes start again, from checkpoint 30"),
        long("137 0", "1", 137, 1, "process 0 ended with code 137"),
        long("3 0", "3", 3, 1, "process 0 ended with code 3"),
        long("75 0", "3", 75, 1, ""),
        long("0", "3", 0, 1, ""),
    ],
)
def test_what_each_exit_code_leads_to(launch, tmp_path, codes, failures, code, starts, words):
    process = launch(codes, JAXFACS_FAILURES=failures)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == code, said
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls == [f"-m jaxfacs train config.py --workdir {tmp_path}/run --steps 9"] * starts
    log = (tmp_path / "run" / "logs" / "process-0.log").read_text()
    assert log.split() == " ".join(f"start {n + 1}" for n in range(starts)).split()
    assert words in said and said.count("start 1\n") == 1  # the log is shown, and shown once


def test_by_itself_it_starts_nothing_again(launch, tmp_path):
    assert launch("4 0").wait(timeout=60) == 4
    assert (tmp_path / "calls").read_text().count("\n") == 1


def test_a_signal_ends_all_and_nothing_starts_again(launch, tmp_path):
    process = launch("137 wait", JAXFACS_FAILURES="3")
    end = time.monotonic() + 60
    log = tmp_path / "run" / "logs" / "process-0.log"
    while not log.exists() or "start 2" not in log.read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 75, said
    assert (tmp_path / "calls").read_text().count("\n") == 2
