"""Compiled programs kept between runs, so that the second start of a bundle does not compile.

    $XDG_CACHE_HOME/jaxfacs/compiled/DIGEST/     one folder a bundle, private to its user
      jit_call-…-cache      what XLA compiled, as jax.experimental.compilation_cache keeps it
      digests.json          their sha256; what differs from it is deleted before anything is read

A compiled program is machine code. So a folder that others may write to is not used, and an entry
that is not byte for byte what this module saw written is never loaded.
"""

import hashlib
import json
import os
import shutil
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import jax
from jax.experimental.compilation_cache import compilation_cache

from jaxfacs import files

Answer = TypeVar("Answer")

MOST_BYTES = 1 << 30  # over all bundles; those used longest ago go first
DIGESTS = "digests.json"
_CHANGING = threading.Lock()  # JAX's settings are those of the process
_FOLDER = "jax_compilation_cache_dir"
_SETTINGS = {
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
    "jax_compilation_cache_max_size": -1,  # a limit would need filelock, and is kept here
    "jax_raise_persistent_cache_errors": True,
}


def place(digest: str) -> Path | None:
    """The folder for a bundle's programs; None where nothing is to be kept here.

    JAXFACS_CACHE names the folder of all bundles, or is "off". Without it, whoever gave JAX a
    cache of their own (JAX_COMPILATION_CACHE_DIR) keeps that one.
    """
    chosen = os.environ.get("JAXFACS_CACHE", "")
    if chosen == "off" or (not chosen and getattr(jax.config, _FOLDER)):
        return None
    base = chosen or os.environ.get("XDG_CACHE_HOME", "") or "~/.cache"
    root = Path(base).expanduser()
    return (root if chosen else root / "jaxfacs") / "compiled" / digest[:24]


def compiling(action: Callable[[], Answer], folder: Path | None) -> Answer:
    """What `action` returns; what it compiles is taken from `folder`, or kept there.

    Nothing about the folder can fail the action: without one that can be written and trusted, and
    where an entry cannot be read, it compiles as if there were none.
    """
    if folder is None:
        return action()
    with _CHANGING:
        return _kept(action, folder) if _ready(folder) else action()


def _kept(action: Callable[[], Answer], folder: Path) -> Answer:
    before = {name: getattr(jax.config, name) for name in _SETTINGS}
    jax_folder = getattr(jax.config, _FOLDER)
    compilation_cache.reset_cache()
    try:
        for name, value in (_SETTINGS | {_FOLDER: str(folder)}).items():
            jax.config.update(name, value)
        try:
            answer = action()
        except Exception:  # of the cache, or the action's own, which then comes again
            jax.config.update(_FOLDER, None)
            compilation_cache.reset_cache()
            shutil.rmtree(folder, ignore_errors=True)
            return action()
        _seal(folder)
        _bound(folder)
        return answer
    finally:
        for name, value in (before | {_FOLDER: jax_folder}).items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


def _ready(folder: Path) -> bool:
    """Makes the folder, or checks what is there; False if it is not to be used."""
    try:
        for parent in (folder.parent, folder):
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if reason := _not_private(parent):
                print(
                    f"jaxfacs: compiled programs are not kept in {parent}: {reason}; repair that, "
                    "or set JAXFACS_CACHE to another folder, or to off",
                    file=sys.stderr,
                )
                return False
        known = _known(folder)
        for entry in _entries(folder):
            if known.get(entry.name) != _sha256(entry):
                entry.unlink(missing_ok=True)
        os.utime(folder)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _not_private(folder: Path) -> str:
    """Why somebody else could have written there; empty where nobody could."""
    told = folder.stat()
    if hasattr(os, "getuid") and told.st_uid != os.getuid():
        return "it belongs to another user"
    if os.name == "posix" and told.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "others may write there"
    return ""


def _entries(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.endswith("-cache") and path.is_file()]


def _known(folder: Path) -> dict[str, str]:
    try:
        known = json.loads((folder / DIGESTS).read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _seal(folder: Path) -> None:
    """Notes the digests of what is there now; in vain where it cannot be written."""
    try:
        known = {entry.name: _sha256(entry) for entry in _entries(folder)}
        if known != _known(folder):
            with files.replacing(folder / DIGESTS) as temporary:
                temporary.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    except OSError:
        pass


def _bound(folder: Path) -> None:
    """Deletes the folders used longest ago, never this one, until all are within the limit."""
    try:
        others = [path for path in folder.parent.iterdir() if path.is_dir() and path != folder]
        others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        total = _bytes(folder)
        for path in others:
            total += _bytes(path)
            if total > MOST_BYTES:
                shutil.rmtree(path, ignore_errors=True)
    except OSError:
        pass


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
