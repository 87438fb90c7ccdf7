"""Runs a model on real faces that were coded by eye, and says per AU what it found.

    python tools/real_faces.py                                   # the weights that are shipped
    python tools/real_faces.py --model my.jaxfacs --json measured.json --sheet faces.png
    python tools/real_faces.py --detector ../shared/data/yunet/face_detection_yunet_2023mar.onnx

`--coding` has the columns file, frame, x, y, au, code, why, person: a row a cell, whose face has
its centre at (x, y) pixels; `frame` counts from 1 as in the tables of `jaxfacs predict`, and is
empty for pictures. `code` is 1 (present) or 0 (absent); what nobody is sure of has no row. `person`
tells recordings apart: one photograph in two sizes is one person, and so are two films of one
scene. `--blinks` has file, first, last, sure: the frames in which the eyes are shut (sure 1), or
half shut or cast down (0: an answer there counts neither way). Two coders worked apart, before any
network was looked at, and only cells that both coded alike are there. The coding is never changed
to please a network.

The faces are read as `jaxfacs predict` reads them: pictures as stills, films as films. A coded face
that the detector does not find is counted as missed, and in no other number.
"""

import argparse
import csv
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from real_faces_films import Blink, of_film
from real_faces_text import lines, sheet

from jaxfacs.errors import UserError
from jaxfacs.evaluate import metrics
from jaxfacs.infer.answers import AnswerSettings
from jaxfacs.infer.predictor import Predictor, load
from jaxfacs.infer.results import FaceResult, FrameResult
from jaxfacs.infer.sources import source as sources

DATA = Path(__file__).parents[2] / "shared/data"
FACES, YUNET = DATA / "faces", DATA / "yunet/face_detection_yunet_2023mar.onnx"
CODING = Path(__file__).with_name("real_faces.csv")
BLINKS = Path(__file__).with_name("real_faces_blinks.csv")
# Where the network answers only the one, it stands for the other: eyes closed, eyes that blink.
SAME = {"43": "45", "45": "43"}
# A face is neutral where all of these that were coded are absent, and so many were coded.
NEUTRAL = frozenset("1 2 4 5 6 9 10 12 15 17 18 20 22 25 26".split())
NEUTRAL_CODED = 8
DRAWS = 2000  # of the bootstrap: the ends of an interval of 95 % are then good to two digits


@dataclass(frozen=True, eq=False)
class Coded:
    """One face that was coded: where it is, whose it is, and AU -> 1 or 0."""

    file: str
    frame: int | None
    xy: tuple[float, float]
    person: str
    codes: Mapping[str, int]

    @property
    def name(self) -> str:
        """As in "obama.jpg" or "film.mp4 frame 7"; of several in a picture, with their place."""
        frame = "" if self.frame is None else f" frame {self.frame}"
        return f"{self.file}{frame} at {self.xy[0]:.0f},{self.xy[1]:.0f}"

    @property
    def neutral(self) -> bool:
        codes = [code for au, code in self.codes.items() if au in NEUTRAL]
        return len(codes) >= NEUTRAL_CODED and not any(codes)


