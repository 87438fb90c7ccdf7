"""What a data set's owner delivers, in one form for all of them: recordings with their labels.

A builder (one file in `builders/`) reads label files and says which pictures they belong to; it
opens no picture. `assemble` does the rest alike for every set: reading, faces, clips, shards.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np


class Frames(Protocol):
    """Where the T pictures of a recording are."""

    def __len__(self) -> int: ...

    @property
    def files(self) -> Sequence[str]:
        """The files that are read, relative to the delivery."""
        ...

    def first(self, count: int) -> "Frames":
        """The first `count` frames."""
        ...


@dataclass(frozen=True)
class Pictures:
    """One picture file a frame.

    Attributes:
      paths: of T files, relative to the delivery, with "/".
    """

    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def files(self) -> Sequence[str]:
        return self.paths

    def first(self, count: int) -> "Pictures":
        return Pictures(self.paths[:count])


@dataclass(frozen=True)
class Film:
    """Frames of one film.

    Attributes:
      path: relative to the delivery, with "/".
      numbers: of T frames, from 0 in the order of decoding, ascending.
      quarter_turns: by which the picture must be turned clockwise to stand upright.
    """

    path: str
    numbers: tuple[int, ...]
    quarter_turns: int = 0

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def files(self) -> Sequence[str]:
        return (self.path,)

    def first(self, count: int) -> "Film":
        return replace(self, numbers=self.numbers[:count])


@dataclass(frozen=True)
class Sound(Film):
    """A .wav file, shown as one picture: its log-mel spectrogram (`sound.picture`)."""

    numbers: tuple[int, ...] = (0,)


@dataclass(frozen=True, eq=False)
class Pixels:
    """Frames that a label file itself holds.

    Attributes:
      frames: T uint8 arrays H×W (grey) or H×W×3 (RGB).
    """

    frames: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def files(self) -> Sequence[str]:
        return ()

    def first(self, count: int) -> "Pixels":
        return Pixels(self.frames[:count])


@dataclass(frozen=True)
class Examples:
    """Pictures inside a TFRecord file.

    Attributes:
      path: relative to the delivery, with "/".
      feature: name of the list of encoded pictures in each `tf.train.Example`.
      places: (byte at which the Example begins, number within its list) of T frames.
    """

    path: str
    feature: str
    places: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.places)

    @property
    def files(self) -> Sequence[str]:
        return (self.path,)

    def first(self, count: int) -> "Examples":
        return replace(self, places=self.places[:count])


@dataclass(frozen=True, eq=False)
class Recording:
    """T frames of one person, or of people whom nobody knows, and what was coded in each.

    Attributes:
      name: unique in the delivery, with "/" ("F001/T1"); begins the clips' ids.
      subject: who it is; "" where the owners do not say.
      frames: where the pictures are.
      occurrence_TA: int8 −1 unknown, 0 absent, 1 present, over the delivery's AUs; None: unknown,
        or what the intensity says (present from A = 1 on) where that is given.
      intensity_TA: float32 0–5, −1 unknown; None: unknown.
      place_T: int, ascending: the owners' number of each frame. Where a number is left out, one
        clip ends and another begins. None: 0, 1, 2, …
      stills: every frame is a clip by itself; neighbours have nothing to do with each other.
      emotion_T: int place in the delivery's emotions, −1 unknown. A clip has one emotion: it ends
        where the emotion changes. None: unknown.
      valence_arousal_T2: float32 in [−1, 1], NaN unknown.
      phase_TA: int8 place in `schema.PHASES`, −1 unknown.
      attributes_TK: float32 over the delivery's attributes, NaN unknown.
      box_T4: float32 (x, y, w, h) of the face in pixels of the frame, NaN unknown.
      landmarks_TK2: float32 (x, y) in pixels of the frame, the middle of the first pixel at
        (0.5, 0.5), NaN unknown; K is 68 (iBUG), 66, 51, 49 or 5 as `faces.prepare` reads them.
      fps: frames a second; of films the file's own times are used.
      split: "train", "validation" or "test" as the protocol has it; None: dealt out by subject.
      number_T: int, the owners' number of each frame where it is not its place, for skipped.csv.
      table, line_T: the label file and the row of each frame, for skipped.csv.
    """

    name: str
    subject: str
    frames: Frames
    occurrence_TA: np.ndarray | None = None
    intensity_TA: np.ndarray | None = None
    place_T: np.ndarray | None = None
    stills: bool = False
    emotion_T: np.ndarray | None = None
    valence_arousal_T2: np.ndarray | None = None
    phase_TA: np.ndarray | None = None
    attributes_TK: np.ndarray | None = None
    box_T4: np.ndarray | None = None
    landmarks_TK2: np.ndarray | None = None
    fps: float = 25.0
    split: str | None = None
    number_T: np.ndarray | None = None
    table: str = ""
    line_T: np.ndarray | None = None


@dataclass(frozen=True)
class LeftOut:
    """One row of skipped.csv: something that labels name and the records lack.

    Attributes:
      path: of the picture or film, relative to the delivery.
      frame: the owners' number of the frame; None: all, or a picture by itself.
      reason: a key of REASONS, or a few words.
      file, line: the label file and its row, where they are known.
    """

    path: str
    frame: int | None
    reason: str
    file: str = ""
    line: int | None = None


REASONS = {
    "missing": "the file does not exist",
    "unreadable": "the file does not decode",
    "not in film": "the film ends before this frame, or begins after it",
    "no label": "pictures that no label file names",
    "label clash": "two labels contradict each other",
}


@dataclass(frozen=True, eq=False)
class Delivery:
    """All that a builder found.

    Attributes:
      recordings: in an order that depends on the delivery alone.
      aus, emotions, attributes: what the columns of the recordings' labels mean.
      inputs: label files that were read; their digest goes into the card.
      left_out: rows that point to nothing, seen while the labels were read.
      notes: what was found where the owners' description is silent or differs, for the person.
      root: the folder that paths are relative to; None: the one that was given.
      faces: preparation by default for what was found, where a set comes in several forms (whole
        films, or crops); empty: the builder's.
      name, licence: of the set, where the person says; empty: the builder's.
    """

    recordings: Sequence[Recording]
    aus: tuple[str, ...] = ()
    emotions: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    inputs: Sequence[Path] = ()
    left_out: Sequence[LeftOut] = ()
    notes: Sequence[str] = ()
    root: Path | None = None
    faces: tuple[str, ...] = ()
    name: str = ""
    licence: str = ""


def with_aus(delivery: Delivery, aus: Sequence[str]) -> Delivery:
    """The delivery with those of `aus` alone that it codes; unchanged where `aus` is empty."""
    if not aus:
        return delivery
    kept = tuple(au for au in aus if au in delivery.aus)
    column = [delivery.aus.index(au) for au in kept]
    names = ("occurrence_TA", "intensity_TA", "phase_TA")

    def narrowed(recording: Recording) -> Recording:
        arrays = {name: getattr(recording, name) for name in names}
        return replace(recording, **{k: v[:, column] for k, v in arrays.items() if v is not None})

    return replace(delivery, recordings=list(map(narrowed, delivery.recordings)), aus=kept)


@dataclass(frozen=True)
class Known:
    """What the papers count in a set, to be compared with what was built.

    Attributes:
      source: paper and table, or repository and file.
      counts: what is counted -> how many. Keys: "subjects", "clips", "frames", the three
        with "/SPLIT" behind, "AU12" (frames in which it is present; also "AU12/SPLIT"), or
        "emotion happiness" (frames; also with "/SPLIT").
      when: options of the builder, by name, with which the counts are to be compared.
    """

    source: str
    counts: Mapping[str, int]
    when: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Builder:
    """A data set and how it is read; `jaxfacs data list` prints the table of them.

    Attributes:
      name: lower case, as `jaxfacs data build NAME` says it.
      title: as its owners call it.
      task: what is to be learned from it, in a few words.
      labels: what is coded, in a few words.
      subjects: how many people; 0: nobody knows, or nobody counts.
      licence, obtain, citation: terms; how one gets it; what to cite.
      read: (folder, options) -> Delivery. Raises UserError for a folder of something else.
      options: frozen dataclass of the builder's own options, each with a default.
      layout: the top of the owner's folder, as a reminder of what --source must hold.
      frames: frames of a clip by default; 1 for sets of pictures.
      faces: preparation by default: words or a preset of `faces.prepare`.
      size: side of the stored crops in pixels; 0: what the preparation says.
      people: sets with the same word share their people (`writer.SetInfo.people`).
      overlaps: names of sets that show some of the same pictures or people under other names.
      known: published counts.
      may_lack: whether pictures that labels name are often not to be had (dead links).
    """

    name: str
    title: str
    task: str
    labels: str
    subjects: int
    licence: str
    obtain: str
    citation: str
    read: Callable[[Path, Any], Delivery]
    options: type
    layout: str
    frames: int = 16
    faces: tuple[str, ...] = ("haar",)
    size: int = 0
    people: str = ""
    overlaps: tuple[str, ...] = ()
    known: tuple[Known, ...] = ()
    may_lack: bool = False
