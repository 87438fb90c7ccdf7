"""`jaxfacs adapt`: a model made to fit films that nobody labelled."""

import dataclasses
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from jaxfacs import __version__
from jaxfacs.emotion import person as profiles
from jaxfacs.errors import UserError
from jaxfacs.infer import adapt as adapting
from jaxfacs.infer import bundle as bundles
from jaxfacs.infer import compiled, shipped
from jaxfacs.infer.bundle import Bundle
from jaxfacs.infer.predictor import Predictor
from jaxfacs.infer.sources import source as sources
from jaxfacs.infer.sources.source import Source
from jaxfacs.progress import track

_BLOCK = 1 << 20
_SHOWN = 5  # layers that moved most


def adapt(
    films: tyro.conf.Positional[list[str]],
    /,
    *,
    out: Path,
    model: str = shipped.DEFAULT,
    statistics: bool = False,
    keep: float = 0.5,
    thresholds: str = "",
    rest: bool = False,
    detector: str | None = None,
    batch: int | None = None,
) -> int:
    """Fit a model to films that nobody labelled: your cameras, your people.

    jaxfacs adapt films/ --statistics --out mine.jaxfacs

    jaxfacs adapt film.mp4 --thresholds 12=0.3,4=0.1 --out mine.jaxfacs

    jaxfacs adapt ana.mp4 --rest --out ana.jaxfacs

    The films are read as `jaxfacs predict` reads them; nothing is learned by gradients, and
    nothing leaves this machine. Which of these help is for you to measure, on films that you did
    label: a film in which one face does one thing all the time makes a model worse.

    Args:
      films: films, pictures, folders of them
      out: the model to write, by custom *.jaxfacs
      model: what to adapt: a .jaxfacs file, or the name of weights that come with the package
      statistics: re-estimate what its layers normalise by on the faces of the films
      keep: share of the old statistics that stays: 1 all, 0 nothing
      thresholds: set each AU's threshold so that it is called as often in the films as it is known
        to occur: AU=RATE,AU=RATE, or card: as often as in what the model was measured on
      rest: write the resting face of the one person in the films to OUT.rest.json, for
        jaxfacs predict --baseline profile:OUT.rest.json
      detector: haar, or the path of a YuNet .onnx file; default: as the model's records were cut
      batch: clips that the network reads at once (8 on a CPU, 64 elsewhere)
    """
    if not (statistics or thresholds or rest):
        raise UserError("nothing to adapt; give --statistics, --thresholds or --rest")
    if not 0 <= keep <= 1:
        raise UserError(f"--keep is {keep:g}; give 0 (nothing of the old statistics) to 1 (all)")
    if out.is_dir():
        raise UserError(f"{out} is a folder; give --out a file name, as in mine.jaxfacs")
    bundle = bundles.read(shipped.find(model))
    wanted = adapting.rates(thresholds, bundle) if thresholds else {}
    run = compiled.statistics(bundle) if statistics else None
    found = _found(films)
    told: dict[str, Any] = {
        "from": bundle.digest,
        "jaxfacs": __version__,
        "films": [_described(source) for source in found],
    }
    predictor = Predictor(bundle, detector=detector, batch=batch)
    told["detector"] = Path(predictor.detector_name).name
    made = bundle
    if run is not None:
        weights, told["statistics"] = _statistics(predictor, run, films, keep)
        made = dataclasses.replace(bundle, weights=weights)
        predictor = Predictor(made, detector=detector, batch=batch)
    person = None
    chosen = dict(zip(bundle.aus, bundle.thresholds_A.tolist(), strict=True))
    if wanted or rest:
        answered = _answers(predictor, films, told["films"])
        if wanted:
            changed = _thresholds(answered, bundle, wanted, told)
            chosen |= changed
        if rest:
            person = _rest(answered, predictor, found)
            told["rest"] = {"frames": person.frames, "source": person.source}
    about = bundle.manifest["about"]
    about = {**about, "adapted": [*about.get("adapted", ()), told]}
    bundles.write_changed(made, out, weights=made.weights, thresholds=chosen, about=about)
    print(f"{bundle.path.name}, adapted to {_counted(len(found), 'film')} -> {out}")
    if person is not None:
        profile = out.with_suffix(".rest.json")
        profiles.save(person, profile)
        print(f"{person.name}: rest from {person.source} -> {profile}")
    return 0


