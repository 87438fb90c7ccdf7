"""RAVDESS (Livingstone & Russo 2018): actors who speak and sing with emotion, filmed and recorded.

Files lie anywhere below the folder (`Actor_01/…`, `Video_Speech_Actor_01/Actor_01/…`) and are named
by seven numbers, `02-01-06-01-02-01-12.mp4` (zenodo.org/records/1188976): modality (01 film with
sound, 02 film, 03 sound), channel (01 speech, 02 song), emotion, intensity (01 normal, 02 strong;
neutral has no strong), statement, repetition, actor (odd: male, even: female). 01 and 02 are the
same film with and without its sound.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from jaxfacs import facs
from jaxfacs.data.builders import reading
from jaxfacs.data.delivery import Builder, Delivery, Film, Known, LeftOut, Recording, Sound
from jaxfacs.errors import UserError

EMOTIONS = facs.EMOTION_SETS["ravdess"]
ATTRIBUTES = ("song", "intensity", "statement", "repetition", "actor", "gender")
NAME = re.compile(r"\d{2}(?:-\d{2}){6}")
# field -> the numbers it may have.
FIELDS = {
    "modality": range(1, 4),
    "channel": range(1, 3),
    "emotion": range(1, 9),
    "intensity": range(1, 3),
    "statement": range(1, 3),
    "repetition": range(1, 3),
    "actor": range(1, 25),
}
SUFFIX = {1: ".mp4", 2: ".mp4", 3: ".wav"}
CHANNEL = {"all": (1, 2), "speech": (1,), "song": (2,)}


@dataclass(frozen=True)
class Options:
    """What can be chosen for RAVDESS.

    Attributes:
      part: video: films; audio: the .wav files, each as one picture, its log-mel spectrogram.
      channel: speech, song, or all of it.
      test_actors: these actors (1 to 24) are the test, all others are for training; none: dealt
        out by actor.
    """

    part: Literal["video", "audio"] = "video"
    channel: Literal["all", "speech", "song"] = "all"
    test_actors: tuple[int, ...] = ()


def read(source: Path, options: Options) -> Delivery:
    """Every take below `source`; see the module for what is expected."""
    found, left_out = _takes(source, options)
    if not found:
        raise UserError(
            f"{source} has no {options.part} file of RAVDESS, named like 01-01-05-01-02-01-12"
            f"{'.wav' if options.part == 'audio' else '.mp4'}; unpack its archives there"
        )
    actors = sorted({code[-1] for code in found})
    absent = sorted(set(options.test_actors) - set(actors))
    if absent:
        raise UserError(f"--test-actors {absent[0]}: there are {', '.join(map(str, actors))}")
    recordings = [
        _recording(source, found[code], code, options.test_actors) for code in sorted(found)
    ]
    lacking = sorted(set(FIELDS["actor"]) - set(actors))
    notes = [f"no files of actors {', '.join(map(str, lacking))}"] if lacking else []
    return Delivery(
        recordings,
        emotions=EMOTIONS,
        attributes=ATTRIBUTES,
        left_out=left_out,
        notes=notes,
        faces=("whole",) if options.part == "audio" else (),
    )


def _takes(source: Path, options: Options) -> tuple[dict[tuple[int, ...], Path], list[LeftOut]]:
    """Numbers behind the modality -> file; the film with sound where both films are there."""
    suffix = ".wav" if options.part == "audio" else ".mp4"
    found: dict[tuple[int, ...], Path] = {}
    left_out: list[LeftOut] = []
    for path in reading.files_below(source):
        if not NAME.fullmatch(path.stem) or path.suffix.lower() != suffix:
            continue
        values = tuple(map(int, path.stem.split("-")))
        wrong = _wrong(values, path)
        if wrong:
            left_out.append(LeftOut(reading.relative(source, path), None, f"bad name: {wrong}"))
            continue
        modality, *code = values
        if code[0] not in CHANNEL[options.channel]:
            continue
        other = found.get(tuple(code))
        if other is None or int(other.stem[:2]) > modality:
            found[tuple(code)] = path
        elif int(other.stem[:2]) == modality:
            raise UserError(f"{path} and {other} are one take; remove one of them")
    return found, left_out


def _wrong(values: tuple[int, ...], path: Path) -> str:
    """What contradicts the owners' names; "" where nothing does."""
    told = dict(zip(FIELDS, values, strict=True))
    for name, value in told.items():
        if value not in FIELDS[name]:
            return f"there is no {name} {value:02d}"
    if SUFFIX[told["modality"]] != path.suffix.lower():
        return f"modality {told['modality']:02d} is no {path.suffix}"
    folder = re.search(r"Actor_(\d+)$", path.parent.name, re.IGNORECASE)
    if folder and int(folder[1]) != told["actor"]:
        return f"actor {told['actor']:02d} lies in {path.parent.name}"
    return ""


def _recording(
    source: Path, path: Path, code: tuple[int, ...], test_actors: tuple[int, ...]
) -> Recording:
    channel, emotion, intensity, statement, repetition, actor = code
    place = reading.relative(source, path)
    sound = path.suffix.lower() == ".wav"
    frames = Sound(place) if sound else Film(place, tuple(range(reading.film_length(path))))
    one_K = (channel - 1, intensity, statement, repetition, actor, 1 - actor % 2)
    return Recording(
        name=f"Actor_{actor:02d}/{path.stem}",
        subject=f"Actor_{actor:02d}",
        frames=frames,
        stills=sound,
        emotion_T=np.full(len(frames), emotion - 1),
        attributes_TK=np.tile(np.array(one_K, np.float32), (len(frames), 1)),
        split=("test" if actor in test_actors else "train") if test_actors else None,
    )


BUILDER = Builder(
    name="ravdess",
    title="RAVDESS",
    task="acted emotions in speech and song, films or sound",
    labels="one of eight emotions and its intensity a take; statement, actor, gender",
    subjects=24,
    licence="CC BY-NC-SA 4.0",
    obtain="download: zenodo.org/records/1188976",
    citation="Livingstone & Russo, RAVDESS, PLoS ONE 13 (2018) e0196391",
    read=read,
    options=Options,
    layout="Actor_01/01-01-05-01-02-01-01.mp4 (films) or 03-….wav (sound), in any folders",
    people="ravdess",
    known=(
        Known(
            "zenodo.org/records/1188976: 60 takes of speech an actor",
            {
                "subjects": 24,
                "frames": 1440,
                "emotion neutral": 96,
                **dict.fromkeys((f"emotion {name}" for name in EMOTIONS[1:]), 192),
            },
            {"part": "audio", "channel": "speech"},
        ),
        Known("zenodo.org/records/1188976", {"subjects": 24}, {"part": "video"}),
    ),
)
