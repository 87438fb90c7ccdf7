"""CASME II: blank columns, "/" for an apex, "?" for AUs, two kinds of pictures, classes."""

import json
from pathlib import Path

import deliveries
import numpy as np
import pytest
from deliveries import grey

from jaxfacs.data.builders import casme2
from jaxfacs.faces.prepare import FaceSteps

HEADER = [
    "Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None, "Action Units",
    "Estimated Emotion",
]  # fmt: skip
# (subject, clip, onset, apex, offset, AUs, emotion); Excel makes 1 of 01.
ROWS = [
    (1, "EP02_01f", 46, 48, 50, "4+L10", "disgust"),
    ("02", "EP01_11f", 1, "/", 4, "?", "others"),
    (2, "EP03_02f", 90, 90, 91, "12+?", "happiness"),
    (17, "EP05_03", 3, 5, 5, 1, "sadness"),
]
BOOK = "CASME2-coding-20140508.xlsx"


def write(folder: Path, rows: list[tuple] = ROWS) -> Path:
    cells = [[s, clip, None, a, b, c, None, aus, e] for s, clip, a, b, c, aus, e in rows]
    deliveries.write_sheets(folder / BOOK, {"Sheet1": [HEADER, *cells, [None, None, "in all"]]})
    for subject, clip, onset, _, offset, *_ in rows:
        place = f"sub{int(subject):02d}/{clip}"
        for number in range(onset, offset + 1):
            raw = folder / "CASME2_RAW_selected" / place / f"img{number}.jpg"
            deliveries.write_picture(raw, number)
            crop = folder / "Cropped" / place / f"reg_img{number}.jpg"
            deliveries.write_picture(crop, number + 12)
    return folder


@pytest.fixture
def source(tmp_path) -> Path:
    return write(tmp_path / "source")


def rows_of(opened, clip) -> dict[str, tuple[list, list]]:
    """AU -> occurrence and phase of each frame."""
    phase = {au: clip.phase_TA[:, a].tolist() for a, au in enumerate(opened.aus)}
    return {au: (deliveries.labels(opened, clip, au), phase[au]) for au in opened.aus}


def test_every_label_of_every_clip(source, tmp_path):
    out = tmp_path / "out"
    opened = deliveries.build("casme2", source, out, "--protocol", "all")
    clips = deliveries.clips(opened)
    assert opened.aus == ("1", "4", "10", "L10", "12")
    assert opened.emotions == casme2.EMOTIONS and opened.attributes == ("micro", "objective_class")
    told = {
        key: (clip.subject, opened.emotions[clip.emotion], deliveries.shown(clip))
        for key, clip in clips.items()
    }
    assert told == {
        "sub01/EP02_01f:46": ("sub01", "disgust", [grey(n) for n in range(46, 51)]),
        "sub02/EP01_11f:1": ("sub02", "other", [grey(n) for n in range(1, 5)]),
        "sub02/EP03_02f:90": ("sub02", "happiness", [grey(90), grey(91)]),
        "sub17/EP05_03:3": ("sub17", "sadness", [grey(3), grey(4), grey(5)]),
    }
    moves, still = ([1] * 5, [1, 1, 2, 3, 3]), ([0] * 5, [0] * 5)
    assert rows_of(opened, clips["sub01/EP02_01f:46"]) == {
        "1": still, "4": moves, "10": moves, "L10": moves, "12": still,
    }  # fmt: skip
    unknown = ([-1] * 4, [-1] * 4)
    found = rows_of(opened, clips["sub02/EP01_11f:1"])
    assert found == dict.fromkeys(opened.aus, unknown)
    found = rows_of(opened, clips["sub02/EP03_02f:90"])
    assert found.pop("12") == ([1, 1], [2, 3])  # the apex is the first frame
    assert set(map(str, found.values())) == {"([-1, -1], [-1, -1])"}
    found = rows_of(opened, clips["sub17/EP05_03:3"])
    assert found.pop("1") == ([1] * 3, [1, 1, 2])
    assert set(map(str, found.values())) == {"([0, 0, 0], [0, 0, 0])"}
    notes = json.loads((out / "labels.json").read_text())["notes"]
    assert notes == ["the sheet has 4 rows, not 255 or 256: no cell was mended"]


