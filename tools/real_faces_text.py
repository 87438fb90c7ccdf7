"""What `real_faces.score` found, as lines of text and as a sheet of the faces."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

_CELL, _LINE, _ACROSS = 150, 13, 9  # pixels
_MARGIN = 0.25  # of a face's side, around it
_FOLLOWS = 0.5  # correlation with the head's turns from which an AU is named


def lines(found: Mapping[str, Any]) -> list[str]:
    """The text of what `score` answered."""
    faces = found["faces"]
    told = [
        f"{found['model']} (sha256 {found['sha256'][:12]}), faces by {found['detector']}",
        f"{faces['found']} of {faces['coded']} coded faces found, {found['people']} people",
    ]
    told += [f"  missed: {name}" for name in faces["missed"]]
    if faces["unsure"]:
        told.append(f"{len(faces['unsure'])} of them are flagged by the model's confidence:")
        told += [f"  unsure: {name}" for name in faces["unsure"]]
    told += ["", *_table(found["aus"])]
    if found["not_answered"]:
        told.append(f"coded, not answered by this model: {' '.join(found['not_answered'])}")
    told += ["", *_neutral_lines(found["neutral"]), "", "wrong at the threshold:"]
    for au, row in found["aus"].items():
        for cell in row["wrong"]:
            kind = "missed" if cell["coded"] else "false "
            told.append(f"  AU {au:>3} {kind} p={cell['probability']:.4f}  {cell['face']}")
    for file, film in found["films"].items():
        told += ["", *_film_lines(file, film)]
    return told


def _table(aus: Mapping[str, Any]) -> list[str]:
    head = (
        f"{'AU':>4} {'present':>8} {'absent':>7} {'missed':>7} {'AUC':>6}  {'over faces':>12}  "
        f"{'over people':>12} {'AP':>6} {'cut':>6} {'hits':>7} {'false':>7}  ranks of the present"
    )
    rows = [head]
    for au, row in aus.items():
        measured = "     -             -             -      -"
        if "auc" in row:
            measured = (
                f"{row['auc']:6.3f}  {_span(row['auc_over_faces'])}  "
                f"{_span(row['auc_over_people'])} {row['average_precision']:6.3f}"
            )
        rows.append(
            f"{au:>4} {row['present']:>4} ({row['people_present']:>1}) "
            f"{row['absent']:>3} ({row['people_absent']:>1}) {row['missed']:>6} {measured} "
            f"{row['threshold']:6.3f} {row['hits']:>3}/{row['present']:<3} "
            f"{row['false_alarms']:>3}/{row['absent']:<3}  {_ranks(row['ranks_of_present'])}"
        )
    scored = [row["auc"] for row in aus.values() if "auc" in row]
    if scored:
        rows.append(f"mean AUC of {len(scored)} AUs: {np.mean(scored):.3f}")
    without = [
        f"{au} {row['auc_without_unsure']:.3f}"
        for au, row in aus.items()
        if "auc_without_unsure" in row
    ]
    if without:
        rows.append(f"AUC without the faces that the model flags: {', '.join(without)}")
    rows.append("in brackets: people. An interval over people says more; '-': too few of them")
    return rows


def _neutral_lines(neutral: Mapping[str, Any]) -> list[str]:
    told = [f"{neutral['faces']} neutral faces of {neutral['people']} people; AUs that fire there:"]
    for au, count in sorted(neutral["fires_on_faces"].items(), key=lambda item: -item[1]):
        if count:
            people = neutral["fires_on_people"][au]
            told.append(f"  AU {au:>3} on {count:>3} faces, on most of those of {people} people")
    told.append(f"  on most: {' '.join(neutral['on_most']) or 'none'}")
    return told


def _film_lines(file: str, film: Mapping[str, Any]) -> list[str]:
    told = [f"{file}: the face in {film['with_face']} of {film['frames']} frames"]
    if "jitter" not in film:
        return told
    worst = sorted(film["jitter"].items(), key=lambda item: -item[1]["mean"])
    told.append(
        "  _r from frame to frame, mean (q95): "
        + ", ".join(f"{au} {j['mean']:.3f} ({j['q95']:.2f})" for au, j in worst[:8])
    )
    if "with_head" in film:
        turns = ", ".join(f"{t} {a:.2f} to {b:.2f}" for t, (a, b) in film["turns"].items())
        follow = [
            f"{au} {t} {r:+.2f}"
            for au, row in film["with_head"].items()
            for t, r in row.items()
            if r is not None and abs(r) >= _FOLLOWS
        ]
        told.append(f"  head: {turns}")
        told.append(f"  follow the head (|r| >= {_FOLLOWS}): {', '.join(follow) or 'none'}")
    if "blinks" in film:
        b = film["blinks"]
        told.append(
            f"  blinks as AU {b['label']}: {b['hits']} of {b['coded']} found, missed "
            f"{_spans(b['missed'])}; false: {_spans(b['false'])}; closed in "
            f"{b['frames_shut_called']} of {b['frames_shut']} frames with the eyes shut"
        )
    return told


def sheet(crops: Sequence[Mapping[str, Any]], folder: Path) -> np.ndarray:
    """BGR picture: every face, green where all was right, else with what was wrong in red."""
    pictures = _pictures(crops, folder)
    height = _CELL + _LINE * (1 + max((len(c["wrong"]) for c in crops), default=0))
    cells = []
    for crop, picture in zip(crops, pictures, strict=True):
        cell = np.full((height, _CELL, 3), 255, np.uint8)
        cell[:_CELL] = picture
        frame = "" if crop["frame"] is None else f" {crop['frame']}"
        said = [
            (f"{Path(crop['file']).stem[:14]}{frame}", (0, 0, 0) if crop["wrong"] else (0, 120, 0))
        ]
        said += [(text, (0, 0, 200)) for text in crop["wrong"]]
        for i, (text, colour) in enumerate(said):
            at = (2, _CELL + _LINE * (i + 1) - 3)
            cv2.putText(cell, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.38, colour, 1, cv2.LINE_AA)
        cells.append(cell)
    cells += [np.full((height, _CELL, 3), 255, np.uint8)] * (-len(cells) % _ACROSS)
    rows = [np.hstack(cells[i : i + _ACROSS]) for i in range(0, len(cells), _ACROSS)]
    return np.vstack(rows) if rows else np.full((1, 1, 3), 255, np.uint8)


def _pictures(crops: Sequence[Mapping[str, Any]], folder: Path) -> list[np.ndarray]:
    """The crops, in order; each file is read once."""
    made: dict[int, np.ndarray] = {}
    for file in dict.fromkeys(crop["file"] for crop in crops):
        wanted: dict[int, list[int]] = {}
        for i, crop in enumerate(crops):
            if crop["file"] == file:
                wanted.setdefault(crop["frame"] or 1, []).append(i)
        opened = cv2.VideoCapture(str(folder / file))
        for number in range(1, max(wanted) + 1):
            read, frame = opened.read()
            if not read:
                break
            for i in wanted.get(number, ()):
                x, y, w, h = crops[i]["box"]
                side = max(w, h) * (1 + 2 * _MARGIN)
                low = np.array([x + w / 2 - side / 2, y + h / 2 - side / 2])
                k = _CELL / side
                matrix = np.array([[k, 0, -k * low[0]], [0, k, -k * low[1]]])
                made[i] = cv2.warpAffine(frame, matrix, (_CELL, _CELL), flags=cv2.INTER_AREA)
        opened.release()
    empty = np.full((_CELL, _CELL, 3), 128, np.uint8)
    return [made.get(i, empty) for i in range(len(crops))]


def _span(ends: Sequence[float] | None) -> str:
    return f"{'-':>12}" if ends is None else f"{ends[0]:5.2f} - {ends[1]:4.2f}"


def _spans(found: Sequence[Sequence[int]]) -> str:
    return ", ".join(f"{a}-{b}" for a, b in found) or "none"


def _ranks(ranks: Sequence[int]) -> str:
    """Runs of ranks as first-last: 1-12 15 17."""
    told: list[list[int]] = []
    for rank in ranks:
        if told and rank == told[-1][1] + 1:
            told[-1][1] = rank
        else:
            told.append([rank, rank])
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in told)
