"""Signals, clocks and metric files, with real signals."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from jaxfacs.errors import UserError
from jaxfacs.runtime import distributed, metrics
from jaxfacs.runtime.clock import Clock
from jaxfacs.runtime.metrics import MetricWriter
from jaxfacs.runtime.preemption import Preemption


def everything(row) -> bool:
    return bool(row)


def test_lines_are_appended_and_not_a_number_is_null(tmp_path):
    writer = MetricWriter(tmp_path, keep=everything)
    writer.write(1, "train", {"loss": 0.5})
    writer.write(2, "skipped", {"loss": float("nan")})
    writer.close()
    assert metrics.read(tmp_path / "metrics.jsonl") == [
        {"step": 1, "kind": "train", "loss": 0.5},
        {"step": 2, "kind": "skipped", "loss": None},
    ]


def test_a_resumed_file_drops_later_and_torn_lines(tmp_path):
    path = tmp_path / "metrics.jsonl"
    rows = [{"step": s, "kind": "train", "loss": 1 / s} for s in (1, 2, 3, 4)]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows) + '{"step": 5, "kin')
    writer = MetricWriter(tmp_path, keep=lambda row: row["step"] <= 2)
    writer.write(3, "train", {"loss": 0.0})
    writer.close()
    assert metrics.read(path) == [*rows[:2], {"step": 3, "kind": "train", "loss": 0.0}]


def test_bytes_that_are_no_text_do_not_stop_a_resume(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b'\xff\xfe\x00\n{"step": 1, "kind": "train"}\n[1]\n')
    MetricWriter(tmp_path, keep=lambda row: row["step"] <= 2).close()
    assert metrics.read(tmp_path / "metrics.jsonl") == [{"step": 1, "kind": "train"}]


def test_processes_but_the_first_write_nothing(tmp_path):
    writer = MetricWriter(tmp_path, keep=everything, active=False)
    writer.write(1, "train", {"loss": 0.5})
    writer.sync()
    writer.close()
    assert not list(tmp_path.iterdir())


def test_tensorboard_reads_what_was_written(tmp_path):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto import event_pb2

    writer = MetricWriter(tmp_path, keep=everything)
    writer.write(7, "train", {"loss": 0.25, "bad": float("nan")})
    writer.close()
    (path,) = tmp_path.glob("events.out.tfevents.*")
    data, found = path.read_bytes(), []
    while data:  # length 8, its checksum 4, the event, its checksum 4
        size = int.from_bytes(data[:8], "little")
        found.append(event_pb2.Event.FromString(data[12 : 12 + size]))
        data = data[16 + size :]
    (value,) = found[-1].summary.value
    assert (found[-1].step, value.tag, value.simple_value) == (7, "train/loss", 0.25)


def test_the_clock_adds_up_over_restarts():
    clock = Clock({"step": 2.0})
    with clock("step"):
        time.sleep(0.02)
    with clock("data"):
        pass
    assert clock.seconds["step"] >= 2.02
    assert clock.summary().startswith("step 2.0 s (")


def run_python(code: str, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_sigterm_is_an_answer_not_a_death():
    signals = Preemption()
    try:
        assert not signals.requested()
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.requested() and signals.requested()
    finally:
        signals.close()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_second_ctrl_c_interrupts():
    signals = Preemption()
    try:
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.requested()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    finally:
        signals.close()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (("nowhere", "2", "0"), "give host:port"),
        (("127.0.0.1:5", "", "0"), "JAXFACS_PROCESS_COUNT is ''"),
        (("127.0.0.1:5", "2", "x"), "JAXFACS_PROCESS_INDEX is 'x'"),
        (("127.0.0.1:5", "2", "2"), "count processes from 0"),
    ],
)
def test_a_wrong_environment_is_named(monkeypatch, values, words):
    names = (distributed.COORDINATOR, distributed.COUNT, distributed.INDEX)
    for name, value in zip(names, values, strict=True):
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=words):
        distributed.initialize()


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")
def test_alone_opens_no_socket():
    process = run_python("""
        import os
        import jax
        from jaxfacs.runtime import distributed
        distributed.initialize()
        links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
        held = [os.readlink(link) for link in links if os.path.islink(link)]
        print(jax.process_count(), jax.device_count() > 0, sum("socket" in h for h in held))
    """)
    out, said = process.communicate(timeout=60)
    assert out.split() == ["1", "True", "0"], said
