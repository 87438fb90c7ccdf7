"""`jaxfacs emotions apply`, `cues` and `neutral`: from a table of AUs to emotions, cues, a rest."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from jaxfacs.emotion import cues as cues_module
from jaxfacs.emotion import person as person_module
from jaxfacs.emotion.cues import Cue, Event, Micro
from jaxfacs.emotion.files import in_columns, named, write_csv, write_json
from jaxfacs.emotion.frames import Evidence, Frames, map_frames, read
from jaxfacs.emotion.reading import Reading, Reason
from jaxfacs.errors import UserError
from jaxfacs.facs.emotions import canonical

CAVEAT = (
    "An emotion here is what a table of people's agreements or a classifier calls a pattern of "
    "movements; what a person feels cannot be read off it."
)
CUE_CAVEAT = (
    "A cue is no proof: felt smiles lack AU 6, posed ones have it, faces are asymmetric at rest, "
    "and networks flicker. Look at the film."
)
MEASURED, EMOTION_DECIMALS = ("frame", "face_id", "timestamp"), 3


def apply(
    frames: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    mapper: str = "facs_manual",
    out: Path,
    person: Path | None = None,
    evidence: Evidence = "probability",
    plot: bool = True,
) -> None:
    """Read emotions off a table of AUs, with the AUs that spoke for and against each.

    Writes OUT/NAME.emotions.csv (a row a frame and face: every emotion's probability, the
    likeliest, the AUs for and against it with their weights), OUT/NAME.emotions.json (which mapper,
    what it could not judge, how often each emotion was likeliest) and a PNG of the film's course.

    Args:
      frames: a table of `jaxfacs predict`, OpenFace or py-feat, or any with a row a frame and AUs.
      mapper: a JSON of `jaxfacs emotions fit`, a rule table by name, or "published";
        `jaxfacs emotions show` lists the names.
      out: folder for the results; made if it is missing.
      person: a profile of `jaxfacs emotions neutral`: AUs count from this person's own rest; and
        the edits of the table that `jaxfacs emotions person` noted in it are used.
      evidence: what is read of an AU that has several columns: its probability (then a doubt is a
        doubt), or its occurrence, 0 or 1.
      plot: draw the PNG.
    """
    reader = named(mapper)
    told = read(frames, evidence=evidence)
    profile = None if person is None else person_module.load(person)
    if profile is not None:
        told = person_module.without_rest(told, profile)
        reader = person_module.edited(reader, profile)
    reading = map_frames(reader, told)
    stem = out / frames.stem
    header = (*MEASURED, *reading.emotions, "emotion", "for", "against")
    write_csv(f"{stem}.emotions.csv", header, _rows(told, reading))
    seen = ~np.isnan(reading.probability_TE).any(axis=1)
    likeliest = reading.probability_TE[seen].argmax(axis=1)
    share = np.bincount(likeliest, minlength=len(reading.emotions)) / max(len(likeliest), 1)
    average = reading.probability_TE[seen].mean(axis=0) if seen.any() else 0 * share
    summary = {
        "frames": str(frames),
        "mapper": mapper,
        "kind": reader.to_json()["kind"],
        "person": None if profile is None else profile.name,
        "evidence": evidence,
        "rows": len(told),
        "rows_with_a_face": int(seen.sum()),
        "emotions": {
            emotion: {
                "share_of_rows_likeliest": round(float(share[e]), 4),
                "mean_probability": round(float(average[e]), 4),
                "not_judged": list(reading.unjudged.get(emotion, ())),
            }
            for e, emotion in enumerate(reading.emotions)
        },
        "caveat": CAVEAT,
    }
    write_json(f"{stem}.emotions.json", summary)
    if plot:
        from jaxfacs.emotion.plots import course

        course(told, reading, Path(f"{stem}.emotions.png"))
    rows = [
        (
            emotion,
            float(share[e]),
            float(average[e]),
            " ".join(reading.unjudged.get(emotion, ())) or "-",
        )
        for e, emotion in enumerate(reading.emotions)
    ]
    print(in_columns(("emotion", "likeliest in", "mean", "AUs not judged"), rows))
    print(f"{int(seen.sum())} of {len(told)} rows with a face -> {stem}.emotions.csv")


def cues(
    frames: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    out: Path,
    micro: Micro = "half-second",
    person: Path | None = None,
) -> None:
    """Cues of spontaneous and posed expression, as a table with times.

    Writes OUT/NAME.events.csv (onset, apex and offset of every AU) and OUT/NAME.cues.csv: Duchenne
    smiles (AU 6 with 12) and smiles without, sides that differ by a letter or more, the speed of
    each onset, and candidates for micro-expressions, with what each points to. A cue proves
    nothing; NAME.cues.json says what these frames could not show.

    Args:
      frames: the CSV of `jaxfacs predict`, or any with AU columns and a timestamp in seconds.
      out: folder for the results; made if it is missing.
      micro: how short a micro-expression is: under half a second, or the published 1/25 to 1/5 s.
      person: a profile of `jaxfacs emotions neutral`: AUs count from this person's own rest.
    """
    told = read(frames)
    if person is not None:
        told = person_module.without_rest(told, person_module.load(person))
    if np.isnan(told.time_s_N).any():
        raise UserError(f"{frames} has no time in every row; a column timestamp in seconds is due")
    event_rows: list[tuple] = []
    cue_rows: list[tuple] = []
    said: dict[str, None] = {}
    for rows in told.sequences():
        part = told.take(rows)
        face = part.face_N[0]
        if face == "-1":
            continue
        try:
            found, among = cues_module.cues(part, micro=micro)
        except ValueError as error:
            raise UserError(f"{frames}, face {face}: {error}") from error
        event_rows += [(face, *_cells(event)) for event in found]
        cue_rows += [(face, *_cells(cue)) for cue in among]
        said |= dict.fromkeys(cues_module.not_judged(part))
    stem = out / frames.stem
    event_header = ("face_id", *(f.name for f in fields(Event)))
    cue_header = ("face_id", *(f.name for f in fields(Cue)))
    write_csv(f"{stem}.events.csv", event_header, event_rows)
    write_csv(f"{stem}.cues.csv", cue_header, cue_rows)
    content = {"frames": str(frames), "micro": micro, "not_judged": list(said)}
    write_json(f"{stem}.cues.json", content | {"caveat": CUE_CAVEAT})
    shown = [row for row in cue_rows if row[1] != "onset"]
    if shown:
        print(in_columns(cue_header, shown))
    onsets = len(cue_rows) - len(shown)
    print(f"{len(event_rows)} events, {len(shown)} cues, {onsets} onset speeds -> {stem}.cues.csv")
    for line in said:
        print(f"not judged: {line}")
    print(CUE_CAVEAT)


def neutral(
    frames: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    out: Path,
    name: str = "",
    between: tuple[float, float] | None = None,
    emotion_column: str | None = None,
    face_id: str | None = None,
) -> None:
    """Learn what one person's face shows at rest, to measure their AUs from there.

    Writes a profile that `jaxfacs emotions apply` and `cues` take with --person, and
    `jaxfacs predict` with --baseline profile:PATH.

    Args:
      frames: a CSV of this person.
      out: the JSON to write.
      name: who it is; without it, the file's name.
      between: seconds of the film in which the face is at rest, as in --between 0 3.
      emotion_column: of the CSV; frames called neutral there are at rest. Without either, the level
        that each AU stays below in a fifth of the frames.
      face_id: of several faces in the film, this one.
    """
    told = read(frames, emotion_column=emotion_column)
    told = told.take(person_module.rows_of_face(told, frames, face_id))
    resting, where = None, "a fifth of all frames"
    if between is not None:
        resting = (told.time_s_N >= between[0]) & (told.time_s_N <= between[1])
        where = f"{between[0]:g} to {between[1]:g} s"
    elif emotion_column is not None:
        resting = np.array([canonical(text) == "neutral" for text in told.names])
        where = f"frames called neutral in {emotion_column}"
    source = f"{frames.name}, {where}"
    profile = person_module.fit(told, name=name or frames.stem, neutral=resting, source=source)
    person_module.save(profile, out)
    raised = sorted(profile.probability.items(), key=lambda item: -item[1])[:8]
    rows_shown = [(au, level, profile.intensity.get(au, "-")) for au, level in raised]
    print(in_columns(("AU", "probability at rest", "intensity at rest"), rows_shown))
    print(f"{profile.name}: {profile.frames} frames ({source}) -> {out}")


def _rows(told: Frames, reading: Reading) -> list[list[str]]:
    rows = []
    for n in range(len(told)):
        time_s = told.time_s_N[n]
        leading = [
            str(told.frame_N[n]),
            told.face_N[n],
            "" if np.isnan(time_s) else f"{time_s:.3f}",
        ]
        if np.isnan(reading.probability_TE[n]).any():
            rows.append(leading + [""] * (len(reading.emotions) + 3))
            continue
        why = reading.explain(n)
        values = [f"{p:.{EMOTION_DECIMALS}f}" for p in reading.probability_TE[n]]
        rows.append(
            [*leading, *values, why.emotion, _said(why.speaks_for), _said(why.speaks_against)]
        )
    return rows


def _said(reasons: Sequence[Reason]) -> str:
    """ "12 +0.98, no 4 +0.21": weights are in the mapper's own unit."""
    return ", ".join(f"{reason} {reason.weight:+.2f}" for reason in reasons)


def _cells(row: Event | Cue) -> list:
    values = (getattr(row, f.name) for f in fields(row))
    return [
        " ".join(v) if isinstance(v, tuple) else round(v, 3) if isinstance(v, float) else v
        for v in values
    ]
