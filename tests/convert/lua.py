"""Writes Torch7 binary files as Lua Torch's `torch.save` does, for the tests of the reader."""

import struct
from typing import Any

import numpy as np


class Strided:
    """A tensor with strides of its own over a storage."""

    def __init__(self, storage: np.ndarray, shape, strides, start: int = 0):
        self.storage, self.shape, self.strides, self.start = storage, shape, strides, start


class Layer:
    """An object of a Lua class: a name and its fields."""

    def __init__(self, kind: str, **fields: Any):
        self.kind, self.fields = kind, fields


class Writer:
    def __init__(self):
        self.out, self.index = b"", 0
        self.known: dict[int, int] = {}

    def value(self, value: Any) -> bytes:
        if value is None:
            self.out += struct.pack("<i", 0)
        elif isinstance(value, bool):
            self.out += struct.pack("<ii", 5, value)
        elif isinstance(value, int | float):
            self.out += struct.pack("<id", 1, value)
        elif isinstance(value, str):
            self.out += struct.pack("<i", 2)
            self._string(value)
        elif isinstance(value, dict):
            self._table(value)
        elif isinstance(value, bytes):  # raw: a function, or damage
            self.out += value
        else:
            self._object(value)
        return self.out

    def _string(self, text: str) -> None:
        self.out += struct.pack("<i", len(text)) + text.encode()

    def _numbered(self, kind: int, value: Any) -> bool:
        """Writes type and number; True if the content must follow."""
        new = id(value) not in self.known
        if new:
            self.index += 1
            self.known[id(value)] = self.index
        self.out += struct.pack("<ii", kind, self.known[id(value)])
        return new

    def _table(self, table: dict) -> None:
        if self._numbered(3, table):
            self.out += struct.pack("<i", len(table))
            for key, value in table.items():
                self.value(key)
                self.value(value)

    def _object(self, value: Any) -> None:
        if not self._numbered(4, value):
            return
        self._string("V 1")
        if isinstance(value, Layer):
            self._string(value.kind)
            self.value(value.fields)
        elif isinstance(value, Strided):
            self._string("torch.FloatTensor")
            dims = len(value.shape)
            self.out += struct.pack(f"<i{2 * dims}q", dims, *value.shape, *value.strides)
            self.out += struct.pack("<q", value.start + 1)
            self.value(value.storage)
        else:
            name = {"f4": "Float", "f8": "Double", "i8": "Long"}[value.dtype.str[1:]]
            self._string(f"torch.{name}Storage")
            self.out += struct.pack("<q", value.size) + value.tobytes()


def tensor(array: np.ndarray) -> Strided:
    array = np.ascontiguousarray(array, np.float32)
    strides = [s // array.itemsize for s in array.strides]
    return Strided(array.reshape(-1), array.shape, strides)


def sequential(*layers: Layer) -> Layer:
    return Layer("nn.Sequential", modules={float(i): m for i, m in enumerate(layers, start=1)})
