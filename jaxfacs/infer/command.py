"""`jaxfacs predict`: films, pictures, cameras in; tables, origins, pictures of them out."""

import signal
import sys
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tqdm import tqdm

from jaxfacs import __version__
from jaxfacs.emotion import person
from jaxfacs.errors import UserError
from jaxfacs.faces.track import EVERY
from jaxfacs.infer import baseline, engine, resume, shipped
from jaxfacs.infer.answers import AnswerSettings, Reading
from jaxfacs.infer.extras import EXTRAS
from jaxfacs.infer.predictor import Predictor, films_at_once, load
from jaxfacs.infer.results_on_disk import Extra, Results, names
from jaxfacs.infer.sources import source as sources
from jaxfacs.infer.sources.source import Source
from jaxfacs.progress import track

_Camera = Annotated[tuple[int, ...], tyro.conf.UseAppendAction]


@dataclass(frozen=True)
class Frames:
    """Which frames."""

    every: int = 1
    """take each k-th frame"""
    fps: float | None = None
    """of films and cameras: take so many frames a second; of pipes and of folders of pictures that
    are frames of one film: what they have (pipes: 25)"""
    start: str | None = None
    """begin there: seconds, or 1:02:03.5"""
    end: str | None = None
    """stop there"""
    camera: _Camera = ()
    """a webcam by its number, from 0; Ctrl-C or --seconds ends it, and its table is written"""
    seconds: float | None = None
    """end cameras and live streams after so long"""
    pipe_size: Annotated[str | None, tyro.conf.arg(metavar="WIDTHxHEIGHT")] = None
    """the pipe is raw RGB of this size, as in 640x480"""


@dataclass(frozen=True)
class Faces:
    """How faces are found."""

    detector: str | None = None
    """haar, or the path of a YuNet .onnx file; default: as the model's records were cut"""
    detect_every: int = EVERY
    """a face is detected anew in each so many frames, and at once where its picture changed;
    between, it moves along with its picture. 1: in every frame"""


@dataclass(frozen=True)
class Answering:
    """How the numbers are made."""

    baseline: str = "none"
    """what counts as this face's rest: none, median, first:SECONDS, image:PATH, profile:PATH"""
    smooth: float = 0.0
    """smooth over so many seconds"""
    person: Path | None = None
    """a person's profile, whose thresholds and emotions are used"""
    hop: int | None = None
    """frames between two questions to the network; small is exact, large is fast"""


@dataclass(frozen=True)
class Writing:
    """What is written: the table OUT/NAME.csv, its origin OUT/NAME.json, and if asked for:"""

    format: Literal["csv", "parquet", "json"] = "csv"
    """of the table: NAME.csv, NAME.parquet, or NAME.jsonl, a line a row"""
    columns: Literal["openface", "py-feat"] = "openface"
    """of the table: their names, or py-feat's"""
    segments: bool = False
    """NAME.segments.csv: onset, apex, offset of each AU"""
    overlay: bool = False
    """NAME.overlay.mp4 (.jpg): the film with boxes, bars and active regions"""
    plots: bool = False
    """NAME.timeline.png and .svg: each AU and emotion over time"""
    heat_map: bool = False
    """NAME.face.png: which regions of the face were active"""
    report: bool = False
    """NAME.report.html: player, timelines, jump to frame, in one file"""
    overwrite: bool = False
    """read films again that were read with this model and these settings, and begin interrupted
    ones anew"""


@dataclass(frozen=True)
class Speed:
    """How fast. None of this changes a number."""

    batch: int | None = None
    """clips that the network reads at once (8 on a CPU, 64 elsewhere)"""
    films_at_once: int | None = None
    """films whose frames are read at the same time (one for each core, 2 to 4)"""
    save_every: int = resume.EVERY
    """frames after which the place is kept, for going on after an interruption; 0: never"""


