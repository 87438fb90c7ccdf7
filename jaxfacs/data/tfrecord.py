"""TFRecord files of `tf.train.Example`, read and written without TensorFlow.

A record is its length (8 bytes), the masked crc32c of that, the bytes, and their masked crc32c
(tensorflow/core/lib/io/record_writer.h).
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxfacs.data.crc32c import crc32c, masked

MAX_RECORD = 1 << 30
_HEAD, _TAIL = struct.Struct("<QI"), struct.Struct("<I")
# Wire types of a protobuf field.
_VARINT, _BYTES, _FIXED32 = 0, 2, 5


def records(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yields (offset, bytes) of each record. Raises ValueError on damage, with the offset."""
    with open(path, "rb") as file:
        while True:
            offset = file.tell()
            record = _next(file, offset)
            if record is None:
                return
            yield offset, record


def record_at(path: Path, offset: int) -> bytes:
    """The record that begins at a byte of a file. Raises ValueError on damage."""
    with open(path, "rb") as file:
        file.seek(offset)
        record = _next(file, offset)
    if record is None:
        raise ValueError(f"no record at byte {offset}")
    return record


def _next(file, offset: int) -> bytes | None:
    head = file.read(_HEAD.size)
    if not head:
        return None
    if len(head) < _HEAD.size:
        raise ValueError(f"the file ends in a record's head at byte {offset}")
    length, crc = _HEAD.unpack(head)
    if crc != masked(_crc(head[:8])) or length > MAX_RECORD:
        raise ValueError(f"no TFRecord, or a damaged one, at byte {offset}")
    record, tail = file.read(length), file.read(_TAIL.size)
    if len(record) < length or len(tail) < _TAIL.size:
        raise ValueError(f"the file ends in the record at byte {offset}")
    if _TAIL.unpack(tail)[0] != masked(_crc(record)):
        raise ValueError(f"the record at byte {offset} is damaged")
    return record


def write(path: Path, payloads: Iterable[bytes]) -> int:
    """Writes records; returns how many."""
    count = 0
    with open(path, "wb") as file:
        for payload in payloads:
            head = struct.pack("<Q", len(payload))
            file.write(head + _TAIL.pack(masked(_crc(head))))
            file.write(payload)
            file.write(_TAIL.pack(masked(_crc(payload))))
            count += 1
    return count


def _crc(data: bytes) -> int:
    return crc32c(np.frombuffer(data, np.uint8))


def features(raw: bytes) -> dict[str, list[bytes] | np.ndarray]:
    """The features of an Example: bytes lists as lists, float lists float32, integer lists int64.

    Raises ValueError on anything else.
    """
    found: dict[str, list[bytes] | np.ndarray] = {}
    try:
        for _, all_features in _messages(raw):
            for _, entry in _messages(all_features):
                parts = dict(_messages(entry))
                found[parts[1].decode()] = _feature(parts.get(2, b""))
    except (IndexError, KeyError, struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"no tf.train.Example ({error})") from error
    return found


def _feature(raw: bytes) -> list[bytes] | np.ndarray:
    for kind, payload in _messages(raw):
        if kind == 1:
            return [item for _, item in _messages(payload)]
        values = [_numbers(value, wire, kind) for _, wire, value in _wire(payload)]
        dtype = np.float32 if kind == 2 else np.int64
        return np.concatenate(values) if values else np.zeros(0, dtype)
    return []


def _numbers(value: bytes | int, wire: int, kind: int) -> np.ndarray:
    """One field of a list of numbers: packed, or a number by itself."""
    if kind == 2:
        assert isinstance(value, bytes)
        return np.frombuffer(value, "<f4")
    if wire == _VARINT:
        return np.array([value], np.uint64).astype(np.int64)
    assert isinstance(value, bytes)
    numbers, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        numbers.append(number)
    return np.array(numbers, np.uint64).astype(np.int64)


def _messages(raw: bytes) -> Iterator[tuple[int, bytes]]:
    for number, wire, value in _wire(raw):
        if wire != _BYTES or not isinstance(value, bytes):
            raise ValueError("no tf.train.Example: a number where a message belongs")
        yield number, value


def _wire(raw: bytes) -> Iterator[tuple[int, int, bytes | int]]:
    """Yields (field number, wire type, value) of a message's fields."""
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        wire = tag & 7
        if wire == _VARINT:
            value, at = _varint(raw, at)
            yield tag >> 3, wire, value
            continue
        size = 4
        if wire == _BYTES:
            size, at = _varint(raw, at)
        elif wire != _FIXED32:
            raise ValueError(f"no tf.train.Example: wire type {wire}")
        if at + size > len(raw):
            raise ValueError("no tf.train.Example: a field runs past the end")
        yield tag >> 3, wire, raw[at : at + size]
        at += size


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = raw[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number & (1 << 64) - 1, at
        shift += 7
        if shift > 63:
            raise ValueError("no tf.train.Example: a number without end")


def example(named: Mapping[str, Sequence[bytes] | np.ndarray]) -> bytes:
    """An Example's bytes: arrays of floats and of integers as such lists, the rest as bytes."""
    entries = []
    for name in sorted(named):
        value = named[name]
        if not isinstance(value, np.ndarray):
            feature = _field(1, b"".join(_field(1, item) for item in value))
        elif value.dtype.kind == "f":
            feature = _field(2, _field(1, value.astype("<f4").tobytes()))
        else:
            packed = b"".join(_as_varint(int(v) & (1 << 64) - 1) for v in value.ravel())
            feature = _field(3, _field(1, packed))
        entries.append(_field(1, _field(1, name.encode()) + _field(2, feature)))
    return _field(1, b"".join(entries))


def _field(number: int, payload: bytes) -> bytes:
    return _as_varint(number << 3 | _BYTES) + _as_varint(len(payload)) + payload


def _as_varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)
