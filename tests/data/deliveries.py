"""Tiny deliveries: pictures and films whose grey level tells which frame they are."""

from pathlib import Path

import cv2
import numpy as np

from jaxfacs.cli import main
from jaxfacs.data import records, schema

SIZE = 32  # of the pictures; JPEG keeps their flat grey to a level or two


def grey(number: int) -> int:
    """The grey level of frame `number`; 24 neighbours differ by 10 each."""
    return 10 + 10 * (number % 24)


def picture(number: int, *, height: int = SIZE, width: int = SIZE) -> np.ndarray:
    return np.full((height, width, 3), grey(number), np.uint8)


def write_picture(path: Path, number: int, **size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture(number, **size))


def write_film(path: Path, numbers: list[int], *, fps: float = 25.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (48, 48))
    for number in numbers:
        film.write(picture(number, height=48, width=48))
    film.release()


def write_text(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def write_sheets(path: Path, sheets: dict[str, list[list]]) -> Path:
    """An Excel workbook: sheet -> rows."""
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)
    return path


def build(name: str, source: Path, out: Path, *options: str, code: int = 0) -> records.RecordSet:
    """`jaxfacs data build NAME …` with pictures taken whole, then `data show` and `data verify`."""
    words = ["data", "build", name, "--source", str(source), "--out", str(out)]
    words += ["--workers", "1", *options]
    if "--faces" not in options:
        words += ["--faces", "whole", "--size", f"{SIZE}"]
    assert main(words) == code
    assert main(["data", "show", str(out)]) == 0
    assert main(["data", "verify", str(out)]) == 0
    return records.open_set(out)


def refused(capsys, name: str, source: Path, out: Path, *options: str) -> str:
    """The message with which a build is refused; nothing may be left that looks whole."""
    words = ["data", "build", name, "--source", str(source), "--out", str(out), "--workers", "1"]
    capsys.readouterr()
    assert main([*words, "--faces", "whole", "--size", f"{SIZE}", *options]) == 2
    assert not out.exists()
    return capsys.readouterr().err


def clips(opened: records.RecordSet, split: str = "") -> dict[str, schema.Clip]:
    """clip id -> clip, of one split or of all."""
    wanted = [split] if split else list(opened.splits)
    found = [opened.clip(s, i) for s in wanted for i in range(opened.splits[s])]
    assert len({clip.clip_id for clip in found}) == len(found)
    return {clip.clip_id: clip for clip in found}


def shown(clip: schema.Clip) -> list[int]:
    """The grey level of each frame, to the nearest that `grey` gives."""
    levels = []
    for jpeg in clip.frames:
        mean = float(np.mean(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)))
        levels.append(round((mean - 10) / 10) * 10 + 10)
        assert abs(mean - levels[-1]) < 4
    return levels


def labels(opened: records.RecordSet, clip: schema.Clip, au: str) -> list[int]:
    """Occurrence of one AU in the frames of a clip."""
    return clip.occurrence_TA[:, opened.aus.index(au)].tolist()


def grades(opened: records.RecordSet, clip: schema.Clip, au: str) -> list[float]:
    """Intensity of one AU in the frames of a clip."""
    return clip.intensity_TA[:, opened.aus.index(au)].tolist()