def predict(
    inputs: tyro.conf.Positional[list[str]],
    /,
    *,
    model: str = shipped.DEFAULT,
    out: Path,
    frames: tyro.conf.OmitArgPrefixes[Frames] = Frames(),
    faces: tyro.conf.OmitArgPrefixes[Faces] = Faces(),
    answers: tyro.conf.OmitArgPrefixes[Answering] = Answering(),
    results: tyro.conf.OmitArgPrefixes[Writing] = Writing(),
    speed: tyro.conf.OmitArgPrefixes[Speed] = Speed(),
) -> int:
    """Read Action Units and emotions out of films, pictures and cameras.

    jaxfacs predict film.mp4 --out results

    jaxfacs predict films/ --model my.jaxfacs --out results --overlay --report

    jaxfacs predict --camera 0 --seconds 60 --out results

    ffmpeg -i X -f mjpeg - | jaxfacs predict - --fps 25 --out results

    A row a face and frame; a frame without a face is a row with success 0. Interrupted, the same
    command goes on where it was, and what was read already is not read again. A film that breaks
    off gives the rows up to there, and a warning; one that cannot be read is named, the others go
    on, and the exit code is 2.

    Args:
      inputs: films, pictures, folders of them, rows of pictures (shot_%04d.png), addresses
        (rtsp://…, https://…); - is a pipe of JPEGs, or of raw RGB with --pipe-size
      model: a .jaxfacs file that `jaxfacs export` wrote, or the name of weights that come with the
        package: default, of single frames, or clip, where it is there
      out: folder for the results; made if it is missing
    """
    found = _found(inputs, frames)
    if results.overlay and any(s.live or s.path is None for s in found):
        raise UserError(
            "a pipe cannot be read twice, nor a camera, as --overlay must; save it as a film first"
        )
    answering = AnswerSettings(
        baseline=answers.baseline, smooth_s=answers.smooth, person=str(answers.person or "")
    )
    if speed.save_every < 0 or (speed.films_at_once or 1) < 1:
        raise UserError("--save-every is 0 or more, --films-at-once 1 or more")
    predictor = load(model, detector=faces.detector, batch=speed.batch)
    options: dict[str, Any] = {
        "hop": answers.hop,
        "detect_every": faces.detect_every,
        "settings": answering,
    }
    predictor.stream(**options)  # refuses what makes no sense before anything is written
    options["rest"] = predictor.rest(answering)
    _make_folder(out)
    reading = _reading(predictor, answering)
    settings = _settings(predictor, reading, frames, faces, answers, answering)
    todo = [
        Results(
            predictor,
            source,
            out,
            name,
            format=results.format,
            columns=results.columns,
            extras={k: e for k, e in EXTRAS.items() if getattr(results, k.split(".")[0])},
            reading=reading,
            settings=settings,
            version=__version__,
        )
        for source, name in zip(found, _free_names(found, out, results.overwrite), strict=True)
    ]
    return _Reading(predictor, todo, options, results.overwrite, speed).run()


def _found(inputs: list[str], frames: Frames) -> list[Source]:
    if not inputs and not frames.camera:
        raise UserError(
            "nothing to read; name films, pictures, folders, - for a pipe, or --camera 0"
        )
    found = sources.find(
        inputs,
        fps=frames.fps,
        every=frames.every,
        start=frames.start,
        end=frames.end,
        cameras=frames.camera,
        pipe_size=_parse_size(frames.pipe_size) if frames.pipe_size else None,
        on_skip=_warn,
    )
    if frames.seconds is not None:
        if frames.seconds <= 0:
            raise UserError(f"--seconds is {frames.seconds:g}; give more than 0")
        live = [s for s in found if s.live]
        if not live:
            raise UserError("--seconds ends cameras and live streams; of films take --end")
        for source in live:
            source.choice = replace(source.choice, end=frames.seconds)
    return found


