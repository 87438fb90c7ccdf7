"""What an experiment is: frozen dataclasses, their checks, and their way to JSON and back.

A config file is Python with `get_config() -> Experiment` and `smoke() -> Experiment` (the same
thing, shrunk until it runs in seconds). A new experiment is a `dataclasses.replace` of an old one.
Both may take keywords with defaults, for what differs between runs of one paper: a fold, a stage.
"""

import dataclasses
import inspect
import json
import re
import runpy
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jaxfacs.data.config import DataConfig
from jaxfacs.errors import UserError
from jaxfacs.train.named_options import Option, split


@dataclass(frozen=True)
class ModelConfig:
    """Which network, and what it answers."""

    name: str = "mobilenet3d_v2"
    """a name of `jaxfacs.models.names()`"""
    module: str = ""
    """a Python module to import first: your own, which registers your own network"""
    backbone: str = ""
    """of a system that takes several (me_graphau, scc): a name of `models.backbone_names()`"""
    head: str = ""
    """what answers from a backbone's features; "": the network's own (see docs/models.md)"""
    normalisation: str = ""
    """how pixels are scaled, a name of `models.NORMALISATIONS`; "": as the network's card says"""
    width: float = 1.0
    """multiplier of the channel counts, where a network has one"""
    dropout: float = 0.2
    """probability of zeroing a feature before the last layer"""
    per_frame: bool = False
    """one answer per frame instead of one per clip"""
    occurrence: bool = True
    """predict AUs; false: a network of emotions or affect alone, whatever AUs the records have"""
    intensity: bool = False
    """also predict intensities 0-5"""
    emotion: bool = False
    """also predict the emotion, over the record set's list"""
    valence_arousal: bool = False
    """also predict valence and arousal, each in [-1, 1]"""
    landmarks: bool = False
    """also predict 68 landmarks, which may teach a network where things are; not exported"""
    confidence: bool = False
    """also predict how far its own answers about a face will turn out right"""
    options: dict[str, Option] = field(default_factory=dict)
    """options that this network alone has"""


@dataclass(frozen=True)
class LossConfig:
    """What is minimised: one term per output, each divided by its own weight, then summed.

    A term whose scale is 0 is not computed at all.
    """

    occurrence: Literal["bce", "focal", "weighted_asymmetric", "bp_mll"] = "bce"
    occurrence_scale: float = 1.0
    label_weights: Literal["none", "positive", "inverse_rate"] = "positive"
    """from the training split: `positive` weighs an AU's present frames by absent / present (the
    positive weight of BCE); `inverse_rate` weighs the whole AU by its inverse rate, mean 1
    (ME-GraphAU)"""
    max_label_weight: float = 20.0
    """bound of those weights, and its inverse: one frame of a rare AU must not rule a batch"""
    focal_gamma: float = 2.0
    intensity: Literal["mse", "ccc"] = "mse"
    intensity_scale: float = 1.0
    """of the intensity, whichever way it is answered: a number, or ordered thresholds"""
    emotion_scale: float = 1.0
    emotion_smoothing: float = 0.0
    valence_arousal: Literal["mse", "ccc"] = "ccc"
    valence_arousal_scale: float = 1.0
    landmarks_scale: float = 1.0
    """of the mean squared distance, in half sides of the frame"""
    confidence_scale: float = 0.1
    edge_scale: float = 0.05
    """of the classes of AU pairs, where a network answers them (ME-GraphAU's lambda)"""
    heatmap_scale: float = 1.0
    heatmap_sigma: float = 2.0
    """of the Gaussians of the target heatmaps, in cells of the map (SCC)"""
    cooccurrence_scale: float = 0.0
    """of the penalty on AU pairs answered against the training labels' correlation"""
    clip_label: Literal["centre", "any"] = "centre"
    """the label of a clip, for networks that answer once per clip: that of its centre frame, or
    present if present in any frame (intensity: the highest)"""


