"""Small tables of results, written as people's files are: text."""

import csv

import numpy as np

from jaxfacs.facs import column

AUS = ("1", "12", "L14", "R14")
EMOTIONS = ("happiness", "neutral")


def values(count, seed=0):
    """Probability, intensity, presence and emotions of some frames; presence from p ≥ 0.5."""
    rng = np.random.default_rng(seed)
    p = np.round(0.5 + 0.5 * np.sin(np.arange(count)[:, None] / (3.0 + np.arange(len(AUS)))), 3)
    p = np.clip(p + 0.02 * rng.standard_normal(p.shape).round(2), 0, 1).round(3)
    happy = p[:, 1]
    return p, (5 * p).round(2), (p >= 0.5).astype(float), np.c_[happy, 1 - happy].round(3)


def write_table(
    path,
    count=40,
    *,
    faces=1,
    gap=(),
    rate=20.0,
    aus=AUS,
    emotions=EMOTIONS,
    boxes=True,
    times=None,
):
    """A table of `count` frames from 1, without a face in the frames of `gap`."""
    header = ["frame", "face_id", "timestamp", "confidence", "success"]
    header += [column(label, kind) for kind in "rcp" for label in aus] + list(emotions)
    header += ["box_x", "box_y", "box_w", "box_h"] if boxes else []
    told = [values(count, seed) for seed in range(faces)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for t in range(count):
            time = f"{t / rate if times is None else times[t]:.3f}"
            if t + 1 in gap:
                writer.writerow([t + 1, -1, time, "0.00", 0] + [""] * (len(header) - 5))
                continue
            for face in range(faces):
                p, r, c, e = (part[t] for part in told[face])
                box = [60 + 10 * face, 40, 120, 120] if boxes else []
                told_aus = (*r[: len(aus)], *c[: len(aus)], *p[: len(aus)])
                scores = [*e, *[0.0] * len(emotions)][: len(emotions)]
                writer.writerow([t + 1, face, time, "0.90", 1, *told_aus, *scores, *box])
    return path