def _reading(predictor: Predictor, answering: AnswerSettings) -> Reading:
    if not answering.person:
        return predictor.reading
    return predictor.reading.of_person(person.load(Path(answering.person)))


def _settings(
    predictor: Predictor,
    reading: Reading,
    frames: Frames,
    faces: Faces,
    answers: Answering,
    answering: AnswerSettings,
) -> dict[str, Any]:
    """All that shapes the numbers besides film, model and version."""
    choice = baseline.parse(answers.baseline)
    files = [Path(p) for p in (choice.path, answering.person) if p]
    return {
        **predictor.settings,
        "thresholds": reading.thresholds,
        "frames": {k: v for k, v in asdict(frames).items() if k not in ("camera", "seconds")},
        "detect_every": faces.detect_every,
        "hop": answers.hop,
        **asdict(answering),
        "files": {str(p): sha256(p.read_bytes()).hexdigest() for p in files if p.is_file()},
        "batch": predictor.batch,
        "platform": predictor.platform,
    }


@dataclass(eq=False)
class _Reading:
    """All films of a call."""

    predictor: Predictor
    todo: list[Results]
    options: dict[str, Any]
    overwrite: bool
    speed: Speed
    failed: list[str] = field(default_factory=list)
    reading: list[Results] = field(default_factory=list)  # opened and not finished

    def run(self) -> int:
        """Reads what is not read yet, then makes what is asked for of the tables."""
        done = [] if self.overwrite else [r for r in self.todo if r.is_done()]
        for results in done:
            print(
                f"{results.source.origin}: read before with this model and these settings -> "
                f"{results.table} (--overwrite reads it again)"
            )
        rest = [r for r in self.todo if r not in done]
        made = {id(r): r.missing() for r in done}
        try:
            read = self._read(rest) if rest else []
            made |= {id(r): r.extras for r in read}
            for results in self.todo:
                self._make(results, made.get(id(results), {}))
        except KeyboardInterrupt as error:
            return self._interrupted(error)
        except BaseException as error:
            for results in self.reading:
                results.fail(error)
            raise
        return self._end()

    def _read(self, rest: list[Results]) -> list[Results]:
        """Reads them; returns those that have their table now."""
        kept = 0 if self.overwrite else sum(r.frames_kept() for r in rest)
        totals = [r.source.total for r in rest]
        total = None if None in totals else sum(t for t in totals if t) - kept
        label = f"reading {rest[0].name}" if len(rest) == 1 else f"reading {len(rest)} inputs"
        read: list[Results] = []
        with _stop_on_first_interrupt(rest) as stop, closing(self._events(rest, stop)) as events:
            for event in track(events, label=label, total=total, unit="frame", amount=_is_result):
                results = rest[event.film.index]
                if not event.film.cancelled and self._take(results, event):
                    read.append(results)
        return read

    def _events(
        self, rest: list[Results], stop: threading.Event
    ) -> Generator[engine.Event, None, None]:
        batches = self.predictor.batches([r.source for r in rest])

        def films() -> Iterator[engine.Film]:
            for index, results in enumerate(rest):
                try:
                    if self.overwrite:
                        results.forget()
                    results.open(_warn)
                except UserError as error:
                    self._failed(results, error)
                    continue
                self.reading.append(results)
                yield self.predictor.film(
                    index,
                    results.source,
                    batches,
                    state=results.state,
                    mark_every=self.speed.save_every if results.can_resume else 0,
                    **self.options,
                )

        at_once = self.speed.films_at_once or films_at_once()
        return engine.read(films(), batches, at_once=at_once, stop_live=stop)

    def _take(self, results: Results, event: engine.Event) -> bool:
        """What happened to a film goes to its files; whether it has its table now."""
        try:
            if isinstance(event, engine.Result):
                results.add(event.result)
            elif isinstance(event, engine.Mark):
                results.mark(event.state)
            else:
                return self._finish(results, event.error)
        except engine.FAULTS as error:
            event.film.cancelled = True
            self.reading.remove(results)
            results.fail(error)
            self._failed(results, error)
        return False

    def _finish(self, results: Results, error: Exception | None) -> bool:
        if error is not None:
            # What is live does not come back: its table ends here.
            if results.can_resume or not results.counts["frames"]:
                raise error
            results.source.warnings.append(str(error))
            self._failed(results, error)
        results.finish()
        self.reading.remove(results)
        _say(results)
        return True

    def _make(self, results: Results, extras: Mapping[str, Extra]) -> None:
        try:
            for error in results.make(extras) if extras else ():
                self._failed(results, error)
        except engine.FAULTS as error:
            self._failed(results, error)

    def _failed(self, results: Results, error: Exception) -> None:
        goes_on = f"; the same command goes on at frame {results.marked + 1}"
        self.failed.append(f"{error}{goes_on if results.marked else ''}")
        if len(self.todo) > 1:
            _warn(self.failed[-1])

    def _end(self) -> int:
        if not self.failed:
            return 0
        if len(self.todo) == 1:
            raise UserError("; ".join(self.failed))
        raise UserError(
            f"{len(self.failed)} of {len(self.todo)} inputs failed: {'; '.join(self.failed)}; the "
            "others are done"
        )

    def _interrupted(self, error: KeyboardInterrupt) -> int:
        for results in list(self.reading):
            if results.can_resume or not results.counts["frames"]:
                results.fail(error)
            else:
                results.source.warnings.append("interrupted")
                self._finish(results, None)
        places = ", ".join(f"{r.name} at frame {r.marked + 1}" for r in self.reading if r.marked)
        left = f"goes on with {places}" if places else "begins with what is not done"
        _warn(f"interrupted; the same command {left}")
        return 130


