"""A folder for films that are being read, which is gone when the server is, however it ended."""

import fcntl
import os
import secrets
import shutil
import stat
import tempfile
import time
from pathlib import Path

_PREFIX = "jaxfacs-serve-"
_LOCK = "lock"
_YOUNG_S = 60.0  # a folder without a lock this young may be of a server that is starting


class Workplace:
    """A folder of this server alone (mode 0700), in which each film has a folder of its own.

    The lock file in it is held while the server lives: so a later server knows which folders
    belong to nobody (`remove_dead`).
    """

    def __init__(self, base: Path | None = None):
        self.base = Path(base or tempfile.gettempdir())
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self.base))
        self._lock = os.open(self.folder / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def new(self) -> Path:
        """A new empty folder; its name comes from no client."""
        folder = self.folder / secrets.token_hex(16)
        folder.mkdir(mode=0o700)
        return folder

    def remove(self, folder: Path) -> None:
        if folder.parent == self.folder:
            shutil.rmtree(folder, ignore_errors=True)

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.folder).free

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)


def remove_dead(base: Path | None = None) -> int:
    """Removes the folders of servers of this user that no longer live; returns how many."""
    removed = 0
    for folder in Path(base or tempfile.gettempdir()).glob(_PREFIX + "*"):
        try:
            about = folder.lstat()
            if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid():
                continue
            if _dead(folder, about.st_mtime):
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
        except OSError:  # another server was faster
            continue
    return removed


def _dead(folder: Path, changed: float) -> bool:
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return time.time() - changed > _YOUNG_S
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
