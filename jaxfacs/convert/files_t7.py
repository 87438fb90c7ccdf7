"""Torch7 files (.t7): a small reader of the binary format of Lua Torch's `torch.save`.

Format: the repository torch/torch7, doc/serialization.md and File.lua. A value is an int32 that
says its type, then its content. Objects (tensors, nn layers) are read as the plain tables that
they are; functions are refused. Names come out by place: "0/weight" is the `weight` of the first
layer of the outermost nn.Sequential, "2/1/bias" that of a nested one.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np

from jaxfacs.convert.files import MAX_BYTES, FileError, Tensors

NIL, NUMBER, STRING, TABLE, OBJECT, BOOLEAN = range(6)
MAX_DEPTH = 64
MAX_ITEMS = 1_000_000

_DTYPES = {
    "Double": "<f8",
    "Float": "<f4",
    "CudaDouble": "<f8",
    "Cuda": "<f4",
    "Half": "<f2",
    "CudaHalf": "<f2",
    "Long": "<i8",
    "CudaLong": "<i8",
    "Int": "<i4",
    "CudaInt": "<i4",
    "Short": "<i2",
    "Byte": "u1",
    "Char": "i1",
}
STORAGES = {f"torch.{name}Storage": dtype for name, dtype in _DTYPES.items()}
TENSORS = {f"torch.{name}Tensor" for name in _DTYPES}
# Of a layer's table only its parameters and statistics; the rest are gradients and buffers.
ROLES = ("weight", "bias", "running_mean", "running_var")


def read(path: Path) -> Tensors:
    """Place and role -> array: "0/weight"."""
    reader = _Reader(path.read_bytes())
    tensors: Tensors = {}
    _collect(reader.value(0), "", tensors)
    return tensors


def _collect(table: Any, prefix: str, tensors: Tensors) -> None:
    if not isinstance(table, dict):
        return
    for role in ROLES:
        value = table.get(role)
        if isinstance(value, np.ndarray) and value.size:
            tensors[prefix + role] = value
    children = table.get("modules")
    if isinstance(children, dict):
        for number in sorted(k for k in children if isinstance(k, float)):
            _collect(children[number], f"{prefix}{int(number) - 1}/", tensors)


class _Reader:
    """Reads values from bytes, in order; what was read before is known by its number."""

    def __init__(self, data: bytes):
        self.data, self.at, self.items = data, 0, 0
        self.known: dict[int, Any] = {}

    def value(self, depth: int) -> Any:
        self.items += 1
        if depth > MAX_DEPTH or self.items > MAX_ITEMS:
            raise FileError("it is nested deeper, or holds more, than any network")
        kind = self.number("<i")
        if kind == NIL:
            return None
        if kind == NUMBER:
            return self.number("<d")
        if kind == STRING:
            return self.string()
        if kind == BOOLEAN:
            return bool(self.number("<i"))
        if kind == TABLE:
            return self.table(depth)
        if kind == OBJECT:
            return self.object(depth)
        if kind in (6, 7, 8):
            raise FileError("it holds a Lua function, which is never run; save the weights alone")
        raise FileError("it is not a Torch7 binary file, or it is damaged")

    def table(self, depth: int) -> Any:
        index = self.number("<i")
        if index in self.known:
            return self.known[index]
        table: dict[Any, Any] = {}
        self.known[index] = table
        for _ in range(self.count("<i")):
            key = self.value(depth + 1)
            if isinstance(key, dict | np.ndarray):
                raise FileError("a table has a table for a key; no network of ours does")
            table[key] = self.value(depth + 1)
        return table

    def object(self, depth: int) -> Any:
        index = self.number("<i")
        if index in self.known:
            return self.known[index]
        name = self.string()
        if name.startswith("V "):  # version of the format, absent in the oldest files
            name = self.string()
        if name in STORAGES:
            read = self.storage(STORAGES[name])
        elif name in TENSORS:
            read = self.tensor(depth)
        else:  # a class is written as the table of its fields
            read = self.value(depth + 1)
        self.known[index] = read
        return read

    def storage(self, dtype: str) -> np.ndarray:
        count = self.count("<q", size=np.dtype(dtype).itemsize)
        return np.frombuffer(self.take(count * np.dtype(dtype).itemsize), dtype)

    def tensor(self, depth: int) -> np.ndarray | None:
        dims = self.count("<i")
        if dims > 8:
            raise FileError(f"a tensor has {dims} dimensions; it is damaged")
        shape = [self.number("<q") for _ in range(dims)]
        strides = [self.number("<q") for _ in range(dims)]
        start = self.number("<q") - 1  # Lua counts from 1
        storage = self.value(depth + 1)
        if storage is None or not dims:
            return None
        last = start + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        if (
            not isinstance(storage, np.ndarray)
            or min(shape) < 1
            or min(strides) < 0
            or not 0 <= start <= last < storage.size
            or int(np.prod([float(n) for n in shape])) > storage.size
        ):
            raise FileError("a tensor reaches beyond its storage; it is damaged")
        size = storage.itemsize
        view = np.lib.stride_tricks.as_strided(
            storage[start:], shape, [s * size for s in strides], writeable=False
        )
        return view.copy()

    def string(self) -> str:
        return bytes(self.take(self.count("<i"))).decode("latin-1")

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def count(self, form: str, *, size: int = 1) -> int:
        """A count of things of `size` bytes, which must fit in what is left."""
        count = self.number(form)
        if not 0 <= count * size <= min(len(self.data) - self.at, MAX_BYTES):
            raise FileError("it ends too early, or it is not a Torch7 binary file")
        return count

    def take(self, size: int) -> memoryview:
        if self.at + size > len(self.data):
            raise FileError("it ends too early, or it is not a Torch7 binary file")
        self.at += size
        return memoryview(self.data)[self.at - size : self.at]