def test_unknown_apex_leaves_the_middle_open(tmp_path):
    source = write(tmp_path / "source", [(1, "EP02_01f", 1, "/", 4, "4", "fear")])
    words = ("--protocol", "all", "--validation", "0")
    opened = deliveries.build("casme2", source, tmp_path / "out", *words)
    assert rows_of(opened, deliveries.clips(opened)["sub01/EP02_01f:1"]) == {
        "4": ([1] * 4, [1, -1, -1, 3])
    }


def test_classes_leave_clips_out(source, tmp_path):
    def emotions(*words: str) -> dict[str, str]:
        out = tmp_path / words[1]
        opened = deliveries.build("casme2", source, out, "--protocol", "all", *words)
        return {k: opened.emotions[c.emotion] for k, c in deliveries.clips(opened).items()}

    assert emotions("--emotions", "five") == {
        "sub01/EP02_01f:46": "disgust",
        "sub02/EP01_11f:1": "other",
        "sub02/EP03_02f:90": "happiness",
    }
    assert emotions("--emotions", "megc2019") == {
        "sub01/EP02_01f:46": "negative",
        "sub02/EP03_02f:90": "positive",
        "sub17/EP05_03:3": "negative",
    }


def test_cropped_pictures_and_classes_by_aus(source, tmp_path):
    rows = [["Subject", "Filename", "Objective Class"], ["sub17", "EP05_03", 4], [2, "x", 1]]
    deliveries.write_sheets(source / "CASME2-ObjectiveClasses.xlsx", {"a": rows})
    words = ("--pictures", "cropped", "--test-subject", "sub17")
    opened = deliveries.build("casme2", source, tmp_path / "out", *words)
    clip = deliveries.clips(opened, "test")["sub17/EP05_03:3"]
    assert deliveries.shown(clip) == [grey(n + 12) for n in (3, 4, 5)]
    assert clip.attributes_TK.tolist() == [[1, 4]] * 3
    other = deliveries.clips(opened)["sub01/EP02_01f:46"]
    assert np.isnan(other.attributes_TK[:, 1]).all()
    assert casme2.read(source, casme2.Options(pictures="cropped")).faces == ("whole",)
    assert FaceSteps.parse(casme2.BUILDER.faces).words == ("haar", "box:0.1")


def test_known_bad_cells_are_mended_and_told(tmp_path):
    source = write(tmp_path / "source", ROWS[:1])
    ends = {29: 280, 60: 126}
    rows = [
        [1, f"EP{r:03d}", None, 60, "/" if r in ends else 61, ends.get(r, 62), None, "4", "fear"]
        for r in range(255)
    ]
    deliveries.write_sheets(source / BOOK, {"Sheet1": [HEADER, *rows]})

    def apexes(repair: bool) -> tuple[dict, tuple[str, ...]]:
        read = casme2.read(source, casme2.Options(repair=repair))
        found = {}
        for row in (0, 29, 60):
            recording = read.recordings[row]
            number_T = recording.place_T[(recording.phase_TA == 2).any(1)]
            found[row] = (number_T.tolist(), int(recording.place_T[-1]))
        return found, tuple(read.notes)

    found, notes = apexes(True)
    assert found == {0: ([61], 62), 29: ([279], 280), 60: ([78], 91)}
    assert notes == (
        "mended, after tvaranka/meb: line 62, OffsetFrame '126' -> 91",
        "mended, after tvaranka/meb: line 31, ApexFrame '/' -> 279",
        "mended, after tvaranka/meb: line 62, ApexFrame '/' -> 78",
    )
    assert apexes(False) == ({0: ([61], 62), 29: ([], 280), 60: ([], 126)}, ())