@dataclass(frozen=True)
class OptimConfig:
    """Optimiser and schedule. An epoch is as many clips as the training splits of all sets have."""

    name: Literal["adam", "adamw", "sgd", "rmsprop", "lars", "lamb"] = "adamw"
    """lars and lamb are sgd and adamw with each parameter's step in proportion to its norm, for
    batches of thousands; what `no_decay` spares is spared this as well"""
    learning_rate: float = 1e-3
    scaling: Literal["none", "linear", "sqrt"] = "none"
    """what the global batch does to the learning rate: multiply it by batch / base_batch (Goyal et
    al. 2017, for sgd, with a warm-up), or by the root of that (adam and lamb: You et al. 2020)"""
    base_batch: int = 0
    """the batch that `learning_rate` was found with, where it is scaled"""
    schedule: Literal["constant", "cosine", "exponential", "step"] = "cosine"
    warmup_steps: int = 0
    """linear from 0 to the learning rate; the schedule begins after it"""
    final_fraction: float = 0.0
    """cosine: where it ends, as a share of the learning rate"""
    decay_factor: float = 0.94
    """exponential and step: what the rate is multiplied by"""
    decay_epochs: float = 2.0
    """exponential: epochs between two decays (a staircase)"""
    boundaries_epochs: tuple[float, ...] = ()
    """step: the epochs at which the rate falls"""
    momentum: float = 0.9
    """sgd, rmsprop and lars"""
    trust: float = 1e-3
    """lars: a parameter's step, before the rate, as a share of its norm"""
    nesterov: bool = False
    b1: float = 0.9
    b2: float = 0.999
    rms_decay: float = 0.9
    """rmsprop: decay of the mean square"""
    eps: float = 1e-8
    weight_decay: float = 0.0
    """adamw and lamb: decoupled; others: added to the gradient (L2)"""
    no_decay: str = r"(bias|scale)$"
    """parameters whose path matches are not decayed; "": all are"""
    clip_norm: float = 0.0
    """global norm to which gradients are clipped; 0: not"""
    sam_rho: float = 0.0
    """radius of adaptive sharpness-aware minimisation, for twice the work a step; 0: not"""
    frozen: tuple[str, ...] = ()
    """regular expressions: parameters whose path matches never move, nor do their statistics"""


@dataclass(frozen=True)
class CheckpointConfig:
    every: int = 500
    """steps between two checkpoints: how much work may be lost"""
    every_minutes: float = 30.0
    """also so many minutes after the last one, by the clock of the first process, within
    `log_every` steps; 0: by steps alone"""
    latest: int = 2
    """how many of the newest are kept"""
    best: int = 1
    """how many of the best are kept beside them"""
    metric: str = "mean_average_precision"
    """the validation metric that says which is best: in a mixture that over the clips of all sets;
    that of one set is called SET/mean_average_precision"""
    mode: Literal["max", "min"] = "max"


@dataclass(frozen=True)
class EvaluationConfig:
    every: int = 500
    """steps between two evaluations on `data.validation_split`; 0: only after the last step"""
    batch_size: int = 0
    """global; 0: as in training"""


@dataclass(frozen=True)
class MeshConfig:
    fsdp: tuple[tuple[str, tuple[str | None, ...]], ...] = ()
    """(regular expression, partition) pairs, first match wins: parameters whose path matches are
    split, e.g. ("fc6/kernel", (None, "data")); all others are replicated"""
    nodes: int = 0
    """a mesh of two levels, `node` and `device`, which the rules may name instead of `data`; 0: of
    one"""
    batch_per_device: int = 0
    """clips of each device in one batch; `data.batch_size` is then this times the devices; 0: the
    global size is what is given"""
    statistics: Literal["global", "device", "synchronised"] = "global"
    """of BatchNorm. `global`: the compiler splits one step over the devices, so statistics are
    those of the whole (micro-)batch. Otherwise each device runs the network by itself, with dropout
    of its own, and gradients are added up once a step however many micro-batches there are, as in
    PyTorch's DistributedDataParallel: with statistics of its own rows (`device`), or of all
    (`synchronised`; of layers that this package has). Losses that are no sums over clips (ccc)
    then are those of a device's rows"""


@dataclass(frozen=True)
class InitConfig:
    """What the network starts from instead of random numbers, at step 0 alone.

    Every parameter and statistic of the network must be found in the source or named by `new`, and
    every one of the source must find a place or be named by `ignore`. Patterns are regular
    expressions searched in paths such as backbone/layer1/0/conv1/kernel.
    """

    source: str = ""
    """a work directory of `jaxfacs train` or `jaxfacs convert` (also --init-from); "": none"""
    step: str = ""
    """of the source: a step, best or latest; "": the best if there is one, else the latest"""
    rename: tuple[tuple[str, str], ...] = ()
    """(pattern, replacement) pairs, all applied in order to each of the source's paths"""
    new: tuple[str, ...] = ()
    """what starts afresh, whatever the source has there"""
    ignore: tuple[str, ...] = ()
    """what of the source, renamed, is not wanted"""
    shared: tuple[str, ...] = ()
    """what under head/ is not about particular AUs or emotions, and so may be loaded though the
    source's lists are others"""


