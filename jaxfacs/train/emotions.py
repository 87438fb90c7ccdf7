"""`jaxfacs emotions fit`, `evaluate` and `compare`: mappers from labels, measured on labels."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from jaxfacs.data.pipeline import unsided
from jaxfacs.data.projection import Projection
from jaxfacs.data.records import open_set
from jaxfacs.emotion import cooccurrence, learned
from jaxfacs.emotion import frames as frames_module
from jaxfacs.emotion.command import load_table
from jaxfacs.emotion.cooccurrence import CooccurrenceMapper
from jaxfacs.emotion.files import PUBLISHED, named, save
from jaxfacs.emotion.frames import Evidence, Frames, map_frames
from jaxfacs.emotion.person import load as load_person
from jaxfacs.emotion.person import without_rest
from jaxfacs.emotion.reading import Evidence as AUEvidence
from jaxfacs.emotion.reading import Mapper
from jaxfacs.errors import UserError
from jaxfacs.facs import PROTOTYPES, split_label
from jaxfacs.train import emotion_report
from jaxfacs.train.emotion_report import Measured, measured

Kind = Literal["cooccurrence", "logistic", "naive_bayes", "svm", "mlp", "emotiram", "lstm"]
KINDS: tuple[Kind, ...] = (
    *("cooccurrence", "logistic", "naive_bayes", "svm"),
    *("mlp", "emotiram", "lstm"),
)
NETWORK = "network"  # in a comparison: the emotions that the file itself gives


def fit(
    source: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    out: Path,
    split: str = "train",
    emotion_column: str = "emotion",
    kind: Kind = "cooccurrence",
    threshold: float = cooccurrence.THRESHOLD,
    start: Path | None = None,
    strength: float = cooccurrence.STRENGTH,
    hidden: tuple[int, ...] = (),
    evidence: Evidence = "occurrence",
    noise: float = 0.0,
    seed: int = 0,
) -> None:
    """Fit an AU-to-emotion table, or a classifier, on labelled records or frames.

    Args:
      source: a record folder, of which each clip with an emotion counts by the frame that shows
        most AUs; or a CSV, one row a frame: AU columns in any common spelling (AU12_c, AU12_r,
        AU12, 12; empty, 9, 999 and -1 are unknown) and a column with the emotion's name.
      out: the JSON to write; correct a table with `jaxfacs emotions edit`, see it with `show`.
      split: of the record folder.
      emotion_column: of the CSV; rows where it is empty are left out.
      kind: the table; or a classifier: logistic regression, naive Bayes, a linear SVM, an MLP,
        EmotiRAM's bottleneck (at an eighth of its widths), an LSTM that reads frames in order.
      threshold: cells this near to an AU's average over emotions say nothing (a share, 0-1).
      start: a table to personalise; its edits are kept.
      strength: how many frames the prior counts for (with --start: 50-200 for one person).
      hidden: widths of the hidden layers of mlp and emotiram; of an lstm its one.
      evidence: of an AU with several columns in the CSV: occurrence, or a network's probability,
        which teaches a classifier how sure its network is.
      noise: chance that an AU's label is turned round, in place of a network that errs.
      seed: of the noise and of a classifier's start.
    """
    frames = labelled(
        source,
        split=split,
        emotion_column=emotion_column,
        evidence=evidence,
        noise=noise,
        seed=seed,
    )
    prior = load_table(start) if start else None
    if prior is not None:
        if kind != "cooccurrence":
            raise UserError("--start is a table to personalise; a classifier is fitted anew")
        strangers = sorted({name for name in frames.names if name} - {*prior.emotions})
        if strangers:
            raise UserError(f"{source}: {', '.join(strangers)} not among the emotions of {start}")
    mapper = fitted(
        frames,
        kind,
        origin=source.name,
        threshold=threshold,
        prior=prior,
        strength=strength,
        hidden=hidden,
        seed=seed,
    )
    save(mapper, out)
    found = _measure(mapper, frames, mapper.emotions)
    rows = int(found.count_EE.sum())
    aus = len(mapper.to_json()["aus"])
    print(f"{out}: {len(mapper.emotions)} emotions, {aus} AUs, {rows} of {len(frames)} rows")
    print(f"right on the rows it was fitted to: {found.accuracy:.3f}")


def evaluate(
    mapper: Annotated[str, tyro.conf.Positional],
    source: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    out: Path | None = None,
    split: str = "test",
    emotion_column: str = "emotion",
    evidence: Evidence = "probability",
    person: Path | None = None,
    noise: float = 0.0,
    seed: int = 0,
) -> None:
    """Measure a mapper on labelled records or frames: recall, precision and F1 of each emotion.

    With --out: evaluation.json, per_emotion.csv, confusion.png.

    Args:
      mapper: a JSON of `jaxfacs emotions fit`, a rule table by name, or "published".
      source: a record folder or a CSV, as in `jaxfacs emotions fit`.
      out: folder for the results.
      split: of the record folder.
      emotion_column: of the CSV; rows where it is empty are left out.
      evidence: of an AU with several columns in the CSV: probability or occurrence.
      person: a profile of `jaxfacs emotions neutral`.
      noise: chance that an AU's label is turned round, in place of a network that errs.
      seed: of the noise.
    """
    frames = labelled(
        source,
        split=split,
        emotion_column=emotion_column,
        evidence=evidence,
        noise=noise,
        seed=seed,
    )
    if person is not None:
        frames = without_rest(frames, load_person(person))
    reader = named(mapper)
    emotions = tuple(sorted({name for name in frames.names if name}))
    found = _measure(reader, frames, emotions)
    if not found.shared:
        raise UserError(
            f"{mapper} knows {', '.join(reader.emotions)}; {source} has {', '.join(emotions)}"
        )
    print(emotion_report.per_emotion_text(found))
    if out is not None:
        emotion_report.write_one(out, found, meta={"mapper": mapper, "source": str(source)})
        print(out / "evaluation.json")


def compare(
    source: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    out: Path,
    test: Path | None = None,
    split: str = "train",
    test_split: str = "test",
    emotion_column: str = "emotion",
    evidence: Evidence = "occurrence",
    mappers: tuple[str, ...] = (),
    folds: int = 5,
    noise: float = 0.0,
    seed: int = 0,
) -> None:
    """Measure all mappers on one labelled set: fitted ones on other people than they learned from.

    Writes OUT/comparison.json, .csv and .png, and a confusion plot of each mapper. A mapper that
    has no name for an emotion of the set never calls it and is told so; ties go to the emotion that
    comes first in the alphabet.

    Args:
      source: a record folder or a CSV, as in `jaxfacs emotions fit`, to fit on. Emotions that the
        CSV itself gives as columns of their names (`jaxfacs predict` of an emotion network, as
        EmotiRAM) are measured too, as "network".
      out: folder for the results.
      test: a set to measure on. Without it, records are measured on their --test-split, and a CSV
        is cut into folds of whole people (column subject), or of whole faces and films.
      split, test_split: of a record folder.
      emotion_column: of the CSV.
      evidence: of an AU with several columns in the CSV: occurrence or probability.
      mappers: only these: names of rule tables, "published", kinds of `fit`, JSON files, "network".
        Without it, all that share two emotions with the set.
      folds: into how many parts a CSV is cut.
      noise: chance that an AU's label is turned round, in place of a network that errs.
      seed: of noise, folds and classifiers.
    """
    options = {"emotion_column": emotion_column, "evidence": evidence, "noise": noise}
    whole = labelled(source, split=split, seed=seed, **options)
    if test is not None or source.is_dir():
        other = labelled(test or source, split=test_split, seed=seed + 1, **options)
        pairs = [(whole, other)]
        how = f"fitted on {source}, measured on {test or f'its split {test_split}'}"
    else:
        pairs, of_what = cut_in_folds(whole, folds, seed, source)
        how = f"{len(pairs)} folds of {source} by {of_what}"
    emotions = tuple(
        sorted({name for pair in pairs for part in pair for name in part.names} - {""})
    )
    if len(emotions) < 2:
        raise UserError(f"{source} names fewer than two emotions; nothing to tell apart")
    names = mappers or _all_mappers(emotions, pairs[0][1])
    rows = [_compared(name, pairs, emotions, seed) for name in names]
    rows = [row for row in rows if row.shared >= (2 if not mappers else 0)]
    rows.sort(key=lambda row: -row.mean_f1)
    meta = {"source": str(source), "how": how, "noise": noise, "seed": seed, "evidence": evidence}
    emotion_report.write_all(out, rows, meta=meta)
    print(emotion_report.comparison_text(rows))
    print(f"{how}; always the most frequent emotion: {rows[0].chance:.3f}" if rows else how)
    print(out / "comparison.json")


def labelled(
    source: Path,
    *,
    split: str,
    emotion_column: str,
    evidence: Evidence = "occurrence",
    noise: float = 0.0,
    seed: int = 0,
) -> Frames:
    """Frames of a record folder or a CSV with their emotions.

    Of a record set's clip the frame with most AUs carries the emotion, which is not to be seen in
    every frame; the others are there for a mapper that remembers. `noise` turns round known 0s and
    1s.
    """
    if not 0 <= noise < 0.5:
        raise UserError(f"noise {noise} is a chance from 0 to below 0.5")
    if source.is_dir():
        frames = _of_records(source, split)
    else:
        frames = frames_module.read(source, evidence=evidence, emotion_column=emotion_column)
    if not any(frames.names):
        raise UserError(f"{source} has no row with an emotion")
    if noise:
        turned = np.random.default_rng(seed).random(frames.probability_NA.shape) < noise
        frames.probability_NA[turned] = 1 - frames.probability_NA[turned]
    return frames


def fitted(
    frames: Frames,
    kind: Kind,
    *,
    origin: str,
    threshold: float = cooccurrence.THRESHOLD,
    prior: CooccurrenceMapper | None = None,
    strength: float = cooccurrence.STRENGTH,
    hidden: Sequence[int] = (),
    seed: int = 0,
) -> Mapper:
    """A mapper of one kind, fitted on the rows that have an emotion."""
    if hidden and kind not in ("mlp", "emotiram", "lstm"):
        raise UserError(f"--hidden is for mlp, emotiram and lstm; {kind} has no hidden layer")
    numbers = dict.fromkeys(str(split_label(label)[1]) for label in frames.aus)
    aus = prior.aus if prior else tuple(numbers)
    told = AUEvidence(frames.aus, frames.probability_NA, None)
    values_NA = np.stack([told.present(au) for au in aus], axis=1)
    emotions = prior.emotions if prior else tuple(sorted({name for name in frames.names if name}))
    index = {name: e for e, name in enumerate(emotions)}
    emotion_N = np.array([index.get(name, -1) for name in frames.names])
    if kind == "cooccurrence":
        occurrence_NA = np.where(np.isnan(values_NA), -1, values_NA >= 0.5).astype(np.int8)
        return cooccurrence.fit(
            occurrence_NA,
            emotion_N,
            aus=aus,
            emotions=emotions,
            start=prior,
            strength=strength,
            threshold=threshold,
            source=origin,
        )
    lists = {"aus": aus, "emotions": emotions}
    if kind in learned.KINDS:
        return learned.fit(values_NA, emotion_N, trained_as=kind, seed=seed, **lists)
    from jaxfacs.train import emotion_networks  # loads JAX, which a table does not need

    return emotion_networks.fit(
        values_NA,
        emotion_N,
        trained_as=kind,
        sequences=frames.sequences(),
        hidden=hidden,
        seed=seed,
        **lists,
    )


def _of_records(source: Path, split: str) -> Frames:
    records = open_set(source)
    index = records.index(split)
    whole = unsided(records.aus)
    aus = tuple(dict.fromkeys((*whole, *records.aus)))
    projection = Projection.between(records.aus, aus)
    occurrence_FA = projection.occurrence(index["occurrence_FA"])
    length_N = index["length_N"]
    clip_F = np.repeat(np.arange(len(length_N)), length_N)
    present_F = (occurrence_FA[:, : len(whole)] == 1).sum(axis=1)
    names = [""] * len(clip_F)
    starts = np.cumsum(length_N) - length_N
    for n, (start, length) in enumerate(zip(starts, length_N, strict=True)):
        emotion = index["emotion_N"][n]
        if emotion >= 0:
            apex = start + int(present_F[start : start + length].argmax())
            names[apex] = records.emotions[emotion]
    subjects = records.subject_names
    return Frames(
        aus,
        np.where(occurrence_FA < 0, np.nan, occurrence_FA),
        np.full(occurrence_FA.shape, np.nan),
        np.arange(len(clip_F)) - starts[clip_F],
        np.full(len(clip_F), np.nan),
        np.full(len(clip_F), "0"),
        clip_F,
        tuple(str(subjects[s]) for s in index["subject_N"][clip_F]),
        tuple(names),
    )


def cut_in_folds(
    frames: Frames, folds: int, seed: int, source: Path
) -> tuple[list[tuple[Frames, Frames]], str]:
    """Parts to fit and to measure on; a person, or without names a face of a film, is in one."""
    by_people = all(frames.people)
    groups = np.array(frames.people) if by_people else frames.sequence_N.astype(str)
    has_emotion = np.array([bool(name) for name in frames.names])
    known = sorted({*groups[has_emotion].tolist()})
    if folds < 2 or len(known) < folds:
        what = "people" if by_people else "faces and films"
        raise UserError(
            f"{source} has {len(known)} {what} for {folds} folds; give --test, or --folds from 2 "
            "to as many as there are"
        )
    order = np.random.default_rng(seed).permutation(len(known))
    part = {known[g]: place % folds for place, g in enumerate(order)}
    of_row = np.array([part.get(group, -1) for group in groups])
    pairs = [(frames.take(of_row != f), frames.take(of_row == f)) for f in range(folds)]
    return pairs, "person" if by_people else "face and film"


def _all_mappers(emotions: tuple[str, ...], frames: Frames) -> tuple[str, ...]:
    own = (NETWORK,) if len({*frames.own} & {*emotions}) >= 2 else ()
    return (*PROTOTYPES, PUBLISHED, *KINDS, *own)


def _compared(
    name: str, pairs: Sequence[tuple[Frames, Frames]], emotions: tuple[str, ...], seed: int
) -> Measured:
    """One mapper on all parts, fitted to each if it is of a kind that is fitted."""
    began, parts = time.perf_counter(), []
    for train, other in pairs:
        if name == NETWORK:
            parts.append(_measure_own(other, emotions))
            continue
        mapper = fitted(train, name, origin=name, seed=seed) if name in KINDS else named(name)
        parts.append(_measure(mapper, other, emotions))
    return Measured.joined(name, parts, seconds=time.perf_counter() - began)


def _measure(mapper: Mapper, frames: Frames, emotions: tuple[str, ...]) -> Measured:
    labelled_N = np.array([name in emotions for name in frames.names])
    if getattr(mapper, "kind", "") != "recurrent":
        frames, labelled_N = frames.take(labelled_N), np.ones(int(labelled_N.sum()), bool)
    probability_NE = map_frames(mapper, frames).probability_TE
    truth = [name for name, use in zip(frames.names, labelled_N, strict=True) if use]
    return measured("", probability_NE[labelled_N], mapper.emotions, truth, emotions)


def _measure_own(frames: Frames, emotions: tuple[str, ...]) -> Measured:
    if not frames.own:
        raise UserError("the file gives no emotions of a network; leave network out of --mappers")
    labelled_N = np.array([bool(name) for name in frames.names])
    scores = np.stack([frames.own[name] for name in frames.own], axis=1)[labelled_N]
    truth = [name for name in frames.names if name]
    return measured("", scores, tuple(frames.own), truth, emotions)
