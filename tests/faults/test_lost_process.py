"""One of two processes is gone or gives up: the other ends soon, with the code that says so."""

import signal
import time

import faulty
import jax
import pytest

from jaxfacs.errors import UserError
from jaxfacs.runtime import lost

HEARTBEAT_S = 10
BOUND_S = HEARTBEAT_S + 20  # JAX looks and tells in steps of seconds; this machine may be busy
SLOW = (
    "--steps 100000 --log-every 1 --evaluation.every 0 --checkpoint.every 100000 "
    "--data.batch-size 6"
).split()


def train(config_path, workdir) -> list:
    return ["train", config_path, "--workdir", workdir]


PHASES = (
    "start:1:kill",
    "compile:1:kill",
    "step:8:kill",
    "evaluation:1:kill",
    "checkpoint:2:kill",
    "save:2:kill",
    "save:2:kill+0.01",  # in the background
)


@pytest.mark.long
@pytest.mark.parametrize("gone", [0, 1])
@pytest.mark.parametrize("fault", PHASES)
def test_killed_in_any_phase_the_other_ends_with_6(
    fault, gone, config_path, together, tmp_path, cached
):
    """And the same command ends as the run of two that nobody disturbed."""
    arguments = train(config_path, tmp_path)
    found = faulty.ends(faulty.several(2, fault, *arguments, faulty=gone, **cached))
    assert found[gone][0] == 137 and found[1 - gone][0] == lost.EXIT_CODE, found
    assert "Traceback" not in found[1 - gone][1]
    found = faulty.ends(faulty.several(2, "", *arguments, **cached))
    assert [code for code, _ in found] == [0, 0], found
    faulty.assert_ends_as(together, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("gone", [0, 1])
def test_the_others_end_within_the_heartbeats_bound(number, gone, config_path, tmp_path, cached):
    """Of three. SIGSTOP is a machine without power: its connections stay open and say nothing."""
    processes = faulty.several(3, "", *train(config_path, tmp_path), *SLOW, **cached)
    try:
        wait_for_step(processes, tmp_path, 5)
        processes[gone].send_signal(number)
        start = time.monotonic()
        for index, process in enumerate(processes):
            if index != gone:
                code, said = faulty.finish(process, BOUND_S)
                print(f"{number.name} of {gone}: {index} after {time.monotonic() - start:.1f} s")
                assert code == lost.EXIT_CODE, said
    finally:
        for process in processes:
            process.kill()


def wait_for_step(processes, workdir, step: int, timeout: float = 120) -> None:
    end = time.monotonic() + timeout
    path = workdir / "metrics.jsonl"
    while not (path.exists() and f'"step": {step},' in path.read_text()):
        assert time.monotonic() < end, f"step {step} was not reached"
        assert all(process.poll() is None for process in processes)
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("fault", "code", "others"),
    [
        ("data:9:refuse", 2, 2),
        pytest.param("start:1:refuse", 2, 2, marks=pytest.mark.long),
        pytest.param("step:9:raise", 1, 6, marks=pytest.mark.long),
    ],
)
def test_one_that_gives_up_ends_the_other_at_once(
    fault, code, others, config_path, tmp_path, cached
):
    """Not after the minutes that JAX would wait at exit for the other."""
    processes = faulty.several(2, fault, *train(config_path, tmp_path), faulty=1, **cached)
    (first, heard), (second, said) = faulty.ends(processes)
    assert (second, first) == (code, others), (said, heard)
    if code == 2:
        line = "jaxfacs train: a refusal of the tests"
        assert said.splitlines()[-1] == heard.splitlines()[-1] == line
        assert "Traceback" not in said + heard
    else:
        assert "RuntimeError: a fault of the tests" in said
        assert "process 1 of this run ended with code 1 (jaxfacs train: RuntimeError)" in heard


@pytest.mark.long
def test_one_that_never_comes_is_one_line_and_code_2_on_every_process(config_path, tmp_path):
    """Of three, the second is not started."""
    wait = {"JAXFACS_START_TIMEOUT_S": "25"}
    arguments = train(config_path, tmp_path)
    first, second, third = faulty.several(3, "", *arguments, **wait)
    second.kill()
    second.communicate()
    for code, said in faulty.ends([first, third]):
        assert code == 2 and said.count("\n") == 1, said
        assert said.startswith("jaxfacs train: of 3 processes these did not come to 127.0.0.1:")
        assert "within 25 s: 1;" in said


GLOO = "UNKNOWN: Gloo all-reduce failed: [gloo/transport/tcp/pair.cc:547] Connection closed by peer"
NCCL = "INTERNAL: NCCL operation ncclGroupEnd() failed: remote process exited or network error"


@pytest.mark.parametrize(
    ("text", "is_loss"),
    [
        (GLOO, True),
        (NCCL, True),
        ("UNAVAILABLE: failed to connect to all addresses; Connection refused", True),
        ("RESOURCE_EXHAUSTED: Out of memory while trying to allocate for NCCL", False),
        ("INVALID_ARGUMENT: all-reduce of operands that differ; connection of ...", False),
        ("INTERNAL: CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access", False),
    ],
)
def test_what_counts_as_a_lost_process(text, is_loss):
    error = jax.errors.JaxRuntimeError(text)
    assert lost.is_loss(error) is is_loss
    wrapped = UserError("a checkpoint could not be written")
    wrapped.__cause__ = error
    assert lost.is_loss(wrapped) is is_loss
    assert not lost.is_loss(RuntimeError(text))


def test_storage_that_is_not_reached_is_no_lost_process():
    assert lost.is_loss(ValueError(GLOO))  # what jit raises of a program it begins
    assert not lost.is_loss(ValueError("UNAVAILABLE: CURL error[52]: connection reset by peer"))
    assert not lost.is_loss(UserError("Gloo is a place of connections"))


def test_a_run_of_one_process_raises_as_ever():
    with pytest.raises(UserError, match="as it is"), lost.ending_all("jaxfacs train"):
        raise UserError("as it is")
