"""Rendered clips of faces with their true labels: the public entrance of synthface.

    made = clip(seed=7)
    made.frames_THWC, made.occurrence_TA, made.intensity_TA, made.labels

Everything is a pure function of its arguments. Face shape, skin, hair and resting expression
depend on `subject` alone, so that people can be held out of training.
"""

import csv
import functools
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from jaxfacs.errors import UserError
from jaxfacs.facs import column
from jaxfacs.files import replacing
from jaxfacs.progress import track
from jaxfacs.synthface import dress, framing, heads, hidden, motion, people, render, scene
from jaxfacs.synthface.heads import Head
from jaxfacs.synthface.motion import (
    EMOTIONS,
    FELT,
    MIXED,
    Event,
    Expression,
    Motion,
    affect_of,
)
from jaxfacs.synthface.people import Person, sample_person
from jaxfacs.synthface.truth import LABELS, shown, true_labels
from jaxfacs.synthface.variation import EVERYTHING, Variation

__all__ = [
    "EMOTIONS", "LABELS", "Clip", "Facts", "Film", "Variation", "clip", "facts", "film",
    "load_head", "sample_person",
]  # fmt: skip

_CHUNK = 16  # frames posed at once: 4 MB of vertices, whatever the length of the film

_FILM_STRENGTH = (3.0, 5.0)  # films are for people to look at: C to E


@dataclass(frozen=True, eq=False)
class Clip:
    """T frames of one face with A labels.

    Attributes:
      frames_THWC: uint8 RGB.
      labels: A names: unsided ("12"), then left and right ("L12", "R12"); see truth.LABELS.
      intensity_TA: float32 0..5, -1 where it cannot be decided.
      occurrence_TA: int8: 1 where intensity >= 1.5, 0 below 0.5, -1 where it cannot be decided.
      emotion: one of EMOTIONS, or "" where the clip shows no prototype: unknown, -1 in records.
      subject: who it is.
      landmarks_T68x2: float32 pixels, iBUG order.
      box_T4: float32 (x, y, w, h) pixels about landmarks and forehead.
      covered_T68: bool, landmarks that the picture does not show, see `render.Rendered`.
      pose_T3: degrees (yaw, pitch, roll); + is FACS 51, 53, 55.
      gaze_T2: degrees (yaw, pitch) of the eyes in the head; + is left, up.
      valence_arousal_T2: float32 -1..1: where tables place the feeling (`expressions.AFFECT`), in
        proportion to how strongly it is shown; NaN where it is unknown.
      events: onset, apex and offset of every action.
      facts: who is seen and how, as `facts` tells it without rendering.
      head: name of the head model.
      seed, fps: as asked for.
    """

    frames_THWC: np.ndarray
    labels: tuple[str, ...]
    intensity_TA: np.ndarray
    occurrence_TA: np.ndarray
    emotion: str
    subject: str
    landmarks_T68x2: np.ndarray
    box_T4: np.ndarray
    covered_T68: np.ndarray
    pose_T3: np.ndarray
    gaze_T2: np.ndarray
    valence_arousal_T2: np.ndarray
    events: tuple[Event, ...]
    facts: "Facts"
    head: str
    seed: int
    fps: float


@dataclass(frozen=True)
class Film:
    """What `film` wrote: the film, the CSV of its true labels, and its length in frames."""

    path: Path
    csv_path: Path
    frames: int
    subject: str


@functools.lru_cache(maxsize=2)
def load_head(path: str | None = None) -> Head:
    """`heads.load`, kept for the process."""
    return heads.load(path)


@functools.lru_cache(maxsize=2)
def _person(subject: int, head: Head, variation: Variation) -> tuple[Person, dress.Dressed]:
    """Somebody, painted and dressed; kept, as the next picture is often of the same person."""
    person = sample_person(subject, head=head, variation=variation)
    return person, dress.dress(head, person.neutral_V3, person.look)


