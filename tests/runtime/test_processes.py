"""How the processes of a run find each other, and what each is told where they do not."""

import contextlib
import socket
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from jaxfacs.errors import UserError
from jaxfacs.runtime import distributed, rendezvous


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def met(*processes: tuple[int, int], address: str = "", timeout_s: float = 20) -> list[str]:
    """What (count, index) of each were told, "" if nothing; process 0 listens until all came."""
    address = address or f"127.0.0.1:{free_port()}"
    told = [""] * len(processes)

    def meet(place: int, count: int, index: int) -> None:
        try:
            rendezvous.meet(address, count, index, timeout_s=timeout_s)
            if index == 0:  # as JAX does then: the others wait for it
                door = socket.create_server((address.rpartition(":")[0], int(address[-5:])))
                doors.append(door)
        except UserError as error:
            told[place] = str(error)

    doors: list[socket.socket] = []
    threads = [
        threading.Thread(target=meet, args=(place, *process))
        for place, process in enumerate(processes)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for door in doors:
        door.close()
    return told


def test_all_meet():
    assert met(*((5, index) for index in range(5))) == [""] * 5


def test_who_does_not_come_is_named_to_all():
    told = met((4, 0), (4, 2), timeout_s=0.5)
    assert told[0] == told[1]
    assert "of 4 processes these did not come" in told[0] and "within 0.5 s: 1, 3;" in told[0]


def test_one_that_came_early_is_not_called_missing():
    """It waits as long as process 0, whose time began later."""
    address, told = f"127.0.0.1:{free_port()}", []

    def come() -> None:
        told.extend(met((3, 2), address=address, timeout_s=1))

    early = threading.Thread(target=come)
    early.start()
    time.sleep(0.5)
    told.extend(met((3, 0), address=address, timeout_s=1))
    early.join()
    assert len(told) == 2 and all("within 1 s: 1;" in line for line in told), told


def test_nobody_answers():
    (told,) = met((2, 1), timeout_s=0.3)
    assert "process 0 of the run does not answer" in told and "Connection refused" in told
    (told,) = met((2, 1), address="nowhere.invalid:4000", timeout_s=0.3)
    assert "nowhere.invalid:4000" in told


def test_counts_that_differ_and_numbers_given_twice_are_told():
    told = met((2, 0), (3, 2))
    assert told[0] == "process 2 was told of 3 processes, process 0 of 2; give all the same number"
    assert "process 2 was told of 3 processes, process 0 of 2" in told[1]
    told = met((3, 0), (3, 1), (3, 1), timeout_s=1)
    assert "another process came as number 1" in told[1:]


def test_a_port_in_use_is_told(monkeypatch):
    monkeypatch.setattr(rendezvous, "PORT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (told,) = met((2, 0), address=f"127.0.0.1:{port}")
    assert f"cannot listen on port {port} (Address already in use" in told


def test_strangers_and_those_that_ended_do_not_count():
    port = free_port()
    told: list[str] = []
    waiting = threading.Thread(
        target=lambda: told.extend(met((3, 0), address=f"127.0.0.1:{port}", timeout_s=1.5))
    )
    waiting.start()
    end = time.monotonic() + 20
    for words in (b"GET / HTTP/1.1\r\n\r\n", b"jaxfacs 1 3\n", b"jaxfacs 2 3\n"):
        while time.monotonic() < end:
            try:
                with socket.create_connection(("127.0.0.1", port)) as link:
                    link.sendall(words)
                    link.settimeout(0.2)  # it has been seen by then
                    with contextlib.suppress(TimeoutError):
                        link.recv(100)
                break
            except ConnectionRefusedError:
                time.sleep(0.01)
    waiting.join()
    assert len(told) == 1 and "these did not come" in told[0]


def test_addresses():
    found = [rendezvous.split(text) for text in ("a.b:12", "[::1]:80", "10.0.0.1:65535")]
    assert found == [("a.b", 12), ("::1", 80), ("10.0.0.1", 65535)]
    for wrong in ("a.b", "a.b:", "a.b:0", "a.b:65536", ":80", "x:y"):
        with pytest.raises(UserError, match="give host:port"):
            rendezvous.split(wrong)


SLURM = {"SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_GPUS_ON_NODE": "8"}


@pytest.mark.parametrize(
    ("tasks", "environment", "devices"),
    [
        ("1(x2)", {"SLURM_LOCALID": "0"}, None),  # all of the node's
        ("8(x2)", {}, [1]),
        ("1,2", {}, [4, 5, 6, 7]),
        ("2(x2)", {"CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7"}, [4, 5, 6, 7]),
        ("8(x2)", {"CUDA_VISIBLE_DEVICES": "0"}, None),  # bound by --gpus-per-task=1
        ("2(x2)", {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, None),  # by --gpus-per-task=4
        ("2(x2)", {"JAX_LOCAL_DEVICE_IDS": "0,2"}, None),  # JAX reads it
        ("2(x2)", {"SLURM_GPUS_ON_NODE": "0", "CUDA_VISIBLE_DEVICES": ""}, None),  # on CPUs
    ],
)
def test_a_task_of_slurm_has_its_share_of_the_nodes_gpus(monkeypatch, tasks, environment, devices):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", tasks)
    for name, value in {**SLURM, **environment}.items():
        monkeypatch.setenv(name, value)
    assert distributed._slurm_devices() == devices


def test_gpus_that_do_not_divide_over_the_tasks_are_refused(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name, value in {**SLURM, "SLURM_STEP_TASKS_PER_NODE": "3(x2)"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="8 GPUs of a node do not divide over 3 tasks"):
        distributed._slurm_devices()


def test_no_cluster_for_jax_to_find_is_told(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv(distributed.AUTO, "auto")
    with pytest.raises(UserError, match="JAX finds no cluster here"):
        distributed.initialize()


def test_an_abort_within_jax_ends_with_6():
    """As JAX ends a process whose peer missed its heartbeats; no Python runs any more."""
    script = """
        import os
        from jaxfacs.runtime import lost
        lost.abort_means_lost()
        os.abort()
    """
    finished = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], timeout=120)
    assert finished.returncode == 6
