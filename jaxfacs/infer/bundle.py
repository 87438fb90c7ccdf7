"""The bundle: one file that holds a network ready to run, and where it came from.

    MODEL.jaxfacs    ZIP, stored without compression, with exactly these members
      manifest.json     what the network reads and answers, and its origin; carries its own sha256
      network.stablehlo the function, exported by jax.export for any batch and, mostly, any time
      weights.npz       its parameters by name, no pickled objects
      statistics.stablehlo  where it can be adapted: (weights, frames) -> the batch statistics of
                        its layers over these frames, by the weights' names

The exported function maps (weights, frames_BTHWC uint8 RGB) to a dict with `probability` (B, A) or
(B, T, A) and, where the network has them, `intensity` (0 to 5, same shape), `valence_arousal`
(B, 2) or (B, T, 2) in [−1, 1], `confidence` (B, 1) or (B, T, 1) in [0, 1], how far its answers
are to be believed, and `emotion` (probabilities, B×E); here T is the number of answers, and A may
be 0. Normalisation and sigmoid are inside, and whatever makes numbers of stored integers.

Every member's sha256 is compared before anything in it is used. Reading a bundle runs no code of
its author but the exported array program, which can touch nothing but its inputs.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxfacs.errors import UserError
from jaxfacs.evaluate.calibration import Curve
from jaxfacs.infer.files import replacing

FORMAT = 2
READABLE = (1, 2)
ANY = "any"  # of `time`: clips of every length
MANIFEST, NETWORK, WEIGHTS = "manifest.json", "network.stablehlo", "weights.npz"
STATISTICS = "statistics.stablehlo"  # not in every bundle
# Sizes beyond these are no network of ours: they would only fill the memory.
_MAX_BYTES = {MANIFEST: 16 << 20, NETWORK: 512 << 20, WEIGHTS: 8 << 30, STATISTICS: 512 << 20}
_BFLOAT16 = (
    ":bfloat16"  # end of a stored name: NumPy's files know no bfloat16, so its bits are kept
)
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # no clock in the file: the same network, the same bytes


@dataclass(frozen=True)
class InputSpec:
    """What the network reads.

    Attributes:
      frames: T of a clip. size: side of its square frames in pixels.
      stride: step between a clip's frames, in frames of a film of `fps` frames a second.
      fps: of the films it was trained on; None: unknown, every film is taken as it is.
      answers: the frames of the clip that the network's answers are about: one for a network that
        answers once per clip, else in rising order.
    """

    frames: int
    size: int
    stride: int = 1
    fps: float | None = None
    answers: tuple[int, ...] = (0,)

    def __post_init__(self):
        object.__setattr__(self, "answers", tuple(self.answers))
        if min(self.frames, self.size, self.stride, len(self.answers)) < 1:
            raise ValueError(f"{self} describes no clip")
        if not all(0 <= a < self.frames for a in self.answers):
            raise ValueError(f"answers {self.answers} lie outside a clip of {self.frames} frames")

    @property
    def per_frame(self) -> bool:
        return len(self.answers) > 1


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle that was read and found whole.

    Attributes:
      path: the file.
      input: see `InputSpec`.
      aus: labels of the answers, as in "12" or "L12".
      emotions: names of the network's own emotion output; empty if it has none.
      thresholds_A: float64, probability from which an AU counts as present.
      calibration: AU -> {"probability": [x…], "calibrated": [y…]}, the knots of a rising line made
        of straight pieces; an AU that is not there keeps its probability.
      crop: how faces are cut out: detector, margin, size.
      emotion_mapper: JSON of an AU-to-emotion mapper, or None.
      function: the exported program, serialised.
      weights: name -> array.
      manifest: all of manifest.json.
      time: `ANY`, or the only number of frames of a clip that the program takes.
      precision: of weights and computation: "float32", "bfloat16", or "int8" (weights alone).
      card: what the network is, learned from and must not be used for; empty before format 2.
      confidence_threshold: answers of less confidence are flagged; None: none are.
      statistics: the program that adapts it, serialised; None: it cannot be adapted so.
    """

    path: Path
    input: InputSpec
    aus: tuple[str, ...]
    emotions: tuple[str, ...]
    thresholds_A: np.ndarray
    crop: Mapping[str, Any]
    emotion_mapper: Mapping[str, Any] | None
    function: bytes
    weights: Mapping[str, np.ndarray]
    manifest: Mapping[str, Any]
    calibration: Mapping[str, Any]
    time: int | str
    precision: str
    card: Mapping[str, Any]
    confidence_threshold: float | None = None
    statistics: bytes | None = None

    @property
    def digest(self) -> str:
        """sha256 of the manifest, which holds those of all other parts."""
        return self.manifest["sha256"]


