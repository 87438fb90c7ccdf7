"""`jaxfacs data build NAME` for every data set that its owner delivers as a folder."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxfacs import __version__
from jaxfacs.data import assemble, cards, known_counts, splits, writer
from jaxfacs.data.cutting import CutSettings, Cutter
from jaxfacs.data.delivery import Builder, Delivery, Recording
from jaxfacs.data.parallel import cores
from jaxfacs.errors import UserError
from jaxfacs.faces.prepare import FaceSteps


@dataclass(frozen=True)
class BuildOptions:
    """What can be chosen for every data set.

    Attributes:
      source: the folder as its owners delivered it (archives unpacked).
      out: new folder for the records.
      faces: how a face is cut out: a preset (haar, me-graphau, scc, fmae-iat, openface, bocklisch,
        whole) or words, such as: landmarks eyes-mouth ellipse. Empty: as this set is usually used.
      size: side of the stored crops in pixels; 0: what the preparation says.
      frames: frames of the longest clip; 0: what suits the set. 1: every frame by itself.
      flow: store optical flow as well (five fields before and five after each frame).
      validation: share of the training people that become the validation split, where the protocol
        has none; 0: none.
      test: share of the people for the test split, where the protocol names none.
      seed: another seed deals the people out differently.
      quality: of the JPEGs, 1-100.
      may_lack: build even where more than a fifth of the named pictures are missing.
      limit: only the first so many recordings of each split, to try things out; 0: all.
      shard_mb: size of a shard file in MB that is aimed at.
      workers: processes; 0: one for each core.
      beam: build through Apache Beam (pip install apache-beam, in an environment of its own).
      beam_options: of Beam, without their dashes: runner=FlinkRunner flink_master=HOST:8081. SOURCE
        and OUT must then be folders that all workers see. Empty: its direct runner, here.
    """

    source: Path
    out: Path
    faces: tuple[str, ...] = ()
    size: int = 0
    frames: int = 0
    flow: bool = False
    validation: float = 0.15
    test: float = 0.15
    seed: int = 0
    quality: int = 95
    may_lack: bool = False
    limit: int = 0
    shard_mb: int = writer.SHARD_BYTES >> 20
    workers: int = 0
    beam: bool = False
    beam_options: tuple[str, ...] = ()


def build(builder: Builder, options: BuildOptions, own: Any) -> None:
    """Reads a delivery and builds its records; a build that was stopped goes on.

    Args:
      builder: of the set.
      options: see `BuildOptions`.
      own: the builder's own options, an instance of `builder.options`.

    Raises:
      UserError: the folder is not this set, a label file is damaged (file and row named), too many
        pictures are missing, OUT is not empty, or the disk is full.
    """
    _check(options)
    source = options.source.resolve()
    _steps(builder, options)  # a mistake in --faces is told before labels are read
    if not source.is_dir():
        raise UserError(f"--source {source} is not a folder")
    delivery = builder.read(source, own)
    steps = _steps(builder, options, delivery.faces)
    source = delivery.root or source
    _check_delivery(delivery, builder)
    landmarks = [r.landmarks_TK2 for r in delivery.recordings]
    steps.require_given(
        boxes=any(r.box_T4 is not None for r in delivery.recordings),
        points=sorted({points.shape[1] for points in landmarks if points is not None}),
    )
    split_of = split_recordings(delivery.recordings, options)
    delivery = _limited(delivery, split_of, options.limit)
    assemble.require_pictures(source, delivery, may_lack=options.may_lack or builder.may_lack)
    cutter = Cutter.of(
        source,
        CutSettings(steps, options.frames or builder.frames, options.quality, options.flow),
        delivery,
    )
    info = _info(builder, options, own, delivery, cutter)
    shards = assemble.plan(
        split_of,
        delivery.recordings,
        frame_bytes=assemble.frame_bytes(delivery.recordings, cutter),
        shard_bytes=options.shard_mb << 20,
    )
    inputs = assemble.digest_of_inputs(source, delivery)
    mark = assemble.fingerprint(shards, info, inputs, repr(cutter.settings))
    with assemble.claimed(options.out, mark) as folder:
        if options.beam:
            from jaxfacs.data import beam

            beam.build_shards(folder, shards, info, cutter, options=options.beam_options)
        else:
            workers = min(options.workers or cores(), len(delivery.recordings))
            assemble.build_shards(folder, shards, info, cutter, workers=workers)
        parts, made = assemble.collect(folder, shards, info)
        made.left_out = [*delivery.left_out, *made.left_out]
        if not any(part.rows for split in parts.values() for part in split):
            raise UserError(f"no frame could be used: {assemble.summary(made.left_out)}")
        assemble.write_left_out(folder / "skipped.csv", made.left_out)
        labels = writer.finish(
            folder,
            info,
            parts,
            more={
                "overlaps": list(builder.overlaps),
                "inputs_sha256": inputs,
                **made.statistics,
                "left_out": dict(Counter(row.reason.split(":")[0] for row in made.left_out)),
                "notes": list(delivery.notes),
            },
        )
        compared = known_counts.compare(builder.known, folder, labels, own)
        cards.write(folder, builder, labels, compared)
    _tell(options.out, labels, made, compared)


def split_recordings(recordings: Sequence[Recording], options: BuildOptions) -> dict[str, str]:
    """recording -> split: the protocol's, with a validation split out of its training people.

    Recordings of people whom nobody knows (subject "") are dealt out one by one.
    """
    given = {r.name: r.split for r in recordings if r.split is not None}
    if given and len(given) < len(recordings):
        raise ValueError("a builder gives a split to all recordings or to none")
    who = {r.name: r.subject or f"\0{r.name}" for r in recordings}
    weights: Counter = Counter()
    for recording in recordings:
        if given.get(recording.name, "train") == "train":
            weights[who[recording.name]] += len(recording.frames)
    test = 0.0 if given else options.test
    validation = 0.0 if "validation" in given.values() else options.validation
    few = sum(share > 0 for share in (validation, test)) + 1
    if given and len(weights) < few:  # one person cannot be in two splits
        validation = 0.0
    dealt = (
        splits.by_subject(weights, validation=validation, test=test, seed=options.seed)
        if validation or test
        else dict.fromkeys(weights, "train")
    )
    return {
        r.name: dealt[who[r.name]] if given.get(r.name, "train") == "train" else given[r.name]
        for r in recordings
    }  # type: ignore[return-value]


def _steps(builder: Builder, options: BuildOptions, found: Sequence[str] = ()) -> FaceSteps:
    """How faces are prepared: as the person says, as suits what was found, as the set is used."""
    words = options.faces or found or builder.faces
    steps = FaceSteps.parse(words, size=options.size or (0 if options.faces else builder.size))
    steps.require()
    return steps


def _check(options: BuildOptions) -> None:
    if options.frames < 0 or options.limit < 0 or options.shard_mb < 1:
        raise UserError("--frames and --limit must not be negative, --shard-mb at least 1")
    if not 1 <= options.quality <= 100:
        raise UserError(f"--quality {options.quality} is not between 1 and 100")


def _check_delivery(delivery: Delivery, builder: Builder) -> None:
    if not delivery.recordings:
        raise UserError(
            f"nothing of {builder.title} was found there; it should hold {builder.layout}"
        )
    names = Counter(recording.name for recording in delivery.recordings)
    name, count = names.most_common(1)[0]
    if count > 1:
        raise ValueError(f"{builder.name}: {count} recordings are called {name}")
    for recording in delivery.recordings:
        _check_recording(recording, delivery)


def _check_recording(recording: Recording, delivery: Delivery) -> None:
    """Raises ValueError where the arrays of a recording do not fit: a builder's mistake."""
    frames, aus = len(recording.frames), len(delivery.aus)
    shapes = {
        "occurrence_TA": (frames, aus),
        "intensity_TA": (frames, aus),
        "phase_TA": (frames, aus),
        "place_T": (frames,),
        "emotion_T": (frames,),
        "valence_arousal_T2": (frames, 2),
        "attributes_TK": (frames, len(delivery.attributes)),
        "box_T4": (frames, 4),
    }
    for name, shape in shapes.items():
        array = getattr(recording, name)
        if array is not None and array.shape != shape:
            raise ValueError(f"{recording.name}: {name} is {array.shape}, expected {shape}")
    place_T = recording.place_T
    if place_T is not None and not recording.stills and (np.diff(place_T) <= 0).any():
        raise ValueError(f"{recording.name}: place_T must ascend")