def _found(films: list[str]) -> list[Source]:
    """The films; they are read more than once, and each time found anew."""
    found = sources.find(films)
    if not found:
        raise UserError("no film to adapt to; name films, pictures, or folders of them")
    for source in found:
        if source.live or (source.path is None and not source.pictures):
            raise UserError(
                f"{source.origin} cannot be read twice, as adapting must; save it as a film first"
            )
    return found


def _described(source: Source) -> dict[str, Any]:
    """Name and sha256 of a film, or of the pictures of a folder one after the other."""
    digest = sha256()
    for path in source.pictures or (source.path,):
        assert path is not None
        try:
            with path.open("rb") as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror})") from error
    return {"file": source.path.name if source.path else source.name, "sha256": digest.hexdigest()}


def _statistics(
    predictor: Predictor, run: Any, films: list[str], keep: float
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    bundle, found = predictor.bundle, sources.find(films)
    most = max(adapting.LEAST, adapting.MOST_FRAMES // bundle.input.frames // len(found))
    clips: list[np.ndarray] = []
    for source in track(found, label="gathering faces", unit="film"):
        clips += adapting.clips_of(predictor, source, most).clips
    new = adapting.statistics(run, bundle, clips)
    moved = adapting.moved(bundle.weights, new)
    print(f"statistics of {_counted(len(clips), 'clip')}, {keep:g} of the old ones kept; farthest:")
    for layer, (shift, ratio) in sorted(moved.items(), key=lambda item: -item[1][0])[:_SHOWN]:
        print(f"  {layer:<36} mean by {shift:.2f} deviations, deviation times {ratio:.2f}")
    return (
        adapting.mixed(bundle.weights, new, keep),
        {"clips": len(clips), "keep": keep, "moved": moved},
    )


def _answers(
    predictor: Predictor, films: list[str], told: list[dict[str, Any]]
) -> list[adapting.Answered]:
    read = []
    for number, source in enumerate(track(sources.find(films), label="reading", unit="film")):
        answered = adapting.read(predictor, source)
        told[number] |= {"frames": answered.frames, "faces": len(answered.faces)}
        read.append(answered)
    return read


def _thresholds(
    read: list[adapting.Answered], bundle: Bundle, wanted: dict[str, float], told: dict[str, Any]
) -> dict[str, float]:
    faces = [face for answered in read for face in answered.faces]
    if len(faces) < adapting.LEAST:
        raise UserError(
            f"only {len(faces)} faces are in these films, and thresholds need {adapting.LEAST}; "
            "give longer films, or more"
        )
    p_NA = np.stack([face.probability_A for face in faces])
    made, told["thresholds"] = {}, {}
    print(f"{'AU':>4} {'rate':>7} {'called':>7} {'now':>7}  threshold, of {len(faces)} faces")
    for au, rate in wanted.items():
        a = bundle.aus.index(au)
        before = float(bundle.thresholds_A[a])
        made[au] = adapting.matched(p_NA[:, a], rate)
        called, now = (float((p_NA[:, a] >= t).mean()) for t in (before, made[au]))
        told["thresholds"][au] = {"rate": rate, "from": before, "called": round(now, 4)}
        print(f"{au:>4} {rate:7.3f} {called:7.3f} {now:7.3f}  {before:.4f} -> {made[au]:.4f}")
    return made


def _rest(
    read: list[adapting.Answered], predictor: Predictor, found: list[Source]
) -> profiles.Person:
    faces = [face for answered in read for face in answered.longest()]
    several = any(len({f.face_id for f in answered.faces}) > 1 for answered in read)
    where = ", ".join(source.path.name if source.path else source.name for source in found)
    source = f"{where}, a fifth of the frames" + (" of the face there longest" if several else "")
    return adapting.rest_of(faces, predictor.aus, name=found[0].name, source=source)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