def clip(
    seed: int,
    *,
    frames: int = 16,
    size: int = 192,
    fps: float = 25.0,
    head: Head | None = None,
    emotion: str | None = None,
    subject: int | None = None,
    near_frontal: bool = False,
    variation: Variation = EVERYTHING,
    about: framing.Squares | None = None,
) -> Clip:
    """Renders one clip. One frame makes a still, in which the expression is at its apex.

    Args:
      seed: 0 or more.
      frames: T.
      size: of the square frames, pixels.
      fps: frames a second; decides how fast a smile comes and goes.
      head: from `load_head`; the built-in head without.
      emotion: one of EMOTIONS, "" for a mixture of actions; drawn without.
      subject: who; drawn from the seed without.
      near_frontal: keeps the head within 8 degrees of the camera.
      variation: which kinds of variety are shown.
      about: landmarks T×68×2 -> boxes T×4 (x, y, side, side) that follow them in scale and place.
        The frames are then laid about these squares, and `size` is that of the squares, not of the
        frames: nothing is rendered to be cut away.

    Raises:
      ValueError: an argument out of its range.
    """
    if seed < 0:
        raise ValueError(f"seed {seed} is below 0")
    head = head or load_head()
    subject = _subject(seed, subject)
    person, dressed = _person(subject, head, variation)
    moves, view = _drawn(
        seed,
        variation,
        frames=frames,
        fps=fps,
        emotion=emotion,
        near_frontal=near_frontal,
    )
    shots = list(_shoot(head, person, dressed, moves, view, size, about))
    covered_T68 = np.stack([s.picture.covered_68 for s in shots])
    marks = [s.landmarks_68x3 for s in shots]
    intensity_TA, occurrence_TA = _labels(head, person, moves, marks, covered_T68)
    emotion = _seen_emotion(moves.emotion, moves.present, moves.absent, occurrence_TA)
    return Clip(
        frames_THWC=np.stack([s.picture.image_HWC for s in shots]),
        labels=LABELS,
        intensity_TA=intensity_TA,
        occurrence_TA=occurrence_TA,
        emotion=emotion,
        subject=person.name,
        landmarks_T68x2=np.stack([s.picture.landmarks_68x2 for s in shots]),
        box_T4=np.stack([s.picture.box_4 for s in shots]),
        covered_T68=covered_T68,
        pose_T3=moves.pose_T6[:, :3],
        gaze_T2=moves.gaze_T2,
        valence_arousal_T2=affect_of(moves, emotion),
        events=moves.events,
        facts=_facts(subject, person.facts, moves, view),
        head=head.name,
        seed=seed,
        fps=fps,
    )


@dataclass(frozen=True)
class Facts:
    """What is known of a clip without rendering it: who is seen, and how the head is held.

    `person` says age, skin and the like; `pose_3` is the median (yaw, pitch, roll) in degrees;
    `face_pixels` is the height of the face on a sensor of few pixels, 0 where it has enough.
    """

    subject: int
    person: people.Facts
    pose_3: tuple[float, float, float]
    face_pixels: float


def facts(
    seed: int,
    *,
    frames: int = 16,
    fps: float = 25.0,
    emotion: str | None = None,
    subject: int | None = None,
    near_frontal: bool = False,
    variation: Variation = EVERYTHING,
) -> Facts:
    """Of the clip of the same arguments, for results by group."""
    subject = _subject(seed, subject)
    moves, view = _drawn(
        seed, variation, frames=frames, fps=fps, emotion=emotion, near_frontal=near_frontal
    )
    return _facts(subject, people.facts(subject, variation=variation), moves, view)


def _subject(seed: int, subject: int | None) -> int:
    """Who is asked for, or drawn from the seed."""
    if subject is not None:
        return subject
    return int(people.stream(seed, people.SUBJECT).integers(1 << 31))


def _drawn(seed: int, variation: Variation, **asked: Any) -> tuple[Motion, scene.Scene]:
    """What is done, as `motion.sample_motion` is asked for it, and where."""
    moves = motion.sample_motion(people.stream(seed, people.MOTION), variation=variation, **asked)
    return moves, scene.sample_scene(people.stream(seed, people.SCENE), variation)


def _facts(subject: int, person: people.Facts, moves: Motion, view: scene.Scene) -> Facts:
    yaw, pitch, roll = map(float, np.median(moves.pose_T6[:, :3], axis=0))
    return Facts(subject, person, (yaw, pitch, roll), view.camera.face_pixels)


