"""`jaxfacs predict`: films, pictures, folders or a pipe in; tables, origins and overlays out."""

import contextlib
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import tyro

from jaxfacs import __version__
from jaxfacs.errors import UserError
from jaxfacs.infer import overlay_file
from jaxfacs.infer import source as sources
from jaxfacs.infer import table as tables
from jaxfacs.infer.files import replacing
from jaxfacs.infer.predictor import Predictor, load
from jaxfacs.infer.source import Source
from jaxfacs.progress import track


def predict(
    inputs: tyro.conf.Positional[list[str]],
    /,
    *,
    model: Path,
    out: Path,
    overlay: bool = False,
    detector: str | None = None,
    fps: float | None = None,
    pipe_size: Annotated[str | None, tyro.conf.arg(metavar="WIDTHxHEIGHT")] = None,
    hop: int | None = None,
    batch: int | None = None,
) -> int:
    """Read Action Units and emotions out of films and pictures.

    For each input writes OUT/NAME.csv (OpenFace's columns, then probabilities, and affect and
    emotions where the model has them; one row per face and frame, success 0 where there is no face)
    and OUT/NAME.json (model, thresholds,
    versions, warnings). Exit code 2, with one line that says why, if an input cannot be read; a
    film that breaks off gives the rows up to there, and a warning.

    Args:
      inputs: films, pictures, folders of them; - is a pipe of JPEGs (ffmpeg -i X -f mjpeg -), or of
        raw RGB with --pipe-size (ffmpeg -i X -f rawvideo -pix_fmt rgb24 -)
      model: the .jaxfacs file that `jaxfacs export` wrote
      out: folder for the results; made if it is missing
      overlay: also write OUT/NAME.overlay.mp4 (.jpg for pictures): boxes, bars, active regions
      detector: haar, or the path of a YuNet .onnx file; default: as the model's records were cut
      fps: frames a second of a pipe (25), or of a folder of pictures that are frames of one film
      pipe_size: the pipe is raw RGB of this size, as in 640x480
      hop: frames between two questions to the network; small is exact, large is fast
      batch: clips that the network reads at once (8 on a CPU, 64 elsewhere)
    """
    if not inputs:
        raise UserError("nothing to read; name films, pictures or folders, or - for a pipe")
    size = _parse_size(pipe_size) if pipe_size else None
    found = sources.find(inputs, fps=fps, pipe_size=size, on_skip=_warn)
    if overlay and any(s.path is None for s in found):
        raise UserError("a pipe cannot be read twice, as --overlay must; save it as a film first")
    predictor = load(model, detector=detector, batch=batch)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{out} cannot be a folder ({error.strerror}); choose another --out"
        ) from error
    for source, name in zip(found, _names(found), strict=True):
        _read_one(predictor, source, out, name, overlay=overlay, hop=hop)
    return 0


def _read_one(
    predictor: Predictor, source: Source, out: Path, name: str, *, overlay: bool, hop: int | None
) -> None:
    """One source into its table, origin and overlay."""
    table_path = out / f"{name}.csv"
    names = tuple(p.name for p in source.pictures) if len(source.pictures) > 1 else ()
    labels = {"aus": predictor.aus, "emotions": predictor.emotions}
    counts: Counter[str] = Counter()
    seen: set[int] = set()
    with contextlib.ExitStack() as stack:
        affect = predictor.valence_arousal
        table = tables.writing(table_path, names=names, valence_arousal=affect, **labels)
        sinks = [stack.enter_context(table)]
        if overlay:
            sinks.append(stack.enter_context(overlay_file.writing(out, name, source, **labels)))
        results = predictor.read(source, hop=hop)
        for result in track(results, label=f"reading {name}", total=source.total, unit="frame"):
            for sink in sinks:
                sink(result)
            counts["frames"] += 1
            counts["frames_with_face"] += bool(result.faces)
            counts["unreadable_frames"] += not result.readable
            seen.update(face.face_id for face in result.faces)
    if sources.ends_early(source, counts["frames"]):
        _warn(
            f"{source.path} ends early: {counts['frames']} of {source.total} frames could be read"
        )
    for text in source.warnings if counts["unreadable_frames"] or source.path is None else ():
        _warn(text)
    origin = {
        "input": str(source.path or "pipe"),
        **{k: counts[k] for k in ("frames", "frames_with_face", "unreadable_frames")},
        "faces": None if source.still else len(seen),
        "warnings": source.warnings,
        "jaxfacs": __version__,
        "settings": predictor.settings,
        "model": {
            "file": predictor.bundle.path.name,
            "sha256": predictor.bundle.digest,
            "about": predictor.bundle.manifest["about"],
        },
    }
    with replacing(out / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(origin, indent=1) + "\n")
    print(
        f"{source.path or 'pipe'}: {counts['frames']} frames, "
        f"{counts['frames_with_face']} with a face -> {table_path}"
    )


def _names(found: list[Source]) -> list[str]:
    """A name for each source's results; the file's whole name, then a number, where they clash."""
    stems = Counter(s.name for s in found)
    names: list[str] = []
    for source in found:
        name = source.name
        if stems[name] > 1 and source.path is not None:
            name = source.path.name
        number, base = 2, name
        while name in names:
            name, number = f"{base}-{number}", number + 1
        names.append(name)
    return names


def _parse_size(text: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(p.isdigit() and 0 < int(p) <= 16384 for p in parts):
        raise UserError(f"--pipe-size {text} is not WIDTHxHEIGHT, as in 640x480")
    return int(parts[0]), int(parts[1])


def _warn(text: str) -> None:
    print(f"jaxfacs predict: {text}", file=sys.stderr)
