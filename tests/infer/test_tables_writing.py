"""Tables as they are written: columns, decimals, formats, and what an error leaves."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from made_results import AUS, LABELS, made_results, written

from jaxfacs.errors import UserError
from jaxfacs.infer import tables
from jaxfacs.infer.results import FaceResult, FrameResult


def cells(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


ONE = FaceResult(
    face_id=3,
    confidence=0.987,
    box_4=np.array([10.04, 20.25, 30.0, 39.96], np.float32),
    probability_A=np.array([0.25, 0.5, 1.0, 0.0001]),
    intensity_A=np.array([0.5, 1.0, 5.0, 0.0]),
    present_A=np.array([False, True, True, False]),
    emotion_E=np.array([0.75, 0.25, 0.125]),
    valence_arousal_2=np.array([-0.0, 0.5]),
)


def test_openface_to_the_letter(tmp_path):
    results = [FrameResult(1, 0.0, (ONE,)), FrameResult(2, 0.0417, ())]
    path = written(tmp_path / "a.csv", results, valence_arousal=True)
    assert path.read_bytes().decode().split("\n") == [
        "frame,face_id,timestamp,confidence,success,AU01_r,AU04_r,AU12_r,AU14L_r,AU01_c,AU04_c,"
        "AU12_c,AU14L_c,AU01_p,AU04_p,AU12_p,AU14L_p,valence,arousal,happiness,sadness,boredom,"
        "box_x,box_y,box_w,box_h",
        "1,3,0.000,0.99,1,0.50,1.00,5.00,0.00,0.0,1.0,1.0,0.0,0.2500,0.5000,1.0000,0.0001,"
        "0.000,0.500,0.750,0.250,0.125,10.0,20.2,30.0,40.0",
        "2,-1,0.042,0.00,0" + "," * 21,
        "",
    ]
    bare = written(tmp_path / "b.csv", results, boxes=False, names=("a.jpg", 'b, "c".jpg'))
    rows = cells(bare)
    assert list(rows[0])[-2:] == ["boredom", "input"] and "valence" not in rows[0]
    assert [row["input"] for row in rows] == ["a.jpg", 'b, "c".jpg']
    assert rows[1]["boredom"] == "" and None not in rows[1]


def test_py_feat_to_the_letter(tmp_path):
    results = [FrameResult(1, 0.0, (ONE,)), FrameResult(1834, 73.36, ())]
    path = written(tmp_path / "a.csv", results, layout="py-feat", source="films/a, b.mp4")
    assert path.read_text().split("\n") == [
        "frame,FaceRectX,FaceRectY,FaceRectWidth,FaceRectHeight,FaceScore,AU01,AU04,AU12,AU14L,"
        "anger,disgust,fear,happiness,sadness,surprise,neutral,boredom,input,approx_time,Identity,"
        "timestamp",
        "0,10.0,20.2,30.0,40.0,0.99,0.2500,0.5000,1.0000,0.0001,,,,0.750,0.250,,,0.125,"
        '"films/a, b.mp4",00:00,Person_3,0.000',
        '1833,,,,,0.00,,,,,,,,,,,,,"films/a, b.mp4",01:13,,73.360',
        "",
    ]
    # py-feat 2 takes a table with affect for its second detector's, which has other names.
    rows = cells(written(tmp_path / "b.csv", results, layout="py-feat", valence_arousal=True))
    assert rows[0]["Happy"] == "0.750" and rows[0]["arousal"] == "0.500"
    assert "happiness" not in rows[0] and rows[0]["Neutral"] == ""


@pytest.mark.parametrize("layout", tables.LAYOUTS)
def test_every_format_says_the_same(tmp_path, layout):
    import pyarrow as pa
    import pyarrow.parquet as parquet

    results = made_results(affect=True)
    options = {"layout": layout, "valence_arousal": True, "names": [f"{n}.png" for n in range(40)]}
    rows = cells(written(tmp_path / "a.csv", results, **options))
    origin = {"model": "sha256:0"}
    file = written(tmp_path / "a.parquet", results, format="parquet", about=origin, **options)
    lines = written(tmp_path / "a.jsonl", results, format="json", **options).read_text()
    typed = parquet.read_table(file)
    objects = [json.loads(line) for line in lines.splitlines()]
    assert typed.num_rows == len(objects) == len(rows) > 40
    assert typed.column_names == list(objects[0]) == list(rows[0])
    for name in rows[0]:
        texts = [row[name] for row in rows]
        column = typed[name].to_pylist()
        assert column == [row[name] for row in objects], name
        if pa.types.is_string(typed.schema.field(name).type):
            assert [value or "" for value in column] == texts
        else:  # exactly the CSV's numbers, and null where it is empty
            assert column == [None if text == "" else float(text) for text in texts], name
    kinds = {name: str(typed.schema.field(name).type) for name in typed.column_names}
    assert kinds["frame"] == "int64" and kinds["valence"] == "double" and kinds["input"] == "string"
    if layout == "openface":
        assert kinds["AU12_c"] == kinds["success"] == "int8" and kinds["AU12_p"] == "double"
        assert {type(row["AU12_c"]) for row in objects} == {int, type(None)}
    about = json.loads(typed.schema.metadata[b"jaxfacs"])
    assert about == {"layout": layout, "model": "sha256:0"}
    assert len(list(tmp_path.iterdir())) == 3


def test_what_is_not_finite_is_unknown(tmp_path):
    odd = replace(
        ONE,
        box_4=np.array([np.nan, -0.04, np.inf, 1], np.float32),
        emotion_E=np.array([np.nan, 0.0, 1.0]),
    )
    for format, suffix in tables.SUFFIXES.items():
        path = tmp_path / f"odd{suffix}"
        written(path, [FrameResult(1, 0.0, (odd,))], format=format)
        table = tables.read(path)
        np.testing.assert_array_equal(table.boxes_N4, [[np.nan, 0, np.nan, 1]])
        np.testing.assert_array_equal(table.emotion_NE, [[np.nan, 0, 1]])
    assert ",,0.0,,1.0\n" in (tmp_path / "odd.csv").read_text()


@pytest.mark.parametrize("format", tables.SUFFIXES)
def test_a_film_without_frames_gives_a_table_without_rows(tmp_path, format):
    path = written(tmp_path / "none", [], format=format)
    assert len(list(tmp_path.iterdir())) == 1
    if format == "json":
        assert path.read_text() == ""  # JSON Lines has no place for a header
    else:
        table = tables.read(path)
        assert len(table) == 0 and table.aus == AUS and table.intensity_NA.shape == (0, 4)


def test_an_error_leaves_nothing(tmp_path):
    for format in tables.SUFFIXES:
        with (
            pytest.raises(KeyError),
            tables.writing(tmp_path / "x", format=format, **LABELS) as add,
        ):
            add(made_results(1)[0])
            raise KeyError
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_is_one_line(tmp_path):
    journal = tmp_path / "journal"
    journal.symlink_to("/dev/full")
    with (
        pytest.raises(UserError, match=r"x\.csv cannot be written \(No space left on device\)"),
        tables.writing(tmp_path / "x.csv", journal=journal, **LABELS) as add,
    ):
        add(made_results(1)[0])
        add.mark()
    assert not (tmp_path / "x.csv").exists()


def test_a_folder_that_is_not_there_and_names_that_are_none(tmp_path):
    for options, message in (
        ({"format": "xlsx"}, "no table has the format 'xlsx'; choose csv, parquet, json"),
        ({"layout": "fera"}, "no layout 'fera'; choose one of openface, py-feat"),
        ({}, "cannot be written"),
    ):
        with pytest.raises(UserError, match=message):
            written(tmp_path / "absent" / "x", [], **options)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        written(tmp_path / "folder", made_results(2))
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_parquet_without_pyarrow_is_said_before_a_frame_is_read(tmp_path):
    script = f"""
import sys
sys.modules["pyarrow"] = sys.modules["pandas"] = None
from pathlib import Path
from jaxfacs.errors import UserError
from jaxfacs.infer import tables
def said(action):
    try:
        action()
    except UserError as error:
        print(error)
def write():
    path = Path({str(tmp_path)!r}) / "a.parquet"
    with tables.writing(path, aus=(), emotions=(), format="parquet"):
        print("entered")
said(write)
said(lambda: tables.read({str(tmp_path / "b.parquet")!r}))
said(lambda: tables.read_frame({str(tmp_path / "c.csv")!r}))
print(len(tables.read({str(tmp_path / "c.csv")!r})))
"""
    written(tmp_path / "b.parquet", made_results(2), format="parquet")
    written(tmp_path / "c.csv", made_results(2))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 4 and lines[3] == "2", done.stderr
    assert all("pip install 'jaxfacs[tables]'" in line for line in lines[:3])