def write(
    path: str | Path,
    *,
    function: bytes,
    weights: Mapping[str, np.ndarray],
    input: InputSpec,
    aus: tuple[str, ...],
    emotions: tuple[str, ...] = (),
    thresholds: Mapping[str, float] | None = None,
    crop: Mapping[str, Any] | None = None,
    emotion_mapper: Mapping[str, Any] | None = None,
    about: Mapping[str, Any] | None = None,
    calibration: Mapping[str, Any] | None = None,
    time: int | str | None = None,
    precision: Mapping[str, Any] | None = None,
    card: Mapping[str, Any] | None = None,
    confidence_threshold: float | None = None,
    statistics: bytes | None = None,
) -> Path:
    """Writes a bundle, whole or not at all; returns its path.

    Args:
      path: the file, by custom *.jaxfacs.
      function: `jax.export.export(...)(...).serialize()` of the function described above.
      weights: its first argument, a flat dict.
      input, aus, emotions, crop, emotion_mapper: see `Bundle`.
      thresholds: AU -> threshold in (0, 1); 0.5 where not given.
      about: JSON-able, kept as it is: config, data digest, version.
      calibration: see `Bundle`; AUs with None are left out.
      time: see `Bundle`; None: `input.frames`.
      precision: {"name": …} and what else is known of it; None: float32.
      card: JSON-able, kept as it is.
      confidence_threshold: see `Bundle`; kept with two decimals, as tables print confidences.
      statistics: see `Bundle`.

    Raises:
      ValueError: a threshold is no probability, or a calibration no rising line from 0…1 to 0…1.
    """
    path = Path(path)
    parts = {NETWORK: function, WEIGHTS: _pack(weights)}
    if statistics is not None:
        parts[STATISTICS] = statistics
    manifest = {
        "format": FORMAT,
        "input": {**vars(input), "answers": list(input.answers)},
        "aus": list(aus),
        "emotions": list(emotions),
        "thresholds": {a: _checked_threshold(a, (thresholds or {}).get(a, 0.5)) for a in aus},
        "calibration": _checked_calibration(calibration or {}, aus),
        "time": _checked_time(input.frames if time is None else time),
        "precision": {"name": "float32", **(precision or {})},
        "card": dict(card or {}),
        "crop": dict(crop or {}),
        "emotion_mapper": emotion_mapper,
        "about": dict(about or {}),
        **_checked_confidence(confidence_threshold),
        "parts": {
            name: {"sha256": hashlib.sha256(part).hexdigest(), "bytes": len(part)}
            for name, part in parts.items()
        },
    }
    text = json.dumps(_sealed(manifest), indent=1, sort_keys=True, allow_nan=False).encode()
    with replacing(path) as temporary:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file:
            for name, part in {MANIFEST: text, **parts}.items():
                file.writestr(zipfile.ZipInfo(name, _ZIP_EPOCH), part)
    return path


def write_changed(
    bundle: Bundle,
    path: str | Path,
    *,
    weights: Mapping[str, np.ndarray],
    thresholds: Mapping[str, float],
    about: Mapping[str, Any],
) -> Path:
    """Writes a bundle that differs from another in these; all else is kept byte for byte."""
    return write(
        path,
        function=bundle.function,
        weights=weights,
        input=bundle.input,
        aus=bundle.aus,
        emotions=bundle.emotions,
        thresholds=thresholds,
        crop=bundle.crop,
        emotion_mapper=bundle.emotion_mapper,
        about=about,
        calibration=bundle.calibration,
        time=bundle.time,
        precision=bundle.manifest.get("precision"),
        card=bundle.card,
        confidence_threshold=bundle.confidence_threshold,
        statistics=bundle.statistics,
    )


