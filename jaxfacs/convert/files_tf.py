"""TensorFlow checkpoints (version 2: NAME.index, NAME.data-00000-of-0000N) without TensorFlow.

Format: tensorflow/core/util/tensor_bundle (BundleHeaderProto, BundleEntryProto) in a table of
tensorflow/core/lib/io (LevelDB's), as it is written since TensorFlow 1.0: uncompressed blocks, each
with its masked crc32c, and one for every tensor. All of them are checked.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxfacs.convert.files import MAX_BYTES, FileError, Tensors
from jaxfacs.data.crc32c import crc32c, masked

FOOTER, MAGIC = 48, 0xDB4775248B80FB57
TRAILER = 5  # of a block: its compression and its crc32c
# DataType of tensorflow/core/framework/types.proto.
DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 6: "i1", 9: "<i8", 10: "?", 19: "<f2"}
# TensorFlow 2's own bookkeeping in a checkpoint, which holds no weights.
BOOKKEEPING = ("_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter", "/.OPTIMIZER_SLOT/")
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


def read(path: Path) -> Tensors:
    """Variable -> array, of the checkpoint whose index is at `path`."""
    entries = dict(_entries(path.read_bytes()))
    header = _fields(entries.pop(b"", b""))
    shards = [
        path.with_name(f"{path.stem}.data-{i:05d}-of-{n:05d}")
        for n in header.get(1, [1])
        for i in range(n)
    ]
    for shard in shards:
        if not shard.is_file():
            raise FileError(f"{shard.name}, which belongs to it, is not beside it")
    data = [
        np.memmap(shard, np.uint8, "r") if shard.stat().st_size else np.zeros(0, np.uint8)
        for shard in shards
    ]
    tensors: Tensors = {}
    for key, value in entries.items():
        name = key.decode("utf-8", "replace")
        if not any(word in name for word in BOOKKEEPING):
            array = _tensor(name, _fields(value), data)
            if array is not None:
                tensors[name.removesuffix(VALUE)] = array
    return tensors


def _tensor(name: str, entry: dict[int, list[Any]], data: list[np.ndarray]) -> np.ndarray | None:
    """A variable by its BundleEntryProto; None for one that holds strings."""
    if entry.get(1, [0])[0] not in DTYPES:
        return None
    if 7 in entry:
        raise FileError(f"{name} was saved in slices; save it again on one device")
    dims = _fields(entry.get(2, [b""])[0]).get(2, [])
    shape = tuple(_fields(dim).get(1, [0])[0] for dim in dims)
    dtype = np.dtype(DTYPES[entry[1][0]])
    shard, offset, size = (entry.get(field, [0])[0] for field in (3, 4, 5))
    count = int(np.prod([float(n) for n in shape])) if shape else 1
    if shard >= len(data) or offset + size > data[shard].size or count * dtype.itemsize != size:
        raise FileError(f"{name} reaches beyond its file; the checkpoint is damaged")
    raw = np.asarray(data[shard][offset : offset + size])
    if entry.get(6, [0])[0] != masked(crc32c(raw)):
        raise FileError(f"{name} differs from its checksum; the checkpoint is damaged")
    return raw.view(dtype).reshape(shape)


def _entries(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of a table, through its index block."""
    if len(table) < FOOTER or struct.unpack("<Q", table[-8:])[0] != MAGIC:
        raise FileError("it is not the index of a TensorFlow checkpoint, or it ends too early")
    at = 0
    handle = []
    for _ in range(4):  # of the meta index, which is not used, and of the index
        number, at = _varint(table[-FOOTER:], at)
        handle.append(number)
    for _, value in _block(table, handle[2], handle[3]):
        offset, at = _varint(value, 0)
        yield from _block(table, offset, _varint(value, at)[0])


def _block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    end = offset + size
    if end + TRAILER > len(table):
        raise FileError("a block lies beyond its end; it is damaged")
    kind, crc = struct.unpack("<BI", table[end : end + TRAILER])
    if crc != masked(crc32c(np.frombuffer(table[offset : end + 1], np.uint8))):
        raise FileError("a block differs from its checksum; it is damaged")
    if kind:
        raise FileError("its index is compressed; save it again with TensorFlow 1.0 or later")
    block = table[offset:end]
    (restarts,) = struct.unpack("<I", block[-4:])
    at, stop, key = 0, len(block) - 4 * (restarts + 1), b""
    while at < stop:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + own]
        at += own
        yield key, block[at : at + length]
        at += length


def _fields(message: bytes) -> dict[int, list[Any]]:
    """A protocol buffer's fields: number -> values, numbers or bytes."""
    fields: dict[int, list[Any]] = {}
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(message, at)
        elif kind == 2:
            size, at = _varint(message, at)
            value, at = message[at : at + size], at + size
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            value, at = int.from_bytes(message[at : at + size], "little"), at + size
        else:
            raise FileError("an entry is no protocol buffer; it is damaged")
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, lowest first, and where it ends."""
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(data):
            break
        byte = data[at]
        value, at = value | (byte & 127) << shift, at + 1
        if byte < 128:
            return min(value, MAX_BYTES), at
    raise FileError("it ends too early")