def film(
    seed: int,
    *,
    subject: int,
    path: str | Path,
    emotions: Sequence[str] = FELT,
    size: int = 256,
    fps: float = 25.0,
    head: Head | None = None,
    variation: Variation = EVERYTHING,
) -> Film:
    """Films one person who shows each emotion in turn, neutral between; writes mp4 and CSV.

    The CSV lies beside the film, with a row a frame: frame, timestamp, subject, emotion (the one
    whose prototype is seen in that frame, "neutral", or empty on the way between them), and
    intensity and occurrence of every label under OpenFace's column names; -1 is unknown.

    Raises:
      UserError: the folder is missing, the name does not end in .mp4, or an emotion is unknown.
    """
    path = Path(path)
    _check_film(path, emotions)
    head = head or load_head()
    person, dressed = _person(subject, head, variation)
    rng = people.stream(seed, people.MOTION)
    shows, moves = _play(rng, emotions, fps)
    view = scene.sample_scene(people.stream(seed, people.SCENE), variation)
    frames = len(moves.blink_T)
    landmarks, covered = [], []
    with _writing(path, size, fps) as write:
        shots = _shoot(head, person, dressed, moves, view, size)
        for shot in track(shots, label="filming", total=frames, unit="frame"):
            write(shot.picture.image_HWC)
            landmarks.append(shot.landmarks_68x3)
            covered.append(shot.picture.covered_68)
    intensity_TA, occurrence_TA = _labels(head, person, moves, landmarks, np.stack(covered))
    told = [_told(shows, t / fps, occurrence_TA[t]) for t in range(frames)]
    csv_path = path.with_suffix(".csv")
    _write_csv(csv_path, person.name, fps, told, intensity_TA, occurrence_TA)
    return Film(path, csv_path, frames, person.name)


@dataclass(frozen=True, eq=False)
class _Shot:
    picture: render.Rendered
    landmarks_68x3: np.ndarray  # before the head turns


def _shoot(
    head: Head,
    person: Person,
    dressed: dress.Dressed,
    moves: Motion,
    view: scene.Scene,
    size: int,
    about: framing.Squares | None = None,
) -> Iterator[_Shot]:
    labels, intensity_TS = motion.intensity_table(moves)
    posing, posed_TS = people.posing(person, labels, intensity_TS)

    def posed() -> Iterator[np.ndarray]:
        for start in range(0, len(intensity_TS), _CHUNK):
            part = slice(start, start + _CHUNK)
            yield heads.deform_clip(
                head, person.neutral_V3, posing, posed_TS[part], moves.gaze_T2[part]
            )

    chunks = posed()
    if about is not None:
        if len(intensity_TS) <= _CHUNK:  # small enough to be kept
            chunks = list(chunks)
        marks = np.concatenate([heads.landmarks_of(head, chunk) for chunk in chunks])
        camera = framing.lens(head, person.neutral_V3, view, dressed.sheet.unit, 1)
        view, squares = framing.close_up(view, camera, about, marks, moves.pose_T6)
        size = round(size * squares)
        chunks = chunks if isinstance(chunks, list) else posed()
    stage = render.prepare(
        head,
        person.neutral_V3,
        person.look,
        view,
        size=size,
        dressed=dressed,
        oversample=render.OVERSAMPLE if about is None else render.CLOSE_OVERSAMPLE,
    )
    for t, vertices_V3 in enumerate(itertools.chain.from_iterable(chunks)):
        on = dict(zip(labels, intensity_TS[t] / heads.FULL_INTENSITY, strict=True))
        picture = render.draw(stage, vertices_V3, on, moves.pose_T6[t], frame=t)
        yield _Shot(picture, heads.landmarks_of(head, vertices_V3))


