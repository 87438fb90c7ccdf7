"""One run a work directory: a lock that a crash frees and for which no two clocks must agree.

It is held twice. flock(2) on WORKDIR/.lock, which the kernel gives back however a process ends,
decides between runs of one machine. Between machines flock may mean nothing, and in object storage
there is none: so WORKDIR/lock.json, the lease, names the holder, and a thread counts in it every
RENEW_S seconds. Who finds another's lease watches whether it counts on; one that stands still for
PATIENCE of these intervals is taken over. A holder that finds another's name in it, having slept
through that, ends at once.
"""

import contextlib
import fcntl
import json
import os
import socket
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from jaxfacs.errors import UserError
from jaxfacs.files import one_line, place, remote, replacing, retrying
from jaxfacs.runtime import lost

RENEW_S = 5.0
PATIENCE = 6


class Lock:
    """The lock of one work directory; `take` it, `check` it before each save, `close` it."""

    def __init__(self, workdir: str | Path, *, renew_s: float = RENEW_S):
        self._workdir = place(workdir)
        self._lease = self._workdir / "lock.json"
        self._renew_s = renew_s
        self._file: Any = None  # open while flock holds it
        self._holder = {
            "owner": uuid.uuid4().hex,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S %Z"),  # to be read by people only
        }
        self._count = 0
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self) -> None:
        """Returns once the folder is this run's; waits half a minute for a holder that is silent.

        Raises UserError, naming the holder, if another run has it, and if it cannot be written to.
        """
        try:
            free = self._flock()
            lease = retrying(self._read, what=f"reading {self._lease}")
            other = _parsed(lease)
            self._holder["machine"] = _machine(self._workdir)
            here = other.get("machine") == self._holder["machine"]
            if not free and (here or lease is None):
                raise self._refusal(other)
            # On one machine flock knows: what did not hold it any more is dead.
            dead = here and other.get("flock") and self._file is not None
            if lease is not None and not dead:
                self._watch(lease, other)
            self._holder["flock"] = self._file is not None
            retrying(self._write, what=f"writing {self._lease}")
        except OSError as error:
            self.close()
            raise UserError(
                f"cannot write to {self._workdir}: {one_line(error)}; make room or mend access "
                "there, or give another --workdir"
            ) from error
        except BaseException:
            self.close()
            raise
        self._thread = threading.Thread(target=self._renew, name="lock", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises UserError if another run took the folder over."""
        if self._thread is not None and (other := self._taken_by()):
            raise UserError(self._lost(other))

    def close(self) -> None:
        """Gives the folder back; what another run holds by now stays its own."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(2 * self._renew_s)  # it may hang in storage that is gone
            self._thread = None
            with contextlib.suppress(Exception):
                if _parsed(self._read()).get("owner") == self._holder["owner"]:
                    self._lease.unlink()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _flock(self) -> bool:
        """False if another process holds it; True also where the file system has no flock."""
        if remote(self._workdir):
            return True
        file = (self._workdir / ".lock").open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        except OSError:  # ENOTSUP, ENOLCK, ENOSYS ...: the lease alone, then
            file.close()
            return True
        self._file = file
        return True

    def _watch(self, lease: str, other: dict[str, Any]) -> None:
        """Returns if the lease stands still or goes; raises UserError if it counts on."""
        print(
            f"{self._workdir} was not given back by {_named(other)}; watching for "
            f"{PATIENCE * self._renew_s:.0f} s whether it still runs",
            file=sys.stderr,
            flush=True,
        )
        for _ in range(PATIENCE):
            time.sleep(self._renew_s)
            try:
                now = self._read()
            except Exception:  # no news; an object store raises what it likes
                continue
            if now is None:
                return
            if now != lease:
                raise self._refusal(_parsed(now))

    def _renew(self) -> None:
        while not self._closed.wait(self._renew_s):
            with contextlib.suppress(Exception):
                if other := self._taken_by():
                    self._end(other)
                self._write()

    def _end(self, other: dict[str, Any]) -> None:
        """Ends this run at once, all its processes: what it would still write is the other's."""
        try:
            with lost.ending_all("jaxfacs train"):
                raise UserError(self._lost(other))
        except UserError as error:  # the process is alone
            print(f"jaxfacs train: {error}", file=sys.stderr, flush=True)
            os._exit(lost.BAD_INPUT)

    def _taken_by(self) -> dict[str, Any] | None:
        """Who holds the lease now, if it is another; a lease that is gone or damaged is nobody."""
        try:
            found = _parsed(self._read())
        except Exception:  # no news
            return None
        return found if found.get("owner", self._holder["owner"]) != self._holder["owner"] else None

    def _read(self) -> str | None:
        try:
            return self._lease.read_bytes().decode(errors="replace")
        except FileNotFoundError:
            return None

    def _write(self) -> None:
        self._count += 1
        with replacing(self._lease) as temporary:
            temporary.write_text(json.dumps({**self._holder, "count": self._count}) + "\n")

    def _refusal(self, other: dict[str, Any]) -> UserError:
        return UserError(
            f"{self._workdir} is in use by {_named(other)}; let it end, stop it, or give another "
            "--workdir"
        )

    def _lost(self, other: dict[str, Any]) -> str:
        return (
            f"{self._workdir} was taken over by {_named(other)} while this run stood still; "
            "nothing more is written"
        )


def _machine(workdir: Path) -> str:
    """The same where flock on the folder means the same: one kernel, since one boot, one mount.

    Two containers of a machine may each have mounted the storage for themselves.
    """
    try:
        kernel = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        kernel = socket.gethostname()
    return kernel if remote(workdir) else f"{kernel}/{workdir.stat().st_dev}"


def _parsed(lease: str | None) -> dict[str, Any]:
    try:
        found = json.loads(lease or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _named(holder: dict[str, Any]) -> str:
    if not {"host", "pid", "since"} <= holder.keys():
        return "a run that did not write its name"
    return f"the run on {holder['host']}, process {holder['pid']}, since {holder['since']}"