def score(
    model: str | Path | None = None,
    *,
    faces: Path = FACES,
    coding: Path = CODING,
    blinks: Path | None = BLINKS,
    detector: str | None = None,
    yunet: Path = YUNET,
    films: bool = True,
    draws: int = DRAWS,
    baseline: str = "none",
    smooth_s: float = 0.0,
) -> dict[str, Any]:
    """Everything that was measured, JSON-able; `real_faces_text.lines` makes text of it.

    Args:
      model: a bundle, or the name of weights that are shipped; None: the default ones.
      faces: folder of the pictures and films.
      coding, blinks: see the head of this file; blinks None: films are not searched for them.
      detector: "haar" or the path of a YuNet .onnx file; None: what `jaxfacs predict` takes.
      yunet: for the head's turns in films; where it is missing they are left out.
      films: False leaves out what is measured of films besides their coded frames.
      draws: of the bootstrap.
      baseline, smooth_s: as `jaxfacs predict` takes them; of films alone.
    """
    settings = AnswerSettings(baseline=baseline, smooth_s=smooth_s)
    predictor = load(detector=detector) if model is None else load(model, detector=detector)
    coded = read_coding(coding)
    closed = read_blinks(blinks) if blinks is not None and blinks.is_file() else {}
    wanted = {face.file for face in coded} | (set(closed) if films else set())
    read = _read(predictor, faces, sorted(wanted), settings)
    answers = [_found(face, read[face.file]) for face in coded]
    seen = [(f, a) for f, a in zip(coded, answers, strict=True) if a is not None]
    missed = [f.name for f, a in zip(coded, answers, strict=True) if a is None]
    labels = sorted({au for face in coded for au in face.codes}, key=_order)
    answered = {au: own for au in labels if (own := _own(au, predictor.aus)) is not None}
    aus = {au: _of_au(au, predictor, own, seen, coded, draws) for au, own in answered.items()}
    result = {
        "model": predictor.bundle.path.name,
        "sha256": predictor.bundle.digest,
        "detector": Path(predictor.detector_name).name,
        "faces": {
            "coded": len(coded),
            "found": len(seen),
            "missed": missed,
            "unsure": [face.name for face, answered in seen if answered.unsure],
        },
        "people": len({face.person for face in coded}),
        "aus": aus,
        "not_answered": [au for au in labels if au not in answered],
        "neutral": _neutral(predictor, seen),
        "films": {},
    }
    if films:
        moving = sorted(f for f in wanted if len(read[f]) > 1)
        result["films"] = {
            file: of_film(predictor, faces / file, read[file], closed.get(file), yunet)
            for file in moving
        }
    result["crops"] = _crops(faces, seen, aus)
    return result


def read_coding(path: Path) -> list[Coded]:
    """The faces of a coding, in the order of the file."""
    faces: dict[tuple, dict[str, int]] = {}
    people: dict[tuple, str] = {}
    for number, row in enumerate(_rows(path, "file", "frame", "x", "y", "au", "code"), 2):
        try:
            frame = int(row["frame"]) if row["frame"] else None
            key = (row["file"], frame, (float(row["x"]), float(row["y"])))
            code = int(row["code"])
        except ValueError as error:
            raise UserError(f"{path} line {number}: {error}; give numbers") from error
        if code not in (0, 1):
            raise UserError(f"{path} line {number}: code {code}; give 1, 0, or leave the row out")
        codes = faces.setdefault(key, {})
        if row["au"] in codes:
            raise UserError(f"{path} line {number}: AU {row['au']} of this face stands there twice")
        codes[row["au"]] = code
        people[key] = row.get("person") or row["file"]
    return [Coded(*key, people[key], codes) for key, codes in faces.items()]


def read_blinks(path: Path) -> dict[str, list[Blink]]:
    """File -> each time that the eyes close."""
    found: dict[str, list[Blink]] = {}
    for row in _rows(path, "file", "first", "last", "sure"):
        blink = Blink(int(row["first"]), int(row["last"]), row["sure"] == "1")
        found.setdefault(row["file"], []).append(blink)
    return found


def _rows(path: Path, *columns: str) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error
    if lacking := set(columns) - set(reader.fieldnames or ()):
        raise UserError(f"{path} lacks the columns {', '.join(sorted(lacking))}")
    return rows


def _read(
    predictor: Predictor, folder: Path, files: Sequence[str], settings: AnswerSettings
) -> dict[str, list[FrameResult]]:
    """File -> its frames' results, as `jaxfacs predict` makes them."""
    if lacking := [file for file in files if not (folder / file).is_file()]:
        raise UserError(f"{folder} lacks {', '.join(lacking)}; give the folder with --faces")
    found = sources.find([str(folder / file) for file in files])
    read: dict[str, list[FrameResult]] = {file: [] for file in files}
    for index, result in predictor.read_many(found, at_once=2, settings=settings):
        read[files[index]].append(result)
    return read