def _labels(
    head: Head,
    person: Person,
    moves: Motion,
    landmarks_T: list[np.ndarray],
    covered_T68: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    intensity_TA, occurrence_TA = true_labels(
        moves.intensity,
        blink_T=moves.blink_T,
        landmarks_T68x3=np.stack(landmarks_T),
        rest_68x3=heads.landmarks_of(head, person.neutral_V3),
        speech=moves.speech,
        optional=[label for label in heads.OPTIONAL if label in head.shapes],
    )
    unseen_TA = hidden.unseen(LABELS, intensity_TA, covered_T68)
    intensity_TA[unseen_TA], occurrence_TA[unseen_TA] = -1, -1
    return intensity_TA, occurrence_TA


def _seen_emotion(
    emotion: str, present: Sequence[str], absent: Sequence[str], occurrence_TA: np.ndarray
) -> str:
    """The emotion if the frames show it: a prototype whole in one of them, or nothing at all."""
    if emotion == "neutral":
        # Closed eyes are no expression; what the head cannot show is not there either.
        ignored = {"43", "L43", "R43", "45", *heads.OPTIONAL}
        others = [i for i, label in enumerate(LABELS) if label not in ignored]
        return emotion if (occurrence_TA[:, others] == 0).all() else MIXED
    if emotion and shown(occurrence_TA, present, absent).any():
        return emotion
    return MIXED


def _play(
    rng: np.random.Generator, emotions: Sequence[str], fps: float
) -> tuple[list[tuple[float, float, Expression]], Motion]:
    """Expressions one after another with a second of rest between."""
    shows, events = [], []
    at = 0.8
    for emotion in emotions:
        drawn = motion.sample_expression(rng, emotion, strength=_FILM_STRENGTH)
        rise, hold, fall = rng.uniform(0.3, 0.6), rng.uniform(1.0, 1.6), rng.uniform(0.5, 0.9)
        timing = {"start_s": at, "rise_s": rise, "hold_s": hold, "fall_s": fall}
        events += motion.episode(rng, drawn, **timing)
        end = max([at + rise + hold + fall, *(e.end_s for e in events)])
        shows.append((at, end, drawn))
        at = end + rng.uniform(0.7, 1.1)
    rest = Expression("neutral", {})
    moves = motion.assemble(rng, events, rest, frames=round(at * fps), fps=fps, near_frontal=True)
    return shows, moves


def _told(
    shows: list[tuple[float, float, Expression]], time_s: float, occurrence_A: np.ndarray
) -> str:
    """The emotion of one frame of a film."""
    for start, end, drawn in shows:
        if start <= time_s < end and drawn.emotion != "neutral":
            return _seen_emotion(drawn.emotion, drawn.present, drawn.absent, occurrence_A[None])
    return _seen_emotion("neutral", (), (), occurrence_A[None])


def _check_film(path: Path, emotions: Sequence[str]) -> None:
    if path.suffix.lower() != ".mp4":
        raise UserError(f"{path} does not end in .mp4, the only kind of film written here")
    if not path.parent.is_dir():
        raise UserError(f"{path.parent} is no folder; make it first")
    for emotion in emotions:
        if emotion not in EMOTIONS:
            raise UserError(f"emotion {emotion!r} is unknown; choose from {', '.join(EMOTIONS)}")


class _writing:
    """Opens a film under a temporary name beside `path`; renames it when all is written."""

    def __init__(self, path: Path, size: int, fps: float):
        self._path, self._size, self._fps = path, size, fps
        self._temporary = path.with_name(f".{path.stem}.{os.getpid()}.mp4")

    def __enter__(self):
        code = cv2.VideoWriter.fourcc(*"mp4v")
        self._writer = cv2.VideoWriter(
            str(self._temporary), code, self._fps, (self._size, self._size)
        )
        if not self._writer.isOpened():
            raise UserError(f"{self._path} cannot be written; is the folder writable?")
        return lambda image_HWC: self._writer.write(cv2.cvtColor(image_HWC, cv2.COLOR_RGB2BGR))

    def __exit__(self, failed, *_):
        self._writer.release()
        if failed:
            self._temporary.unlink(missing_ok=True)
        else:
            os.replace(self._temporary, self._path)


def _write_csv(
    path: Path,
    subject: str,
    fps: float,
    emotions: list[str],
    intensity_TA: np.ndarray,
    occurrence_TA: np.ndarray,
) -> None:
    kinds = ("r", "c")
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        rows = csv.writer(file)
        names = [column(label, kind) for kind in kinds for label in LABELS]
        rows.writerow(["frame", "timestamp", "subject", "emotion", *names])
        for t, emotion in enumerate(emotions):
            values = [f"{value:.3f}" for value in intensity_TA[t]]
            rows.writerow([t, f"{t / fps:.3f}", subject, emotion, *values, *occurrence_TA[t]])
