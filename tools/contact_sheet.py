"""Renders a sheet of action units × intensities × people, to be judged by eye.

    python tools/contact_sheet.py --out docs/images/contact_sheet_builtin.png
    python tools/contact_sheet.py --head ICT-FaceKit --out docs/images/contact_sheet_ict.png

Each block of columns is a person, each row an action at rest, at C (3) and at E (5), near frontal
and in the light of a plain room so that the action is what differs. `--people` shows varied people
and scenes at rest instead; `--size` and `--aus` zoom in.

    python tools/contact_sheet.py --records FOLDER --out seen.png [--holding 12]

shows what training sees: crops of a record set, spread over it, with their actions under them.
"""

import argparse
import dataclasses
import os
from pathlib import Path

import cv2
import numpy as np

from jaxfacs.data import records
from jaxfacs.facs import ACTION_UNITS
from jaxfacs.synthface import heads, render
from jaxfacs.synthface.look import sample_look
from jaxfacs.synthface.scene import Light, sample_scene
from jaxfacs.synthface.variation import Variation

ROWS = ("1", "2", "4", "1+2", "1+2+4", "5", "6", "7", "9", "10", "11", "12", "6+12", "L12", "14",
        "15", "16", "17", "18", "20", "22", "23", "24", "25", "26", "27", "28", "43")  # fmt: skip
CAPTION = 18  # pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--head", help="folder of the ICT Face Model Light; none: the built-in")
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--size", type=int, default=96, help="pixels a face")
    parser.add_argument("--aus", default=",".join(ROWS), help="rows, such as 1,1+2,L12")
    parser.add_argument("--identities", type=int, default=2)
    parser.add_argument("--intensities", default="3,5")
    parser.add_argument("--columns", type=int, default=2, help="rows beside each other")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--people", type=int, default=0, help="so many varied people instead")
    parser.add_argument("--records", help="a record set: shows its crops instead")
    parser.add_argument("--number", type=int, default=96, help="of crops, with --records")
    parser.add_argument("--holding", default="", help="an AU that they all show, with --records")
    options = parser.parse_args()
    if options.records:
        write_png(options.out, stored(options))
        return
    head = heads.load(options.head)
    sheet = people(head, options) if options.people else actions(head, options)
    write_png(options.out, sheet)


def actions(head: heads.Head, options: argparse.Namespace) -> np.ndarray:
    """One row an action; for each person: rest, then the intensities."""
    levels = [float(level) for level in options.intensities.split(",")]
    stages = [person(head, options.seed, i, options.size) for i in range(options.identities)]
    rows = []
    for text in options.aus.split(","):
        cells = []
        for weights, stage in stages:
            for level in [0.0, *levels]:
                intensity = dict.fromkeys(text.split("+"), level)
                cells.append(face(head, stage, weights, intensity))
        rows.append(captioned(np.hstack(cells), caption(text, levels)))
    rows += [np.zeros_like(rows[0])] * (-len(rows) % options.columns)
    step = len(rows) // options.columns
    return np.hstack([np.vstack(rows[i : i + step]) for i in range(0, len(rows), step)])


def people(head: heads.Head, options: argparse.Namespace) -> np.ndarray:
    """Varied people, scenes and poses, with a weak random expression."""
    cells = []
    for i in range(options.people):
        rng = np.random.default_rng((options.seed, i))
        weights = rng.normal(0, 0.8, len(head.identity_M_V3))
        view = sample_scene(rng)
        neutral = heads.identity(head, weights)
        stage = render.prepare(head, neutral, sample_look(rng), view, size=options.size)
        labels = rng.choice(list(head.shapes), 2)
        intensity = {str(label): float(rng.uniform(0, 3)) for label in labels}
        pose = (rng.normal(0, 12), rng.normal(0, 6), rng.normal(0, 4), 0, 0, 0)
        cells.append(face(head, stage, weights, intensity, pose))
    across = 12
    cells += [np.zeros_like(cells[0])] * (-len(cells) % across)
    return np.vstack([np.hstack(cells[i : i + across]) for i in range(0, len(cells), across)])