def _limited(delivery: Delivery, split_of: Mapping[str, str], limit: int) -> Delivery:
    if not limit:
        return delivery
    taken: Counter = Counter()
    kept = []
    for recording in delivery.recordings:
        taken[split_of[recording.name]] += 1
        if taken[split_of[recording.name]] <= limit:
            kept.append(recording)
    return dataclasses.replace(delivery, recordings=kept)


def _info(
    builder: Builder, options: BuildOptions, own: Any, delivery: Delivery, cutter: Cutter
) -> writer.SetInfo:
    steps = cutter.settings.steps
    return writer.SetInfo(
        name=delivery.name or builder.name,
        aus=delivery.aus,
        emotions=delivery.emotions,
        attributes=delivery.attributes,
        phases=cutter.phases,
        flow=options.flow,
        people=builder.people,
        size=steps.size,
        crop=steps.card,
        settings={
            **{key: _plain(value) for key, value in dataclasses.asdict(own).items()},
            "frames": cutter.settings.frames,
            "quality": options.quality,
            "validation": options.validation,
            "test": options.test,
            "seed": options.seed,
            "limit": options.limit,
            "jaxfacs": __version__,
        },
        description=f"{builder.title}: {builder.task}. Labels: {builder.labels}.",
        licence=delivery.licence or builder.licence,
        citation=builder.citation,
    )


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _tell(
    out: Path, labels: Mapping[str, Any], made: assemble.Made, compared: Sequence[str]
) -> None:
    for split, content in labels["splits"].items():
        people = [s for s in content["subjects"] if s]
        lost = content["frames"] - content["frames_with_found_face"]
        print(
            f"{split}: {content['clips']} clips, {content['frames']} frames"
            + (f", {len(people)} subject{'s' * (len(people) != 1)}" if people else "")
            + (f"; no face found in {lost}, kept and flagged" if lost else "")
        )
    if made.left_out:
        print(f"left out: {assemble.summary(made.left_out)}; listed in {out / 'skipped.csv'}")
    for line in (*labels["notes"], *compared):
        print(line)
    work = sum(made.seconds.values())
    if work > 0:
        shares = ", ".join(
            f"{k} {v / work:.0%}"
            for k, v in sorted(made.seconds.items(), key=lambda item: -item[1])
        )
        print(f"{made.frames / work:.0f} frames a second a core: {shares}")
    print(f"{out}: wrote {labels['name']}; its card is {out / 'dataset_card.md'}")
