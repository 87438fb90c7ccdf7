"""What adaptation without labels is worth: each option of `jaxfacs adapt` and of reading, measured.

    python tools/weights_adaptation.py --out runs/adaptation
    python tools/weights_adaptation.py --out runs/adaptation --workdir runs/default_still

Every row is measured as tools/real_faces.py measures, on the same coded faces. Rows of "all" are on
every coded face; those of "film" on the frames of one film of one person, who can be compared with
himself. What is adapted to is never told a code, though it is the very faces that are measured:
somebody with films of his own has them too. OUT/adaptation.md and .json hold the table.
"""

import argparse
import csv
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import real_faces
from weights_ablation import jaxfacs

from jaxfacs.files import replacing

FILM = "WolfgangLanger_Pexels.mp4"  # the only one in which a person does much and rests too
FILMS = (FILM, "single_face.mp4", "face_noface.mov")


@dataclass(frozen=True)
class Row:
    """One way to adapt and to read.

    Attributes:
      name: in the table.
      on: "all" coded faces, or those of the one "film".
      adapt: options of `jaxfacs adapt`; none: the model as it is.
      to: what it is adapted to: "films", or "everything" that is coded.
      reading: options of `real_faces.score`. "{rest}" is the profile that `--rest` has written.
      mirrored: exported to be asked about the mirror image as well; needs --workdir.
    """

    name: str
    on: str = "all"
    adapt: tuple[str, ...] = ()
    to: str = "films"
    reading: dict[str, Any] = field(default_factory=dict)
    mirrored: bool = False


ROWS = (
    Row("as shipped"),
    Row("face and mirror image", mirrored=True),
    *(
        Row(
            f"statistics of the films, {keep} of the old kept",
            adapt=("--statistics", f"--keep={keep}"),
        )
        for keep in (0.9, 0.5, 0.0)
    ),
    Row("statistics of films and pictures, 0.5 kept", adapt=("--statistics",), to="everything"),
    Row("thresholds by the rates of the renders", adapt=("--thresholds=card",), to="everything"),
    Row("as shipped", on="film"),
    Row("smoothed over 0.2 s", on="film", reading={"smooth_s": 0.2}),
    Row("running median as rest", on="film", reading={"baseline": "median"}),
    Row(
        "rest found by --rest", on="film", adapt=("--rest",), reading={"baseline": "profile:{rest}"}
    ),
    Row("statistics of this film, 0.5 kept", on="film", adapt=("--statistics",)),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for what is adapted")
    parser.add_argument("--model", default="default", help="a bundle, or shipped weights by name")
    parser.add_argument("--workdir", type=Path, help="of the training, for the mirrored row")
    parser.add_argument("--faces", type=Path, default=real_faces.FACES)
    parser.add_argument("--coding", type=Path, default=real_faces.CODING)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    found = []
    for row in ROWS:
        if not row.mirrored or options.workdir:
            found.append(measured(options, row, len(found)))
            print(line(found[-1]), flush=True)
    with replacing(options.out / "adaptation.json") as temporary:
        temporary.write_text(json.dumps(found, indent=1))
    with replacing(options.out / "adaptation.md") as temporary:
        temporary.write_text(table(found))
    return 0


def measured(options: argparse.Namespace, row: Row, number: int) -> dict[str, Any]:
    """Makes a row's model and measures it."""
    model, reading = options.model, dict(row.reading)
    made = options.out / f"{number}.jaxfacs"
    made.unlink(missing_ok=True)
    if row.mirrored:
        jaxfacs("export", "--workdir", options.workdir, "--mirrored", "--out", made)
        model = str(made)
    if row.adapt:
        films = [FILM] if row.on == "film" else FILMS if row.to == "films" else coded(options)
        paths = [options.faces / name for name in films]
        rest = made.with_suffix(".rest.json")
        rest.unlink(missing_ok=True)
        jaxfacs("adapt", *paths, "--model", model, *row.adapt, "--out", made)
        model = str(made)
        if "baseline" in reading:
            reading["baseline"] = reading["baseline"].format(rest=rest)
    name = None if model == "default" else model
    coding = options.coding if row.on == "all" else of_film(options)
    scored = real_faces.score(
        name, faces=options.faces, coding=coding, films=False, draws=20, **reading
    )
    return {"row": row.name, "on": row.on} | summary(scored)


def summary(scored: dict[str, Any]) -> dict[str, Any]:
    """What one row of the table tells of `real_faces.score`."""
    aus = scored["aus"].values()
    aucs = {au: row["auc"] for au, row in scored["aus"].items() if "auc" in row}
    return {
        "auc": aucs,
        "mean_auc": float(np.mean(list(aucs.values()))),
        "present": sum(row["present"] for row in aus),
        "hits": sum(row["hits"] for row in aus),
        "absent": sum(row["absent"] for row in aus),
        "false_alarms": sum(row["false_alarms"] for row in aus),
    }


def coded(options: argparse.Namespace) -> list[str]:
    """Every file of the coding."""
    return sorted({face.file for face in real_faces.read_coding(options.coding)})


def of_film(options: argparse.Namespace) -> Path:
    """The cells of the one film, as a coding of its own."""
    own = options.out / "film.csv"
    with options.coding.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with replacing(own) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row for row in rows if row["file"] == FILM)
    return own


def table(found: list[dict[str, Any]]) -> str:
    """Markdown: a row a way."""
    lines = [
        "| measured on | how | mean AUC (AUs) | found of present | called of absent |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(line, found)]) + "\n"


def line(row: dict[str, Any]) -> str:
    return (
        f"| {row['on']} | {row['row']} | {row['mean_auc']:.3f} ({len(row['auc'])}) "
        f"| {row['hits']} of {row['present']} | {row['false_alarms']} of {row['absent']} |"
    )


if __name__ == "__main__":
    sys.exit(main())
