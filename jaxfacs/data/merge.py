"""Record sets joined into one, or cut into other shards; pictures are copied, never coded again."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from jaxfacs.data import schema, writer
from jaxfacs.data.records import RecordSet, open_set
from jaxfacs.errors import UserError
from jaxfacs.progress import track


def merge(folders: Sequence[Path], out: Path, *, shard_bytes: int = writer.SHARD_BYTES) -> None:
    """Writes all clips of some sets as one: split by split, set after set.

    Labels go onto the union of the lists, unknown where a set has no such label. People of sets
    that do not share them keep apart: their names get the set's before them.

    Raises:
      UserError: pictures of different sizes or differently cut faces, flow in some sets only, two
        clips of one name, or a person in two splits.
    """
    sets = [open_set(folder) for folder in folders]
    if not sets:
        raise UserError("no set was given")
    info = _joined(sets)
    apart = len({opened.people or opened.name for opened in sets}) > 1
    seen: set[str] = set()
    with writer.writing(out, info, shard_bytes=shard_bytes) as records:
        for split in writer.SPLITS:
            for opened in sets:
                before = f"{opened.people or opened.name}/" if apart else ""
                for clip in _clips(opened, split):
                    moved = _moved(clip, opened, info, before)
                    if moved.clip_id in seen:
                        raise UserError(
                            f"clip {moved.clip_id} is in two of the sets; merge each set once"
                        )
                    seen.add(moved.clip_id)
                    records.write(split, moved)
        records.more = _more(sets)
    print(f"{out}: {len(seen)} clips of {len(sets)} set(s)")


def _joined(sets: Sequence[RecordSet]) -> writer.SetInfo:
    first = sets[0]
    for opened in sets[1:]:
        for what in ("size", "crop"):
            if getattr(opened, what) != getattr(first, what):
                raise UserError(
                    f"{first.path} and {opened.path} differ in {what} ({getattr(first, what)}, "
                    f"{getattr(opened, what)}); build them alike, or train on both as a mixture"
                )
        if opened.card.get("flow", False) != first.card.get("flow", False):
            raise UserError(f"only one of {first.path}, {opened.path} has flow; build both alike")

    def union(names: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(n for opened in sets for n in getattr(opened, names)))

    people = {opened.people or opened.name for opened in sets}
    one = len(sets) == 1
    fields = {
        name: first.card.get(name, "") if one else _told(sets, name)
        for name in ("description", "licence", "citation")
    }
    return writer.SetInfo(
        name=first.name if len({s.name for s in sets}) == 1 else "_".join(s.name for s in sets),
        aus=union("aus"),
        emotions=union("emotions"),
        attributes=union("attributes"),
        size=first.size,
        crop=first.crop,
        settings=first.card["settings"] if one else {"merged": [s.digest for s in sets]},
        phases=any(opened.card.get("phases", False) for opened in sets),
        flow=first.card.get("flow", False),
        visible=any(opened.card.get("visible", False) for opened in sets),
        people=first.people if one else people.pop() if len(people) == 1 else "",
        version=first.card["version"],
        **fields,
    )


def _told(sets: Sequence[RecordSet], name: str) -> str:
    return "; ".join(dict.fromkeys(f"{s.name}: {s.card[name]}" for s in sets if s.card.get(name)))


def _more(sets: Sequence[RecordSet]) -> dict[str, object]:
    """Entries of labels.json that builders wrote and that stay true of a single set."""
    kept = ("inputs_sha256", "pixel_mean", "pixel_std", "faces_not_found", "left_out", "notes")
    more = {k: sets[0].card[k] for k in kept if k in sets[0].card} if len(sets) == 1 else {}
    overlaps = sorted({name for s in sets for name in s.card.get("overlaps", ())})
    return {**more, "overlaps": overlaps}


def _clips(opened: RecordSet, split: str) -> Iterator[schema.Clip]:
    if split not in opened.splits:
        return
    source = opened.source(split)
    numbers = range(opened.splits[split])
    for number in track(numbers, label=f"{opened.name} {split}", unit="clip"):
        yield opened.clip_of(source[number])


def _moved(clip: schema.Clip, opened: RecordSet, info: writer.SetInfo, before: str) -> schema.Clip:
    """The clip with its labels on the lists of `info`."""
    frames = len(clip.frames)
    emotion = opened.emotions[clip.emotion] if clip.emotion >= 0 else None
    phase_TA = clip.phase_TA
    if info.phases and phase_TA is None:
        phase_TA = np.full((frames, len(opened.aus)), -1, np.int8)
    visible_T68 = clip.visible_T68
    if info.visible and visible_T68 is None:
        visible_T68 = np.full((frames, 68), -1, np.int8)
    attributes_TK = clip.attributes_TK
    if info.attributes and attributes_TK is None:
        attributes_TK = np.zeros((frames, 0), np.float32)
    return dataclasses.replace(
        clip,
        clip_id=before + clip.clip_id,
        subject=before + clip.subject if clip.subject else "",
        occurrence_TA=_onto(clip.occurrence_TA, opened.aus, info.aus, -1),
        intensity_TA=_onto(clip.intensity_TA, opened.aus, info.aus, -1),
        visible_T68=visible_T68,
        phase_TA=None if phase_TA is None else _onto(phase_TA, opened.aus, info.aus, -1),
        attributes_TK=None
        if attributes_TK is None
        else _onto(attributes_TK, opened.attributes, info.attributes, np.nan),
        emotion=-1 if emotion is None else info.emotions.index(emotion),
    )


def _onto(
    label_TA: np.ndarray, have: Sequence[str], wanted: Sequence[str], unknown: float
) -> np.ndarray:
    out = np.full((len(label_TA), len(wanted)), unknown, label_TA.dtype)
    for column, name in enumerate(have):
        out[:, wanted.index(name)] = label_TA[:, column]
    return out