def _is_result(event: engine.Event) -> int:
    return isinstance(event, engine.Result)


@contextmanager
def _stop_on_first_interrupt(rest: list[Results]) -> Iterator[threading.Event]:
    """Where a camera is read, the first Ctrl-C ends it, and its table is written."""
    stop = threading.Event()
    if not any(r.source.live for r in rest) or not _in_main_thread():
        yield stop
        return

    def told(number: int, frame: Any) -> None:
        if stop.is_set() or not all(r.source.live for r in rest):
            signal.default_int_handler(number, frame)
        stop.set()

    before = signal.signal(signal.SIGINT, told)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _say(results: Results) -> None:
    counts, source = results.counts, results.source
    if results.ends_early():
        _warn(
            f"{source.origin} ends early: {counts['frames']} of {source.total} frames could be read"
        )
    for text in source.warnings if counts["unreadable_frames"] or source.path is None else ():
        _warn(text)
    unsure = f", {counts['unsure_faces']} answers unsure" if counts["unsure_faces"] else ""
    tqdm.write(
        f"{source.origin}: {counts['frames']} frames, {counts['frames_with_face']} with a face"
        f"{unsure} -> {results.table}",
        file=sys.stdout,
    )


def _free_names(found: list[Source], out: Path, overwrite: bool) -> list[str]:
    """As `names`; a recording of a camera or pipe never takes the place of an earlier one."""
    given = []
    for source, name in zip(found, names(found), strict=True):
        number, base = 2, name
        while source.live and not overwrite and (out / f"{name}.json").exists():
            name, number = f"{base}-{number}", number + 1
        given.append(name)
    return given


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{out} cannot be a folder ({error.strerror}); choose another --out"
        ) from error


def _parse_size(text: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.isdigit() and 0 < int(p) <= 16384 for p in parts):
        raise UserError(f"--pipe-size {text} is not WIDTHxHEIGHT, as in 640x480")
    return int(parts[0]), int(parts[1])


def _warn(text: str) -> None:
    tqdm.write(f"jaxfacs predict: {text}", file=sys.stderr)
