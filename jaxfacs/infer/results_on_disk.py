"""One film's results as files: the table, its origin, what is drawn of it; and going on with them.

OUT/NAME.csv (.parquet, .jsonl)   the table
OUT/NAME.json                     its origin: what was read, by what, and everything that shaped
                                  the numbers
OUT/.NAME.journal                 the table's rows while the film is being read
OUT/.NAME.resume.npz              where to go on from, see `infer.resume`
OUT/.NAME.lock                    held while these are written
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxfacs.errors import UserError
from jaxfacs.infer import resume, tables
from jaxfacs.infer.answers import Reading
from jaxfacs.infer.files import replacing
from jaxfacs.infer.predictor import Predictor
from jaxfacs.infer.results import FrameResult
from jaxfacs.infer.sources import source as sources
from jaxfacs.infer.sources.source import Source


@dataclass(frozen=True)
class Extra:
    """Something that is made of a finished table.

    Attributes:
      suffix: of its file or folder, after the table's name; or what gives it for a source.
      make: (results, path) -> writes it.
      of_stills: whether pictures that have nothing to do with each other can have it.
      of_nobody: whether a film without a face can have it.
    """

    suffix: str | Callable[[Source], str]
    make: Callable[["Results", Path], Any]
    of_stills: bool = False
    of_nobody: bool = True

    def path(self, results: "Results") -> Path:
        suffix = self.suffix if isinstance(self.suffix, str) else self.suffix(results.source)
        return results.out / f"{results.name}{suffix}"


class Results:
    """The files of one film, while it is read and afterwards.

    Args:
      predictor: reads the film.
      source: the film.
      out: folder. name: of its files, without suffix.
      format, columns: of the table, see `tables.writing`.
      extras: what to make of the table.
      reading: of the predictor, as a profile changed it.
      settings: all that shapes the numbers besides film, model and version; JSON-able.
    """

    def __init__(
        self,
        predictor: Predictor,
        source: Source,
        out: Path,
        name: str,
        *,
        format: str,
        columns: str,
        extras: Mapping[str, Extra],
        reading: Reading,
        settings: Mapping[str, Any],
        version: str,
    ):
        self.predictor, self.source, self.out, self.name = predictor, source, out, name
        self._format, self._columns, self._reading = format, columns, reading
        self.extras = {k: e for k, e in extras.items() if e.of_stills or not source.still}
        self.table = out / f"{name}{tables.SUFFIXES[format]}"
        self.origin = out / f"{name}.json"
        self._files = ExitStack()
        self._journal, self._kept = out / f".{name}.journal", out / f".{name}.resume.npz"
        bundle = predictor.bundle
        self.key = {
            "film": resume.fingerprint(source),
            "model": {
                "file": bundle.path.name,
                "sha256": bundle.digest,
                "about": bundle.manifest["about"],
            },
            "settings": settings,
            "table's form": {"format": format, "columns": columns},
            "version of jaxfacs": version,
        }
        self.state: Mapping[str, Any] | None = None
        self.counts: Counter[str] = Counter()
        self._seen: set[int] = set()
        self._stack = ExitStack()
        self._writer: tables.Writer | None = None
        self.marked = 0  # frames from which another run can go on

    @property
    def can_resume(self) -> bool:
        """Whether an interrupted reading can go on: not of cameras and pipes."""
        return self.key["film"] is not None

    def is_done(self) -> bool:
        """Whether an earlier run has read this very film, with this model and these settings."""
        try:
            origin = json.loads(self.origin.read_text(encoding="utf-8"))
            return (
                self.can_resume
                and not resume.differences(origin["key"], self.key)
                and origin["table"] == _described(self.table)
            )
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def frames_kept(self) -> int:
        """Frames that an earlier run has read and this one need not."""
        try:
            state = resume.load(self._kept, self.key) if self.can_resume else None
        except UserError:
            return 0
        return 0 if state is None else int(state["frames"])

    def open(self, warn: Callable[[str], None]) -> None:
        """Gets ready to take results; afterwards `state` is that of the film to go on from.

        Raises:
          UserError: somebody else writes these files, or nobody can.
        """
        self.lock()
        try:
            state = resume.load(self._kept, self.key) if self.can_resume else None
            if state is not None:
                self._begin(resume_at=int(state["journal_bytes"]))
                self.counts = Counter(state["counts"])
                self._seen = set(state["seen"])
                self.state, self.marked = state, int(state["frames"])
        except UserError as error:
            warn(f"{self.name} is read from the beginning: {error}")
            state = None
        try:
            if state is None:
                self._kept.unlink(missing_ok=True)
                self._begin(resume_at=None)
        except BaseException:
            self._stack.close()
            raise

    def lock(self) -> None:
        """Takes the files for this process until `close`."""
        lock = resume.locked(self.out / f".{self.name}.lock", str(self.table))
        self._stack.enter_context(lock)
        for path in self.out.glob(f".part-*-{self.name}.*"):  # of a process that was killed
            if path.name.split("-", 2)[2] in self._written():
                path.unlink(missing_ok=True)

    def add(self, result: FrameResult) -> None:
        """Takes the next frame."""
        assert self._writer is not None
        self._writer.add(result)
        self.counts["frames"] += 1
        self.counts["frames_with_face"] += bool(result.faces)
        self.counts["unreadable_frames"] += not result.readable
        self.counts["unsure_faces"] += sum(face.unsure for face in result.faces)
        self._seen.update(face.face_id for face in result.faces)

    def mark(self, state: Mapping[str, Any]) -> None:
        """Keeps `state`: from here another run can go on."""
        assert self._writer is not None
        kept = {
            **state,
            "journal_bytes": self._writer.mark(),
            "counts": dict(self.counts),
            "seen": sorted(self._seen),
        }
        resume.save(self._kept, self.key, kept)
        self.marked = int(state["frames"])

    def finish(self) -> None:
        """The film has ended: table and origin appear."""
        self._files.close()
        mapper = self._reading.mapper
        origin = {
            "input": self.source.origin,
            **{k: self.counts[k] for k in ("frames", "frames_with_face", "unreadable_frames")},
            "faces": None if self.source.still else len(self._seen),
            **(
                {"unsure_faces": self.counts["unsure_faces"]}
                if self._reading.has_confidence
                else {}
            ),
            "warnings": list(self.source.warnings),
            "jaxfacs": self.key["version of jaxfacs"],
            "settings": self.key["settings"],
            "model": self.key["model"],
            "emotion_mapper": mapper.to_json() if mapper else None,
            "table": _described(self.table),
            "key": self.key,
        }
        with replacing(self.origin) as temporary:
            temporary.write_text(json.dumps(origin, indent=1) + "\n", encoding="utf-8")
        self._kept.unlink(missing_ok=True)
        self.marked = 0
        self.close()

    def missing(self) -> dict[str, Extra]:
        """What was asked for and is not there, or is of an earlier table."""
        made = self.table.stat().st_mtime_ns
        paths = {name: extra.path(self) for name, extra in self.extras.items()}
        old = {n for n, p in paths.items() if not p.exists() or p.stat().st_mtime_ns < made}
        return {name: extra for name, extra in self.extras.items() if name in old}

    def make(self, extras: Mapping[str, Extra]) -> list[UserError]:
        """Makes these of the finished table; returns what went wrong.

        Raises:
          UserError: somebody else writes these files.
        """
        self.lock()
        errors = []
        try:
            faces = json.loads(self.origin.read_text(encoding="utf-8"))["frames_with_face"]
            for extra in extras.values():
                try:
                    if faces or extra.of_nobody:
                        extra.make(self, extra.path(self))
                except UserError as error:
                    errors.append(error)
        finally:
            self.close()
        return errors

    def forget(self) -> None:
        """An interrupted reading shall not be gone on with."""
        self._kept.unlink(missing_ok=True)

    def fail(self, error: BaseException) -> None:
        """The film broke, or the run was interrupted: what can be gone on with is kept."""
        try:
            self._files.__exit__(type(error), error, None)
        except BaseException as second:  # the disk is full for closing, too
            if not isinstance(second, (UserError, OSError)) and second is not error:
                raise
        if not self.marked and (self.can_resume or not self.counts["frames"]):
            self._journal.unlink(missing_ok=True)
        self._stack.close()

    def close(self) -> None:
        """Lets go of the files."""
        self._stack.close()

    def ends_early(self) -> bool:
        """Whether much of the film was missing."""
        return sources.ends_early(self.source, self.counts["frames"])

    def _begin(self, *, resume_at: int | None) -> None:
        self._files = ExitStack()
        many = len(self.source.pictures) > 1
        writer = tables.writing(
            self.table,
            format=self._format,
            layout=self._columns,
            aus=self.predictor.aus,
            emotions=self.predictor.emotions,
            valence_arousal=self.predictor.valence_arousal,
            names=tuple(p.name for p in self.source.pictures) if many else (),
            source=self.source.origin,
            journal=self._journal,
            resume_at=resume_at,
            about={"settings": self.key["settings"], "model": self.key["model"]["sha256"]},
        )
        self._writer = self._files.enter_context(writer)

    def _written(self) -> set[str]:
        made = {extra.path(self).name for extra in self.extras.values()}
        return {self.table.name, self.origin.name, self._kept.name, *made}


def _described(path: Path) -> dict[str, Any]:
    told = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            told.update(part)
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": told.hexdigest()}


def names(found: list[Source]) -> list[str]:
    """A name for each source's results; the file's whole name, then a number, where they clash."""
    stems = Counter(s.name for s in found)
    given: list[str] = []
    for source in found:
        name = source.name
        if stems[name] > 1 and source.path is not None:
            name = source.path.name
        number, base = 2, name
        while name in given:
            name, number = f"{base}-{number}", number + 1
        given.append(name)
    return given
