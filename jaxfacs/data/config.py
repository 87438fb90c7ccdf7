"""What a run reads and how: frozen dataclasses."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from jaxfacs.errors import UserError

FlowComponents = Literal["", "y", "x", "magnitude", "xy"]


@dataclass(frozen=True)
class Augment:
    """Random changes of a training clip; one draw for all its frames, noise apart.

    Each default keeps every AU readable. `NO_AUGMENT` switches all of it off.

    Attributes:
      flip: probability of mirroring; left and right codes change places.
      crop: side of a square cut out at random, as a share of the stored side, in whole stored
        pixels (ME-GraphAU, Luo et al. 2022, cuts 224 out of 256: 0.875); evaluation sees the
        middle one. 1: all of it.
      zoom: range of the magnification, log-uniform.
      shift: largest move of the centre, as a share of the side, both ways.
      rotate: largest tilt in degrees, both ways.
      tilts: angles in degrees, one of which is taken instead of any within `rotate`.
      brightness: largest change, as a share of full scale, both ways.
      brightness_steps: changes, one of which is taken instead of any within `brightness`.
      contrast, saturation: largest relative change, both ways.
      hue: largest turn of the colours in degrees, both ways, at the same luma.
      tint: largest relative change of one channel, both ways.
      grey: probability of losing all colour.
      noise: largest standard deviation of added Gaussian noise, in grey levels of 255.
      blur: probability of a Gaussian blur of 0.5–1.5 pixels.
      jpeg: probability of compressing each frame once more.
      jpeg_quality: range of its quality, 1 to 100.
      cutout: probability of one grey square hiding a part in all frames.
      cutout_size: largest side of that square, as a share of the frame's side.
      mixup: α of the share λ ~ Beta(α, α) of a clip that is blended with another of the split
        (Zhang et al., ICLR 2018); 0: never. Occurrence then is a share between 0 and 1. What is
        unknown in either clip is unknown, and so are landmarks and unequal emotions.
    """

    flip: float = 0.5
    crop: float = 1.0
    zoom: tuple[float, float] = (0.9, 1.15)
    shift: float = 0.05
    rotate: float = 6.0
    tilts: tuple[float, ...] = ()
    brightness: float = 0.15
    brightness_steps: tuple[float, ...] = ()
    contrast: float = 0.2
    saturation: float = 0.3
    hue: float = 0.0
    tint: float = 0.05
    grey: float = 0.1
    noise: float = 6.0
    blur: float = 0.1
    jpeg: float = 0.0
    jpeg_quality: tuple[int, int] = (30, 95)
    cutout: float = 0.1
    cutout_size: float = 0.3
    mixup: float = 0.0

    def __post_init__(self):
        for name in ("flip", "grey", "blur", "jpeg", "cutout"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"augment.{name} is a probability; {getattr(self, name)} is not")
        if not 0 < self.zoom[0] <= self.zoom[1]:
            raise UserError(f"augment.zoom must be (low, high) with 0 < low ≤ high: {self.zoom}")
        if not 0 < self.crop <= 1:
            raise UserError(f"augment.crop is a share above 0 and up to 1, not {self.crop}")
        low, high = self.jpeg_quality
        if not 1 <= low <= high <= 100:
            raise UserError(
                f"augment.jpeg_quality must be (low, high) within 1 to 100: {self.jpeg_quality}"
            )
        if not 0 <= self.mixup < float("inf"):
            raise UserError(f"augment.mixup must be 0 or a positive number, not {self.mixup}")


NO_AUGMENT = Augment(
    flip=0, zoom=(1, 1), shift=0, rotate=0, brightness=0, contrast=0, saturation=0, tint=0,
    grey=0, noise=0, blur=0, cutout=0,
)  # fmt: skip

# Bocklisch et al. 2015, section 2.1: tilts of ±3° and ±6°, and "fixed values" of brightness, which
# are those of normanrz/face-vid, extract_frames.py, multiply_frames (grey levels of 255). They kept
# all combinations in the set; here one is drawn each time.
BOCKLISCH = replace(
    NO_AUGMENT,
    tilts=(-6, -3, 0, 3, 6),
    brightness_steps=(-40 / 255, -20 / 255, 0, 20 / 255),
)


@dataclass(frozen=True)
class Part:
    """One record set of several that a run learns from.

    Attributes:
      source: record folder.
      weight: how often it is drawn in training, beside the others (see `mixture_by`); 0: never, it
        is only measured on.
      loss_weight: what its clips count for in the loss, beside those of the others.
      name: in the report; empty: the set's own.
      train_split: what this set calls it; empty: as `DataConfig.train_split`.
      validation_split: the same; a set that has none is not validated on.
    """

    source: str
    weight: float = 1.0
    loss_weight: float = 1.0
    name: str = ""
    train_split: str = ""
    validation_split: str = ""

    def __post_init__(self):
        for name in ("weight", "loss_weight"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise UserError(f"{name} of {self.source} is {value}; give 0 or more")


@dataclass(frozen=True)
class DataConfig:
    """The input of a run.

    Attributes:
      source: record folder, where there is one.
      mixture: several record sets instead. Their AUs are joined, and so are the names of their
        emotions; what a set does not code is unknown there. A config lists the parts; the command
        line changes their fields by number (--data.mixture.0.source DIR --data.mixture.1.weight 2),
        but adds and removes none.
      mixture_by: what a weight is of. "set": the share of drawn clips that are the set's, whatever
        its size; "clip": how often each of its clips is drawn, so that with weights of 1 the sets
        are as one.
      allow_overlap: measure on people that were learned from, instead of refusing to.
      train_split, validation_split: names of splits; in a mixture, sets without the latter take no
        part in it.
      aus: the experiment's labels; empty: every AU of the training sets, sides joined.
      frames: frames of a clip as the model sees it.
      stride: step between them in the record.
      strides: in training, steps of which each clip has one instead: one of those with which it
        fits into the record, or the smallest.
      temporal_jitter: in training, each frame is taken up to this many places early or late,
        never out of order.
      size: side of the frames that the model sees, in pixels.
      batch_size: clips of one global batch, over all processes.
      flow: what of stored optical flow the batches carry: its vertical part "y", "x",
        "magnitude", or "xy", of the ten fields around each frame; "": none.
      flow_limit: pixels a frame, at the size shown, that become 1; what is faster is cut off.
      require_face: frames in which no face was found count as not labelled.
      augment: random changes in training.
      balance: share of training clips drawn by the rarity of their AUs instead of in turn, 0–1.
        A clip so drawn is of the same set as the one in turn: sets keep their shares.
      balance_subjects: share drawn so that all subjects of a set come equally often; a clip of
        whom nobody knows stands for itself.
      threads: that decode and transform, in each process; each prepares one batch at a time.
      workers: extra processes that do so; 0 is best unless many cores wait on Python.
      max_damaged: how many different damaged records a process goes on without: each is named on
        stderr, and its clips take part with all labels unknown, weight 0 and the pixels of the next
        whole record, as BatchNorm sees those. Measures leave out what shows damage, and say so.
      seed: of order and augmentation.
    """

    source: str = ""
    mixture: tuple[Part, ...] = ()
    mixture_by: Literal["set", "clip"] = "set"
    allow_overlap: bool = False
    train_split: str = "train"
    validation_split: str = "validation"
    aus: tuple[str, ...] = ()
    frames: int = 16
    stride: int = 1
    strides: tuple[int, ...] = ()
    temporal_jitter: int = 0
    size: int = 112
    batch_size: int = 16
    flow: FlowComponents = ""
    flow_limit: float = 20.0
    require_face: bool = False
    augment: Augment = field(default_factory=Augment)
    balance: float = 0.0
    balance_subjects: float = 0.0
    threads: int = 4
    workers: int = 0
    max_damaged: int = 0
    seed: int = 0

    def __post_init__(self):
        for name in ("frames", "stride", "size", "batch_size", "threads"):
            if getattr(self, name) < 1:
                raise UserError(f"data.{name} must be at least 1, not {getattr(self, name)}")
        for name in ("temporal_jitter", "workers", "seed", "max_damaged"):
            if getattr(self, name) < 0:
                raise UserError(f"data.{name} must not be negative: {getattr(self, name)}")
        if min(self.strides, default=1) < 1:
            raise UserError(f"data.strides must each be at least 1: {self.strides}")
        if self.flow not in get_args(FlowComponents):
            known = ", ".join(name for name in get_args(FlowComponents) if name)
            raise UserError(f"data.flow '{self.flow}' is none of {known}")
        if not self.flow_limit > 0:
            raise UserError(f"data.flow_limit must be above 0 pixels, not {self.flow_limit}")
        for name in ("balance", "balance_subjects"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(
                    f"data.{name} is a share between 0 and 1, not {getattr(self, name)}"
                )
        if self.balance + self.balance_subjects > 1:
            raise UserError(
                "data.balance and data.balance_subjects are shares that exceed 1 together"
            )
        if self.source and self.mixture:
            raise UserError(
                f"data.source ({self.source}) and data.mixture are both given; one set is a source,"
                " several are a mixture (--data.mixture.0.source DIR changes where a part lies)"
            )
        if self.mixture and not any(part.weight for part in self.mixture):
            raise UserError("every part of data.mixture has weight 0, so nothing is learned from")

    @property
    def parts(self) -> tuple[Part, ...]:
        """The mixture, or the source as a mixture of one."""
        return self.mixture or (Part(self.source),)

    @property
    def span(self) -> int:
        """Frames of the record that one clip of the model covers."""
        return (self.frames - 1) * self.stride + 1