@dataclass(frozen=True)
class Experiment:
    """Everything that decides a run's numbers."""

    data: DataConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    init: InitConfig = field(default_factory=InitConfig)
    steps: int = 10_000
    """optimiser steps in all"""
    seed: int = 0
    """of the parameters and of dropout; `data.seed` is that of the order and the augmentation"""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """what the network computes in; parameters, statistics, losses and moments stay float32"""
    accumulate: int = 1
    """micro-batches per step: `data.batch_size` is split into so many"""
    ema: float = 0.0
    """decay of an exponential moving average of the parameters, which is then what is evaluated
    and exported; 0: none"""
    log_every: int = 10
    """steps whose metrics are averaged into one line"""
    max_skipped: int = 10
    """non-finite steps in a row after which the run gives up with exit code 3"""
    spike_deviations: float = 0.0
    """a step is skipped too if its loss or gradient norm lies more than so many standard deviations
    above the mean of the last `spike_window` good steps (6 is usual), of which a quarter must have
    been; it counts for `max_skipped` as well; 0: never"""
    spike_window: int = 128
    watchdog_s: float = 1800.0
    """seconds without a finished step after which stacks are printed and the process ends with
    exit code 4; 0: never"""
    profile: tuple[int, int] = (0, 0)
    """first and last step of a profiler trace, written to WORKDIR/profile; (0, 0): none"""
    peak_tflops: float = 0.0
    """what one device can do at `dtype`, which model FLOPs utilisation (MFU) is a share of; 0: from
    a table of devices, and where that has no entry there is no MFU"""
    wandb: str = ""
    """project of Weights & Biases to which the metrics go as well (extra `wandb`); "": none"""


# Fields that say how a run is watched and fed, not what it computes: they may change on resume.
# (Records may move; that they are the same is checked by their digest.)
_WATCHING = (
    *("watchdog_s", "profile", "data.threads", "data.workers", "peak_tflops", "wandb"),
    *("checkpoint.every_minutes", "data.max_damaged"),
    *("data.source", "data.mixture.source", "data.allow_overlap", "mesh.nodes"),
)


def check(experiment: Experiment) -> Experiment:
    """Returns the experiment, or raises UserError naming the first field that cannot be."""
    e = experiment
    at_least_one = {
        "steps": e.steps,
        "accumulate": e.accumulate,
        "log_every": e.log_every,
        "max_skipped": e.max_skipped,
        "data.batch_size": e.data.batch_size,
        "checkpoint.every": e.checkpoint.every,
        "checkpoint.latest": e.checkpoint.latest,
    }
    for name, value in at_least_one.items():
        if value < 1:
            raise UserError(f"{name} is {value}; give 1 or more")
    at_least_zero = {
        "mesh.nodes": e.mesh.nodes,
        "mesh.batch_per_device": e.mesh.batch_per_device,
        "evaluation.every": e.evaluation.every,
        "evaluation.batch_size": e.evaluation.batch_size,
        "checkpoint.best": e.checkpoint.best,
        "checkpoint.every_minutes": e.checkpoint.every_minutes,
        "data.max_damaged": e.data.max_damaged,
        "spike_deviations": e.spike_deviations,
        "watchdog_s": e.watchdog_s,
        "peak_tflops": e.peak_tflops,
    }
    for name, value in at_least_zero.items():
        if not value >= 0:
            raise UserError(f"{name} is {value}; give 0 or more")
    if not 0 <= e.ema < 1:
        raise UserError(f"ema is {e.ema}; give a decay in [0, 1), 0 for none")
    if e.optim.learning_rate <= 0:
        raise UserError(f"optim.learning-rate is {e.optim.learning_rate}; give more than 0")
    if (e.optim.scaling != "none") != (e.optim.base_batch > 0):
        raise UserError(
            f"optim.scaling is {e.optim.scaling} and optim.base-batch {e.optim.base_batch}; give "
            "both, the latter as the batch that the learning rate was found with, or neither"
        )
    if e.optim.sam_rho < 0:
        raise UserError(f"optim.sam-rho is {e.optim.sam_rho}; give 0 for none, or a radius")
    if e.spike_deviations < 0 or e.spike_window < 8:
        raise UserError(
            f"spike-deviations is {e.spike_deviations:g} and spike-window {e.spike_window}; give 0 "
            "for none or a positive number (6), and 8 steps or more"
        )
    if e.optim.warmup_steps >= e.steps:
        raise UserError(
            f"optim.warmup-steps {e.optim.warmup_steps} leave nothing of {e.steps} steps; "
            "give a shorter warm-up"
        )
    if e.data.batch_size % e.accumulate:
        raise UserError(
            f"data.batch-size {e.data.batch_size} does not divide into {e.accumulate} "
            "micro-batches; change --accumulate or --data.batch-size"
        )
    return e


