"""Taking a film from a client onto the disk: bounded in size, in time and in number."""

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.requests import ClientDisconnect, Request

from jaxfacs.serve.limits import Limits
from jaxfacs.serve.log import event
from jaxfacs.serve.pictures import film_suffix
from jaxfacs.serve.service import Service
from jaxfacs.serve.workplace import Workplace

_NAME = "film"  # every film's on the disk; its suffix is told by its bytes
_HEAD = 512  # bytes by which its kind is told
_CHUNK = 1 << 20  # bytes written at once
_GRACE_S = 10.0  # before the rate of an upload counts
_SPARE_BYTES = 256 << 20  # of the disk that uploads leave free
_DRAIN_BYTES, _DRAIN_S = 4 << 20, 1.0


class Refused(Exception):
    """An upload that is not taken: a status, and one line."""

    def __init__(self, status: int, error: str):
        super().__init__(error)
        self.status = status


async def receive(request: Request, service: Service) -> Path:
    """Writes the body into a new folder of the workplace and returns the film's path.

    Raises Refused, and TooMany; then nothing is left on the disk.
    """
    client, limits = request.scope["client_name"], service.limits
    with service.shares.holding("uploads", client, most=limits.uploads):
        service.jobs.check_room(client)
        folder, body = service.workplace.new(), request.stream().__aiter__()
        try:
            _refuse_by_head(request, service)
            film = folder / _NAME
            size, suffix = await _write(body, film, limits)
            film = film.rename(film.with_suffix(suffix))
        except Refused as error:
            service.workplace.remove(folder)
            event("upload.refused", client=client, status=error.status, error=str(error))
            await _drain(body)
            raise
        except BaseException as error:
            service.workplace.remove(folder)
            if isinstance(error, ClientDisconnect):
                event("upload.broken", client=client)
                raise Refused(400, "the connection ended within the film") from None
            raise
    service.metrics.count("jaxfacs_upload_bytes_total", size)
    name = request.query_params.get("name", "")
    event("upload.taken", client=client, bytes=size, name=name)
    return film


def copy(film: Path, workplace: Workplace) -> Path:
    """A film of ours in a new folder, as if it had been sent."""
    folder = workplace.new()
    return Path(shutil.copyfile(film, folder / f"{_NAME}{film.suffix}"))


def _refuse_by_head(request: Request, service: Service) -> None:
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length[:18]) > service.limits.upload_bytes:
        raise _too_large(service.limits)
    if length == "0":
        raise Refused(400, "the body is empty; send the bytes of a film")
    if service.workplace.free_bytes() < service.limits.upload_bytes + _SPARE_BYTES:
        raise Refused(507, "the server's disk is full; try again later")
    if "multipart/" in request.headers.get("content-type", ""):
        raise Refused(
            415, "send the film's bytes as the body (curl --data-binary @FILM), not a form"
        )


async def _write(body: AsyncIterator[bytes], path: Path, limits: Limits) -> tuple[int, str]:
    """Returns the bytes written, and the suffix that suits them."""
    size, head, part = 0, b"", bytearray()
    with path.open("wb") as file:
        async for chunk in _chunks(body, limits):
            size += len(chunk)
            if size > limits.upload_bytes:
                raise _too_large(limits)
            if len(head) < _HEAD:
                head += chunk[: _HEAD - len(head)]
                if len(head) == _HEAD:
                    _suffix(head)
            part += chunk
            if len(part) >= _CHUNK:
                await _to_disk(file, part)
                part = bytearray()
        if size == 0:
            raise Refused(400, "the body is empty; send the bytes of a film")
        suffix = _suffix(head)
        await _to_disk(file, part)
    return size, suffix


async def _to_disk(file, part: bytearray) -> None:
    try:
        await asyncio.to_thread(file.write, part)
    except OSError as error:
        raise Refused(507, f"the server cannot keep the film ({error.strerror})") from error


async def _chunks(body: AsyncIterator[bytes], limits: Limits) -> AsyncIterator[bytes]:
    """The body, chunk by chunk, as long as it comes fast enough."""
    start, size = time.monotonic(), 0
    while True:
        try:
            async with asyncio.timeout(limits.upload_stall_s):
                chunk = await anext(body)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Refused(
                408, f"nothing of the film came for {limits.upload_stall_s:g} s; send it again"
            ) from None
        size += len(chunk)
        elapsed = time.monotonic() - start
        if elapsed > _GRACE_S and size < limits.upload_rate * elapsed:
            raise Refused(
                408,
                f"the film comes slower than {limits.upload_rate} bytes a second; send it "
                "over a faster line",
            )
        yield chunk


async def _drain(body: AsyncIterator[bytes]) -> None:
    """Reads a little of what is still coming: else the client may never see the answer."""
    left = _DRAIN_BYTES
    with contextlib.suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(_DRAIN_S):
            async for chunk in body:
                left -= len(chunk)
                if left < 0:
                    return


def _suffix(head: bytes) -> str:
    suffix = film_suffix(head)
    if suffix is None:
        raise Refused(
            415,
            "this is no film or picture that is read here (MP4, MOV, WebM, MKV, AVI, MPEG, FLV, "
            "WMV, OGV, JPEG, PNG); convert it: ffmpeg -i IN OUT.mp4",
        )
    return suffix


def _too_large(limits: Limits) -> Refused:
    return Refused(
        413,
        f"the film is larger than {limits.upload_bytes >> 20} MB; make it smaller: "
        "ffmpeg -i IN -vf scale=640:-2 OUT.mp4",
    )
