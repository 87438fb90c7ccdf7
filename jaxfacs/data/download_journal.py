"""What became of every address, one line each in a file that is only ever appended to.

A process may be killed at any moment: a picture is renamed into place before its line is written,
so a line never speaks of a picture that is not there, and a picture without a line is taken over by
the next run. A line that was cut off is dropped.
"""

import fcntl
import hashlib
import json
import os
import re
import time
import urllib.parse
from dataclasses import asdict, dataclass
from pathlib import Path

from jaxfacs.errors import UserError

JOURNAL = "journal.jsonl"
PICTURES = "pictures"
FORMAT = {"format": "jaxfacs download", "version": 1}
SYNC_INTERVAL_S = 1.0  # what a power failure may cost; a kill costs nothing
STEM_LENGTH = 40
DIGEST_LENGTH = 32  # hex digits, 128 bits: 10⁶ addresses collide with a chance of 10⁻²⁷


def picture_path(url: str) -> str:
    """Where the picture of an address is kept: "pictures/3f/face-3f….jpg".

    A function of the address alone, as listed: a readable part of its last component (letters and
    digits) and the start of its SHA-256, so that different addresses have different names, at most
    77 characters long, safe on any file system. names.csv holds the way back.
    """
    digest = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_LENGTH]
    try:
        last = urllib.parse.urlsplit(url).path.rsplit("/", 1)[-1]
    except ValueError:  # an unclosed bracket, say
        last = ""
    stem = urllib.parse.unquote(last).rsplit(".", 1)[0]
    stem = re.sub(r"[^A-Za-z0-9]+", "-", stem).strip("-")[:STEM_LENGTH].strip("-")
    return f"{PICTURES}/{digest[:2]}/{stem or 'picture'}-{digest}.jpg"


@dataclass(frozen=True, slots=True)
class Tried:
    """An address that gave no picture: kind of failure, HTTP code (0 none), number of requests."""

    address: str
    kind: str
    code: int
    attempts: int
    time: str
    message: str


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of one listed address.

    Attributes:
      url: as listed; the key.
      source, row: the list and the row in it where it stood first.
      file: relative to the folder; "" when no address gave a picture.
      address: the listed address that gave it; "" when it was found in place (see above).
      sha256, size: of the stored file.
      original: format that was sent; converted: whether it was written anew.
      tried: the addresses that failed.
    """

    url: str
    source: str
    row: int
    file: str = ""
    address: str = ""
    sha256: str = ""
    size: int = 0
    width: int = 0
    height: int = 0
    original: str = ""
    converted: bool = False
    tried: tuple[Tried, ...] = ()


def now() -> str:
    """UTC, to the second, as ISO 8601 writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class Journal:
    """The file, locked against a second process; `endings` maps each address to its last line."""

    def __init__(self, folder: Path):
        self.path = folder / JOURNAL
        if not self.path.exists() and folder.is_dir() and any(folder.iterdir()):
            raise UserError(f"{folder} is not empty and no earlier download; choose another --out")
        folder.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "ab")  # noqa: SIM115, held until `close`
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with the process
        except OSError as error:
            self._file.close()
            raise UserError(f"another download works in {folder}; wait for it") from error
        self.damaged_lines = 0
        self.endings: dict[str, Ending] = {}
        self._read()
        self._synced = time.monotonic()

    def _read(self) -> None:
        whole_until = 0
        with open(self.path, "rb") as file:
            for number, line in enumerate(file):
                if not line.endswith(b"\n"):  # cut off
                    break
                whole_until += len(line)
                if number:
                    self._take(line)
                elif _object(line) != FORMAT:
                    self._file.close()
                    raise UserError(
                        f"{self.path} is no journal of this version; choose another --out"
                    )
        self._file.truncate(whole_until)
        if not whole_until:
            self._write(FORMAT)

    def _take(self, line: bytes) -> None:
        found = _object(line)
        try:
            tried = tuple(Tried(**entry) for entry in found.pop("tried", ()))
            ending = Ending(**found, tried=tried)
        except TypeError:
            self.damaged_lines += 1  # a power failure; the address is fetched again
            return
        self.endings[ending.url] = ending

    def append(self, ending: Ending) -> None:
        self.endings[ending.url] = ending
        self._write(asdict(ending))
        if time.monotonic() - self._synced > SYNC_INTERVAL_S:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def _write(self, line: dict) -> None:
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        os.fsync(self._file.fileno())
        self._file.close()


def _object(line: bytes) -> dict:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
