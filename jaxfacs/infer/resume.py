"""Going on with a film whose reading was interrupted: its state on disk, and what it must fit.

    OUT/.NAME.resume.npz    no pickled objects: `about` (JSON: key, state, digest) and its arrays

A state is used only with the same film, model, settings and version: its `key`. The reading that
goes on then writes, byte for byte, what it would have written without the interruption.
"""

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from jaxfacs.errors import UserError
from jaxfacs.infer.files import replacing
from jaxfacs.infer.sources.source import Source

EVERY = 1000  # frames between two states
_HEAD_BYTES = 1 << 20
_ARRAY = "$array"


def fingerprint(source: Source) -> dict[str, Any] | None:
    """What tells a film from another one: JSON-able; None: it cannot be read a second time.

    Of a file its size, its time and the digest of its first MiB; of pictures their names, sizes
    and times.
    """
    if source.live or source.path is None:
        return None
    try:
        if source.pictures:
            parts = [(p.name, *_size_and_time(p)) for p in source.pictures]
            listed = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
            return {"pictures": len(parts), "sha256_of_list": listed}
        size, modified = _size_and_time(source.path)
        with source.path.open("rb") as file:
            head = hashlib.sha256(file.read(_HEAD_BYTES)).hexdigest()
    except OSError as error:
        raise UserError(f"{source.path} cannot be read ({error.strerror or error})") from error
    return {"bytes": size, "modified_ns": modified, "sha256_of_first_mib": head}


def save(path: Path, key: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Writes a state, whole or not at all.

    Args:
      path: of the state.
      key: what it belongs to; JSON-able.
      state: of mappings, lists, JSON values and arrays.
    """
    arrays: list[np.ndarray] = []
    about: dict[str, Any] = {"key": key, "state": _packed(state, arrays)}
    about["sha256"] = _digest(about, arrays)
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    with replacing(path) as temporary, temporary.open("wb") as file:
        named: dict[str, Any] = {str(n): array for n, array in enumerate(arrays)}
        np.savez(file, about=text, **named)
        file.flush()
        os.fsync(file.fileno())


def load(path: Path, key: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The state, or None where there is none.

    Raises:
      UserError: it is damaged, or belongs to another `key`; says which.
    """
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(file["about"].tobytes())
            arrays = [file[str(n)] for n in range(len(file.files) - 1)]
        told = about.pop("sha256")
        whole = told == _digest(about, arrays)
    except Exception as error:  # zipfile, zlib, numpy and json raise many types
        raise UserError("what was kept of it is damaged") from error
    if not whole:
        raise UserError("what was kept of it is damaged")
    if reasons := differences(about["key"], key):
        raise UserError(f"{reasons} changed since")
    return _unpacked(about["state"], arrays)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The parts of two keys that differ, in words; "" if they are equal."""
    now = json.loads(json.dumps(now))
    names = [name for name in now if before.get(name) != now[name]]
    return " and ".join(f"the {name}" for name in names)


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Keeps other processes from writing `what`; the kernel lets go however this one ends.

    Raises:
      UserError: another process has it, or the place is not writable.
    """
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    file = _opened(path)
    try:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.EACCES):
                    raise UserError(
                        f"{what} is being written by another jaxfacs predict; wait for it, or "
                        "choose another --out"
                    ) from error
                # A network file system without locks: better unlocked than not at all.
            if _is_at(file, path):
                break
            os.close(file)  # the one that held it has removed it in between
            file = _opened(path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(file)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(
            f"{path.parent} is not writable ({error.strerror}); choose another --out"
        ) from error


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _size_and_time(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _packed(value: Any, arrays: list[np.ndarray]) -> Any:
    """`value` with its arrays replaced by their places in `arrays`."""
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {_ARRAY: len(arrays) - 1}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(k): _packed(v, arrays) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_packed(v, arrays) for v in value]
    return value


def _unpacked(value: Any, arrays: list[np.ndarray]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_ARRAY}:
            return arrays[value[_ARRAY]]
        return {k: _unpacked(v, arrays) for k, v in value.items()}
    return [_unpacked(v, arrays) for v in value] if isinstance(value, list) else value


def _digest(about: Mapping[str, Any], arrays: list[np.ndarray]) -> str:
    told = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for array in arrays:
        told.update(f"{array.dtype.str}{array.shape}".encode())
        told.update(np.ascontiguousarray(array).tobytes())
    return told.hexdigest()
