"""SMIC (Li et al. 2013): brief expressions at high speed, in visible and in infrared light.

Layout: `SMIC_all_raw/HS/s1/micro/negative/s1_ne_01/image000001.bmp`, aligned faces alike below
`SMIC_all_cropped`; `ne`, `po` and `sur` in a clip's name are its class; `non_micro/s1_n1` shows
none. Here a clip's folder holds its frames from onset to offset. SMIC-E has longer clips,
`SMIC-E_raw image/HS_long/SMIC-HS-E/s01/s1_ne_01/image000001.jpg`, and a workbook
`SMIC-HS-E_annotation.xlsx` with Filename, OnsetF and OffsetF, which is followed where it is there;
so is one called `smic.xlsx` with onset and offset (tvaranka/meb: meb/datasets/datasets.py, and
public readers of either). There are no AUs and no apex.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jaxfacs import facs
from jaxfacs.data.builders import micro, reading
from jaxfacs.data.delivery import Builder, Delivery, Known
from jaxfacs.errors import UserError

EMOTIONS = facs.EMOTION_SETS["smic"]
CLASS = {"ne": "negative", "po": "positive", "sur": "surprise"}
CLIP = r"s(\d+)_(ne|po|sur)_(\d+)"
QUIET = r"s(\d+)_n_?(\d+)"
# High speed as published; 25 a second of the other cameras is a common statement, unconfirmed.
FPS = {"hs": 100.0, "vis": 25.0, "nir": 25.0}


@dataclass(frozen=True)
class Options:
    """What can be chosen for SMIC.

    Attributes:
      camera: hs (high speed), vis (visible light) or nir (infrared).
      pictures: raw: whole views; cropped: faces aligned by the owners.
      non_micro: clips without an expression as well, of unknown emotion.
      around: so many frames before the onset and behind the offset are taken as well, where a clip
        has them.
      protocol: subjects: dealt out; all: everything is for training.
      test_subject: this one person (such as s1) is the test, all others are for training.
    """

    camera: Literal["hs", "vis", "nir"] = "hs"
    pictures: Literal["raw", "cropped"] = "raw"
    non_micro: bool = False
    around: int = 0
    protocol: Literal["subjects", "all"] = "subjects"
    test_subject: str = ""


def read(source: Path, options: Options) -> Delivery:
    """The clips of one camera in `source`; see the module for what is expected."""
    source = reading.require_folders(
        source, "SMIC*", "HS", "VIS", "NIR", "[sS][0-9]*", title="SMIC"
    )
    pattern = f"{CLIP}|{QUIET}" if options.non_micro else CLIP
    clips = _chosen(source, micro.folders(source, pattern), options)
    sheet = micro.Sheet()
    if options.camera != "hs":
        sheet.notes.append("25 frames a second are assumed of this camera; no file says so")
    spans, inputs = _spans(source, options.camera)
    for folder in clips:
        match = re.fullmatch(CLIP, folder.name, re.IGNORECASE)
        emotion = EMOTIONS.index(CLASS[match[2].lower()]) if match else -1
        numbers = list(reading.numbered(folder))
        path = reading.relative(source, folder)
        if not numbers:
            sheet.leave(path, "missing", ("", None))
            continue
        onset, offset, line = spans.get(folder.name.lower(), (numbers[0], numbers[-1], None))
        if onset not in numbers or offset not in numbers:
            sheet.notes.append(
                f"{folder.name}: {inputs[0].name} says {onset} to {offset}, the folder holds "
                f"{numbers[0]} to {numbers[-1]}, which are taken"
            )
            onset, offset = numbers[0], numbers[-1]
        sheet.add(
            micro.Expression(
                name=folder.name,
                subject=f"s{int(folder.name.split('_')[0][1:])}",
                place=folder,
                onset=onset,
                apex=None,
                offset=offset,
                cell=micro.Cell.parse(""),
                emotion=emotion,
                attributes=(float(match is not None),),
                file=inputs[0].name if line else "",
                line=line,
                numbers=tuple(n for n in numbers if onset <= n <= offset),
            ),
            path=path,
        )
    return micro.delivery(
        source,
        sheet,
        fps=FPS[options.camera],
        around=options.around,
        protocol=options.protocol,
        test_subject=options.test_subject,
        emotions=EMOTIONS,
        attributes=("micro",),
        inputs=inputs,
        faces=("whole",) if options.pictures == "cropped" else (),
    )


def _chosen(source: Path, clips: list[Path], options: Options) -> list[Path]:
    """Clips of the chosen camera and kind, by the words in their paths."""

    def words(path: Path) -> set[str]:
        return set(re.split(r"[/_\- ]", reading.relative(source, path).lower()))

    cameras = [p for p in clips if words(p) & set(FPS)]
    if cameras:
        clips = [p for p in cameras if options.camera in words(p)]
    kinds = [p for p in clips if words(p) & {"raw", "cropped"}]
    if kinds:
        clips = [p for p in kinds if options.pictures in words(p)]
    if not clips:
        raise UserError(
            f"{source} has no clip like s1_ne_01 of --camera {options.camera} --pictures "
            f"{options.pictures}; choose others, or copy that part there"
        )
    names: dict[str, Path] = {}
    for path in clips:
        name = path.name.lower()
        if name in names:
            raise UserError(f"{path} and {names[name]} are one clip; remove one of them")
        names[name] = path
    return clips


def _spans(source: Path, camera: str) -> tuple[dict[str, tuple[int, int, int]], list[Path]]:
    """clip -> onset, offset, line of the workbook, where there is one for this camera."""
    books = micro.workbooks(source, "smic*.xlsx")
    told = [set(re.split(r"[_\- .]", p.name.lower())) for p in books]
    books = [p for p, w in zip(books, told, strict=True) if camera in w or not w & set(FPS)]
    if not books:
        return {}, []
    if len(books) > 1:
        raise UserError(f"{books[0]} and {books[1]} both code --camera {camera}; remove one")
    try:
        table = micro.sheet_with(books[0], "OnsetF", "OffsetF")
        first, last = table.column("OnsetF"), table.column("OffsetF")
    except UserError:
        table = micro.sheet_with(books[0], "onset", "offset")
        first, last = table.column("onset"), table.column("offset")
    name = table.column("filename", "material", "clip", "name")
    found = {}
    for line, cells in table.rows:
        clip = micro.cell(cells, name).lower()
        if not re.fullmatch(f"{CLIP}|{QUIET}", clip):
            continue  # sums and remarks below the clips
        onset = micro.frame_number(micro.cell(cells, first))
        offset = micro.frame_number(micro.cell(cells, last))
        if onset is None or offset is None:
            raise UserError(f"{books[0]}, line {line}: onset and offset must be numbers")
        found[clip] = onset, offset, line
    return found, books[:1]


BUILDER = Builder(
    name="smic",
    title="SMIC",
    task="micro-expressions: negative, positive, surprise",
    labels="one of three classes a clip; onset and offset",
    subjects=16,
    licence="signed agreement with the University of Oulu; research only",
    obtain="request: oulu.fi, Center for Machine Vision and Signal Analysis, SMIC",
    citation="Li et al., A Spontaneous Micro-expression Database, FG 2013",
    read=read,
    options=Options,
    layout="SMIC_all_raw/HS/s1/micro/negative/s1_ne_01/*.bmp (or SMIC_all_cropped, SMIC-E)",
    frames=32,
    known=(
        Known(
            "Li et al. 2013, high speed",
            {"subjects": 16},
            {"camera": "hs", "non_micro": False},
        ),
    ),
)
