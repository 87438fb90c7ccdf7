"""A SLURM of two nodes on this machine: real daemons, in a folder of their own, nothing installed.

The nodes are called 127.0.0.1 and 127.0.0.2, because JAX takes the coordinator's address from the
names of a step's nodes and names that are addresses need no line in /etc/hosts. Each claims to
have two GPUs (/dev/zero and /dev/full): nothing opens them, but SLURM hands them out.
"""

import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

TOOLS = "munged slurmctld slurmd sbatch srun scontrol squeue sinfo scancel".split()
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")
NODES = ("127.0.0.1", "127.0.0.2")

# Without cgroups, accounting or a database. SelectTypeParameters=CR_CPU: GPUs need cons_tres.
CONF = """\
ClusterName=tiny
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1
KillWait=20
GresTypes=gpu
NodeName=127.0.0.1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=8 Gres=gpu:2
NodeName=127.0.0.2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=8 Gres=gpu:2
PartitionName=tiny Nodes=ALL Default=YES MaxTime=60 OverSubscribe=NO State=UP
"""
GRES = "AutoDetect=off\nName=gpu File=/dev/zero\nName=gpu File=/dev/full\n"


def find(tool: str) -> str | None:
    """A tool's path; Debian keeps the daemons in /usr/sbin, which a user's PATH may lack."""
    return shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def missing() -> list[str]:
    return [tool for tool in TOOLS if find(tool) is None]


def marks() -> list:
    """Of a test module that needs a SLURM: one at a time, and skipped, saying so, without it."""
    import pytest

    lacking = missing()
    reason = f"no {', '.join(lacking)} here: apt-get install slurmctld slurmd slurm-client munge"
    return [
        pytest.mark.slow,
        pytest.mark.xdist_group("slurm"),
        pytest.mark.skipif(bool(lacking), reason=reason),
    ]


class Cluster:
    """Started by `start`, ended by `stop`; ends only the processes that it started."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons: list[subprocess.Popen] = []

    def start(self) -> None:
        host = socket.gethostname().partition(".")[0]
        text = CONF.format(host=host, user=getpass.getuser(), folder=self.folder, ports=_ports(3))
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "gres.conf").write_text(GRES)
        (self.folder / "cgroup.conf").touch()
        (self.folder / "state").mkdir()
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        files = (
            ("socket", "socket"),
            ("key-file", "key"),
            ("pid-file", "pid"),
            ("seed-file", "seed"),
        )
        named = [f"--{option}={self.folder}/munge.{end}" for option, end in files]
        # --force: pytest's folders may not be entered by others, which munged otherwise refuses.
        self._daemon("munged", "--foreground", "--force", *named)
        self._until(lambda: (self.folder / "munge.socket").exists(), "munged did not start")
        self._daemon("slurmctld", "-D")
        for node in NODES:
            self._daemon("slurmd", "-D", "-N", node)
        self._until(
            lambda: self.call("sinfo", "--noheader", "--format=%T %D").split() == ["idle", "2"],
            "the nodes did not become idle",
        )

    def stop(self) -> None:
        self.run("scancel", "--user", getpass.getuser())
        with contextlib.suppress(RuntimeError):
            self._until(lambda: not self.call("squeue", "--noheader"), "jobs are left")
        for daemon in reversed(self._daemons):  # munged last: the others still need it
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(timeout=15)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def run(self, tool: str, *words: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [find(tool) or tool, *words],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def call(self, tool: str, *words: str) -> str:
        """What a client says on stdout; "" if it fails, as while the controller starts."""
        finished = self.run(tool, *words)
        return finished.stdout.strip() if finished.returncode == 0 else ""

    def _daemon(self, tool: str, *words: str) -> None:
        with (self.folder / f"{tool}.out").open("a") as out:
            self._daemons.append(
                subprocess.Popen(
                    [find(tool) or tool, *words], env=self.environment, stdout=out, stderr=out
                )
            )

    def _until(self, condition, complaint: str, timeout_s: float = 30) -> None:
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end:
                tails = "\n".join(
                    f"{path.name}: {path.read_text()[-800:]}" for path in self.folder.glob("*.out")
                )
                raise RuntimeError(f"{complaint}\n{tails}")
            time.sleep(0.1)


class Job:
    """A submitted job."""

    def __init__(self, cluster: Cluster, log: Path, *words: str, **environment: str):
        self.cluster, self._log = cluster, log
        submitted = cluster.run("sbatch", "--parsable", f"--output={log}", *words, **environment)
        assert submitted.returncode == 0, submitted.stderr
        self.id = submitted.stdout.strip()

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def facts(self) -> dict[str, str]:
        """JobState, Restarts, ExitCode and so on, as SLURM tells them."""
        told = self.cluster.call("scontrol", "show", "job", self.id)
        return dict(word.split("=", 1) for word in told.split() if "=" in word)

    def wait(self, condition, what: str, timeout_s: float = 90) -> dict[str, str]:
        """The facts once `condition` holds for them."""
        end = time.monotonic() + timeout_s
        while not condition(facts := self.facts()):
            if time.monotonic() > end:
                raise AssertionError(
                    f"{what} not within {timeout_s} s: {facts}\n{self.log[-4000:]}"
                )
            time.sleep(0.2)
        return facts

    def release(self, restarts: int) -> None:
        """Returns once the job was put back and may start; SLURM lets it lie for two minutes."""
        self.wait(lambda facts: int(facts.get("Restarts", 0)) >= restarts, f"restart {restarts}")

        def released(facts: dict[str, str]) -> bool:
            if facts.get("JobState") == "PENDING" and facts.get("Reason") == "BeginTime":
                # A credential counts in seconds: one of the second of the former end is refused.
                time.sleep(2)
                self.cluster.run("scontrol", "update", f"JobId={self.id}", "StartTime=now")
            return facts.get("JobState") in ("RUNNING", *ENDED)

        self.wait(released, "release")

    def end(self, timeout_s: float = 90) -> dict[str, str]:
        return self.wait(
            lambda facts: facts.get("JobState") in ENDED,
            "end",
            timeout_s,
        )


def _ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    found = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return found
