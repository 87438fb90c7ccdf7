"""Rendered faces with exactly known AUs as a record set.

Every clip is a pure function of (seed, number), every person of (seed, subject): the same command
gives the same bytes, whatever the number of processes. The records of one person are made in
sittings, one after another in one process, which share all that is constant of a person.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxfacs import __version__
from jaxfacs.data import assemble, cards, schema, splits, writer
from jaxfacs.data.cutting import Cut
from jaxfacs.data.delivery import Recording
from jaxfacs.errors import UserError
from jaxfacs.faces.align import moved
from jaxfacs.faces.points import haar_square
from jaxfacs.faces.prepare import FaceCut, FaceSteps, Known, prepared
from jaxfacs.faces.steps import DEFAULT_MARGIN

if TYPE_CHECKING:
    from jaxfacs.synthface.clip import Clip as SynthfaceClip
    from jaxfacs.synthface.variation import Variation

DESCRIPTION = (
    "Rendered faces with known Action Units: occurrence and intensity of every AU and side in "
    "every frame, made by the muscle actions that were animated, not by a coder."
)
# What is known exactly of every clip, for results by group: see `synthface.clip.Facts`. Melanin is
# 0.2 (very fair) to 5.5 (deep), male -1 to 1, the head's turns are degrees.
ATTRIBUTES = ("years", "male", "melanin", "yaw", "pitch", "roll", "face_pixels")
CLIPS_PER_SUBJECT, STILLS_PER_SUBJECT = 4, 8
SITTING = 16  # records at most: the work of one process at a time
BYTES_OF_PIXEL = 0.3  # of a JPEG of quality 92, about
# Where a detector looks for it, a face fills about half of a rendered frame: rendered at this
# multiple of the crop, nothing is magnified. Without one the frame is the crop, a little larger.
RENDER_RATIO, CLOSE_RATIO = 2, 1.15

# How the squares of detectors differ from `haar_square` on 300 renders, in its sides: (share of the
# nose's distance from the middle by which the square follows a turned head; spread across; how far
# it lies below; spread of that; logarithm of its size; spread of that). Haar's, then YuNet's.
SPREADS = (
    (0.50, 0.020, 0.040, 0.025, -0.008, 0.072),
    (0.07, 0.014, 0.040, 0.025, -0.058, 0.045),
)
WOBBLE = 0.25  # share of a spread that is another in every frame of a clip


def build(
    out: Path,
    *,
    clips: int = 256,
    seed: int = 0,
    frames: int = 16,
    size: int = 112,
    fps: float = 25.0,
    head: Path | None = None,
    detector: str = "haar",
    margin: float = DEFAULT_MARGIN,
    jitter: bool = True,
    subjects: int = 0,
    per_person: int = 0,
    without: str = "",
    near_frontal: bool = False,
    validation: float = 0.15,
    test: float = 0.15,
    quality: int = 92,
    workers: int = 0,
) -> None:
    """Render faces whose AUs are known exactly, as sharded records.

    The same options give the same bytes. People are split into train, validation and test, so
    that nobody is met in training and again in evaluation.

    Args:
      out: new folder for the records.
      clips: how many clips to render.
      seed: another seed is other people doing other things.
      frames: frames of a clip.
      size: side of the stored face crops in pixels.
      fps: frames a second; decides how fast a smile comes and goes.
      head: folder of the ICT Face Model Light as its owners publish it; the built-in head without.
      detector: finds the face to crop as prediction will: haar, a YuNet .onnx file, or none, which
        cuts where they would have found it and renders no more than that: twice as fast.
      margin: share of the detected box added on each side.
      jitter: with --detector none: squares spread as those of both detectors do.
      subjects: how many people; 0: as --per-person says.
      per_person: clips of one person; 0: eight where --frames is 1, else four, of six people at
        least. Many stills of one person are made much faster than as many people.
      without: kinds of variety to leave out, with commas between (hair, wear, occlusion, skin,
        eyes, mouth, shadow, camera, background, people, range, speech), or all of them: all.
      near_frontal: keep heads within 8 degrees of the camera; learned from fewer clips.
      validation: share of the clips, by person.
      test: share of the clips, by person.
      quality: of the JPEGs, 1-100.
      workers: processes; 0: one for each core.
    """
    from jaxfacs.synthface import clip as synthface

    variation = _variation(without)
    if min(subjects, per_person) < 0 or (subjects and per_person):
        raise UserError("--subjects and --per-person say the same; give one of them, above 0")
    people = subjects or _people(clips, frames, per_person)
    _check(clips=clips, people=people, frames=frames, size=size, quality=quality)
    # Where nobody looks for the face, the renderer knows its place.
    where = "boxes" if detector == "none" else detector
    steps = FaceSteps.boxed(where, margin=margin, size=size)
    job = RenderJob(
        seed=seed,
        fps=fps,
        head=None if head is None else str(head),
        near_frontal=near_frontal,
        variation=variation,
        steps=steps,
        jitter=jitter,
        quality=quality,
    )
    numbers = [range(-(-clips * k // people), -(-clips * (k + 1) // people)) for k in range(people)]
    counts = {f"{k}": len(own) for k, own in enumerate(numbers)}
    split_of = splits.by_subject(counts, validation=validation, test=test, seed=seed)
    # Loaded here first: a missing folder is one line now, not one in every process.
    head_name = synthface.load_head(job.head).name
    info = writer.SetInfo(
        name="synthface",
        aus=tuple(synthface.LABELS),
        emotions=tuple(synthface.EMOTIONS),
        size=size,
        crop=steps.card,
        settings={
            "clips": clips, "seed": seed, "subjects": people, "frames": frames, "fps": fps,
            "head": head_name, "near_frontal": near_frontal, "quality": quality,
            "without": _left_out(variation), "jitter": jitter and not steps.finds,
            "validation": validation, "test": test, "jaxfacs": __version__,
        },
        description=DESCRIPTION,
        attributes=ATTRIBUTES,
        visible=True,
        licence="The pictures carry no licence of others; ICT Face Model Light is MIT.",
    )  # fmt: skip
    sittings = [
        Recording(
            f"{first:06d}",
            f"{k}",
            Sitting(range(first, min(first + SITTING, own.stop)), k, frames),
            split=split_of[f"{k}"],
        )
        for k, own in enumerate(numbers)
        for first in own[::SITTING]
    ]
    shards = assemble.plan(
        {sitting.name: split_of[sitting.subject] for sitting in sittings},
        sittings,
        frame_bytes=BYTES_OF_PIXEL * size**2,
        shard_bytes=writer.SHARD_BYTES,
    )
    with assemble.claimed(out, assemble.fingerprint(shards, info)) as folder:
        # Always in processes of one thread: their last bits do not depend on the machine.
        assemble.build_shards(folder, shards, info, job, workers=workers, few_frames=0)
        parts, made = assemble.collect(folder, shards, info)
        cards.write_plain(folder, writer.finish(folder, info, parts, more=made.statistics))
    total = clips * frames
    print(f"{out}: {clips} clips of {people} people, {total} frames")
    if steps.finds:
        lost = sum(sum(people.values()) for people in made.not_found.values())
        print(f"the detector found the face in {total - lost} of {total} frames")


@dataclass(frozen=True)
class Sitting:
    """Clips of one person that are yet to be rendered: their numbers, who, and frames of each."""

    numbers: range
    person: int
    frames_each: int

    def __len__(self) -> int:
        return len(self.numbers) * self.frames_each

    @property
    def files(self) -> tuple[str, ...]:
        return ()

    def first(self, count: int) -> "Sitting":
        clips = max(1, count // self.frames_each)
        return Sitting(self.numbers[:clips], self.person, min(count, self.frames_each))


@dataclass(frozen=True)
class RenderJob:
    """Renders a sitting and makes its records. Picklable; each process loads the head once."""

    seed: int
    fps: float
    head: str | None
    near_frontal: bool
    variation: "Variation"
    steps: FaceSteps
    jitter: bool
    quality: int

    def __call__(self, sitting: Recording) -> Cut:
        assert isinstance(sitting.frames, Sitting)
        cut = Cut()
        for number in sitting.frames.numbers:
            clip, crops = self._rendered(number, sitting.frames)
            cut.clips.append(clip)
            cut.not_found += int((~clip.found_T).sum())
            for crop in crops:
                cut.count_pixels(crop.frame_HWC)
        return cut

    def _rendered(self, number: int, sitting: Sitting) -> tuple[schema.Clip, list[FaceCut]]:
        from jaxfacs.synthface import clip as synthface

        where = functools.partial(squares, spread=(self.seed, 2, number) if self.jitter else None)
        wide = functools.partial(_wider, where, self.steps.margin)
        found = self.steps.finds
        made = synthface.clip(
            _mixed(self.seed, 0, number),
            frames=sitting.frames_each,
            size=round((RENDER_RATIO if found else CLOSE_RATIO) * self.steps.size),
            fps=self.fps,
            head=synthface.load_head(self.head),
            near_frontal=self.near_frontal,
            subject=_mixed(self.seed, 1, sitting.person),
            variation=self.variation,
            about=None if found else wide,
        )
        # The renderer's box bounds the landmarks; the detector's square is what crops are made of.
        marks_T68x2 = made.landmarks_T68x2
        known_T = [Known(box_4) for box_4 in (squares if found else where)(marks_T68x2)]
        cuts = list(prepared(made.frames_THWC, self.steps, known_T))
        landmarks = np.stack(
            [moved(c.matrix_2x3, p) for p, c in zip(made.landmarks_T68x2, cuts, strict=True)]
        )
        clip = schema.Clip(
            clip_id=f"{self.seed}-{number:06d}",
            subject=made.subject,
            frames=[writer.encode_jpeg(c.frame_HWC, quality=self.quality) for c in cuts],
            occurrence_TA=made.occurrence_TA,
            intensity_TA=made.intensity_TA,
            emotion=synthface.EMOTIONS.index(made.emotion) if made.emotion else -1,
            timestamps_T=np.arange(sitting.frames_each) / self.fps,
            box_T4=np.stack([c.box_4 for c in cuts]),
            found_T=np.array([c.found for c in cuts]),
            landmarks_T68x2=landmarks.astype(np.float32),
            visible_T68=_visible(made.covered_T68, landmarks, self.steps.size),
            valence_arousal_T2=made.valence_arousal_T2,
            attributes_TK=_attributes(made),
        )
        return clip, cuts


def squares(landmarks_T68x2: np.ndarray, spread: tuple[int, ...] | None = None) -> np.ndarray:
    """The squares that a detector would draw: float32 T×4 (x, y, side, side).

    Args:
      landmarks_T68x2: pixels.
      spread: None: the Haar cascade's on average; else the seed of how far one detector or the
        other is off in this clip.
    """
    box_T4 = np.stack([haar_square(points_68x2) for points_68x2 in landmarks_T68x2])
    if spread is None:
        return box_T4
    rng = np.random.default_rng(np.random.SeedSequence(spread))
    lean, across, below, down, larger, wider = SPREADS[rng.integers(len(SPREADS))]
    off_T3 = WOBBLE * rng.standard_normal((len(box_T4), 3))
    off_T3 = np.sqrt(1 - WOBBLE**2) * rng.standard_normal(3) + off_T3
    off_T3 = np.clip(off_T3, -2.5, 2.5)
    side_T = box_T4[:, 2].astype(np.float64)
    middle_T2 = box_T4[:, :2] + side_T[:, None] / 2
    middle_T2[:, 0] += lean * (landmarks_T68x2[:, 30, 0] - middle_T2[:, 0])
    middle_T2 += side_T[:, None] * (off_T3[:, :2] * (across, down) + (0, below))
    side_T = side_T * np.exp(larger + wider * off_T3[:, 2])
    return np.concatenate(
        [middle_T2 - side_T[:, None] / 2, side_T[:, None], side_T[:, None]], axis=1
    ).astype(np.float32)


def _attributes(made: "SynthfaceClip") -> np.ndarray:
    """float32 T×K over ATTRIBUTES."""
    who, pose_T3 = made.facts.person, made.pose_T3
    person_T3 = np.tile((who.years, who.male, who.melanin), (len(pose_T3), 1))
    pixels_T1 = np.full((len(pose_T3), 1), made.facts.face_pixels)
    return np.concatenate([person_T3, pose_T3, pixels_T1], axis=1).astype(np.float32)


def _visible(covered_T68: np.ndarray, landmarks_T68x2: np.ndarray, size: int) -> np.ndarray:
    """int8 T×68: 1 where the crop shows the landmark."""
    inside = ((landmarks_T68x2 >= 0) & (landmarks_T68x2 <= size)).all(axis=-1)
    return (inside & ~covered_T68).astype(np.int8)


def _wider(
    where: Callable[[np.ndarray], np.ndarray], margin: float, landmarks_T68x2: np.ndarray
) -> np.ndarray:
    """Squares with what `margin` adds on each side."""
    box_T4 = where(landmarks_T68x2).copy()
    box_T4[:, :2] -= margin * box_T4[:, 2:]
    box_T4[:, 2:] *= 1 + 2 * margin
    return box_T4


def _mixed(*key: int) -> int:
    return int(np.random.SeedSequence(key).generate_state(1)[0])


def _people(clips: int, frames: int, per_person: int) -> int:
    if per_person:
        return -(-clips // per_person)
    usual = STILLS_PER_SUBJECT if frames == 1 else CLIPS_PER_SUBJECT
    return min(max(6, clips // usual), clips)


def _variation(without: str) -> "Variation":
    from jaxfacs.synthface.variation import Variation

    kinds = [kind.strip() for kind in without.split(",") if kind.strip()]
    return Variation.naive() if kinds == ["all"] else Variation.without(*kinds)


def _left_out(variation: "Variation") -> list[str]:
    return [kind for kind, shown in vars(variation).items() if not shown]


def _check(*, clips: int, people: int, frames: int, size: int, quality: int) -> None:
    if clips < 1 or frames < 1:
        raise UserError(f"--clips {clips} --frames {frames}: both must be at least 1")
    if people > clips:
        raise UserError(f"--subjects {people} needs at least as many clips; --clips is {clips}")
    if not 16 <= size <= 1024:
        raise UserError(f"--size {size} is not between 16 and 1024 pixels")
    if not 1 <= quality <= 100:
        raise UserError(f"--quality {quality} is not between 1 and 100")
