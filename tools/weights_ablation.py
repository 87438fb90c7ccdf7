"""What each part of the renderer and of the training is worth, on real faces and on rendered ones.

    python tools/weights_ablation.py --head ICT-FaceKit --out runs/ablation
    python tools/weights_ablation.py --head ICT-FaceKit --out runs/ablation --rows naive,all

Each row is a short run of configs/default_still.py: as many stills, as many steps, the same seeds.
The first rows add one kind of variety after another to the naive renderer (synthface/variation.py);
the others take one thing away from the whole. All are measured on the same held-out people with
everything switched on, and on the real faces of tools/real_faces.py. What is there already is not
done again, so an interrupted table goes on; the rows are printed as they come, and OUT/ablation.md
and .json hold them.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import real_faces

from jaxfacs.files import replacing
from jaxfacs.synthface.variation import KINDS

REPOSITORY = Path(__file__).parents[1]
SIZE = 128  # of the stored crops: the network sees 112 of them
WANTED = ("12", "25", "26", "43", "5", "2", "4", "1", "6", "9")  # AUs whose AUC is told


@dataclass(frozen=True)
class Row:
    """One run: what the renderer shows, and what training does otherwise."""

    name: str
    kinds: tuple[str, ...] = KINDS
    train: tuple[str, ...] = ()


def _rows() -> tuple[Row, ...]:
    added = (
        ("naive", ()),
        ("people and range", ("people", "range")),
        ("skin, eyes, mouth", ("skin", "eyes", "mouth")),
        ("hair and things worn", ("hair", "wear")),
        ("backgrounds and shadows", ("background", "shadow")),
        ("camera", ("camera",)),
        ("hands, things, speech", ("occlusion", "speech")),
    )
    rows, kinds = [], ()
    for name, more in added:
        kinds = (*kinds, *more)
        rows.append(Row(f"+ {name}" if more else name, kinds))
    none = {"flip": 0.5, "grey": 0, "noise": 0, "blur": 0, "jpeg": 0, "cutout": 0}
    plain = {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0, "tint": 0}
    augment = [f"--data.augment.{k}={v}" for k, v in (none | plain).items()]
    return (
        *rows,
        Row("no change of colour in training", train=tuple(augment)),
        Row("no landmarks", train=("--loss.landmarks-scale=0",)),
        Row("pictures not standardised", train=("--model.options.standardise=False",)),
        Row("half as wide", train=("--model.width=0.5",)),
        Row("80 pixels", train=("--data.size=80", "--model.options.size=80")),
    )


ROWS = _rows()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--head", type=Path, required=True, help="ICT Face Model Light")
    parser.add_argument("--out", type=Path, required=True, help="folder for records and runs")
    parser.add_argument("--rows", help="some of the rows, with commas between; none: all")
    parser.add_argument("--stills", type=int, default=8000, help="to learn from, in each row")
    parser.add_argument("--steps", type=int, default=750)
    parser.add_argument("--faces", type=Path, default=real_faces.FACES)
    parser.add_argument("--list", action="store_true", help="only print the rows")
    options = parser.parse_args()
    if options.list:
        print("\n".join(row.name for row in ROWS))
        return 0
    wanted = options.rows.split(",") if options.rows else [row.name for row in ROWS]
    if unknown := sorted(set(wanted) - {row.name for row in ROWS}):
        print(f"weights_ablation: no row '{unknown[0]}'; --list prints them", file=sys.stderr)
        return 2
    cv2.setNumThreads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    test = records(options, "test", KINDS, clips=1600, seed=2)
    for row in ROWS:
        if row.name in wanted:
            print(line(measured(options, row, test)), flush=True)
    found = [read(path(options, row)) for row in ROWS if path(options, row).is_file()]
    with replacing(options.out / "ablation.json") as temporary:
        temporary.write_text(json.dumps(found, indent=1))
    with replacing(options.out / "ablation.md") as temporary:
        temporary.write_text(table(found))
    print(table(found))
    return 0


def measured(options: argparse.Namespace, row: Row, test: Path) -> dict[str, Any]:
    """Trains and measures a row, or reads what was measured before."""
    result = path(options, row)
    if result.is_file():
        return read(result)
    kinds = "all" if row.kinds == KINDS else "-".join(row.kinds) or "none"
    source = records(options, f"train-{kinds}", row.kinds, clips=options.stills, seed=1)
    run = result.parent
    jaxfacs(
        *("train", REPOSITORY / "configs/default_still.py", "--workdir", run),
        *("--data.source", source, "--steps", options.steps, "--optim.warmup-steps", 100),
        *("--evaluation.every", 0, "--checkpoint.every", 250, "--ema", 0.99, *row.train),
    )
    jaxfacs("evaluate", "--workdir", run, "--source", test, "--split", "test")
    bundle = run / "network.jaxfacs"
    if not bundle.is_file():
        jaxfacs("export", "--workdir", run, "--out", bundle, "--no-adaptable")
    report = json.loads(next((run / "evaluation/test").glob("*/report.json")).read_text())
    faces = real_faces.score(bundle, faces=options.faces, films=False)
    found = {
        "row": row.name,
        "rendered_map": report["mean"]["average_precision"]["value"],
        "rendered_icc": report["intensity"]["mean"]["icc"]["value"],
        "auc": {au: faces["aus"][au]["auc"] for au in WANTED if au in faces["aus"]},
        "present": {au: faces["aus"][au]["present"] for au in WANTED if au in faces["aus"]},
        "fires_on_neutral": faces["neutral"]["on_most"],
    }
    with replacing(result) as temporary:
        temporary.write_text(json.dumps(found))
    return found


def records(
    options: argparse.Namespace, name: str, kinds: tuple[str, ...], *, clips: int, seed: int
) -> Path:
    """The record set of these kinds of variety; renders it where it is not there."""
    out = options.out / "records" / name
    if not out.is_dir():
        without = ",".join(kind for kind in KINDS if kind not in kinds)
        shares = (0.02, 0.02) if name != "test" else (0.01, 0.98)
        jaxfacs(
            *("data", "build", "synthface", "--head", options.head, "--frames", 1),
            *("--clips", clips, "--seed", seed, "--detector", "none", "--size", SIZE),
            *("--validation", shares[0], "--test", shares[1], "--out", out),
            *(("--without", without) if without else ()),
        )
    return out


def jaxfacs(*words: object) -> None:
    """Runs one command of this package, which is printed as it could be typed."""
    texts = [str(word) for word in words]
    print("$ jaxfacs " + " ".join(texts), file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "jaxfacs", *texts], check=True, stdout=sys.stderr)


def path(options: argparse.Namespace, row: Row) -> Path:
    name = "".join(c if c.isalnum() else "-" for c in row.name).strip("-")
    return options.out / "runs" / name / "measured.json"


def read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text())


def table(found: list[dict[str, Any]]) -> str:
    """Markdown: a row a run."""
    if not found:
        return ""
    counts = found[0]["present"]
    heads = [f"{au} ({counts[au]})" if au in counts else au for au in WANTED]
    lines = [
        f"| renderer and training | renders: AP | ICC | {' | '.join(heads)} | mean | on neutral |",
        "|" + "---|" * (len(WANTED) + 5),
    ]
    return "\n".join([*lines, *map(line, found)]) + "\n"


def line(found: dict[str, Any]) -> str:
    """One row of the table; AUCs of real faces, AUs that fire on most neutral ones."""
    aucs = [found["auc"].get(au) for au in WANTED]
    told = [f"{auc:.2f}" if auc is not None else "-" for auc in aucs]
    mean = np.mean([auc for auc in aucs if auc is not None])
    fires = " ".join(found["fires_on_neutral"]) or "none"
    return (
        f"| {found['row']} | {found['rendered_map']:.2f} | {found['rendered_icc']:.2f} | "
        f"{' | '.join(told)} | {mean:.3f} | {fires} |"
    )


if __name__ == "__main__":
    sys.exit(main())