def _found(face: Coded, frames: Sequence[FrameResult]) -> FaceResult | None:
    """The answered face whose box holds the coded centre, the nearest if there are several."""
    number = 1 if face.frame is None else face.frame
    if number > len(frames):
        raise UserError(f"{face.file} has {len(frames)} frames, and {face.name} is coded")
    holding = []
    for answered in frames[number - 1].faces:
        x, y, w, h = answered.box_4
        away = np.hypot(face.xy[0] - x - w / 2, face.xy[1] - y - h / 2)
        if abs(face.xy[0] - x - w / 2) <= w / 2 and abs(face.xy[1] - y - h / 2) <= h / 2:
            holding.append((away, answered))
    return min(holding, key=lambda pair: pair[0])[1] if holding else None


def _own(au: str, aus: Sequence[str]) -> int | None:
    """Where a coded AU stands among the model's."""
    for name in (au, SAME.get(au)):
        if name in aus:
            return aus.index(name)
    return None


def _of_au(
    au: str,
    predictor: Predictor,
    own: int,
    seen: Sequence[tuple[Coded, FaceResult]],
    coded: Sequence[Coded],
    draws: int,
) -> dict[str, Any]:
    """One AU's answers on the cells that were coded of it."""
    cells = [(face, answered) for face, answered in seen if au in face.codes]
    truth_N = np.array([face.codes[au] for face, _ in cells], int)
    p_N = np.array([float(answered.probability_A[own]) for _, answered in cells])
    called_N = np.array([bool(answered.present_A[own]) for _, answered in cells], bool)
    people = [face.person for face, _ in cells]
    wrong = [
        {"face": face.name, "coded": int(truth), "probability": float(p)}
        for (face, _), truth, p, called in zip(cells, truth_N, p_N, called_N, strict=True)
        if called != bool(truth)
    ]
    order_N = np.argsort(-p_N, kind="stable")
    place_N = np.empty(len(p_N), int)
    place_N[order_N] = np.arange(1, len(p_N) + 1)
    both = 0 < truth_N.sum() < len(truth_N)
    sure_N = np.array([not answered.unsure for _, answered in cells], bool)
    measured = {}
    if both:
        columns = truth_N[:, None], p_N[:, None]
        measured = {
            "auc": float(metrics.roc_auc(*columns)[0]),
            "average_precision": float(metrics.average_precision(*columns)[0]),
            "auc_over_faces": interval(truth_N, p_N, np.arange(len(p_N)), draws=draws),
            "auc_over_people": interval(truth_N, p_N, people, draws=draws),
        }
        if not sure_N.all() and 0 < truth_N[sure_N].sum() < sure_N.sum():
            kept = columns[0][sure_N], columns[1][sure_N]
            measured["auc_without_unsure"] = float(metrics.roc_auc(*kept)[0])
    return {
        "label": predictor.aus[own],
        "present": int(truth_N.sum()),
        "absent": int(len(truth_N) - truth_N.sum()),
        "missed": sum(au in face.codes for face in coded) - len(cells),
        "people_present": len({p for p, t in zip(people, truth_N, strict=True) if t}),
        "people_absent": len({p for p, t in zip(people, truth_N, strict=True) if not t}),
        **measured,
        "threshold": float(predictor.bundle.thresholds_A[own]),
        "hits": int((called_N & (truth_N == 1)).sum()),
        "false_alarms": int((called_N & (truth_N == 0)).sum()),
        "ranks_of_present": sorted(place_N[truth_N == 1].tolist()),
        "wrong": wrong,
    }


