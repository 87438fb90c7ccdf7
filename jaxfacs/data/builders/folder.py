"""A user's own films or pictures with a table of AU labels as a record set."""

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from jaxfacs import __version__
from jaxfacs.data import label_table, schema, splits, writer
from jaxfacs.data.label_table import LabelTable, Row
from jaxfacs.data.parallel import cores, ordered_map
from jaxfacs.errors import UserError
from jaxfacs.faces.prepare import FaceCut, FaceSteps, prepared
from jaxfacs.faces.steps import DEFAULT_MARGIN
from jaxfacs.progress import track

STILLS_FPS = 25.0  # what numbered pictures are taken for, as they carry no time
# skipped.csv: one row for each frame that the table names and the set lacks
REASONS = {
    "missing": "the file does not exist",
    "unreadable": "the file does not decode",
    "not in film": "the film ends before this frame, or begins after it",
}


def build(
    source: Path,
    out: Path,
    *,
    labels: Path | None = None,
    frames: int = 16,
    size: int = 112,
    detector: str = "haar",
    margin: float = DEFAULT_MARGIN,
    first_frame: int = 0,
    validation: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
    quality: int = 95,
    name: str = "folder",
    licence: str = "",
    workers: int = 0,
) -> None:
    """Turn your own films or pictures and a CSV of labels into sharded records.

    The table has one row a frame: a column `image`, or `film` and `frame`; AU columns in any common
    spelling (AU12, AU12_r, AU12_c, 12, L12); and, if you have them, `subject`, `emotion`, `valence`
    and `arousal` (-1 to 1) and `split`. AU columns may be missing where there are emotions or
    affect. Empty, 9, 999 and -1 mean that nobody coded this AU; it is never taken for absent.
    Frames that cannot be used are listed with the reason in OUT/skipped.csv.

    Args:
      source: folder with the films or pictures; paths in the table are relative to it.
      out: new folder for the records.
      labels: the table; the only .csv in SOURCE without it.
      frames: frames of a clip; runs of consecutive frames are cut into clips of this length, the
        rest of a run is a shorter clip. 1: every picture by itself.
      size: side of the stored face crops in pixels.
      detector: haar, a YuNet .onnx file, or none (the pictures are face crops already).
      margin: share of the detected box added on each side.
      first_frame: number of a film's first frame in the table, 0 or 1.
      validation: share of the frames, by subject (without a split column).
      test: share of the frames, by subject (without a split column).
      seed: another seed deals the subjects out differently.
      quality: of the JPEGs, 1-100.
      name: of the set.
      licence: of your data, to be kept with the records.
      workers: processes; 0: one for each core.
    """
    source = source.resolve()
    if not source.is_dir():
        raise UserError(f"--source {source} is not a folder")
    if frames < 1 or not 16 <= size <= 1024 or not 1 <= quality <= 100:
        raise UserError("--frames must be at least 1, --size 16 to 1024, --quality 1 to 100")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(f"--name {name!r}: use lower case letters, digits and _")
    steps = FaceSteps.boxed(detector, margin=margin, size=size)
    table_path = labels or _only_csv(source)
    table = label_table.read(table_path)
    subjects = _subjects(table)
    split_of = _split_of(table, subjects, validation=validation, test=test, seed=seed)
    emotions = tuple(sorted({row.emotion for row in table.rows} - {""}))
    cutter = Cutter(source, emotions, frames, first_frame, steps, quality)
    takes = _takes(table, subjects, source, single=frames == 1)
    info = writer.SetInfo(
        name=name,
        aus=table.aus,
        emotions=emotions,
        size=size,
        crop=steps.card,
        settings={
            "frames": frames, "first_frame": first_frame, "validation": validation, "test": test,
            "seed": seed, "quality": quality, "jaxfacs": __version__,
            "labels_sha256": hashlib.sha256(table_path.read_bytes()).hexdigest(),
        },
        description=f"Frames of {len(set(subjects))} subjects with AU labels from a table.",
        licence=licence,
    )  # fmt: skip
    skipped: list[tuple[Row, str]] = []
    made = found = 0
    with writer.writing(out, info) as records:
        done = ordered_map(cutter, takes, workers=min(workers or cores(), len(takes)))
        for clips, left_out in track(done, label="reading", total=len(takes), unit="take"):
            skipped += left_out
            for clip in clips:
                records.write(split_of[clip.subject], clip)
                made += len(clip.frames)
                found += int(clip.found_T.sum())
        if not made:
            raise UserError(f"no frame could be used: {_summary(skipped)}; see {table_path}")
        _write_skipped(records.folder / "skipped.csv", skipped)
    print(f"{out}: {made} of {len(table.rows)} frames, {len(table.aus)} AUs")
    for split in sorted(set(split_of.values()) - set(records.parts)):
        print(f"{split} is empty: none of its subjects has a frame that could be used")
    if found < made:
        print(f"no face found in {made - found} frames: kept, marked, cut where it was last")
    if skipped:
        print(f"left out: {_summary(skipped)}; each is listed in {out / 'skipped.csv'}")
    if table.ignored:
        print(f"columns that are no labels: {', '.join(table.ignored)}")