def person(head: heads.Head, seed: int, number: int, size: int) -> tuple[np.ndarray, render.Stage]:
    """Somebody in plain light, without what hides the face; tones alternate."""
    rng = np.random.default_rng((seed, number))
    weights = rng.normal(0, 0.8, len(head.identity_M_V3))
    look = dataclasses.replace(
        sample_look(rng, Variation.without("wear")),
        melanin=(0.5, 2.6, 1.2, 4.5)[number % 4],
        hair=("short", "shaved")[number % 2],
        hair_rgb=(0.05, 0.03, 0.02),
        brow_rgb=(0.03, 0.02, 0.015),
    )
    key = Light(towards_3=(-0.40, 0.51, 0.76), rgb=(1.0, 0.96, 0.9), shadow=0.55)
    fill = Light(towards_3=(0.66, 0.1, 0.74), rgb=(0.22, 0.23, 0.25), shadow=0.0)
    view = dataclasses.replace(
        sample_scene(rng, Variation.without("camera", "occlusion")),
        distance=90.0,
        fill=0.95,
        centre_2=(0.0, -0.02),
        lights=(key, fill),
        sky_rgb=(0.36, 0.37, 0.4),
        ground_rgb=(0.2, 0.19, 0.18),
        pattern_depth=0.0,
        background="plain",
        background_rgb=((0.3, 0.33, 0.36), (0.3, 0.33, 0.36)),
        exposure=1.05,
    )
    return weights, render.prepare(head, heads.identity(head, weights), look, view, size=size)


def face(head, stage, weights, intensity, pose=(6, 0, 0, 0, 0, 0)) -> np.ndarray:
    vertices = heads.deform(head, intensity, weights)
    wrinkles = {label: level / 5 for label, level in intensity.items()}
    return render.draw(stage, vertices, wrinkles, pose).image_HWC


def stored(options: argparse.Namespace) -> np.ndarray:
    """Crops of a record set with the codes of their first frame: what acts, and behind ? what is
    unknown."""
    opened = records.open_set(options.records)
    places = [(split, i) for split, clips in opened.splits.items() for i in range(clips)]
    order = np.random.default_rng(options.seed).permutation(len(places))
    cells = []
    for place in order:
        clip = opened.clip(*places[place])
        on = dict(zip(opened.aus, clip.occurrence_TA[0], strict=True))
        if options.holding and on.get(options.holding) != 1:
            continue
        unsided = {au: v for au, v in on.items() if au[0] not in "LR"}
        present = "+".join(au for au, v in unsided.items() if v == 1) or "0"
        unknown = ",".join(au for au, v in unsided.items() if v == -1)
        frame = cv2.imdecode(np.frombuffer(clip.frames[0], np.uint8), cv2.IMREAD_COLOR_RGB)
        assert frame is not None
        frame = cv2.resize(frame, (options.size, options.size), interpolation=cv2.INTER_AREA)
        cells.append(labelled(frame, [present, f"? {unknown}" if unknown else ""]))
        if len(cells) == options.number:
            break
    if not cells:
        raise SystemExit(f"no crop of {options.records} shows AU {options.holding}")
    across = 12
    cells += [np.zeros_like(cells[0])] * (-len(cells) % across)
    return np.vstack([np.hstack(cells[i : i + across]) for i in range(0, len(cells), across)])


def labelled(image_HWC: np.ndarray, lines: list[str]) -> np.ndarray:
    """Small lines of text under a picture."""
    band = np.full((11 * len(lines), image_HWC.shape[1], 3), 245, np.uint8)
    for row, text in enumerate(lines):
        place = (1, 9 + 11 * row)
        cv2.putText(band, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.3, (20, 20, 20), 1, cv2.LINE_AA)
    return np.vstack([image_HWC, band])


def caption(text: str, levels: list[float]) -> str:
    names = [ACTION_UNITS[int(code.lstrip("LR"))].name for code in text.split("+")]
    letters = " ".join("0ABCDE"[round(level)] for level in levels)
    return f"AU {text}  {', '.join(names)}  (rest {letters})"


def captioned(image_HWC: np.ndarray, text: str) -> np.ndarray:
    band = np.full((CAPTION, image_HWC.shape[1], 3), 245, np.uint8)
    cv2.putText(band, text, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (20, 20, 20), 1, cv2.LINE_AA)
    return np.vstack([band, image_HWC])


def write_png(path: Path, image_HWC: np.ndarray) -> None:
    """Through a temporary name, so that a half-written sheet never looks whole.

    Values are rounded to multiples of four, which no eye sees and which saves a third of the file.
    """
    image_HWC = np.minimum(image_HWC, 251) + 2 & 0xFC
    ok, data = cv2.imencode(".png", image_HWC[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    if not ok:
        raise OSError(f"cannot encode {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(data.tobytes())
    os.replace(part, path)


if __name__ == "__main__":
    main()
