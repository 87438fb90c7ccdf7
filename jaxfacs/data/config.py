"""What a run reads and how: two frozen dataclasses."""

from dataclasses import dataclass, field

from jaxfacs.errors import UserError


@dataclass(frozen=True)
class Augment:
    """Random changes of a training clip; one draw for all its frames, noise apart.

    Each default keeps every AU readable. `NO_AUGMENT` switches all of it off.

    Attributes:
      flip: probability of mirroring; left and right codes change places.
      zoom: range of the magnification, log-uniform.
      shift: largest move of the centre, as a share of the side, both ways.
      rotate: largest tilt in degrees, both ways (Bocklisch et al. 2015 tilt by ±3 and ±6).
      brightness: largest change, as a share of full scale, both ways.
      contrast, saturation: largest relative change, both ways.
      tint: largest relative change of one channel, both ways.
      grey: probability of losing all colour.
      noise: largest standard deviation of added Gaussian noise, in grey levels of 255.
      blur: probability of a Gaussian blur of 0.5–1.5 pixels.
      cutout: probability of one grey square hiding a part in all frames.
      cutout_size: largest side of that square, as a share of the frame's side.
    """

    flip: float = 0.5
    zoom: tuple[float, float] = (0.9, 1.15)
    shift: float = 0.05
    rotate: float = 6.0
    brightness: float = 0.15
    contrast: float = 0.2
    saturation: float = 0.3
    tint: float = 0.05
    grey: float = 0.1
    noise: float = 6.0
    blur: float = 0.1
    cutout: float = 0.1
    cutout_size: float = 0.3

    def __post_init__(self):
        for name in ("flip", "grey", "blur", "cutout"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"augment.{name} is a probability; {getattr(self, name)} is not")
        if not 0 < self.zoom[0] <= self.zoom[1]:
            raise UserError(f"augment.zoom must be (low, high) with 0 < low ≤ high: {self.zoom}")


NO_AUGMENT = Augment(
    flip=0, zoom=(1, 1), shift=0, rotate=0, brightness=0, contrast=0, saturation=0, tint=0,
    grey=0, noise=0, blur=0, cutout=0,
)  # fmt: skip


@dataclass(frozen=True)
class DataConfig:
    """The input of a run.

    Attributes:
      source: record folder.
      train_split, validation_split: names of splits in it.
      aus: the experiment's labels; empty: every AU of the set, sides joined.
      frames: frames of a clip as the model sees it.
      stride: step between them in the record.
      temporal_jitter: in training, each frame is taken up to this many places early or late,
        never out of order.
      size: side of the frames that the model sees, in pixels.
      batch_size: clips of one global batch, over all processes.
      augment: random changes in training.
      balance: share of training clips drawn by the rarity of their AUs instead of in turn, 0–1.
      threads: that decode and transform, in each process; each prepares one batch at a time.
      workers: extra processes that do so; 0 is best unless many cores wait on Python.
      seed: of order and augmentation.
    """

    source: str = ""
    train_split: str = "train"
    validation_split: str = "validation"
    aus: tuple[str, ...] = ()
    frames: int = 16
    stride: int = 1
    temporal_jitter: int = 0
    size: int = 112
    batch_size: int = 16
    augment: Augment = field(default_factory=Augment)
    balance: float = 0.0
    threads: int = 4
    workers: int = 0
    seed: int = 0

    def __post_init__(self):
        for name in ("frames", "stride", "size", "batch_size", "threads"):
            if getattr(self, name) < 1:
                raise UserError(f"data.{name} must be at least 1, not {getattr(self, name)}")
        for name in ("temporal_jitter", "workers", "seed"):
            if getattr(self, name) < 0:
                raise UserError(f"data.{name} must not be negative: {getattr(self, name)}")
        if not 0 <= self.balance <= 1:
            raise UserError(f"data.balance is a share between 0 and 1, not {self.balance}")

    @property
    def span(self) -> int:
        """Frames of the record that one clip of the model covers."""
        return (self.frames - 1) * self.stride + 1
