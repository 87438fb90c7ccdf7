"""`jaxfacs export`: what `jaxfacs train` left -> one file that `jaxfacs predict` reads."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxfacs.convert.precision import Precision
from jaxfacs.errors import UserError
from jaxfacs.train.command import parse_step


def export(
    workdir: Path,
    out: Path,
    *,
    step: str = "",
    emotions: str = "auto",
    precision: Precision = "float32",
    source: tuple[str, ...] = (),
    adaptable: bool = True,
    mirrored: bool = False,
    confidence_threshold: float | None = None,
) -> int:
    """Write a trained checkpoint as one file for inference.

    The file holds the network for any batch size and, where the network allows, clips of any
    length, on CPU, CUDA and TPU; the calibration and the thresholds that `jaxfacs evaluate` found
    on the validation split; how faces were cut; the mapping from AUs to emotions; a model card;
    and where it all came from. `jaxfacs inspect OUT` shows it.

    Args:
      workdir: what `jaxfacs train` wrote into
      out: the file to write, by custom *.jaxfacs
      step: a step, "best" or "latest"; by default the best if there is one, else the latest
      emotions: auto (the network's own emotions, else the rules of the FACS manual); none; a rule
        table (facs_manual, emfacs, …); or a .json file that `jaxfacs emotions fit` wrote
      precision: float32; bfloat16 (half the bytes, computes in bfloat16: for accelerators); int8 (a
        quarter of the bytes, computes in float32). What the last two change is measured on
        validation clips against float32, printed, and kept in the file
      source: where the records lie on which that is measured, if not where they were in training;
        without any it is measured on random frames
      adaptable: put in what `jaxfacs adapt --statistics` needs, where the network has statistics
      mirrored: answer the mean over each face and its mirror image, left and right changed back:
        steadier, at twice the work
      confidence_threshold: answers of less confidence are flagged, for networks that answer one; 0
        to 1, two decimals
    """
    chosen = parse_step(step)
    if confidence_threshold is not None and not 0 <= confidence_threshold <= 1:
        raise UserError(f"--confidence-threshold is {confidence_threshold:g}; give 0 to 1")
    if out.is_dir():
        raise UserError(f"{out} is a folder; give --out a file name, as in model.jaxfacs")
    mapper = _mapper(emotions)

    from jaxfacs.convert.model_card import read_reports
    from jaxfacs.infer import bundle, bundle_text
    from jaxfacs.train.evaluate_run import reading
    from jaxfacs.train.trained import load_for_inference

    trained = load_for_inference(workdir, step=chosen)
    if source:
        trained = dataclasses.replace(trained, experiment=reading(trained, source))
    path = export_trained(
        trained,
        out,
        emotion_mapper=mapper,
        own_emotions=emotions == "auto",
        precision=precision,
        reports=read_reports(workdir, trained.step),
        adaptable=adaptable,
        mirrored=mirrored,
        confidence_threshold=confidence_threshold,
    )
    made = bundle.read(path)
    for line in bundle_text.precision_lines(made.manifest["precision"]):
        print(line)
    tuned = "tuned on validation" if trained.thresholds else "all 0.5: run jaxfacs evaluate first"
    told = f"thresholds {tuned}" if trained.aus else "no AUs"
    length = "any length" if made.time == bundle.ANY else f"{made.time} frames"
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    print(f"step {trained.step} -> {path} ({size}, {precision}, clips of {length}; {told})")
    return 0


def export_trained(
    trained: Any,
    out: Path,
    *,
    emotion_mapper: dict[str, Any] | None,
    own_emotions: bool = True,
    precision: Precision = "float32",
    reports: Mapping[str, Any] | None = None,
    adaptable: bool = False,
    mirrored: bool = False,
    confidence_threshold: float | None = None,
) -> Path:
    """Writes the bundle of a `train.trained.Trained`; returns its path.

    Args:
      trained: the network as it was trained.
      out: the file.
      emotion_mapper: JSON of an emotion mapper, used where the network gives no emotions.
      own_emotions: whether the network's own emotions, if it has them, are used.
      precision: of the weights and the computation.
      reports: what `jaxfacs evaluate` measured, for the model card.
      adaptable: puts in what `jaxfacs adapt --statistics` needs.
      mirrored: whether it answers the mean over a face and its mirror image.
      confidence_threshold: answers of less confidence are flagged; see `infer.bundle.Bundle`.
    """
    import jax
    import jax.numpy as jnp

    from jaxfacs.convert import model_card
    from jaxfacs.convert import precision as precisions
    from jaxfacs.convert.export import flat, write_bundle
    from jaxfacs.convert.statistics import statistics_of
    from jaxfacs.infer.bundle import InputSpec

    experiment = trained.experiment
    config, data = experiment.model, experiment.data
    keep_emotion = own_emotions and config.emotion
    weights = flat(params=trained.params, stats=trained.stats)
    stored = precisions.stored(weights, precision)
    function = function_of(trained, precision, keep_emotion=keep_emotion)
    if mirrored:
        function = over_mirror_images(function, trained.aus)
    shape = jax.ShapeDtypeStruct((1, data.frames, data.size, data.size, 3), jnp.uint8)
    outputs = jax.eval_shape(function, stored, shape)
    crop = dict(trained.manifest["data"]["crop"])
    if data.augment.crop < 1:
        crop["share"] = data.augment.crop
    about = _about(trained, weights) | ({"mirrored": True} if mirrored else {})
    learned = model_card.learned_from(experiment, trained.manifest)
    card = model_card.card(
        about=about, answers=tuple(sorted(outputs)), sets=learned, reports=reports or {}
    )
    measured = {}
    if precision != "float32":
        from jaxfacs.convert.compare import measure

        plain = jax.jit(function_of(trained, "float32", keep_emotion=keep_emotion))
        runs = (functools.partial(plain, weights), functools.partial(jax.jit(function), stored))
        measured["against_float32"] = {
            "weight_bytes": {"float32": _bytes(weights), "stored": _bytes(stored)},
            **measure(trained, *runs),
        }
    return write_bundle(
        out,
        function=function,
        weights=stored,
        input=InputSpec(
            frames=data.frames,
            size=data.size,
            stride=data.stride,
            fps=_record_fps(experiment, trained.manifest),
            answers=_answered_frames(data.frames, outputs["probability"].shape),
        ),
        aus=trained.aus,
        any_time=data.frames > 1,
        # bfloat16 has 8 bits: two ways of fusing the same sums differ in the third digit.
        tolerance=3e-2 if precision == "bfloat16" else 1e-4,
        emotions=trained.emotions if keep_emotion else (),
        thresholds=trained.thresholds,
        calibration=trained.calibration,
        crop=crop,
        emotion_mapper=None if keep_emotion or not trained.aus else emotion_mapper,
        about=about,
        precision={"name": precision, **measured},
        card=card,
        statistics=statistics_of(trained, precision) if adaptable else None,
        confidence_threshold=confidence_threshold,
    )


def function_of(trained: Any, precision: Precision, *, keep_emotion: bool) -> Callable[..., Any]:
    """(stored weights, uint8 clips) -> outputs of a bundle, computed in that precision."""
    import jax
    import jax.numpy as jnp

    from jaxfacs import models
    from jaxfacs.convert import precision as precisions
    from jaxfacs.convert.export import nested

    config = trained.experiment.model
    scaling = models.normalisation(config.normalisation, model=config.name)
    dtype = "bfloat16" if precision == "bfloat16" else "float32"
    graphdef = network_form(trained, dtype=dtype)

    def function(weights: dict[str, jax.Array], frames_BTHWC: jax.Array) -> dict[str, jax.Array]:
        tree = nested(precisions.restored(weights))
        mean_3, std_3 = (jnp.asarray(v) for v in scaling)
        x_BTHWC = (frames_BTHWC.astype(jnp.float32) - mean_3) / std_3
        raw, _ = models.apply(graphdef, tree["params"], tree.get("stats", {}), x_BTHWC, train=False)
        return _answers(raw, keep_emotion=keep_emotion)

    return function


def over_mirror_images(function: Callable[..., Any], aus: tuple[str, ...]) -> Callable[..., Any]:
    """The function's mean over clips and their mirror images, whose labels change sides.

    Raises UserError where a label's other side is not among the answers.
    """
    import jax.numpy as jnp

    from jaxfacs.facs import swap_sides

    other = [swap_sides(au) for au in aus]
    if missing := sorted(set(other) - set(aus)):
        raise UserError(
            f"a mirrored face shows AU {missing[0]}, which this network does not answer; export "
            "without --mirrored"
        )
    swapped_A = np.array([aus.index(au) for au in other], int)

    def mean(weights: dict[str, Any], frames_BTHWC: Any) -> dict[str, Any]:
        both = jnp.concatenate([frames_BTHWC, frames_BTHWC[..., ::-1, :]])
        answers = {}
        for name, value in function(weights, both).items():
            seen, mirror = jnp.split(value, 2)
            sided = name in ("probability", "intensity")
            answers[name] = (seen + (mirror[..., swapped_A] if sided else mirror)) / 2
        return answers

    return mean


def _about(trained: Any, weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Where a network comes from, without paths of this machine."""
    import jax

    from jaxfacs import __version__, models

    experiment, data = trained.experiment, trained.experiment.data
    card = models.card(experiment.model.name)
    public = dataclasses.replace(
        experiment,
        data=dataclasses.replace(
            data,
            source=Path(data.source).name,
            mixture=tuple(
                dataclasses.replace(part, source=Path(part.source).name) for part in data.mixture
            ),
        ),
        init=dataclasses.replace(experiment.init, source=Path(experiment.init.source).name),
    )
    about = {
        "model": experiment.model.name,
        "parameters": int(sum(np.size(w) for n, w in weights.items() if n.startswith("params"))),
        "paper": card.paper,
        "source": card.source,
        "licence": trained.manifest.get("converted", {}).get("licence", card.licence),
        "step": trained.step,
        "validation": trained.metrics,
        "thresholds": "tuned on validation" if trained.thresholds else "0.5, not tuned",
        "data": _sources(trained.manifest["data"]),
        "emotions": list(trained.emotions),
        "experiment": dataclasses.asdict(public),
        "checkpoint_sha256": trained.manifest["sha256"],
        "jaxfacs": __version__,
        "jax": jax.__version__,
    }
    for origin in ("converted", "started_from"):  # whose weights they were, and their licence
        if origin in trained.manifest:
            about[origin] = trained.manifest[origin]
    return about


def network_form(trained: Any, *, dtype: str = "") -> Any:
    """The NNX graph of a trained network, traced without allocating or initialising it.

    Args:
      trained: as above.
      dtype: of the computation; "": as in training.
    """
    import jax

    from jaxfacs import models
    from jaxfacs.train.state import create_module

    forms = []

    def trace() -> None:
        module = create_module(
            trained.experiment.model,
            aus=trained.aus,
            num_emotions=len(trained.emotions),
            dtype=dtype or trained.experiment.dtype,
            seed=0,
        )
        forms.append(models.split(module)[0])

    jax.eval_shape(trace)
    return forms[0]


def _answers(raw: dict[str, Any], *, keep_emotion: bool) -> dict[str, Any]:
    """The network's outputs as a bundle's: probabilities instead of logits, float32.

    One answer a frame, where a clip is one frame, is one answer a clip.
    """
    import jax
    import jax.numpy as jnp

    float32 = {name: value.astype(jnp.float32) for name, value in raw.items()}
    answers: dict[str, Any] = {}
    if "probability" in float32:
        answers["probability"] = float32["probability"]
    elif "occurrence" in float32:
        answers["probability"] = jax.nn.sigmoid(float32["occurrence"])
    for name in ("intensity", "valence_arousal"):
        if name in float32:
            answers[name] = float32[name]
    if "confidence" in float32:
        answers["confidence"] = jax.nn.sigmoid(float32["confidence"])
    if "emotion" in float32 and keep_emotion:
        answers["emotion"] = jax.nn.softmax(float32["emotion"])
    if not answers:
        raise UserError(
            f"of what this network answers ({', '.join(sorted(raw))}) nothing is left to export; "
            "give --emotions auto to keep its emotions"
        )
    if "probability" not in answers:  # a network without AUs
        each = answers.get("valence_arousal", answers.get("emotion"))
        answers["probability"] = jnp.zeros((*each.shape[:-1], 0))
    return {
        name: jnp.squeeze(value, 1) if value.ndim == 3 and value.shape[1] == 1 else value
        for name, value in answers.items()
    }


def _bytes(weights: Mapping[str, np.ndarray]) -> int:
    return sum(array.nbytes for array in weights.values())


def _answered_frames(frames: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Which frames of a clip the answers are about, as `train.labels.labels_for` chose labels."""
    if len(shape) == 2:
        return (frames // 2,)
    length = shape[1]
    return tuple((2 * i + 1) * frames // (2 * length) for i in range(length))


def _sources(data: dict[str, Any]) -> dict[str, Any]:
    """Which records a network was trained on: a name and a digest, and of several those of each."""
    parts = data.get("parts", ())
    return {k: data[k] for k in ("name", "digest")} | ({"parts": parts} if len(parts) > 1 else {})


def _record_fps(experiment: Any, manifest: dict[str, Any]) -> float | None:
    """Frames a second of the records, by each set's first clip; None if they differ or are gone."""
    from jaxfacs.data.mixture import open_data

    config, rates = experiment.data, set()
    try:
        data = open_data(config)
        if data.digest != manifest["data"]["digest"]:
            return None
        for member in data.members(config.train_split):
            steps = np.diff(member.records.clip(member.split, 0).timestamps_T)
            if len(steps) and np.median(steps) > 0:
                rates.add(round(float(1 / np.median(steps)), 3))
    except (UserError, OSError):
        return None
    return rates.pop() if len(rates) == 1 else None


def _mapper(name: str) -> dict[str, Any] | None:
    if name == "none":
        return None
    from jaxfacs import emotion

    if name.endswith(".json"):
        mapper = emotion.load(name)
        if isinstance(mapper, emotion.RecurrentMapper):
            raise UserError(
                f"{name} remembers earlier frames, which a bundle does not keep for it; export "
                "another, and use this one with jaxfacs emotions apply"
            )
        return mapper.to_json()
    return emotion.RuleMapper("facs_manual" if name == "auto" else name).to_json()
