"""Fetches the pictures of a list of addresses: politely, resumably, every failure recorded."""

import errno
import hashlib
import math
import queue
import random
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import jaxfacs
from jaxfacs.data import download_tables as tables
from jaxfacs.data.download_journal import PICTURES, Ending, Journal, Tried, now, picture_path
from jaxfacs.data.download_queue import PoliteQueue
from jaxfacs.data.download_request import UNANSWERED, Failure, Redirect, Requester, host_of
from jaxfacs.data.download_verify import Body, Picture, verified
from jaxfacs.data.emotionet_list import Problems, Row, read
from jaxfacs.errors import UserError
from jaxfacs.files import replacing
from jaxfacs.progress import track

MAX_REDIRECTS = 5
MAX_PAUSE_S = 300.0  # longest wait between two tries, also where the server asks for more
# A host that let so many addresses run out of tries, and never answered in between, is down.
HOST_DOWN_AFTER = 10
# So many addresses in a row without an answer from any of several hosts: the network here is down.
OFFLINE_AFTER = 100
OFFLINE_HOSTS = 3
HOST_DOWN = "host down"
_SILENT = UNANSWERED | {HOST_DOWN}
_NOT_ASKED = frozenset((HOST_DOWN, "bad address", "private address"))


@dataclass(frozen=True)
class Settings:
    """How to fetch.

    Attributes:
      connections: at once, to all hosts together.
      per_host, rate: connections at once and requests a second to each host.
      timeout_s: for one request, from the name's resolution to the last byte.
      retries: further tries where one may end better.
      first_pause_s: before the first of them; doubled each time, times 0.5 to 1.5 by chance.
      max_bytes, max_pixels: of one picture.
      placeholder_from: so many addresses with the same bytes are a placeholder; 0: never.
      again: try once more what earlier runs could not get.
      allow_private: addresses of this machine and of private networks are fetched too.
    """

    connections: int = 32
    per_host: int = 4
    rate: float = 4.0
    timeout_s: float = 30.0
    retries: int = 3
    first_pause_s: float = 1.0
    user_agent: str = f"jaxfacs/{jaxfacs.__version__}"
    max_bytes: int = 32 << 20
    max_pixels: int = 50_000_000
    placeholder_from: int = 10
    again: bool = False
    allow_private: bool = False

    def __post_init__(self):
        for name in ("connections", "per_host", "rate", "timeout_s", "max_bytes", "max_pixels"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise UserError(f"{name} is {value}; it must be above 0")
        if self.retries < 0 or self.placeholder_from in (1,) or self.placeholder_from < 0:
            raise UserError("retries must be 0 or more, placeholder_from 0 or at least 2")
        if not self.user_agent.isprintable() or not self.user_agent.isascii():
            raise UserError("the user agent must be printable ASCII")


@dataclass(slots=True)
class _Job:
    """One listed address on its way; `current` is where redirects have led."""

    row: Row
    addresses: tuple[str, ...]
    current: str
    place: int = 0
    attempts: int = 0
    hops: int = 0
    tried: list[Tried] = field(default_factory=list)

    @property
    def address(self) -> str:
        return self.addresses[self.place]

    def restart(self) -> None:
        self.current, self.hops = self.address, 0


def download(lists: tuple[Path, ...], out: Path, settings: Settings, *, limit: int = 0) -> str:
    """Fetches every picture of the lists into `out` and returns the summary.

    The folder gets pictures/ (see `picture_path`), names.csv, failures.csv, duplicates.csv and
    journal.jsonl, by which the same command goes on after any interruption. A picture is fetched
    from `url`; where that gives none, from `orig_url`.

    Args:
      limit: only so many rows from the start; 0: all.

    Raises:
      UserError: a list that cannot be read, `out` in use or not empty, a full disk, no network.
    """
    if not lists:
        raise UserError("which list? give the owners' sheet, dataFile_*.txt or a list of addresses")
    problems = Problems()
    rows, repeated = _unique(lists, problems, limit)
    journal = Journal(out)
    if journal.damaged_lines:
        print(f"{journal.path}: {journal.damaged_lines} damaged lines are left out")
    try:
        _remove_parts(out)
        pending = [row for row in rows if not _settled(journal, row, out, settings)]
        endings = _Download(settings, out).run(pending)
        try:
            for ending in track(endings, label="downloading", total=len(pending), unit="picture"):
                journal.append(ending)
        except (KeyboardInterrupt, UserError):
            print(_finish(journal, out, settings, rows, repeated, problems))
            raise
        return _finish(journal, out, settings, rows, repeated, problems)
    finally:
        journal.close()


def _unique(lists: tuple[Path, ...], problems: Problems, limit: int) -> tuple[list[Row], int]:
    """The first row of each address, without its labels; how many rows repeat one."""
    rows: dict[str, Row] = {}
    count = 0
    for row in (row for path in lists for row in read(path, problems)):
        if limit and count >= limit:
            break
        count += 1
        if row.url not in rows:
            rows[row.url] = Row(row.source, row.number, row.url, row.orig_url, ())
    return list(rows.values()), count - len(rows)


def _remove_parts(out: Path) -> None:
    """What a killed run was writing."""
    for part in (out / PICTURES).glob("*/.part-*"):
        part.unlink(missing_ok=True)


def _settled(journal: Journal, row: Row, out: Path, settings: Settings) -> bool:
    """Whether nothing is to be done for a row; takes over a picture that no line speaks of."""
    ending = journal.endings.get(row.url)
    if ending is not None and not ending.file:
        return not settings.again
    path = out / picture_path(row.url)
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return ending is not None and tables.placeholder_path(out, ending).exists()
    if ending is not None:
        return size == ending.size
    data = path.read_bytes()
    try:
        picture = verified(Body(data, "", True), max_pixels=settings.max_pixels)
    except Failure:
        return False
    journal.append(_ending(row, picture, address="", tried=()))
    return True


def _ending(row: Row, picture: Picture, *, address: str, tried: tuple[Tried, ...]) -> Ending:
    return Ending(
        url=row.url,
        source=row.source,
        row=row.number,
        file=picture_path(row.url),
        address=address,
        sha256=hashlib.sha256(picture.data).hexdigest(),
        size=len(picture.data),
        width=picture.width,
        height=picture.height,
        original=picture.original,
        converted=picture.converted,
        tried=tried,
    )


def _finish(
    journal: Journal,
    out: Path,
    settings: Settings,
    rows: list[Row],
    repeated: int,
    problems: Problems,
) -> str:
    endings = journal.endings.values()
    groups = tables.by_digest(endings)
    tables.share_duplicates(out, groups, settings.placeholder_from)
    tables.write(out, endings, groups, settings.placeholder_from, problems)
    return tables.summary(
        endings,
        groups,
        settings.placeholder_from,
        missing=sum(row.url not in journal.endings for row in rows),
        repeated=repeated,
        problems=problems,
    )


@dataclass(frozen=True, slots=True)
class _After:
    """What follows a step: the job's ending, or its next step after a wait.

    `host_pause_s`: the server wants to be left alone so long. `asked`: whether it was asked at all.
    """

    ending: Ending | None = None
    wait_s: float = 0.0
    host_pause_s: float = 0.0
    asked: bool = True


class _Download:
    """The threads of one run."""

    def __init__(self, settings: Settings, out: Path):
        self.settings, self.out = settings, out
        self.requester = Requester(
            timeout_s=settings.timeout_s,
            max_bytes=settings.max_bytes,
            user_agent=settings.user_agent,
            allow_private=settings.allow_private,
        )
        self.jobs: PoliteQueue[_Job] = PoliteQueue(per_host=settings.per_host, rate=settings.rate)
        self.ended: queue.SimpleQueue[Ending | BaseException] = queue.SimpleQueue()
        self.unanswered: Counter[str] = Counter()  # of each host, since it last answered
        self.lock = threading.Lock()

    def run(self, rows: list[Row]) -> Iterator[Ending]:
        """Yields what became of each row, in the order in which it became clear.

        Raises:
          UserError: no network, or a full disk.
        """
        for row in rows:
            second = (row.orig_url,) if row.orig_url and row.orig_url != row.url else ()
            job = _Job(row, (row.url, *second), row.url)
            self.jobs.add(host_of(row.url), job)
        threads = min(self.settings.connections, len(rows))
        for _ in range(threads):
            # Daemons: an interrupted command does not wait for slow servers.
            threading.Thread(target=self._work, daemon=True).start()
        held: list[Ending] = []
        try:
            for _ in rows:
                ending = self._next()
                if not ending.file and all(t.kind in _SILENT for t in ending.tried):
                    # Not recorded yet: without a network every address looks dead.
                    held.append(ending)
                    self._refuse_offline(held)
                    continue
                yield from held
                held.clear()
                yield ending
            yield from held
        finally:
            self.jobs.stop()

    def _next(self) -> Ending:
        ended = self.ended.get()
        if isinstance(ended, OSError) and ended.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"the disk of {self.out} is full; make room and give the same command again"
            ) from ended
        if isinstance(ended, BaseException):
            raise ended
        return ended

    def _refuse_offline(self, held: list[Ending]) -> None:
        if len(held) < OFFLINE_AFTER:
            return
        hosts = {host_of(t.address) for ending in held for t in ending.tried}
        if len(hosts) >= OFFLINE_HOSTS:
            last = held[-1].tried[-1]
            raise UserError(
                f"none of {len(hosts)} hosts answered for {len(held)} addresses in a row (last: "
                f"{last.kind}, {last.message}); is there a network? The same command goes on"
            )

    def _work(self) -> None:
        while (turn := self.jobs.take()) is not None:
            host, job = turn
            try:
                after = self._step(host, job)
            except BaseException as error:
                self.ended.put(error)
                return
            self.jobs.done(host, pause_s=after.host_pause_s, asked=after.asked)
            if after.ending is not None:
                self.ended.put(after.ending)
            else:
                self.jobs.add(host_of(job.current), job, wait_s=after.wait_s)

    def _step(self, host: str, job: _Job) -> _After:
        """One request, and what its answer means."""
        try:
            if self.unanswered[host] >= HOST_DOWN_AFTER:
                raise Failure(HOST_DOWN, f"{host} did not answer for {HOST_DOWN_AFTER} addresses")
            answer = self.requester.get(job.current)
            self._heard(host)
            if isinstance(answer, Redirect):
                job.hops += 1
                if job.hops > MAX_REDIRECTS:
                    raise Failure(
                        "bad redirect", f"more than {MAX_REDIRECTS} in a row", code=answer.code
                    )
                job.current = answer.url
                return _After()
            picture = verified(answer, max_pixels=self.settings.max_pixels)
        except Failure as failure:
            return self._failed(host, job, failure)
        ending = _ending(job.row, picture, address=job.address, tried=tuple(job.tried))
        path = self.out / ending.file
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(picture.data)
        return _After(ending)

    def _failed(self, host: str, job: _Job, failure: Failure) -> _After:
        asked = failure.kind not in _NOT_ASKED
        job.attempts += asked
        host_pause_s = min(failure.wait_s, MAX_PAUSE_S)
        if failure.code:
            self._heard(host)
        if failure.passing and job.attempts <= self.settings.retries:
            pause_s = self.settings.first_pause_s * 2 ** (job.attempts - 1)
            pause_s = max(pause_s * random.uniform(0.5, 1.5), host_pause_s)
            job.restart()
            return _After(wait_s=min(pause_s, MAX_PAUSE_S), host_pause_s=host_pause_s)
        if failure.kind in UNANSWERED:
            with self.lock:
                self.unanswered[host] += 1
        job.tried.append(
            Tried(job.address, failure.kind, failure.code, job.attempts, now(), str(failure))
        )
        if job.place + 1 < len(job.addresses):
            job.place, job.attempts = job.place + 1, 0
            job.restart()
            return _After(host_pause_s=host_pause_s, asked=asked)
        ending = Ending(job.row.url, job.row.source, job.row.number, tried=tuple(job.tried))
        return _After(ending, host_pause_s=host_pause_s, asked=asked)

    def _heard(self, host: str) -> None:
        with self.lock:
            self.unanswered.pop(host, None)