def test_selected_frames_come_before_whole_films(source, tmp_path, capsys):
    whole = source / "CASME2-RAW/sub01/EP02_01f/img46.jpg"
    deliveries.write_picture(whole, 0)
    opened = deliveries.build("casme2", source, tmp_path / "out", "--protocol", "all")
    clip = deliveries.clips(opened)["sub01/EP02_01f:46"]
    assert deliveries.shown(clip) == [grey(n) for n in range(46, 51)]
    deliveries.write_picture(source / "old/CASME2_RAW_selected/sub01/EP02_01f/img46.jpg", 0)
    text = deliveries.refused(capsys, "casme2", source, tmp_path / "no")
    assert "are both sub01; remove one of them" in text


def test_missing_pictures_are_listed(source, tmp_path):
    (source / "CASME2_RAW_selected/sub01/EP02_01f/img50.jpg").unlink()
    out = tmp_path / "out"
    opened = deliveries.build("casme2", source, out, "--protocol", "all")
    clip = deliveries.clips(opened)["sub01/EP02_01f:46"]
    assert deliveries.shown(clip) == [grey(n) for n in range(46, 50)]
    assert (out / "skipped.csv").read_text().splitlines()[1:] == [
        f"{BOOK},2,CASME2_RAW_selected/sub01/EP02_01f/50.jpg,50,missing"
    ]


def test_one_clip_twice(tmp_path, capsys):
    """Two expressions of one clip are two; two rows for the same frames contradict each other."""
    again = (1, "EP02_01f", 48, 49, 50, "12", "happiness")
    source = write(tmp_path / "source", [ROWS[0], again])
    words = ("--protocol", "all", "--validation", "0")
    clips = deliveries.clips(deliveries.build("casme2", source, tmp_path / "two", *words))
    assert sorted(clips) == ["sub01/EP02_01f/48:48", "sub01/EP02_01f:46"]
    write(source, [ROWS[0], (1, "EP02_01f", 46, 49, 50, "12", "happiness")])
    text = deliveries.refused(capsys, "casme2", source, tmp_path / "out")
    assert f"{BOOK}, lines 2 and 3: both code sub01/EP02_01f from frame 46 on" in text


def test_refused(source, tmp_path, capsys):
    out = tmp_path / "out"
    text = deliveries.refused(capsys, "casme2", source, out, "--test-subject", "01")
    assert "--test-subject 01: nobody is; there are sub01, sub02, sub17" in text
    write(source, [(1, "../../../EP02", 46, 48, 50, "4", "disgust")])
    text = deliveries.refused(capsys, "casme2", source, out)
    assert f"{BOOK}, line 2: '../../../EP02' leads out of the folder" in text
    cells = ["one", "EP02_01f", None, 46, 48, 50, None, "4", "disgust"]
    deliveries.write_sheets(source / BOOK, {"Sheet1": [HEADER, cells]})
    text = deliveries.refused(capsys, "casme2", source, out)
    assert f"{BOOK}, line 2: subject 'one' is no number" in text
    (source / BOOK).write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    assert "has a password" in deliveries.refused(capsys, "casme2", source, out)
    (source / BOOK).write_bytes(b"PK\x03\x04 cut")
    assert "is no readable Excel workbook" in deliveries.refused(capsys, "casme2", source, out)
    other = tmp_path / "other"
    (other / "AUCoding").mkdir(parents=True)
    text = deliveries.refused(capsys, "casme2", other, out)
    assert "is not CASME II as delivered" in text


def test_half_copied(source, tmp_path, capsys):
    for path in (source / "CASME2_RAW_selected/sub01/EP02_01f").iterdir():
        path.unlink()
    text = deliveries.refused(capsys, "casme2", source, tmp_path / "out")
    assert "5 of 14 pictures or films that the labels name are not in" in text
