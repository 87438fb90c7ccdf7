"""The Python face of prediction: `jaxfacs.load(path)` and what it returns."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxfacs.errors import UserError
from jaxfacs.faces import detect
from jaxfacs.faces.track import follower
from jaxfacs.infer import bundle as bundles
from jaxfacs.infer import compiled
from jaxfacs.infer import source as sources
from jaxfacs.infer.answers import Answers, Reading
from jaxfacs.infer.bundle import Bundle
from jaxfacs.infer.crop_spec import CropSpec
from jaxfacs.infer.results import FrameResult
from jaxfacs.infer.stream import Stream

_CPU_BATCH, _ACCELERATOR_BATCH = 8, 64  # clips: beyond these neither gets faster (16×112×112)


def load(path: str | Path, *, detector: str | None = None, batch: int | None = None) -> "Predictor":
    """Reads a bundle and readies its network on this machine's first device.

    Args:
      path: a *.jaxfacs file that `jaxfacs export` wrote.
      detector: "haar" or the path of a YuNet .onnx file; None: as the network's records were cut.
      batch: clips that the network reads at once; None: 8 on a CPU, 64 elsewhere.

    Raises:
      UserError: the file is missing, damaged, newer, or not made for this kind of device; the
        detector is not there.
    """
    if batch is not None and batch < 1:
        raise UserError(f"batch is {batch}; give 1 or more")
    return Predictor(bundles.read(path), detector=detector, batch=batch)


class Predictor:
    """A network that reads films. Not for several threads at once; load it once per thread.

    Attributes:
      aus: labels of the answers, in the bundle's order.
      emotions: names of the emotion scores; empty if there are none.
      valence_arousal: whether the network answers these.
      crop: (frame, box, five landmarks or None) -> the network's uint8 input, as its records were
        cut.
      batch: clips that the network reads at once.
      bundle: what was loaded, with its origin in `bundle.manifest`.
    """

    def __init__(self, bundle: Bundle, *, detector: str | None = None, batch: int | None = None):
        self.bundle = bundle
        self.aus = bundle.aus
        self._detector_name = detector or _trained_detector(bundle)
        self._detector = detect.create(self._detector_name)
        self.crop = _crop_spec(bundle, self._detector)
        self._network = compiled.network(bundle)
        outputs, platform = self._network.outputs, self._network.device.platform
        self.batch = batch or (_CPU_BATCH if platform == "cpu" else _ACCELERATOR_BATCH)
        mapper_emotions, mapper = _emotion_mapper(bundle)
        own = "emotion" in outputs
        self.valence_arousal = "valence_arousal" in outputs
        self.emotions = bundle.emotions if own else mapper_emotions
        self._reading = Reading(
            threshold_A=bundle.thresholds_A,
            has_intensity="intensity" in outputs,
            num_emotions=len(bundle.emotions) if own else 0,
            emotions=mapper,
            has_affect=self.valence_arousal,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """What shapes the answers besides the network: JSON-able, for a result's origin."""
        return {
            "detector": self._detector_name,
            "margin": self.crop.steps.margin,
            "faces": self.bundle.crop.get("steps", []),
            "thresholds": dict(zip(self.aus, self.bundle.thresholds_A.tolist(), strict=True)),
            "emotions_from": "network" if self._reading.num_emotions else "action units",
        }

    def run(self, clips_BTHWC: np.ndarray) -> dict[str, np.ndarray]:
        """The network alone: uint8 RGB face crops to float32 arrays, for any B.

        Returns `probability` (B, A), or (B, K, A) for a network that answers K frames of a clip;
        and where the network has them `intensity` of the same shape, `valence_arousal` (B, 2) or
        (B, K, 2), and `emotion` (B, E).
        """
        clips = np.asarray(clips_BTHWC)
        spec = self.bundle.input
        wanted = (spec.frames, spec.size, spec.size, 3)
        if clips.dtype != np.uint8 or clips.shape[1:] != wanted:
            raise ValueError(
                f"clips are uint8 B×{'×'.join(map(str, wanted))}, not {clips.dtype} {clips.shape}"
            )
        parts = [
            self._submit(clips[i : i + self.batch])() for i in range(0, len(clips), self.batch)
        ] or [{k: v[:0] for k, v in self._submit(np.zeros((1, *wanted), np.uint8))().items()}]
        return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}

    def predict(
        self, frames_TxHxWx3: Iterable[np.ndarray], *, fps: float | None = None, still: bool = False
    ) -> list[FrameResult]:
        """Reads the frames of one film that are in memory: one result a frame, in order.

        Args:
          frames_TxHxWx3: uint8 RGB whole frames; an array or any iterable.
          fps: frames a second, for the timestamps (25 if not given) and, where given, for matching
            the rate that the network was trained at.
          still: the frames are pictures that have nothing to do with each other.
        """
        rate = fps or 25.0
        timed = (sources.Timed(i + 1, i / rate, frame) for i, frame in enumerate(frames_TxHxWx3))
        return list(self.results(timed, fps=fps, still=still))

    def video(self, path: str | Path, *, hop: int | None = None) -> Iterator[FrameResult]:
        """Reads a film, picture or folder of pictures: one result a frame, as they become known.

        Args:
          path: the film.
          hop: see `stream`.
        """
        for found in sources.find([str(path)]):
            yield from self.read(found, hop=hop)

    def read(self, source: sources.Source, *, hop: int | None = None) -> Iterator[FrameResult]:
        """Reads one source; `source.warnings` says afterwards what was wrong with it."""
        return self.results(source.frames(), fps=source.fps, still=source.still, hop=hop)

    def stream(
        self,
        *,
        fps: float | None = None,
        still: bool = False,
        hop: int | None = None,
        follow: Callable[[np.ndarray], list[tuple[int, detect.Face]]] | None = None,
    ) -> Stream:
        """A `Stream` to push frames into, for cameras and servers.

        Args:
          fps: of the frames; None: taken as the network's own.
          still: the frames have nothing to do with each other.
          hop: frames between two answers of a per-clip network, with straight lines between them
            (default: a quarter of a clip; 1 asks it for every frame, at `hop` times the cost), or
            between two windows of a per-frame network (default: half a clip, so that every frame
            is answered from the middle of a window).
          follow: frame -> its faces with ids, instead of this predictor's own detector and tracker.
        """
        spec = self.bundle.input
        if hop is not None and not 1 <= hop <= spec.frames:
            raise UserError(f"hop is {hop}; give 1 to {spec.frames}, the frames of a clip")
        default_hop = max(1, spec.frames // (2 if spec.per_frame else 4))
        return Stream(
            submit=self._submit,
            follow=follow or self._follow(still=still),
            crop=self.crop,
            reading=self._reading,
            answers=Answers(self._reading),
            spec=spec,
            step=_step(spec, fps),
            hop=hop or default_hop,
            batch=self.batch,
            still=still,
        )

    def results(
        self,
        timed: Iterable[sources.Timed],
        *,
        fps: float | None = None,
        still: bool = False,
        hop: int | None = None,
    ) -> Iterator[FrameResult]:
        """Reads timed frames; see `stream` for the rest."""
        stream = self.stream(fps=fps, still=still, hop=hop)
        for number, timestamp, frame_HWC in timed:
            yield from stream.push(frame_HWC, timestamp, number)
        yield from stream.finish()

    def _follow(self, *, still: bool) -> Callable[[np.ndarray], list[tuple[int, detect.Face]]]:
        return partial(_alone, self._detector) if still else follower(self._detector)

    def _submit(self, clips_BTHWC: np.ndarray) -> Callable[[], Mapping[str, np.ndarray]]:
        """Starts the network. Only two batch sizes are ever compiled: 1 and the full one."""
        count = len(clips_BTHWC)
        if 1 < count < self.batch:
            filler = np.zeros((self.batch - count, *clips_BTHWC.shape[1:]), np.uint8)
            clips_BTHWC = np.concatenate([clips_BTHWC, filler])
        outputs = self._network(clips_BTHWC)
        return lambda: {name: np.asarray(value)[:count] for name, value in outputs.items()}


def _alone(detector: detect.Detector, frame_HWC: np.ndarray) -> list[tuple[int, detect.Face]]:
    """The faces of a still, numbered by size."""
    return list(enumerate(detector(frame_HWC)))


def _step(spec: bundles.InputSpec, fps: float | None) -> int:
    """Frames between two frames of a clip, so that it lasts as long as the clips of training."""
    rate = fps / spec.fps if fps and spec.fps else 1.0
    return max(1, round(spec.stride * rate))


def _trained_detector(bundle: Bundle) -> str:
    """Haar and YuNet give the same squares, so Haar stands in where YuNet's file is not at hand."""
    name = str(bundle.crop.get("detector", "haar"))
    return name if name.endswith(".onnx") and Path(name).is_file() else "haar"


def _crop_spec(bundle: Bundle, detector: detect.Detector) -> CropSpec:
    try:
        spec = CropSpec.of_card(bundle.crop, bundle.input.size)
    except UserError as error:
        raise UserError(f"{bundle.path}: {error}") from error
    if spec.needs_landmarks and not detector.gives_landmarks:
        raise UserError(
            f"{bundle.path}: its faces are laid by '{spec.steps.alignment}', and '{detector.name}' "
            "finds no eyes and mouth; give the path of a YuNet .onnx file as the detector"
        )
    return spec


def _emotion_mapper(
    bundle: Bundle,
) -> tuple[tuple[str, ...], Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """The names of the mapper's emotions, and (probability, intensity), N×A each, -> N×E."""
    if bundle.emotion_mapper is None:
        return (), lambda probability, intensity: np.zeros((len(probability), 0))
    from jaxfacs import emotion

    mapper = emotion.from_json(bundle.emotion_mapper)

    def scores(probability_NA: np.ndarray, intensity_NA: np.ndarray) -> np.ndarray:
        reading = mapper.apply(bundle.aus, probability_NA, intensity_TA=intensity_NA)
        return reading.probability_TE

    return mapper.emotions, scores
