"""Cutting a stream of concatenated JPEG files into its files (ITU-T T.81, annex B)."""

from collections.abc import Callable, Iterator
from typing import BinaryIO

from jaxfacs.infer.sources.limits import MAX_JPEG_BYTES

_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_BARE = frozenset([0x01, *range(0xD0, 0xD8)])  # markers without a length: TEM, RST0-7
_CHUNK = 1 << 16


class _Broken(Exception):
    """The bytes are not those of a JPEG."""


def split(stream: BinaryIO, *, on_junk: Callable[[str], None]) -> Iterator[bytes]:
    """Yields each JPEG of `stream`, as soon as its last byte is there.

    The markers are walked, because a thumbnail inside a picture has the same start and end marks.
    Bytes between pictures, and a picture that breaks off, are skipped and told to `on_junk` once
    each.
    """
    reader = _Reader(stream)
    while reader.find_start(on_junk):
        try:
            yield _one(reader)
        except _Broken as error:
            on_junk(f"a JPEG of the pipe is left out: {error}")


def _one(reader: "_Reader") -> bytes:
    """One picture, from the start mark that was just found to its end mark."""
    picture = bytearray(b"\xff\xd8")
    while True:
        marker = reader.marker(picture)
        if marker == _END:
            return bytes(picture)
        if marker == _START:
            raise _Broken("it starts again before its end")
        if marker in _BARE:
            continue
        length = reader.take(2, picture)
        size = int.from_bytes(length, "big")
        if size < 2:
            raise _Broken("a segment has no length")
        reader.take(size - 2, picture)
        if marker == _SCAN:
            reader.entropy(picture)


class _Reader:
    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self._buffer = bytearray()

    def find_start(self, on_junk: Callable[[str], None]) -> bool:
        """Moves behind the next start mark; False at the end of the stream."""
        skipped = 0
        while True:
            at = self._buffer.find(b"\xff\xd8\xff")
            if at >= 0:
                break
            keep = min(2, len(self._buffer))
            skipped += len(self._buffer) - keep
            del self._buffer[: len(self._buffer) - keep]
            if not self._fill():
                skipped += len(self._buffer)
                break
        if at > 0:
            skipped += at
        if skipped:
            on_junk(f"{skipped} bytes of the pipe belong to no JPEG and are left out")
        if at < 0:
            return False
        del self._buffer[: at + 2]
        return True

    def marker(self, picture: bytearray) -> int:
        if self.take(1, picture) != b"\xff":
            raise _Broken("a marker is missing")
        while (code := self.take(1, picture)[0]) == 0xFF:  # fill bytes
            pass
        return code

    def take(self, count: int, picture: bytearray) -> bytes:
        while len(self._buffer) < count:
            if not self._fill():
                raise _Broken("the pipe ended inside it")
        part = bytes(self._buffer[:count])
        del self._buffer[:count]
        picture += part
        if len(picture) > MAX_JPEG_BYTES:
            raise _Broken(f"it is larger than {MAX_JPEG_BYTES >> 20} MB")
        return part

    def entropy(self, picture: bytearray) -> None:
        """Takes coded data up to, without, the next marker that is neither stuffing nor restart."""
        searched = 0
        while True:
            at = self._buffer.find(b"\xff", searched)
            if 0 <= at < len(self._buffer) - 1:
                follower = self._buffer[at + 1]
                if follower == 0 or 0xD0 <= follower <= 0xD7:
                    searched = at + 2
                    continue
                self.take(at, picture)
                return
            searched = max(0, len(self._buffer) - 1) if at < 0 else at
            if len(self._buffer) > MAX_JPEG_BYTES:
                raise _Broken(f"it is larger than {MAX_JPEG_BYTES >> 20} MB")
            if not self._fill():
                raise _Broken("the pipe ended inside it")

    def _fill(self) -> bool:
        # read1: what is there now, so that a live picture is not held back by the next one.
        read = getattr(self._stream, "read1", self._stream.read)
        part = read(_CHUNK)
        self._buffer += part
        return bool(part)
