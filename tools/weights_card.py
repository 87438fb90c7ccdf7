"""Writes the model card of shipped weights, from measurements alone.

    python tools/weights_card.py --workdir runs/default_still --records data/stills \
        --model jaxfacs/weights/default.jaxfacs --head ICT-FaceKit --faces ../shared/data/faces \
        --out jaxfacs/weights/MODEL_CARD.md

The bundle itself answers about the test split of the records (rendered people that it never saw),
and `tools/real_faces.py` asks it about real faces; the card says what came of it, in numbers per
AU and per group, and shows renders that it reads wrongly. Beside the card two pictures of rendered
faces are written to `--images`. The same files give the same card.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import real_faces
import weights_card_measure as measuring
import weights_card_rows as asking
from weights_card_rows import Rows
from weights_card_text import markdown

from jaxfacs.convert import model_card
from jaxfacs.data import people, records
from jaxfacs.data.records import RecordSet
from jaxfacs.errors import UserError
from jaxfacs.infer import compiled, shipped
from jaxfacs.infer.predictor import Predictor, load
from jaxfacs.synthface.variation import KINDS, Variation
from jaxfacs.train.checkpoint import folder_of, read_manifest

ACROSS, RENDERS, WRONG = 8, 16, 24  # pictures of a sheet
MOST_BYTES = 150_000  # of a sheet
_SIDES = (112, 104, 96, 88, 80, 72, 64)  # pixels, until a sheet is small enough
_LINE = 11
BANDS_OF_PEOPLE = ("melanin", "years", "male")


def card(
    model: Path,
    data: Path,
    *,
    workdir: Path | None,
    head: str | None,
    faces: Path | None,
    split: str = "test",
    draws: int = measuring.DRAWS,
) -> tuple[dict[str, Any], Rows]:
    """All that the card says (`weights_card_text.markdown`), and the rows for its pictures.

    Args:
      model: the bundle.
      data: the folder of rendered records; those it learned from, whose `split` it did not.
      workdir: of its training: says who was learned from, and what `jaxfacs evaluate` measured.
      head: folder of the head that the records show; only needed for records that do not say who
        is seen.
      faces: folder of the real faces; None: nothing is said of them.
      split: of the records.
      draws: of the bootstraps.
    """
    predictor, opened = load(model, batch=asking.BATCH), records.open_set(data)
    opened.require_split(split)
    checked = refuse_seen(predictor, opened, split, workdir)
    known, source = asking.facts(opened, split, head)
    rows = asking.read(predictor, opened, split, known)
    least = predictor.bundle.confidence_threshold or 0.0
    real = None
    if faces is not None:
        found = real_faces.score(model, faces=faces)
        real = {key: value for key, value in found.items() if key != "crops"}
    told = {
        "network": network(predictor, opened, split, workdir),
        "data": learned(predictor, opened, split) | {"facts": source, "people_checked": checked},
        "held_out": measuring.measure(rows, least_confidence=least, draws=draws),
        "failures": measuring.failures(rows, WRONG),
        "real": real,
        "pictures": {},
    }
    return told, rows


def network(
    predictor: Predictor, opened: RecordSet, split: str, workdir: Path | None
) -> dict[str, Any]:
    """What the file is."""
    bundle, sets = predictor.bundle, predictor.bundle.card.get("data", [])
    about, spec = bundle.manifest["about"], bundle.input
    experiment = about.get("experiment", {})
    _, outputs = compiled.described(bundle)
    return {
        "name": bundle.path.stem,
        "frames": spec.frames,
        "size": spec.size,
        "crop": dict(bundle.crop),
        "detector": Path(predictor.detector_name).name,
        "outputs": sorted(outputs),
        "aus": list(bundle.aus),
        "emotions": list(bundle.emotions),
        "model": about.get("model", "unknown"),
        "parameters": about.get("parameters", sum(w.size for w in bundle.weights.values())),
        "precision": bundle.precision,
        "bytes": bundle.path.stat().st_size,
        "step": about.get("step", "unknown"),
        "batch": experiment.get("data", {}).get("batch_size", "unknown"),
        "jaxfacs": about.get("jaxfacs", "unknown"),
        "sha256": bundle.digest,
        "rendered_only": bool(sets)
        and all(part["name"] == model_card.RENDERED for part in sets)
        and not {"converted", "started_from"} & about.keys(),
        "head": opened.card["settings"].get("head", ""),
        "adapts": bundle.statistics is not None,
        "report": None if workdir is None else report(workdir, split, about.get("step")),
    }


def report(workdir: Path, split: str, step: int | None) -> dict[str, Any] | None:
    """What `jaxfacs evaluate` measured of this step; None where it did not."""
    path = workdir / "evaluation" / split / str(step) / "report.json"
    if not path.is_file():
        return None
    told = json.loads(path.read_text())
    calibration = told.get("calibration", {}).get("mean", {})
    return {
        "ap": told["mean"]["average_precision"]["value"],
        **{
            f"ece_{when}": calibration.get(f"ece_{when}", {}).get("value")
            for when in ("before", "after")
        },
    }


def learned(predictor: Predictor, opened: RecordSet, split: str) -> dict[str, Any]:
    """What it learned from; what the training split shows, if that is of these records."""
    settings, sets = opened.card["settings"], predictor.bundle.card.get("data", [])
    train, bands = None, []
    if opened.digest in {part.get("digest") for part in sets}:
        train = asking.counts(opened, predictor.aus)
    of_people = train.pop("of_people") if train else {}
    for grouping in measuring.GROUPINGS:
        if grouping.name in BANDS_OF_PEOPLE and grouping.name in of_people:
            count_B, _ = np.histogram(of_people[grouping.name], bins=grouping.edges)
            bands.append((grouping.title, list(zip(grouping.bands, count_B.tolist(), strict=True))))
    left_out = list(settings.get("without", ()))
    return {
        "digest": opened.digest,
        "sets": sets,
        "train": train and train | {"bands": bands},
        "held_out_people": len(opened.subjects[split]),
        "varies": {kind: text for kind, text in varieties().items() if kind not in left_out},
        "left_out": left_out,
    }


def varieties() -> dict[str, str]:
    """Kind of variety -> in words, as `Variation` tells them."""
    found: dict[str, str] = {}
    kind = ""
    for line in (Variation.__doc__ or "").split("Attributes:")[-1].splitlines():
        name, colon, text = line.strip().partition(": ")
        if colon and name in KINDS:
            kind, found[name] = name, text
        elif kind and line.strip():
            found[kind] += f" {line.strip()}"
    return {kind: text.split("; without")[0].rstrip(".") for kind, text in found.items()}


def refuse_seen(predictor: Predictor, opened: RecordSet, split: str, workdir: Path | None) -> str:
    """Raises UserError where somebody of the split was learned from; says how that is known."""
    about = predictor.bundle.manifest["about"]
    folder = None if workdir is None else folder_of(workdir) / str(about.get("step"))
    if folder is None or not folder.is_dir():
        return "not checked"
    manifest = read_manifest(folder)
    if manifest["sha256"] != about.get("checkpoint_sha256"):
        raise UserError(
            f"{predictor.bundle.path} is not of step {about.get('step')} of {workdir}; give the "
            "workdir that it was exported from"
        )
    if manifest["data"]["digest"] == opened.digest:
        return "digest"
    seen = manifest["data"].get("seen", {})
    people.refuse_seen(seen, [(opened, split)], remedy="take the records it was trained on")
    return "manifest" if seen else "not checked"


def failure_sheet(rows: Rows, failures: Sequence[Mapping[str, Any]], side: int) -> np.ndarray:
    """RGB: each with what is wrong above, and what is true and said below."""
    cells = []
    for wrong in failures:
        kind = "false" if wrong["false"] else "missed"
        above = [f"{kind} {wrong['au']} {wrong['probability']:.2f}".replace(" 0.", " .")]
        below = [f"T {_short(wrong['truth'], side)}", f"S {_short(wrong['said'], side)}"]
        cells.append(_cell(rows.jpeg_N[wrong["row"]], side, above, below))
    return _sheet(cells)


def render_sheet(rows: Rows, side: int) -> np.ndarray:
    """RGB: pictures of different people with what is true of them."""
    _, first = np.unique(rows.person_N, return_index=True)
    chosen = np.random.default_rng(0).permutation(first)[:RENDERS]
    cells = []
    for n in chosen:
        pairs = zip(rows.aus, rows.occurrence_NA[n], strict=True)
        truth = [au for au, y in pairs if y == 1 and au[0] not in "LR"]
        cells.append(_cell(rows.jpeg_N[n], side, [], [_short(truth, side)]))
    return _sheet(cells)


def _cell(jpeg: bytes, side: int, above: Sequence[str], below: Sequence[str]) -> np.ndarray:
    image = cv2.resize(asking.decoded(jpeg), (side, side), interpolation=cv2.INTER_AREA)
    return np.vstack([_lines(above, side, (170, 0, 0)), image, _lines(below, side, (20, 20, 20))])


def _lines(texts: Sequence[str], side: int, colour: tuple[int, int, int]) -> np.ndarray:
    band = np.full((_LINE * len(texts), side, 3), 245, np.uint8)
    for row, text in enumerate(texts):
        at = (1, 9 + _LINE * row)
        cv2.putText(band, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.3, colour, 1, cv2.LINE_AA)
    return band


def _short(aus: Sequence[str], side: int) -> str:
    """As many as fit below a picture."""
    text, most = "+".join(aus) or "none", side // 7
    return text if len(text) <= most else text[: most - 2] + ".."


def _sheet(cells: Sequence[np.ndarray]) -> np.ndarray:
    cells = list(cells)
    cells += [np.full_like(cells[0], 245)] * (-len(cells) % ACROSS)
    return np.vstack([np.hstack(cells[i : i + ACROSS]) for i in range(0, len(cells), ACROSS)])


def write_small(path: Path, drawn: Any) -> None:
    """The largest PNG of `drawn(side)` that has at most MOST_BYTES.

    Values are rounded to multiples of eight, which no eye sees in a small picture.
    """
    data = b""
    for side in _SIDES:
        image = np.minimum(drawn(side), 247) + 4 & 0xF8
        data = cv2.imencode(".png", image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
        if len(data) <= MOST_BYTES:
            break
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, default=shipped.FOLDER / "default.jaxfacs")
    parser.add_argument("--workdir", type=Path, help="of the training that it was exported from")
    parser.add_argument("--records", type=Path, required=True, help="rendered records")
    parser.add_argument("--head", help="folder of the head that they show")
    parser.add_argument("--faces", type=Path, default=real_faces.FACES, help="real faces")
    parser.add_argument("--no-faces", action="store_true", help="leave real faces out")
    parser.add_argument("--out", type=Path, default=shipped.FOLDER / "MODEL_CARD.md")
    parser.add_argument("--images", type=Path, default=Path(__file__).parents[1] / "docs/images")
    parser.add_argument("--json", type=Path, help="write the measurements there")
    options = parser.parse_args(argv)
    cv2.setNumThreads(1)
    try:
        told, rows = card(
            options.model,
            options.records,
            workdir=options.workdir,
            head=options.head,
            faces=None if options.no_faces else options.faces,
        )
    except UserError as error:
        print(f"weights_card: {error}", file=sys.stderr)
        return 2
    name = told["network"]["name"]
    sheets = {"renders": lambda side: render_sheet(rows, side)}
    if told["failures"]:
        sheets["failures"] = lambda side: failure_sheet(rows, told["failures"], side)
    for kind, drawn in sheets.items():
        path = options.images / f"weights_{name}_{kind}.png"
        write_small(path, drawn)
        told["pictures"][kind] = Path(os.path.relpath(path, options.out.parent)).as_posix()
    options.out.write_text(markdown(told))
    if options.json:
        options.json.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")
    print(f"{options.out}: {told['held_out']['rows']} pictures of {name} measured")
    return 0


if __name__ == "__main__":
    sys.exit(main())
