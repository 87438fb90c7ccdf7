"""Fetches what owners publish openly: resumable, bounded, checked, and unpacked with care."""

import contextlib
import errno
import hashlib
import http.client
import os
import shutil
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from jaxfacs.errors import UserError
from jaxfacs.progress import track

CHUNK = 1 << 20
ATTEMPTS = 5
TIMEOUT_S = 30.0
FIRST_PAUSE_S = 1.0  # doubled after each failure


@dataclass(frozen=True)
class Published:
    """Something that its owners offer to everybody.

    Attributes:
      url: a .tar.gz of the whole; GitHub packs it anew for each request, so the archive itself has
        no fixed digest and its files are checked instead.
      keep: the part of the archive that is wanted, as the start of member paths after the archive's
        own top folder.
      files: some of the files that must be there, with their sha256.
      max_archive, max_unpacked: bytes beyond which the download is refused.
      licence: said to the user.
    """

    url: str
    keep: tuple[str, ...]
    files: dict[str, str]
    max_archive: int
    max_unpacked: int
    licence: str


PUBLISHED = {
    "ict-facekit": Published(
        # The commit that this package was tested with: 200 files, 417 MB.
        url="https://github.com/ICT-VGL/ICT-FaceKit/archive/"
        "da5f95a607f5e6b37755b38d3385d7f2853732e5.tar.gz",
        keep=("FaceXModel/", "LICENSE", "README.md"),
        files={
            "LICENSE": "b20a78d8fc51657e14f3e00c8abb538d786ad00aa63210328c22565e583167e1",
            "FaceXModel/generic_neutral_mesh.obj": (
                "eedbc2576d8e5ea57f55255b8f98263213a1efb5431d8bfceed1d7aef10271f9"
            ),
            "FaceXModel/identity099.obj": (
                "6294bbed0197a06d091d1ad9f586c5f8d90fce4f580350a509749ae688472912"
            ),
            "FaceXModel/mouthSmile_L.obj": (
                "91794e73cef330f1c7d1f4541723544708536b39d5dd6ed35fd8f83f676b7af4"
            ),
            "FaceXModel/vertex_indices.json": (
                "4f9b35306299980dd46bee4a6b79bb95dfae1953693b74b35a64f7febfd081a5"
            ),
        },
        max_archive=500 << 20,
        max_unpacked=600 << 20,
        licence="MIT, (c) USC Institute for Creative Technologies",
    ),
}


def fetch(what: str, out: Path, *, url: str = "", keep_archive: bool = False) -> None:
    """Downloads and unpacks `what` into the new folder `out`.

    The archive is written beside `out` as OUT.part and continued by the next call after an
    interruption. `out` appears only when all files are there.

    Raises:
      UserError: unknown name, `out` not empty, the address does not answer, the archive is too
        large or damaged, leads out of its folder, or lacks a file.
    """
    if what not in PUBLISHED:
        raise UserError(f"nothing called '{what}' to download; there is: {', '.join(PUBLISHED)}")
    published = PUBLISHED[what]
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not empty; choose another --out or remove it")
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + ".part")
    download(url or published.url, part, max_bytes=published.max_archive)
    unpacking = out.with_name(out.name + ".unpacking")
    shutil.rmtree(unpacking, ignore_errors=True)
    try:
        unpack(part, unpacking, keep=published.keep, max_bytes=published.max_unpacked)
        check(unpacking, published.files)
        if out.exists():
            out.rmdir()
        os.rename(unpacking, out)
    except UserError:
        part.unlink(missing_ok=True)  # a damaged archive must not be continued
        raise
    finally:
        shutil.rmtree(unpacking, ignore_errors=True)
    if keep_archive:
        os.replace(part, out.with_name(out.name + ".tar.gz"))
    else:
        part.unlink()
    print(f"{out}: {what} ({published.licence})")


