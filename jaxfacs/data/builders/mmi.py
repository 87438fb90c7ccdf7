"""MMI (Pantic et al. 2005): posed films and stills, AUs with onset, apex and offset.

Layout and values: `Sessions/501/session.xml` names the films or pictures of a session (`track`,
with its `view`: 0 from the front, 2 front and side in one picture; 1 is taken for the side, which
no source says). `NAME-oao_aucs.xml` beside `NAME.avi` has an `ActionUnit` with a `Number` for each
AU that moves and in it a `Marker` wherever a phase begins: `Frame`, from 1, and `Type`, 0 neutral,
1 onset, 2 apex, 3 offset (types inferred from public readers). An AU that a file does not list does
not move in that film. `Number` may have a side of the person behind it, 46L, or a lip, 28T and 28B
(normanrz/face-vid: web-server/videos/labelmapping.txt); a lip counts for the whole. `NAME.xml` has
the emotion as a `Metatag`, 1 to 6; larger numbers are other categories. Some films lie on their
side. The rest of MMI is coded without times: which AUs a film shows, not when.

Who is shown is read from a `subject` of session.xml, a `Metatag` of that name, or the "S001" at the
beginning of NAME, whichever is there; no public reader needs it, so the notes say what was found.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from jaxfacs import facs
from jaxfacs.data import splits
from jaxfacs.data.builders import mmi_coding, reading
from jaxfacs.data.builders.mmi_coding import MOST_FRAMES, Action, actions_of, elements
from jaxfacs.data.delivery import (
    Builder,
    Delivery,
    Film,
    Known,
    LeftOut,
    Pictures,
    Recording,
    with_aus,
)
from jaxfacs.errors import UserError

VIEWS = {"0": "frontal", "1": "profile", "2": "dual"}
EMOTIONS = facs.EMOTION_SETS["mmi"]
# The labels of Bocklisch et al. 2015, as the authors' demonstration lists them: normanrz/face-vid,
# web-server/videos/labelmapping.txt. 36 of their 37 are there, 28T and 28B among them, which are 28
# here; the one with the number 35 is not.
BOCKLISCH = tuple(
    (
        "1 2 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 30 38 43 45 46 "
        "L46 R46"
    ).split()
)
FOLDS = 10


@dataclass(frozen=True)
class Options:
    """What can be chosen for MMI.

    Attributes:
      views: films and pictures from the front, from front and side at once, from the side, or all.
      media: films, stills, or both.
      films: coded: those with phases of AUs; all: those with an emotion alone too, AUs unknown.
      labels: phases: an AU is present from onset to the end of its offset; bocklisch: only frames
        with a marker are known, where the AUs that have one are present and all others absent.
      frames_of: all, or only those frames in which some AU has a marker.
      aus: all that occur, or those of Bocklisch et al. 2015 that are known (34 of 37).
      turned: films from the front that lie on their side and are turned clockwise by a quarter:
        those without phases of AUs, none, or all.
      protocol: subjects: dealt out; fold1 … fold10: people in ascending order, every tenth tested.
      test_subject: this person is the test split and all others train, whatever the protocol;
        empty: nobody alone.
    """

    views: Literal["frontal", "dual", "profile", "all"] = "frontal"
    media: Literal["films", "stills", "all"] = "films"
    films: Literal["coded", "all"] = "coded"
    labels: Literal["phases", "bocklisch"] = "phases"
    frames_of: Literal["all", "markers"] = "all"
    aus: Literal["all", "bocklisch"] = "all"
    turned: Literal["uncoded", "none", "all"] = "uncoded"
    protocol: Literal[
        "subjects", "fold1", "fold2", "fold3", "fold4", "fold5", "fold6", "fold7", "fold8", "fold9",
        "fold10",
    ] = "subjects"  # fmt: skip
    test_subject: str = ""


@dataclass(frozen=True)
class _Shot:
    """One film or picture of a session.

    Attributes:
      name, subject: of the recording. path: relative to the delivery.
      still: whether it is a picture. view: one of VIEWS' values, or "".
      actions: AUs with their times, of a still without; None: not coded.
      emotion: place in EMOTIONS, −1 unknown.
      frames: of a film, as its container or its last marker counts them.
    """

    name: str
    subject: str
    path: str
    still: bool
    view: str
    actions: tuple[Action, ...] | None
    emotion: int
    frames: int


def read(source: Path, options: Options) -> Delivery:
    """The delivery in `source`; see the module for what is expected."""
    source = reading.require_folders(
        source, "Sessions/*/session.xml", "*/session.xml", "*/Sessions/*/session.xml", title="MMI"
    )
    found = reading.Found()
    shots: list[_Shot] = []
    for folder in _folders(source):
        try:
            shots += _session(source, folder, options, found)
        except UserError as error:
            found.damaged(reading.relative(source, folder), error)
    for path in sorted(source.rglob("*-oao_aucs.xml")):
        if not (beside := path.with_name("session.xml")).is_file():
            found.left_out.append(LeftOut(reading.relative(source, beside), None, "missing"))
    if not shots:
        raise found.first_error or UserError(
            f"{source} has no labelled {options.media} of view {options.views}"
            + "".join(f"; {note}" for note in found.told())
        )
    aus = mmi_coding.columns([action for shot in shots for action in shot.actions or ()])
    split_of = _split_of(options, {shot.subject for shot in shots})
    recordings = [
        _film(shot, aus, options, split_of[shot.subject] if split_of else None)
        for shot in shots
        if not shot.still
    ]
    recordings += _stills([shot for shot in shots if shot.still], aus, split_of)
    delivery = Delivery(
        [recording for recording in recordings if len(recording.frames)],
        aus=aus,
        emotions=EMOTIONS,
        inputs=found.inputs,
        left_out=found.left_out,
        notes=found.told(),
        root=source,
    )
    return with_aus(delivery, BOCKLISCH if options.aus == "bocklisch" else ())


def _folders(source: Path) -> list[Path]:
    """Those that hold a session.xml. UserError where two have the same number."""
    found: dict[str, Path] = {}
    for path in sorted(source.rglob("session.xml")):
        folder = found.setdefault(path.parent.name, path.parent)
        if folder != path.parent:
            raise UserError(f"session {folder.name} is in {folder} and {path.parent}; remove one")
    return list(found.values())


def _session(source: Path, folder: Path, options: Options, found: reading.Found) -> list[_Shot]:
    """The shots of one session that are wanted and labelled."""
    written = elements(folder / "session.xml")
    found.inputs.append(folder / "session.xml")
    tracks = {
        folder / reading.inside(a["filename"], file=folder / "session.xml", line=a["line"]): a
        for tag, a in written
        if tag == "track" and a.get("filename")
    }
    if len({path.stem.lower() for path in tracks}) < len(tracks):
        raise UserError(f"{folder / 'session.xml'}: two of its films have one name")
    shots = []
    for path, track in tracks.items():
        view = VIEWS.get(track.get("view", ""), "")
        still = path.suffix.lower() in reading.PICTURES
        if options.media not in ("all", "stills" if still else "films"):
            continue
        if not still and path.suffix.lower() not in reading.FILMS:
            continue
        if not view:
            found.notes["of no known view; --views all takes it, no other does"] += 1
        if options.views not in ("all", view):
            continue
        if view == "profile":
            found.notes["view 1, taken for the side; no source says so"] += 1
        coding = _coding(source, folder, path.stem, written, alone=len(tracks) == 1, found=found)
        actions = None if coding is None else actions_of(coding, found.notes)
        if not still and not any(action.markers for action in actions or ()):
            actions = None  # which AUs a film shows, not when: of no frame is anything known
        about = path.with_suffix(".xml")
        meta = elements(about) if about.is_file() else []
        emotion = _emotion(meta, found.notes)
        if actions is None and (emotion < 0 or not (still or options.films == "all")):
            reason = "no label" if emotion < 0 else "no AU with times, which --films all takes"
            found.left_out.append(LeftOut(reading.relative(source, path), None, reason))
            continue
        found.inputs += [file for file in (coding, about) if file and file.is_file()]
        shots.append(
            _Shot(
                name=f"{folder.name}/{path.stem}",
                subject=_subject([*written, *meta], path.stem, found.notes),
                path=reading.relative(source, path),
                still=still,
                view=view,
                actions=actions,
                emotion=emotion,
                frames=1 if still else _length(path, actions or (), coding),
            )
        )
    return shots


def _coding(
    source: Path,
    folder: Path,
    stem: str,
    written: Sequence[tuple[str, dict]],
    *,
    alone: bool,
    found: reading.Found,
) -> Path | None:
    """The file with the AUs of a shot; with times, where there are both."""
    there = {path.name.lower(): path for path in sorted(folder.glob("*.xml"))}
    wanted = [f"{stem}-oao_aucs.xml".lower(), f"{stem}-aucs.xml".lower()]
    for name in wanted:
        if name in there:
            return there[name]
    named = [Path(a.get("filename", "")).name for tag, a in written if tag == "annotation"]
    where = reading.relative(source, folder)
    found.left_out += [
        LeftOut(f"{where}/{name}", None, "missing") for name in named if name.lower() in wanted
    ]
    others = [path for name, path in there.items() if name.endswith("aucs.xml")]
    return others[0] if alone and len(others) == 1 else None


def _length(path: Path, actions: Sequence[Action], coding: Path | None) -> int:
    """Frames of a film, at least to its last marker: a film that is shorter is listed as such."""
    last = max((frame for action in actions for frame, _ in action.markers), default=1)
    length = reading.film_length(path) if path.is_file() else 1
    if length > 1 and last > 2 * length:
        raise UserError(f"{coding}: a marker at frame {last}, and {path.name} has {length} frames")
    return min(max(length, last), MOST_FRAMES)


def _emotion(meta: Sequence[tuple[str, dict]], notes: Counter) -> int:
    value = _metatag(meta, "emotion")
    numbers = [str(number) for number in range(1, len(EMOTIONS) + 1)]
    if value in numbers:
        return numbers.index(value)
    if value:
        notes[f"emotion {value[:20]}, none of 1 to {len(EMOTIONS)}: unknown"] += 1
    return -1


def _metatag(written: Sequence[tuple[str, dict]], *names: str) -> str:
    for tag, attributes in written:
        if tag == "metatag" and attributes.get("name", "").lower() in names:
            return attributes.get("value", "")
    return ""


def _subject(written: Sequence[tuple[str, dict]], stem: str, notes: Counter) -> str:
    told = next((a["id"] for tag, a in written if tag == "subject" and a.get("id")), "")
    if told:
        notes["person of a shot by session.xml"] += 1
        return told
    if told := _metatag(written, "subject", "subjectid", "subject id", "subject_id"):
        notes["person of a shot by its Metatag"] += 1
        return told
    match = re.match(r"S\d{3}(?!\d)", stem, re.IGNORECASE)
    notes["person of a shot by its name" if match else "person of a shot unknown"] += 1
    return match[0].upper() if match else ""


def _film(shot: _Shot, aus: Sequence[str], options: Options, split: str | None) -> Recording:
    actions, frames = shot.actions, shot.frames
    kept_T = np.ones(frames, bool)
    if options.frames_of == "markers":
        kept_T = mmi_coding.has_marker(actions or (), frames)
    numbers = np.flatnonzero(kept_T)
    occurrence_TA = phase_TA = None
    if actions is not None:
        columns = [mmi_coding.timed(actions, label, frames) for label in aus]
        phase_TA = np.stack([column[1] for column in columns], 1)[kept_T]
        told = [column[0] for column in columns]
        if options.labels == "bocklisch":
            told = [mmi_coding.marked(actions, label, frames) for label in aus]
        occurrence_TA = np.stack(told, 1)[kept_T]
    lying = options.turned == "all" or (options.turned == "uncoded" and actions is None)
    turns = int(lying and shot.view == "frontal")
    return Recording(
        name=shot.name,
        subject=shot.subject,
        frames=Film(shot.path, tuple(numbers.tolist()), quarter_turns=turns),
        occurrence_TA=occurrence_TA,
        phase_TA=phase_TA,
        place_T=numbers + 1,
        emotion_T=np.full(len(numbers), shot.emotion),
        split=split,
    )


def _stills(
    shots: Sequence[_Shot], aus: Sequence[str], split_of: Mapping[str, str] | None
) -> list[Recording]:
    """Pictures by themselves, those of one person together."""
    people: dict[str, list[_Shot]] = {}
    for shot in shots:
        people.setdefault(shot.subject, []).append(shot)
    recordings: list[Recording] = []
    for subject, group in people.items():
        unknown = [-1] * len(aus)
        told = [
            unknown if shot.actions is None else mmi_coding.of_still(shot.actions, aus)
            for shot in group
        ]
        recordings += reading.stills(
            f"stills/{subject or '?'}",
            subject,
            Pictures(tuple(shot.path for shot in group)),
            split=split_of[subject] if split_of else None,
            occurrence_TA=np.array(told, np.int8).reshape(len(group), len(aus)),
            emotion_T=np.array([shot.emotion for shot in group]),
        )
    return recordings


def _split_of(options: Options, people: set[str]) -> Mapping[str, str] | None:
    if options.test_subject:
        return splits.one_tested(options.test_subject, people)
    if options.protocol == "subjects":
        return None
    return splits.every_nth(people, fold=int(options.protocol.removeprefix("fold")), folds=FOLDS)


BUILDER = Builder(
    name="mmi",
    title="MMI Facial Expression Database",
    task="posed AUs and emotions with their onset, apex and offset",
    labels="all of FACS, phases by frame in some films; 6 emotions",
    subjects=0,
    licence="end user agreement; research only",
    obtain="account at mmifacedb.eu",
    citation="Pantic et al., Web-based database for facial expression analysis, IEEE ICME 2005",
    read=read,
    options=Options,
    layout="Sessions/501/session.xml, NAME.avi or NAME.jpg, NAME-oao_aucs.xml, NAME.xml",
    known=(
        Known(
            "Bocklisch et al. 2015, section 2.2.1: 56,553 frames, in 21 copies each "
            "(normanrz/face-vid, extract_frames.py: multiply_frames)",
            {"frames": 2693},
            when={"labels": "bocklisch", "frames_of": "markers", "views": "all"},
        ),
    ),
)
