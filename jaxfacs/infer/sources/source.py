"""Where frames come from: films, pictures, folders of them, a pipe, cameras, network streams.

Every source gives numbered frames with their times, one by one, and can say afterwards what was
wrong with it.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from jaxfacs.errors import UserError
from jaxfacs.infer.sources import film as films
from jaxfacs.infer.sources import limits, live_input, picture, pipe
from jaxfacs.infer.sources.choice import Choice, Glimpse, Timed, seconds
from jaxfacs.infer.sources.film import FILMS
from jaxfacs.infer.sources.picture import PICTURES

__all__ = ["FILMS", "PICTURES", "Source", "Timed", "ends_early", "find"]

_PIPE_RATE = 25.0
_PATTERN = re.compile(r"%0?\d*d")


class _Warnings(list):
    """Sentences, each once; beyond a number of them only how many there were."""

    more = 0

    def append(self, text: str) -> None:
        if text in self:
            return
        if len(self) < limits.MAX_WARNINGS:
            super().append(text)
            return
        self.more += 1
        self[-1] = f"and {self.more + 1} more things went wrong"


@dataclass(eq=False)
class Source:
    """One thing to read: its frames become one table.

    Attributes:
      name: for messages and for the names of the results.
      path: what it was read from; None for a pipe, a camera, an address.
      still: independent pictures, each with its own faces; not a film.
      fps: nominal frames a second of those that are taken; None for pictures.
      total: frames to expect, if that is known.
      pictures: file names of the frames, for pictures.
      pipe_size: (width, height) of a pipe of raw frames.
      warnings: what went wrong so far, one sentence each.
      live: its frames come when they come, and only once.
      camera: its number. address: of a network stream.
      choice: which of its frames are taken.
      header: what a film says of itself. progress: how far it was read.
      rate: frames a second of pipes and pictures, before some are chosen.
      patience: how long what is live is waited for.
    """

    name: str
    path: Path | None
    still: bool = False
    fps: float | None = None
    total: int | None = None
    pictures: tuple[Path, ...] = ()
    pipe_size: tuple[int, int] | None = None
    warnings: list[str] = field(default_factory=_Warnings)
    live: bool = False
    camera: int | None = None
    address: str | None = None
    choice: Choice = field(default_factory=Choice)
    header: films.Header | None = None
    progress: films.Progress = field(default_factory=films.Progress)
    rate: float = _PIPE_RATE
    patience: live_input.Patience = field(default_factory=live_input.Patience)

    @property
    def origin(self) -> str:
        """What it is read from, for people and for the origin of results."""
        if self.camera is not None:
            return f"camera {self.camera}"
        if self.address is not None:
            return live_input.without_password(self.address)
        return str(self.path or "pipe")

    def frames(self, first: int = 0) -> Iterator[Timed]:
        """Yields the frames in order; a file may be read again, a pipe or camera may not.

        Args:
          first: frames to leave out, of those that would be yielded. They are reached but not
            decoded into pictures; the ones after them are the same as without it.

        Raises:
          UserError: nothing to yield: it vanished, or no frame lies in the chosen part.
        """
        if first and self.live:
            raise UserError(f"{self.origin} is live; what it has shown cannot be left out again")
        empty = first == 0
        for timed in self.choice(self._watched(self._glimpses()), first):
            empty = False
            yield timed
        if empty:
            raise UserError(
                f"{self.origin} has no frame {_part(self.choice)}; it ends at "
                f"{self.progress.reached or 0:.2f} s"
            )

    def _glimpses(self) -> Iterator[Glimpse]:
        warn = self.warnings.append
        if self.pictures:
            return _pictures(self)
        if self.camera is not None:
            opened = partial(live_input.open_camera, self.camera)
            return live_input.glimpses(opened, self.origin, warn, self.patience)
        if self.live and self.address is not None:
            opened = partial(live_input.open_address, self.address, self.patience)
            return live_input.glimpses(opened, self.origin, warn, self.patience)
        if self.header is not None:
            if self.address is not None:
                film = live_input.open_address(self.address, self.patience)
            else:
                assert self.path is not None
                film = films.open_film(self.path)
            return films.glimpses(film, self.origin, self.header, self.warnings, self.progress)
        return pipe.glimpses(pipe.standard_input(), self.rate, self.pipe_size, warn)

    def _watched(self, glimpses: Iterator[Glimpse]) -> Iterator[Glimpse]:
        for glimpse in glimpses:
            self.progress.reached = glimpse.timestamp
            yield glimpse


def find(
    inputs: Sequence[str],
    *,
    fps: float | None = None,
    every: int = 1,
    start: str | float | None = None,
    end: str | float | None = None,
    cameras: Sequence[int] = (),
    pipe_size: tuple[int, int] | None = None,
    on_skip: Callable[[str], None] | None = None,
    patience: live_input.Patience | None = None,
) -> list[Source]:
    """The sources behind what a user named.

    A film, a picture; a folder: each film in it, and its pictures together, as stills or, where
    `fps` is given, as the frames of one film in the order of their names (numbers by value); a row
    of numbered pictures, "shot_%04d.png", as a film; "-": a pipe of concatenated JPEGs
    (`ffmpeg -f mjpeg -`) or, where `pipe_size` (width, height) is given, of raw RGB bytes
    (`ffmpeg -f rawvideo -pix_fmt rgb24 -`); an address (rtsp://, http://, https://, udp://): a film
    that lies there, or a live stream. A film in a folder that cannot be read is told to `on_skip`
    and left out.

    Args:
      inputs: paths and addresses.
      fps: of films, addresses and cameras: take the frames nearest to this rate, if theirs is
        higher; of pipes and pictures, which have no rate of their own: their rate (25).
      every: take each `every`-th frame.
      start, end: seconds, or "1:02:03.5"; what is live ends `end` seconds after its first frame.
      cameras: numbers of webcams, from 0.
      patience: how long cameras and streams are waited for.

    Raises:
      UserError: nothing there, an empty folder, a file that does not decode, one that is too large,
        an option that makes no sense.
    """
    if fps is not None and not 0 < fps <= limits.MAX_RATE:
        raise UserError(f"fps is {fps}; give frames a second, above 0")
    options = _Options(
        fps, every, seconds(start), seconds(end), pipe_size, patience or live_input.Patience()
    )
    sources: list[Source] = []
    for text in inputs:
        sources += _named(text, options, on_skip)
    sources += [_camera(index, options) for index in cameras]
    if sum(s.origin == "pipe" for s in sources) > 1:
        raise UserError("the pipe (-) is named twice; name it once")
    return sources


def ends_early(source: Source, frames: int) -> bool:
    """Whether so much of a film is missing that its user must hear of it."""
    if not source.total or frames >= 0.95 * source.total - 1:
        return False
    if source.header is None or source.progress.reached is None:
        return True
    return films.ends_early(source.header, source.progress, source.choice.end)


@dataclass(frozen=True)
class _Options:
    fps: float | None
    every: int
    start: float | None
    end: float | None
    pipe_size: tuple[int, int] | None
    patience: live_input.Patience

    def choice(self, *, rate: bool) -> Choice:
        """`rate`: fps is what to take of a source, not the rate of one that has none itself."""
        return Choice(self.every, self.fps if rate else None, self.start, self.end)


def _named(text: str, options: _Options, on_skip: Callable[[str], None] | None) -> list[Source]:
    if text == "-":
        return [_timed(Source("pipe", None, pipe_size=options.pipe_size), options)]
    if live_input.is_address(text):
        return [_address(text, options)]
    path = Path(text)
    try:
        if path.is_dir():
            return _in_folder(path, options, on_skip)
        there = path.exists()
    except (OSError, ValueError) as error:
        raise UserError(f"{text!r} cannot be read ({error}); check the path") from error
    if not there and _PATTERN.search(path.name):
        return [_sequence(path, options)]
    if not there:
        raise UserError(f"no file or folder {path}; check the path")
    if path.suffix.lower() in PICTURES:
        picture.read(path)
        return [Source(path.stem, path, still=True, total=1, pictures=(path,))]
    return [_film(path, options)]


def _in_folder(
    folder: Path, options: _Options, on_skip: Callable[[str], None] | None
) -> list[Source]:
    try:
        files = sorted((p for p in folder.iterdir() if _is_file(p)), key=_by_number)
    except OSError as error:
        raise UserError(
            f"folder {folder} cannot be read ({error.strerror}); check its permissions"
        ) from error
    pictures = tuple(p for p in files if p.suffix.lower() in PICTURES)
    sources = []
    for path in files:
        if path.suffix.lower() in FILMS:
            try:
                sources.append(_film(path, options))
            except UserError as error:
                if on_skip is None:
                    raise
                on_skip(f"left out: {error}")
    if pictures:
        name = folder.resolve().name or "pictures"
        sources.append(_row(Source(name, folder, pictures=pictures), options))
    if not sources:
        raise UserError(
            f"folder {folder} holds no film and no picture "
            f"({', '.join(sorted(PICTURES | FILMS))}); name the files themselves"
        )
    return sources


def _is_file(path: Path) -> bool:
    try:
        return path.is_file() and not path.name.startswith(".")
    except OSError:
        return False


def _by_number(path: Path) -> list[tuple[bool, int, str]]:
    """For sorting: "shot2" before "shot10"."""
    parts = re.split(r"(\d+)", path.name)
    return [(p.isdecimal(), int(p) if p.isdecimal() else 0, p) for p in parts]


def _row(source: Source, options: _Options) -> Source:
    """Pictures of a folder: frames of one film, or stills of which each `every`-th is taken."""
    if options.fps is not None:
        source.total = len(source.pictures)
        return _timed(source, options)
    if options.start is not None or options.end is not None:
        raise UserError(
            f"{source.path} holds pictures without times; give --fps, if they are frames of one "
            "film, or leave out --start and --end"
        )
    source.still = True
    source.pictures = source.pictures[:: options.every]
    source.total = len(source.pictures)
    return source


def _sequence(pattern: Path, options: _Options) -> Source:
    """Numbered pictures, named as ffmpeg does."""
    before, after = _PATTERN.split(pattern.name, maxsplit=1)
    wanted = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
    try:
        found = [(m, p) for p in pattern.parent.iterdir() if (m := wanted.fullmatch(p.name))]
    except OSError as error:
        raise UserError(f"{pattern.parent} cannot be read ({error.strerror})") from error
    numbered = sorted((int(m.group(1)), p.name, p) for m, p in found if _is_file(p))
    if not numbered:
        raise UserError(f"no picture is named like {pattern}; check the path")
    name = before.rstrip("_-. ") or pattern.parent.resolve().name or "pictures"
    pictures = tuple(p for _, _, p in numbered)
    source = Source(name, pattern.parent, pictures=pictures, total=len(pictures))
    missing = numbered[-1][0] - numbered[0][0] + 1 - len(numbered)
    if missing > 0:
        source.warnings.append(
            f"{pattern}: {missing} numbers between {numbered[0][0]} and {numbered[-1][0]} are "
            "missing; the pictures are taken as frames that follow each other"
        )
    return _timed(source, options)


def _timed(source: Source, options: _Options) -> Source:
    """A film of frames that have no times of their own."""
    source.rate = options.fps or _PIPE_RATE
    source.choice = options.choice(rate=False)
    source.fps = source.choice.slowed(source.rate)
    source.total = source.choice.expected(source.total, source.rate)
    return source


def _film(path: Path, options: _Options) -> Source:
    return _with_header(Source(path.stem, path), films.header(path), options)


def _with_header(source: Source, header: films.Header, options: _Options) -> Source:
    source.header, source.choice = header, options.choice(rate=True)
    source.fps = source.choice.slowed(header.fps)
    source.total = source.choice.expected(header.total, header.fps)
    return source


def _address(address: str, options: _Options) -> Source:
    stem = Path(address.split("?")[0].rstrip("/")).stem
    name = re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "stream"
    source = Source(name, None, address=address, patience=options.patience)
    opened = live_input.open_address(address, options.patience)
    try:
        header = films.header_of(opened, source.origin, measure=False)
    finally:
        opened.release()
    if header.total is not None:
        return _with_header(source, header, options)
    return _live(source, header.fps, options)


def _camera(index: int, options: _Options) -> Source:
    if index < 0:
        raise UserError(f"camera {index}: cameras are numbered from 0")
    opened = live_input.open_camera(index)
    rate = live_input.rate(opened)
    opened.release()
    source = Source(f"camera-{index}", None, camera=index, patience=options.patience)
    return _live(source, rate, options)


def _live(source: Source, rate: float, options: _Options) -> Source:
    source.live, source.choice = True, options.choice(rate=True)
    source.fps = source.choice.slowed(rate)
    if options.start:
        raise UserError(f"{source.origin} is live and starts now; leave out --start")
    return source


def _pictures(source: Source) -> Iterator[Glimpse]:
    def decoded(path: Path):
        try:
            return picture.read(path)
        except UserError as error:
            source.warnings.append(f"{error}; its row has success 0")
            return None

    rate = None if source.still else source.rate
    for index, path in enumerate(source.pictures):
        yield Glimpse(index + 1, index / rate if rate else 0.0, partial(decoded, path))


def _part(choice: Choice) -> str:
    start = f"from {choice.start or 0:g} s"
    return start if choice.end is None else f"{start} to {choice.end:g} s"
