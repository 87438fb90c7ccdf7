"""The checksum of TensorFlow's files, over hundreds of megabytes in seconds."""

import numpy as np

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, reflected
_LANES = 1 << 14


def crc32c(data: np.ndarray) -> int:
    """The crc32c of bytes: long ones in lanes that numpy steps through side by side, then joined.

    Bit by bit in Python is 100 times slower, and checkpoints are hundreds of megabytes.
    """
    length = data.size // _LANES
    crc = 0xFFFFFFFF
    if length >= 8:
        lanes = np.zeros(_LANES, np.uint32)
        columns = np.ascontiguousarray(data[: length * _LANES].reshape(_LANES, length).T)
        for column in columns:
            lanes = _TABLE[(lanes ^ column) & 255] ^ lanes >> 8
        shift = _over_zeros(length)
        while lanes.size > 1:  # crc(a + b) = crc(a, then zeros) ^ crc(b)
            lanes = _apply(shift, lanes[0::2]) ^ lanes[1::2]
            shift = _apply(shift, shift)
        start = _apply(shift, np.array([crc], np.uint32))
        crc = int(start[0] ^ lanes[0])
        data = data[length * _LANES :]
    for byte in data.tolist():
        crc = _TABLE_LIST[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    """A checksum as TensorFlow stores it: crc32c/crc32c.h, `Mask`."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _over_zeros(length: int) -> np.ndarray:
    """What `length` zero bytes do to each bit of a crc: a 32x32 matrix over GF(2), as its rows."""
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    result, power = bits.copy(), _TABLE[bits & 255] ^ bits >> 8
    while length:
        if length & 1:
            result = _apply(power, result)
        power, length = _apply(power, power), length >> 1
    return result


def _apply(matrix: np.ndarray, crcs: np.ndarray) -> np.ndarray:
    out = np.zeros_like(crcs)
    for bit in range(32):
        out ^= np.where(crcs >> np.uint32(bit) & 1, matrix[bit], np.uint32(0))
    return out


def _table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table


_TABLE = _table()
_TABLE_LIST = _TABLE.tolist()