@dataclass(frozen=True, eq=False)
class Take:
    """The rows of one film, or of one run of pictures, of one subject, in order of time.

    Attributes:
      rows: what the table says of each frame, T of them.
      place_T: int place in time, so that a step of 1 is the next labelled frame.
      occurrence_TA, intensity_TA, valence_arousal_T2: their labels; affect None if not labelled.
    """

    rows: list[Row]
    subject: str
    place_T: np.ndarray
    occurrence_TA: np.ndarray
    intensity_TA: np.ndarray
    valence_arousal_T2: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Cutter:
    """From one take to its clips. Picklable; one goes to each process with each take."""

    source: Path
    emotions: tuple[str, ...]
    frames: int
    first_frame: int
    steps: FaceSteps
    quality: int

    def __call__(self, take: Take) -> tuple[list[schema.Clip], list[tuple[Row, str]]]:
        """Returns the clips and (row, reason) of each frame left out."""
        skipped: list[tuple[Row, str]] = []
        read: list[tuple[int, float]] = []

        def pictures() -> Iterator[np.ndarray]:
            frames = self._film if take.rows[0].frame is not None else self._pictures
            for i, time_s, frame in frames(take.rows, skipped):
                read.append((i, time_s))
                yield frame

        kept = [(*read[-1], cut) for cut in prepared(pictures(), self.steps)]
        clips = []
        for run in runs([int(take.place_T[i]) for i, _, _ in kept]):
            for start in range(0, len(run), self.frames):
                chunk = [kept[k] for k in run[start : start + self.frames]]
                clips.append(self._clip(take, chunk))
        return clips, skipped

    def _pictures(
        self, rows: Sequence[Row], skipped: list[tuple[Row, str]]
    ) -> Iterator[tuple[int, float, np.ndarray]]:
        for i, row in enumerate(rows):
            path = self.source / row.path
            frame = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB) if path.is_file() else None
            if frame is None:
                skipped.append((row, "unreadable" if path.is_file() else "missing"))
            else:
                yield i, i / STILLS_FPS, frame

    def _film(
        self, rows: Sequence[Row], skipped: list[tuple[Row, str]]
    ) -> Iterator[tuple[int, float, np.ndarray]]:
        path = self.source / rows[0].path
        if not path.is_file():
            skipped += [(row, "missing") for row in rows]
            return
        film = cv2.VideoCapture(str(path))
        wanted = {row.frame: i for i, row in enumerate(rows)}
        number = self.first_frame
        # Read through: seeking by frame number is off by some frames in many containers.
        while number <= (rows[-1].frame or 0) and film.grab():
            i = wanted.pop(number, None)
            number += 1
            if i is None:
                continue
            time_s = film.get(cv2.CAP_PROP_POS_MSEC) / 1000
            decoded, frame = film.retrieve()
            if decoded:
                yield i, time_s, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            else:
                skipped.append((rows[i], "unreadable"))
        film.release()
        reason = "unreadable" if number == self.first_frame else "not in film"
        skipped += [(rows[i], reason) for i in wanted.values()]

    def _clip(self, take: Take, kept: list[tuple[int, float, FaceCut]]) -> schema.Clip:
        places = [i for i, _, _ in kept]
        first = take.rows[places[0]]
        emotions = {take.rows[i].emotion for i in places}
        affect = take.valence_arousal_T2
        agreed = first.emotion if len(emotions) == 1 else ""
        return schema.Clip(
            clip_id=first.path if first.frame is None else f"{first.path}:{first.frame}",
            subject=take.subject,
            frames=[writer.encode_jpeg(cut.frame_HWC, quality=self.quality) for _, _, cut in kept],
            occurrence_TA=take.occurrence_TA[places],
            intensity_TA=take.intensity_TA[places],
            emotion=self.emotions.index(agreed) if agreed else -1,
            timestamps_T=np.array([time_s for _, time_s, _ in kept]),
            box_T4=np.stack([cut.box_4 for _, _, cut in kept]),
            found_T=np.array([cut.found for _, _, cut in kept]),
            valence_arousal_T2=None if affect is None else affect[places],
        )


def _only_csv(source: Path) -> Path:
    tables = sorted(source.glob("*.csv"))
    if len(tables) != 1:
        found = ", ".join(t.name for t in tables) or "none"
        raise UserError(f"{source} should hold one .csv (found: {found}); give one with --labels")
    return tables[0]