def load(path: str | Path, *, smoke: bool = False) -> Experiment:
    """The experiment that a config file describes; `smoke` takes its shrunk form.

    Options after a colon ("configs/bp4d_me_graphau.py:fold=2,stage=1") are given to the file's
    function as keywords. Raises UserError, naming them, where it has others.
    """
    name, options = (str(path), {}) if Path(path).is_file() else split(str(path))
    path = Path(name)
    if not path.is_file():
        raise UserError(f"config file {path} does not exist; see configs/ for some that do")
    wanted = "smoke" if smoke else "get_config"
    try:
        names = runpy.run_path(str(path), run_name=f"jaxfacs_config_{path.stem}")
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"config file {path} fails: {type(error).__name__}: {error}") from error
    function = names.get(wanted)
    if not callable(function):
        raise UserError(f"config file {path} has no function {wanted}(); add one")
    known = inspect.signature(function).parameters
    for option in options:
        if option not in known:
            takes = ", ".join(map(str, known.values())) or "none"
            raise UserError(f"config file {path} has no option '{option}'; its options: {takes}")
    experiment = function(**options)
    if not isinstance(experiment, Experiment):
        raise UserError(
            f"{wanted}() of {path} returns a {type(experiment).__name__}; return an Experiment"
        )
    return experiment


def shrunk(
    full: Experiment,
    *,
    size: int,
    frames: int = 0,
    batch_size: int = 2,
    model: ModelConfig | None = None,
) -> Experiment:
    """What `smoke()` of a config returns: `full` in two steps on small clips, on one processor.

    Args:
      size: side of the frames.
      frames: of a clip; 0: as they are.
      batch_size: clips of a step.
      model: a smaller network than the experiment's.
    """
    return dataclasses.replace(
        full,
        data=dataclasses.replace(
            full.data, size=size, frames=frames or full.data.frames, batch_size=batch_size
        ),
        model=model or full.model,
        optim=dataclasses.replace(full.optim, warmup_steps=0),
        checkpoint=dataclasses.replace(full.checkpoint, every=2),
        evaluation=dataclasses.replace(full.evaluation, every=0, batch_size=0),
        steps=2,
        accumulate=1,
        log_every=1,
        dtype="float32",
    )


def to_json(experiment: Experiment) -> dict[str, Any]:
    """The experiment as JSON-able dicts and lists."""
    return json.loads(json.dumps(dataclasses.asdict(experiment)))


def from_json(tree: dict[str, Any]) -> Experiment:
    """The inverse of `to_json`; a field that this version does not know is refused by name."""
    return _build(Experiment, tree, "")


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Lines "field: old -> new" for what differs and matters, over two `to_json` trees."""
    flat_old, flat_new = flatten(old), flatten(new)
    lines = []
    for name in sorted(flat_old.keys() | flat_new.keys()):
        before, after = flat_old.get(name, "absent"), flat_new.get(name, "absent")
        if before != after and re.sub(r"\.\d+\.", ".", name) not in _WATCHING:
            lines.append(f"{name}: {before} -> {after}")
    return lines


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Field, with dots -> value of a `to_json` tree; sections in a list go by their number."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            value = {str(i): item for i, item in enumerate(value)}
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _build(hint: Any, value: Any, where: str) -> Any:
    """`value` out of JSON as the type `hint` says: dataclasses and tuples come back as such."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        hints = typing.get_type_hints(hint)
        unknown = value.keys() - hints.keys()
        if unknown:
            raise UserError(
                f"config field {where}{min(unknown)} is unknown to this version of jaxfacs; "
                "use the version that wrote it"
            )
        return hint(**{k: _build(hints[k], v, f"{where}{k}.") for k, v in value.items()})
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType) and value is not None:
        tuples = [a for a in arguments if typing.get_origin(a) is tuple or _is_dataclass_type(a)]
        return _build(tuples[0], value, where) if tuples else value
    if origin is tuple and isinstance(value, list):
        inner = [arguments[0]] * len(value) if arguments[1:] == (...,) else arguments
        return tuple(_build(h, v, where) for h, v in zip(inner, value, strict=True))
    return value


def _is_dataclass_type(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)
