"""Sets that exist as TFRecord files of `tf.train.Example`: which feature holds what is said here.

One Example is a picture, or a clip: a list of encoded pictures under one name. TensorFlow is not
needed. The split is read from the file's name (train, val, valid, validation, dev, test).
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxfacs import facs
from jaxfacs.data import tfrecord
from jaxfacs.data.builders import reading
from jaxfacs.data.delivery import Builder, Delivery, Examples, LeftOut, Recording
from jaxfacs.data.splits import require_known
from jaxfacs.errors import UserError
from jaxfacs.facs.emotions import canonical

Features = dict[str, list[bytes] | np.ndarray]
STILLS = 256  # of one file and subject that make a recording


@dataclass(frozen=True)
class Options:
    """What the features of the Examples are called.

    Attributes:
      image: the encoded picture or pictures.
      aus: labels of the AUs, in the order of the vectors `occurrence` and `intensity`.
      occurrence: numbers of an Example, one an AU, or for clips one a frame and an AU: 0 and 1.
      intensity: likewise 0 to 5.
      au: AUs with a feature of their own, as LABEL=FEATURE (12=label/au12): occurrence.
      subject: who it is; without it nobody is known.
      emotion: name of the emotion, or its place in `emotions`.
      emotions: names in the order of the numbers.
    """

    image: str = "image/encoded"
    aus: tuple[str, ...] = ()
    occurrence: str = ""
    intensity: str = ""
    au: tuple[str, ...] = ()
    subject: str = ""
    emotion: str = ""
    emotions: tuple[str, ...] = ()


def read(source: Path, options: Options) -> Delivery:
    """Reads every Example once, for its labels."""
    files = sorted(p for p in source.rglob("*") if p.is_file() and "tfrecord" in p.name)
    if not files:
        raise UserError(f"{source} holds no file with tfrecord in its name")
    own = dict(_pair(text) for text in options.au)
    aus = tuple(facs.parse_label(label) for label in (*options.aus, *own))
    if (options.occurrence or options.intensity) and not options.aus:
        raise UserError("--occurrence and --intensity need the labels of their numbers: --aus")
    if not (aus or options.emotion):
        raise UserError("no label was named: give --aus with --occurrence, --au or --emotion")
    emotions = tuple(map(canonical, options.emotions))
    recordings: list[Recording] = []
    left_out: list[LeftOut] = []
    for file in files:
        name = reading.relative(source, file)
        stills: dict[str, list[_Labelled]] = defaultdict(list)
        try:
            for offset, raw in tfrecord.records(file):
                one = _labelled(tfrecord.features(raw), offset, options, own, emotions, file)
                if one.frames == 1:
                    stills[one.subject].append(one)
                else:
                    recordings.append(_recording(f"{name}@{offset}", name, [one], options))
        except ValueError as error:
            left_out.append(LeftOut(name, None, f"the rest is damaged: {error}"))
        for subject, ones in stills.items():
            for start in range(0, len(ones), STILLS):
                part = ones[start : start + STILLS]
                title = f"{name}/{subject or 'unknown'}/{start // STILLS:04d}"
                recordings.append(_recording(title, name, part, options))
    splits = {recording.name: _split(recording.name) for recording in recordings}
    if not all(splits.values()):  # not every file says: then none does
        recordings = [_without_split(recording) for recording in recordings]
    return Delivery(recordings, aus, emotions, left_out=left_out)


@dataclass(frozen=True, eq=False)
class _Labelled:
    """The labels of one Example with T frames."""

    offset: int
    frames: int
    subject: str
    occurrence_TA: np.ndarray
    intensity_TA: np.ndarray
    emotion: int


def _labelled(
    found: Features,
    offset: int,
    options: Options,
    own: dict[str, str],
    emotions: Sequence[str],
    file: Path,
) -> _Labelled:
    where = f"{file}, the Example at byte {offset}"
    images = found.get(options.image)
    if not isinstance(images, list) or not images:
        raise UserError(
            f"{where} has no pictures under {options.image!r}; it has: {', '.join(sorted(found))}; "
            "name the feature with --image"
        )
    frames = len(images)
    graded = _vector(found, options.intensity, frames, len(options.aus), where)
    coded = _vector(found, options.occurrence, frames, len(options.aus), where)
    separate = [_vector(found, feature, frames, 1, where) for feature in own.values()]
    unknown = np.full((frames, len(own)), -1.0)
    intensity_TA = reading.intensity(np.concatenate([graded, unknown], 1))
    occurrence_TA = reading.occurrence(np.concatenate([coded, *separate], 1))
    from_grade = np.where(intensity_TA < 0, -1, intensity_TA >= 1).astype(np.int8)
    return _Labelled(
        offset=offset,
        frames=frames,
        subject=_text(found, options.subject),
        occurrence_TA=np.where(occurrence_TA < 0, from_grade, occurrence_TA),
        intensity_TA=intensity_TA,
        emotion=_emotion(found, options.emotion, emotions, where),
    )


def _vector(found: Features, feature: str, frames: int, width: int, where: str) -> np.ndarray:
    """float T×width of a feature with as many numbers, or with one row for all frames."""
    if not feature:
        return np.full((frames, width), -1.0)
    value = found.get(feature)
    if not isinstance(value, np.ndarray):
        raise UserError(f"{where} has no numbers under {feature!r}; it has: {', '.join(found)}")
    if value.size == width:
        return np.tile(np.asarray(value, float), (frames, 1))
    if value.size != frames * width:
        raise UserError(f"{where}: {feature!r} has {value.size} numbers for {frames} × {width}")
    return np.asarray(value, float).reshape(frames, width)


def _text(found: Features, feature: str) -> str:
    value = found.get(feature, []) if feature else []
    if isinstance(value, np.ndarray):
        return str(value[0]) if value.size else ""
    return value[0].decode(errors="replace") if value else ""


def _emotion(found: Features, feature: str, emotions: Sequence[str], where: str) -> int:
    text = _text(found, feature)
    if not text:
        return -1
    if re.fullmatch(r"-?\d+", text):
        return int(text) if 0 <= int(text) < len(emotions) else -1
    if canonical(text) not in emotions:
        raise UserError(f"{where}: emotion {text!r} is none of --emotions {' '.join(emotions)}")
    return emotions.index(canonical(text))


def _recording(name: str, file: str, ones: Sequence[_Labelled], options: Options) -> Recording:
    return Recording(
        name=name,
        subject=ones[0].subject,
        frames=Examples(
            file, options.image, tuple((one.offset, k) for one in ones for k in range(one.frames))
        ),
        occurrence_TA=np.concatenate([one.occurrence_TA for one in ones]),
        intensity_TA=np.concatenate([one.intensity_TA for one in ones]),
        stills=ones[0].frames == 1,
        emotion_T=np.repeat([one.emotion for one in ones], [one.frames for one in ones]),
        split=_split(name),
    )


def _without_split(recording: Recording) -> Recording:
    from dataclasses import replace

    return replace(recording, split=None)


def _split(name: str) -> str | None:
    words = re.split(r"[^a-z]+", name.split("@")[0].lower())
    known = [w for w in words if w in ("train", "val", "valid", "validation", "dev", "test")]
    return require_known(known[-1]) if known else None


def _pair(text: str) -> tuple[str, str]:
    label, equals, feature = text.partition("=")
    if not (label and equals and feature):
        raise UserError(f"--au {text}: write LABEL=FEATURE, such as 12=label/au12")
    return label, feature


BUILDER = Builder(
    name="tfrecord",
    title="TFRecord files",
    task="a set that exists as tf.train.Examples",
    labels="whatever AUs and emotions the Examples hold",
    subjects=0,
    licence="that of the data",
    obtain="--source DIR with *.tfrecord* files",
    citation="",
    read=read,
    options=Options,
    layout="files with tfrecord in their name",
    faces=("whole",),
)
