"""Label files and pictures as Binghamton delivers them, for BP4D, BP4D+, EB+ and FERA 2015."""

import csv
from collections.abc import Iterable
from pathlib import Path

import deliveries

from jaxfacs import facs
from jaxfacs.data import records

NAMES = [str(n) for n in range(100)]  # the long form: column N is AU N, column 99 says occluded


def long_form(path: Path, rows: dict[int, dict[int, int]]) -> None:
    """An AU_OCC file with the columns 0-99: frame -> {AU: value}, 0 where nothing is said."""
    lines = [",".join(NAMES)]
    for frame, values in rows.items():
        lines.append(",".join([str(frame), *(str(values.get(n, 0)) for n in range(1, 100))]))
    deliveries.write_text(path, *lines)


def short_form(path: Path, rows: dict[int, dict[int, int]]) -> None:
    """An AU_OCC file with BP4D+'s 34 AUs, whose first header cell is 1 as well."""
    aus = [int(au) for au in facs.DATASET_AUS["bp4d_plus"]]
    lines = [",".join(["1", *map(str, aus)])]
    for frame, values in rows.items():
        lines.append(",".join([str(frame), *(str(values.get(n, 0)) for n in aus)]))
    deliveries.write_text(path, *lines)


def pictures(folder: Path, numbers: Iterable[int], padding: int) -> None:
    """One picture a number, whose grey level tells which."""
    for number in numbers:
        deliveries.write_picture(folder / f"{number:0{padding}d}.jpg", number)


def left_out(opened: records.RecordSet) -> list[tuple[str, str, str]]:
    """(path, frame, reason) of each row of skipped.csv, sorted."""
    with open(opened.path / "skipped.csv", newline="") as file:
        return sorted((row["path"], row["frame"], row["reason"]) for row in csv.DictReader(file))
