"""`jaxfacs emotions person`: a person's own thresholds and edits of the emotion table."""

from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from jaxfacs.emotion import person as profiles
from jaxfacs.emotion.command import parse_edit
from jaxfacs.emotion.files import in_columns
from jaxfacs.emotion.frames import Frames, read
from jaxfacs.emotion.person import Person
from jaxfacs.errors import UserError
from jaxfacs.evaluate import metrics
from jaxfacs.evaluate import thresholds as tuning


def person(
    frames: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    labels: Path | None = None,
    out: Path,
    start: Path | None = None,
    name: str = "",
    threshold_for: str = "f1",
    face_id: str | None = None,
    edits: tuple[str, ...] = (),
) -> None:
    """Fit a person's thresholds to labels of that person; note edits of the emotion table.

    Writes a profile that `jaxfacs predict` takes with --person. What the profile of --start holds
    besides (the rest that `jaxfacs emotions neutral` found) is kept. AUs with fewer than 5 present
    labels, or without an absent one, keep the model's threshold.

    Args:
      frames: the table of `jaxfacs predict` of this person, made with the same baseline and
        smoothing that the profile will be used with.
      labels: a table with a row a frame and the person's true AUs (AU12_c, AU12_r, AU12 or 12),
        matched by its column frame; without it only --edits are noted.
      out: the JSON to write.
      start: a profile to go on from; without it a new one, with a rest of 0.
      name: who it is; without it, that of --start or the table's name.
      threshold_for: f1, the best F1 of each AU, or a recall, as in recall:0.9.
      face_id: of several faces in the table, this one.
      edits: cells of the emotion table in this person, as in sadness:15=0.6 or anger:4=out; used
        with models exported with a co-occurrence table.
    """
    recall = tuning.parse_goal(threshold_for)
    if labels is None and not edits:
        raise UserError("nothing to learn: give --labels TABLE, or --edits EMOTION:AU=SHARE")
    profile = profiles.load(start) if start is not None else Person("", {}, {}, 0, "no rest")
    own = {emotion: dict(cells) for emotion, cells in profile.emotions.items()}
    for text in edits:
        emotion, au, share = parse_edit(text)
        if share == "fitted":
            own.get(emotion, {}).pop(au, None)
        else:
            own.setdefault(emotion, {})[au] = None if share == "out" else float(share)
    thresholds = dict(profile.thresholds)
    if labels is not None:
        thresholds |= _fitted(_of_face(frames, face_id), frames, labels, recall)
    made = Person(
        name or profile.name or frames.stem,
        profile.probability,
        profile.intensity,
        profile.frames,
        profile.source,
        thresholds,
        {emotion: cells for emotion, cells in own.items() if cells},
    )
    profiles.save(made, out)
    noted = sum(map(len, made.emotions.values()))
    print(f"{made.name}: {len(made.thresholds)} thresholds, {noted} edits of emotions -> {out}")


def _fitted(told: Frames, path: Path, labels: Path, recall: float | None) -> dict[str, float]:
    """AU -> threshold, where labels suffice; prints what they change."""
    truth = read(labels, evidence="occurrence")
    aus = tuple(au for au in told.aus if au in truth.aus)
    if not aus:
        raise UserError(f"{labels} has no AU of {path}: {' '.join(told.aus)}")
    row_of = {frame: n for n, frame in enumerate(truth.frame_N.tolist())}
    if len(row_of) < len(truth):
        raise UserError(f"{labels} has a frame twice; give the labels of one person alone")
    rows = np.array([row_of.get(frame, -1) for frame in told.frame_N.tolist()])
    if (rows < 0).all():
        raise UserError(f"no frame of {path} is in {labels}; their columns frame must agree")
    known_NA = truth.probability_NA[rows][:, [truth.aus.index(au) for au in aus]]
    p_NA = told.probability_NA[:, [told.aus.index(au) for au in aus]]
    unknown_NA = (rows < 0)[:, None] | np.isnan(known_NA) | np.isnan(p_NA)
    truth_NA = np.where(unknown_NA, -1, np.nan_to_num(known_NA)).astype(int)
    p_NA = np.nan_to_num(p_NA)
    tuned_A = tuning.tune(truth_NA, p_NA, recall=recall)
    enough_A = tuning.enough_labels(truth_NA)
    before_A = metrics.f1(truth_NA, p_NA)
    after_A = metrics.f1(truth_NA, p_NA, threshold=tuned_A)
    shown = [
        (au, int((truth_NA[:, a] == 1).sum()), float(tuned_A[a]), float(before_A[a]), float(f1))
        for a, (au, f1) in enumerate(zip(aus, after_A, strict=True))
        if enough_A[a]
    ]
    if not shown:
        raise UserError(
            f"{labels} has no AU with {tuning.MIN_POSITIVES} present labels and an absent one in "
            f"the frames of {path}"
        )
    print(in_columns(("AU", "present", "threshold", "F1 at 0.5", "F1 on these frames"), shown))
    return {au: round(threshold, profiles.DIGITS) for au, _, threshold, _, _ in shown}


def _of_face(path: Path, face_id: str | None) -> Frames:
    told = read(path)
    return told.take(profiles.rows_of_face(told, path, face_id))