def _subjects(table: LabelTable) -> list[str]:
    """The subject of each row; without a column, each film or folder of pictures is one."""
    without = [row.line for row in table.rows if not row.subject]
    if without and len(without) < len(table.rows):
        raise UserError(f"line {without[0]} names no subject, others do; fill in the column")
    if not without:
        return [row.subject for row in table.rows]
    return [
        str(Path(row.path) if row.frame is not None else Path(row.path).parent)
        for row in table.rows
    ]


def _split_of(
    table: LabelTable, subjects: Sequence[str], *, validation: float, test: float, seed: int
) -> dict[str, str]:
    """subject -> split, from the table's column or dealt out."""
    named = {(s, row.split) for s, row in zip(subjects, table.rows, strict=True)}
    if any(split for _, split in named):
        for subject, count in Counter(s for s, _ in named).items():
            if count > 1:
                where = sorted(split or "(none)" for s, split in named if s == subject)
                raise UserError(
                    f"subject {subject!r} is in several splits ({', '.join(where)}); "
                    "a subject may be in one only"
                )
        if any(not split for _, split in named):
            raise UserError("some rows name a split and others do not; fill in the column")
        return dict(named)
    return splits.by_subject(Counter(subjects), validation=validation, test=test, seed=seed)


def _takes(table: LabelTable, subjects: Sequence[str], source: Path, *, single: bool) -> list[Take]:
    """The films, and the runs of pictures that belong together, in order of the table.

    Pictures belong together when they lie in one folder, show one subject and are numbered on:
    `0007.jpg`, `0008.jpg`.
    """
    _refuse_outside(table.rows, source)
    groups: dict[tuple[str, str], list[int]] = {}
    for i, row in enumerate(table.rows):
        path = Path(row.path)
        where = str(path if row.frame is not None else path.parent)
        groups.setdefault((subjects[i], where), []).append(i)
    takes = []
    for (subject, _), group in groups.items():
        film = table.rows[group[0]].frame is not None
        affect_R2 = table.valence_arousal_R2
        for members, place_T in _in_time(table.rows, group, film=film, single=single):
            takes.append(
                Take(
                    rows=[table.rows[i] for i in members],
                    subject=subject,
                    place_T=place_T,
                    occurrence_TA=table.occurrence_RA[members],
                    intensity_TA=table.intensity_RA[members],
                    valence_arousal_T2=None if affect_R2 is None else affect_R2[members],
                )
            )
    return takes


def _in_time(
    rows: Sequence[Row], group: list[int], *, film: bool, single: bool
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Yields (row numbers in order of time, their places in time) of each take of a group."""
    number = {i: _number(rows[i]) for i in group}
    ordered = sorted(group, key=lambda i: (number[i], rows[i].line))
    for a, b in pairwise(ordered):
        if (rows[a].path, rows[a].frame) == (rows[b].path, rows[b].frame):
            raise UserError(f"lines {rows[a].line} and {rows[b].line} label the same frame")
    number_T = np.array([number[i] for i in ordered])
    if film:
        # Films are often labelled at every second or fifth frame: that is then the step.
        step = int(np.diff(number_T).min()) if len(ordered) > 1 else 1
        place_T = np.cumsum([0, *np.where(np.diff(number_T) == step, 1, 2)])
        yield ordered, place_T
        return
    pieces = [[k] for k in range(len(ordered))] if single else runs(number_T.tolist())
    for piece in pieces:
        yield [ordered[k] for k in piece], np.arange(len(piece))


def _number(row: Row) -> int:
    """Of a frame in its film, or of a picture by its file name.

    Zero padding differs between the subjects of BP4D, so names are not compared as text.
    """
    if row.frame is not None:
        return row.frame
    digits = re.findall(r"\d+", Path(row.path).stem)
    return int(digits[-1]) if digits else -1


def runs(numbers: Sequence[int]) -> list[list[int]]:
    """Places of ascending `numbers`, cut wherever the next is not the one before plus one."""
    found: list[list[int]] = []
    for place, number in enumerate(numbers):
        if found and number == numbers[place - 1] + 1:
            found[-1].append(place)
        else:
            found.append([place])
    return found


def _refuse_outside(rows: Sequence[Row], source: Path) -> None:
    inside: dict[str, bool] = {}
    for row in rows:
        if row.path not in inside:
            inside[row.path] = (source / row.path).resolve().is_relative_to(source)
        if not inside[row.path]:
            raise UserError(f"line {row.line}: {row.path} leads out of {source}; move it inside")


def _summary(skipped: Sequence[tuple[Row, str]]) -> str:
    counts = Counter(reason for _, reason in skipped)
    return ", ".join(f"{n} × {reason} ({REASONS[reason]})" for reason, n in counts.most_common())


def _write_skipped(path: Path, skipped: Sequence[tuple[Row, str]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(("line", "path", "frame", "reason"))
        for row, reason in sorted(skipped, key=lambda item: item[0].line):
            out.writerow((row.line, row.path, "" if row.frame is None else row.frame, reason))