def interval(
    truth_N: np.ndarray, p_N: np.ndarray, group_N: Sequence, *, draws: int, seed: int = 0
) -> list[float] | None:
    """95 % of the AUC when whole groups are drawn again with replacement.

    Draws without a present or without an absent cell are left out; None where that is most of
    them, as where one person alone shows the AU and few are coded without it.
    """
    _, group_N = np.unique(np.asarray(group_N), return_inverse=True)
    count = int(group_N.max()) + 1
    rng = np.random.default_rng(seed)
    drawn_DG = rng.multinomial(count, np.full(count, 1 / count), size=draws)
    weight_DN = drawn_DG[:, group_N].astype(np.float64)
    present_DP, absent_DQ = weight_DN[:, truth_N == 1], weight_DN[:, truth_N == 0]
    above = p_N[truth_N == 1][:, None] - p_N[truth_N == 0][None, :]
    wins_PQ = (above > 0) + 0.5 * (above == 0)
    pairs_D = present_DP.sum(1) * absent_DQ.sum(1)
    won_D = ((present_DP @ wins_PQ) * absent_DQ).sum(1)
    if (pairs_D > 0).mean() < 0.5:
        return None
    auc_D = won_D[pairs_D > 0] / pairs_D[pairs_D > 0]
    return [round(float(q), 4) for q in np.quantile(auc_D, [0.025, 0.975])]


def _neutral(predictor: Predictor, seen: Sequence[tuple[Coded, FaceResult]]) -> dict[str, Any]:
    """How many neutral faces and people each AU fires on; a person, on most of their faces."""
    faces = [(face, answered) for face, answered in seen if face.neutral]
    people = sorted({face.person for face, _ in faces})
    fires, fires_people = {}, {}
    for a, au in enumerate(predictor.aus):
        asked = [
            (face.person, bool(answered.present_A[a]))
            for face, answered in faces
            if not face.codes.get(au, 0)
        ]
        fires[au] = sum(fired for _, fired in asked)
        own = [[fired for person, fired in asked if person == p] for p in people]
        fires_people[au] = sum(bool(f) and sum(f) > len(f) / 2 for f in own)
    most = [au for au in fires if 2 * fires[au] > len(faces) or 2 * fires_people[au] > len(people)]
    return {
        "faces": len(faces),
        "people": len(people),
        "fires_on_faces": fires,
        "fires_on_people": fires_people,
        "on_most": most,
    }


def _crops(
    folder: Path, seen: Sequence[tuple[Coded, FaceResult]], aus: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """What the sheet shows: the box of each face, and what was wrong in it."""
    wrong: dict[str, list[str]] = {}
    for au, found in aus.items():
        for cell in found["wrong"]:
            told = f"{'missed' if cell['coded'] else 'false'} {au}  {cell['probability']:.2f}"
            wrong.setdefault(cell["face"], []).append(told)
    return [
        {
            "file": face.file,
            "frame": face.frame,
            "box": [float(v) for v in answered.box_4],
            "wrong": wrong.get(face.name, []),
        }
        for face, answered in seen
    ]


def _order(au: str) -> tuple[int, str]:
    digits = au.lstrip("LR")
    return (int(digits) if digits.isdecimal() else 999, au)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", help="a bundle, or shipped weights by name; none: the default")
    parser.add_argument("--faces", type=Path, default=FACES, help="folder of pictures and films")
    parser.add_argument("--coding", type=Path, default=CODING)
    parser.add_argument("--blinks", type=Path, default=BLINKS)
    parser.add_argument("--detector", help="haar, or a YuNet .onnx file; none: the model's own")
    parser.add_argument("--yunet", type=Path, default=YUNET, help="tells how heads turn in films")
    parser.add_argument("--no-films", action="store_true", help="leave out what moves")
    parser.add_argument("--baseline", default="none", help="as of jaxfacs predict; of films alone")
    parser.add_argument("--smooth", type=float, default=0.0, help="seconds; of films alone")
    parser.add_argument("--json", type=Path, help="write the numbers there")
    parser.add_argument("--sheet", type=Path, help="PNG of all faces with what was wrong")
    options = parser.parse_args(argv)
    cv2.setNumThreads(1)
    try:
        found = score(
            options.model,
            faces=options.faces,
            coding=options.coding,
            blinks=options.blinks,
            detector=options.detector,
            yunet=options.yunet,
            films=not options.no_films,
            baseline=options.baseline,
            smooth_s=options.smooth,
        )
    except UserError as error:
        print(f"real_faces: {error}", file=sys.stderr)
        return 2
    print("\n".join(lines(found)))
    if options.sheet:
        cv2.imwrite(str(options.sheet), sheet(found["crops"], options.faces))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