def download(
    url: str, path: Path, *, max_bytes: int, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Streams `url` to `path`, going on where an earlier try stopped.

    Where the server serves parts of files and marks versions (ETag), the rest alone is fetched;
    else it starts anew. Server errors and broken connections are tried again with growing pauses; a
    refusal (4xx) is final. The length that the server announces must be met, and `max_bytes` is
    never passed.

    Raises:
      UserError: as said above, with what to do.
    """
    pause, problem = FIRST_PAUSE_S, ""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            if _continue(url, path, max_bytes=max_bytes):
                return
            problem = "the connection ended early"
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise UserError(
                    f"{url} answers {error.code} {error.reason}; check the address (--url)"
                ) from error
            problem = f"the server answers {error.code} {error.reason}"
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise UserError(f"the disk of {path.parent} is full") from error
            problem = str(getattr(error, "reason", error))
        if attempt < ATTEMPTS:
            sleep(pause)
            pause *= 2
    raise UserError(
        f"{url}: {problem}, {ATTEMPTS} times; give the same command again to go on from "
        f"{path.stat().st_size if path.exists() else 0} bytes"
    )


def _continue(url: str, path: Path, *, max_bytes: int) -> bool:
    """One try. Returns whether the file is whole now."""
    have = path.stat().st_size if path.exists() else 0
    tag = path.with_name(path.name + ".etag")
    headers = {"User-Agent": "jaxfacs"}
    if have and tag.exists():
        # If-Range: the rest of the same file, or all of it when it has changed meanwhile.
        headers |= {"Range": f"bytes={have}-", "If-Range": tag.read_text()}
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        goes_on = answer.status == 206
        have = have if goes_on else 0
        announced = answer.headers.get("Content-Length")
        total = have + int(announced) if announced is not None else None
        if total is not None and total > max_bytes:
            path.unlink(missing_ok=True)
            raise UserError(f"{url} offers {total} bytes, more than the {max_bytes} expected")
        if etag := answer.headers.get("ETag"):
            tag.write_text(etag)
        with open(path, "ab" if goes_on else "wb") as file:
            for block in _blocks(answer, total, have):
                have += len(block)
                if have > max_bytes:
                    path.unlink(missing_ok=True)
                    raise UserError(f"{url} sends more than the {max_bytes} bytes expected")
                file.write(block)
    if total is not None and have != total:
        return False
    tag.unlink(missing_ok=True)
    return True


def _blocks(answer: IO[bytes], total: int | None, have: int) -> Iterator[bytes]:
    blocks = iter(lambda: answer.read(CHUNK), b"")
    count = None if total is None else -(-(total - have) // CHUNK)
    yield from track(blocks, label="downloading", total=count, unit="MiB")


def unpack(archive: Path, folder: Path, *, keep: tuple[str, ...], max_bytes: int) -> None:
    """Unpacks the wanted regular files of a .tar.gz, its top folder stripped.

    Links and devices are left out. A member that would leave the folder refuses the whole archive.

    Raises:
      UserError: damaged, too large unpacked, or hostile.
    """
    written = 0
    try:
        with tarfile.open(archive, "r:*") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts:
                    raise UserError(f"{archive} holds {member.name!r}, which leads out of it")
                inner = "/".join(path.parts[1:])
                if not member.isfile() or not inner.startswith(keep):
                    continue
                written += member.size
                if written > max_bytes:
                    raise UserError(f"{archive} unpacks to more than {max_bytes} bytes")
                target = folder / inner
                target.parent.mkdir(parents=True, exist_ok=True)
                source = tar.extractfile(member)
                assert source is not None
                with contextlib.closing(source), open(target, "wb") as file:
                    shutil.copyfileobj(source, file, CHUNK)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise UserError(f"{archive} is damaged ({error}); download it again") from error
    if not written:
        raise UserError(f"{archive} holds nothing of {', '.join(keep)}; is the address right?")


def check(folder: Path, files: dict[str, str]) -> None:
    """Raises UserError unless each of `files` is in `folder` with its sha256."""
    for name, sha256 in files.items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"the archive lacks {name}; is the address right?")
        with open(path, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise UserError(f"{name} is not the file that was expected; download it again")