def read(path: str | Path) -> Bundle:
    """Reads a bundle and checks every part of it.

    Raises:
      UserError: the file is missing, not a bundle, of a newer format, or damaged; says which part.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no model file {path}; make one with: jaxfacs export")
    try:
        with zipfile.ZipFile(path) as file:
            manifest = _read_manifest(path, file)
            parts = _read_parts(path, file, manifest)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise UserError(
            f"{path} is damaged or no jaxfacs model ({error}); copy or export it again"
        ) from error
    try:
        return Bundle(
            path=path,
            input=InputSpec(**manifest["input"]),
            aus=tuple(manifest["aus"]),
            emotions=tuple(manifest["emotions"]),
            thresholds_A=np.array([manifest["thresholds"][a] for a in manifest["aus"]]),
            crop=manifest["crop"],
            emotion_mapper=manifest["emotion_mapper"],
            function=parts[NETWORK],
            weights=_unpack(parts[WEIGHTS]),
            manifest=manifest,
            calibration=_checked_calibration(manifest.get("calibration", {}), manifest["aus"]),
            time=_checked_time(manifest.get("time", manifest["input"]["frames"])),
            precision=str(manifest.get("precision", {}).get("name", "float32")),
            card=manifest.get("card", {}),
            statistics=parts.get(STATISTICS),
            **_checked_confidence(manifest.get("confidence_threshold")),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is no valid jaxfacs model ({error}); export it again") from error


def _read_manifest(path: Path, file: zipfile.ZipFile) -> dict[str, Any]:
    text = _member(path, file, MANIFEST)
    try:
        manifest = json.loads(text)
        version = manifest["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, MANIFEST) from error
    if version not in READABLE:
        raise UserError(
            f"{path} has bundle format {version}, this jaxfacs reads up to {FORMAT}; "
            "update jaxfacs or export the model again"
        )
    if manifest != _sealed({k: v for k, v in manifest.items() if k != "sha256"}):
        raise _damaged(path, MANIFEST)
    return manifest


def _read_parts(path: Path, file: zipfile.ZipFile, manifest: dict[str, Any]) -> dict[str, bytes]:
    """Every other member; one error names all that are not what the manifest says."""
    parts, damaged = {}, []
    optional = [STATISTICS] if STATISTICS in manifest.get("parts", {}) else []
    for name in (NETWORK, WEIGHTS, *optional):
        told = manifest.get("parts", {}).get(name, {}).get("sha256")
        try:
            parts[name] = _member(path, file, name)
        except _DamagedError:
            damaged.append(name)
            continue
        if hashlib.sha256(parts[name]).hexdigest() != told:
            damaged.append(name)
    if damaged:
        raise _damaged(path, *damaged)
    return parts


def _member(path: Path, file: zipfile.ZipFile, name: str) -> bytes:
    try:
        info = file.getinfo(name)
    except KeyError as error:
        raise UserError(f"{path} is no jaxfacs model: it has no {name}; export it again") from error
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > _MAX_BYTES[name]:
        raise _damaged(path, name)
    try:
        return file.read(info)
    except (zipfile.BadZipFile, EOFError) as error:
        raise _damaged(path, name) from error


class _DamagedError(UserError):
    """A member that cannot be what was written."""


def _damaged(path: Path, *parts: str) -> UserError:
    told = f"{' and '.join(parts)} {'are' if len(parts) > 1 else 'is'} not what was written"
    return _DamagedError(f"{path} is damaged: {told}; copy or export it again")


def _sealed(manifest: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(manifest, sort_keys=True, allow_nan=False)
    return {**manifest, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _checked_threshold(au: str, value: float) -> float:
    """Rounded as the probabilities of the table are, so that the table can be recomputed."""
    if not 0 <= value <= 1:
        raise ValueError(f"threshold of AU {au} is {value}, not a probability")
    return min(max(round(float(value), 4), 0.0001), 0.9999)


def _checked_confidence(value: float | None) -> dict[str, float]:
    """As a keyword, none where there is no threshold."""
    if value is None:
        return {}
    if not 0 <= value <= 1:
        raise ValueError(f"the threshold of confidence is {value}, not 0 to 1")
    return {"confidence_threshold": round(float(value), 2)}


def _checked_calibration(calibration: Mapping[str, Any], aus: Sequence[str]) -> dict[str, Any]:
    """The same without the AUs that keep their probabilities; ValueError of what is no curve."""
    if unknown := set(calibration) - set(aus):
        raise ValueError(f"there is a calibration of {', '.join(sorted(unknown))}, no AU of these")
    checked = {}
    for au, knots in calibration.items():
        if knots is None:
            continue
        Curve.from_json(knots)
        checked[au] = dict(knots)
    return checked


def _checked_time(time: Any) -> int | str:
    if time != ANY and (not isinstance(time, int) or time < 1):
        raise ValueError(f"time is {time}, neither '{ANY}' nor a number of frames")
    return time


def _pack(weights: Mapping[str, np.ndarray]) -> bytes:
    stored = {}
    for name, array in sorted(weights.items()):
        array = np.asarray(array)
        if array.dtype.name == "bfloat16":
            name, array = name + _BFLOAT16, array.view(np.uint16)
        stored[name] = array
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **stored)
    return buffer.getvalue()


def _unpack(part: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(part), allow_pickle=False) as file:
        stored = {name: file[name] for name in file.files}
    return {
        name.removesuffix(_BFLOAT16): _bfloat16(array) if name.endswith(_BFLOAT16) else array
        for name, array in stored.items()
    }


def _bfloat16(bits: np.ndarray) -> np.ndarray:
    from jax.numpy import bfloat16

    return bits.view(bfloat16)
