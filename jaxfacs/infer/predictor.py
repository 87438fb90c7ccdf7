"""The Python face of prediction: `jaxfacs.load(path)` and what it returns."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxfacs.emotion.person import Person
from jaxfacs.errors import UserError
from jaxfacs.faces import detect
from jaxfacs.faces.track import EVERY, follower
from jaxfacs.infer import bundle as bundles
from jaxfacs.infer import compiled, engine, shipped
from jaxfacs.infer.answers import Answers, AnswerSettings, Reading
from jaxfacs.infer.baseline import given_rest
from jaxfacs.infer.batches import Batches, Outputs, Submit
from jaxfacs.infer.bundle import Bundle
from jaxfacs.infer.crop_spec import CropSpec
from jaxfacs.infer.live import Live
from jaxfacs.infer.results import FrameResult
from jaxfacs.infer.sources import source as sources
from jaxfacs.infer.stream import Stream

_CPU_BATCH, _ACCELERATOR_BATCH = 8, 64  # clips: beyond these neither gets faster (16×112×112)
# Side of the smallest face looked for in stills, of the frame's shorter side. There is time for it;
# and nobody comes closer in the next frame. Smaller, and Haar begins to see faces in shirts.
_SMALLEST_OF_STILL = 0.05

Follow = Callable[[np.ndarray], list[tuple[int, detect.Face]]]


def load(
    path: str | Path = shipped.DEFAULT, *, detector: str | None = None, batch: int | None = None
) -> "Predictor":
    """Reads a bundle and readies its network on this machine's first device.

    Args:
      path: a *.jaxfacs file that `jaxfacs export` wrote, or the name of weights that come with the
        package (`infer.shipped.NAMES`).
      detector: "haar" or the path of a YuNet .onnx file; None: as the network's records were cut.
      batch: clips that the network reads at once; None: 8 on a CPU, 64 elsewhere.

    Raises:
      UserError: the file or those weights are missing, damaged, newer, or not made for this kind
        of device; the detector is not there.
    """
    if batch is not None and batch < 1:
        raise UserError(f"batch is {batch}; give 1 or more")
    return Predictor(bundles.read(shipped.find(path)), detector=detector, batch=batch)


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
      reading: what turns the network's numbers into answers.
      detector_name: "haar", or the path of a YuNet .onnx file.
    """

    def __init__(self, bundle: Bundle, *, detector: str | None = None, batch: int | None = None):
        self.bundle = bundle
        self.aus = bundle.aus
        self.detector_name = detector or _trained_detector(bundle)
        self._detector = detect.create(self.detector_name)
        self._spare: dict[bool, list[detect.Detector]] = {True: [], False: []}  # of stills, films
        self.crop = _crop_spec(bundle, self._detector)
        self._network = compiled.network(bundle)
        outputs, platform = self._network.outputs, self._network.device.platform
        self.batch = batch or (_CPU_BATCH if platform == "cpu" else _ACCELERATOR_BATCH)
        self.reading = Reading.of(bundle, outputs)
        self.emotions = self.reading.emotion_names
        self.valence_arousal = self.reading.has_affect

    @property
    def platform(self) -> str:
        """Where the network runs: "cpu", "gpu" or "tpu"."""
        return self._network.device.platform

    @property
    def settings(self) -> dict[str, Any]:
        """What shapes the answers besides the network: JSON-able, for a result's origin."""
        return {
            "detector": self.detector_name,
            "margin": self.crop.steps.margin,
            "faces": self.bundle.crop.get("steps", []),
            "thresholds": dict(zip(self.aus, self.bundle.thresholds_A.tolist(), strict=True)),
            "emotions_from": "network" if self.reading.own_emotions else "action units",
            **(
                {"confidence_threshold": self.bundle.confidence_threshold}
                if self.bundle.confidence_threshold is not None
                else {}
            ),
        }

    def run(self, clips_BTHWC: np.ndarray) -> dict[str, np.ndarray]:
        """The network alone: uint8 RGB face crops to float32 arrays, for any B.

        Returns `probability` (B, A), or (B, K, A) for a network that answers K frames of a clip;
        and where the network has them `intensity` of the same shape, `valence_arousal` (B, 2) or
        (B, K, 2), `confidence` (B, 1) or (B, K, 1), and `emotion` (B, E).
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

    def read(self, source: sources.Source, **options: Any) -> Iterator[FrameResult]:
        """Reads one source; `source.warnings` says afterwards what was wrong with it.

        `options` are those of `read_many`.
        """
        for _, result in self.read_many([source], **options):
            yield result

    def read_many(
        self,
        sources: Sequence[sources.Source],
        *,
        at_once: int | None = None,
        on_error: Callable[[int, Exception], None] | None = None,
        **options: Any,
    ) -> Iterator[tuple[int, FrameResult]]:
        """Reads several sources at a time, whose clips fill batches together.

        Yields (index of the source, its next result): the results of each source in the order of
        its frames, the sources in any order. The numbers are those of each source read alone.

        Args:
          sources: of `infer.sources.source.find`.
          at_once: sources whose frames are read at the same time (default: one for each core,
            2 to 4).
          on_error: told the index and error of a source that fails, and the others go on; None:
            the first error is raised.
          options: hop, detect_every and settings, see `stream`.

        Raises:
          UserError: an option that makes no sense; a source that fails, if `on_error` is None.
        """
        options = {"rest": self.rest(options.get("settings")), **options}
        batches = self.batches(sources)
        films = (self.film(i, s, batches, **options) for i, s in enumerate(sources))
        with closing(engine.read(films, batches, at_once=at_once or films_at_once())) as events:
            for event in events:
                if isinstance(event, engine.Result):
                    yield event.film.index, event.result
                elif isinstance(event, engine.Done) and event.error is not None:
                    if on_error is None:
                        raise event.error
                    on_error(event.film.index, event.error)

    def batches(self, sources: Sequence[sources.Source]) -> Batches:
        """What the streams of these sources share."""
        # A picture alone is not worth a batch. Else the network is always asked for a full one:
        # that the last bit of an answer does not depend on who else was in it.
        alone = len(sources) == 1 and sources[0].still and sources[0].total == 1
        submit = self._submit if alone else partial(self._submit, full=True)
        return Batches(submit, self.reading.pack, size=self.batch)

    def film(
        self,
        index: int,
        source: sources.Source,
        batches: Batches,
        *,
        state: Mapping[str, Any] | None = None,
        mark_every: int = 0,
        **options: Any,
    ) -> engine.Film:
        """One of several sources for `engine.read`; `options` as for `stream`."""
        # OpenCV's detectors keep what they work on in themselves: each thread needs its own.
        spare = self._spare[source.still]
        detector = spare.pop() if spare else self._new_detector(still=source.still)
        return engine.Film(
            index=index,
            source=source,
            stream=self._stream(batches, detector, fps=source.fps, still=source.still, **options),
            state=state,
            mark_every=mark_every,
            released=lambda: spare.append(detector),
        )

    def stream(
        self,
        *,
        fps: float | None = None,
        still: bool = False,
        hop: int | None = None,
        detect_every: int = EVERY,
        follow: Follow | None = None,
        submit: Submit | None = None,
        settings: AnswerSettings | None = None,
    ) -> Stream:
        """A `Stream` to push frames into.

        Args:
          fps: of the frames; None: taken as the network's own.
          still: the frames have nothing to do with each other.
          hop: frames between two answers of a per-clip network, with straight lines between them
            (default: a quarter of a clip; 1 asks it for every frame, at `hop` times the cost), or
            between two windows of a per-frame network (default: half a clip, so that every frame
            is answered from the middle of a window).
          detect_every: a face that is followed is detected anew in each so many frames, and at once
            where its picture changed; between, it moves along with its picture.
          follow: frame -> its faces with ids, instead of this predictor's own detector and tracker.
          submit: clips_BTHWC -> a function that waits for their outputs, instead of this
            predictor's own network, where others use that too.
          settings: how answers are made of the network's numbers; None: as they are.
        """
        batches = Batches(submit or self._submit, self.reading.pack, size=self.batch)
        return self._stream(
            batches,
            self._new_detector(still=True) if still and follow is None else self._detector,
            fps=fps,
            still=still,
            hop=hop,
            detect_every=detect_every,
            follow=follow,
            settings=settings,
            rest=self.rest(settings),
        )

    def live(
        self,
        *,
        fps: float | None = None,
        settings: AnswerSettings | None = None,
        follow: Follow | None = None,
    ) -> Live:
        """A `Live` for one camera or client: every frame is answered at once, from the past alone.

        Args:
          fps: of the frames; None: their times are gone by.
          settings: how answers are made; None: causal, else as they are.
          follow: as in `stream`; needed where several threads look at frames.
        """
        settings = settings or AnswerSettings(causal=True)
        return Live(
            follow=follow or follower(self._detector),
            crop=self.crop,
            reading=self.reading,
            answers=Answers(self.reading, settings, fps=fps, rest=self.rest(settings)),
            spec=self.bundle.input,
            fps=fps,
        )

    def rest(self, settings: AnswerSettings | None) -> Person | None:
        """The resting face that these settings name: of a profile, or read out of a picture."""
        return None if settings is None else given_rest(settings.baseline, self)

    def _stream(
        self,
        batches: Batches,
        detector: detect.Detector,
        *,
        fps: float | None,
        still: bool,
        hop: int | None = None,
        detect_every: int = EVERY,
        follow: Follow | None = None,
        settings: AnswerSettings | None = None,
        rest: Person | None = None,
    ) -> Stream:
        spec = self.bundle.input
        if hop is not None and not 1 <= hop <= spec.frames:
            raise UserError(f"hop is {hop}; give 1 to {spec.frames}, the frames of a clip")
        if detect_every < 1:
            raise UserError(f"detect-every is {detect_every}; give 1 (every frame) or more")
        if follow is None:
            follow = partial(_alone, detector) if still else follower(detector, every=detect_every)
        default_hop = max(1, spec.frames // (2 if spec.per_frame else 4))
        settings = settings or AnswerSettings()
        if still:
            settings = settings.of_stills()
        return Stream(
            batches=batches,
            follow=follow,
            crop=self.crop,
            answers=Answers(self.reading, settings, fps=fps, rest=rest),
            spec=spec,
            step=_step(spec, fps),
            hop=hop or default_hop,
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

    def _new_detector(self, *, still: bool) -> detect.Detector:
        size = {"min_size": _SMALLEST_OF_STILL} if still else {}
        return detect.create(self.detector_name, **size)

    def _submit(self, clips_BTHWC: np.ndarray, *, full: bool = False) -> Callable[[], Outputs]:
        """Starts the network. Only two batch sizes are ever compiled: 1 and the full one."""
        count = len(clips_BTHWC)
        if count < self.batch and (full or count > 1):
            filler = np.zeros((self.batch - count, *clips_BTHWC.shape[1:]), np.uint8)
            clips_BTHWC = np.concatenate([clips_BTHWC, filler])
        outputs = self._network(clips_BTHWC)
        return lambda: {name: np.asarray(value)[:count] for name, value in outputs.items()}


def films_at_once() -> int:
    """Sources to read at the same time where nobody said how many."""
    return min(4, max(2, os.cpu_count() or 2))


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
