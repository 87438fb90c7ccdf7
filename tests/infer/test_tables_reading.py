"""Tables as they are read: every tool's, every format's; bad files by file and line."""

import csv
import json
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from made_results import AUS, EMOTIONS, made_results, written

from jaxfacs.emotion import frames, sheet
from jaxfacs.errors import UserError
from jaxfacs.infer import tables


def plain(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file, skipinitialspace=True))


def text(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("layout", tables.LAYOUTS)
@pytest.mark.parametrize("format", tables.SUFFIXES)
def test_what_is_written_is_read(tmp_path, format, layout):
    results = made_results(affect=True)
    options = {"format": format, "layout": layout, "valence_arousal": True}
    table = tables.read(written(tmp_path / "t", results, source="a.mp4", **options))
    rows = [(r, face) for r in results for face in (r.faces or (None,))]
    seen = np.array([face is not None for _, face in rows])
    faces = [face for _, face in rows if face is not None]
    assert table.kind == ("jaxfacs" if layout == "openface" else "py-feat")
    assert len(table) == len(rows) == 44 and table.aus == AUS
    np.testing.assert_array_equal(table.frame_N, [r.frame for r, _ in rows])
    np.testing.assert_array_equal(table.time_s_N, [round(r.timestamp, 3) for r, _ in rows])
    np.testing.assert_array_equal(table.success_N, seen)
    np.testing.assert_array_equal(table.face_N[seen], [face.face_id for face in faces])
    assert set(table.face_N[~seen]) == {-1}
    expected = {
        "confidence_N": [round(face.confidence, 2) for face in faces],
        "probability_NA": [face.probability_A for face in faces],
        "valence_arousal_N2": [face.valence_arousal_2 for face in faces],
    }
    if layout == "openface":
        expected["intensity_NA"] = [face.intensity_A for face in faces]
        expected["presence_NA"] = [face.present_A for face in faces]
        assert table.emotions == EMOTIONS
        expected["emotion_NE"] = [face.emotion_E for face in faces]
    else:
        assert np.isnan(table.intensity_NA).all() and np.isnan(table.presence_NA).all()
        assert set(table.inputs_N) == {"a.mp4"}
        shared = [table.emotions.index(e) for e in EMOTIONS[:2]]
        given = np.stack([face.emotion_E[:2] for face in faces])
        np.testing.assert_array_equal(table.emotion_NE[seen][:, shared], given)
        assert np.isnan(table.emotion_NE[:, table.emotions.index("fear")]).all()
    for name, values in expected.items():
        np.testing.assert_array_equal(getattr(table, name)[seen], np.array(values), name)
        if name != "confidence_N":
            assert np.isnan(getattr(table, name)[~seen]).all(), name
    np.testing.assert_allclose(table.boxes_N4[seen], [f.box_4 for f in faces], atol=0.051)
    # The mappers of emotions read the same file the same way.
    told = frames.read(tmp_path / "t")
    assert told.aus == AUS and (told.face_N == "-1").tolist() == (~seen).tolist()
    np.testing.assert_array_equal(told.probability_NA, table.probability_NA)
    np.testing.assert_array_equal(told.intensity_NA, table.intensity_NA)
    np.testing.assert_array_equal(
        told.own["happiness"], table.emotion_NE[:, table.emotions.index("happiness")]
    )


def test_open_face_1_as_the_csv_module_reads_it(shared_data):
    path = shared_data / "faces" / "OpenFace_Test.csv"
    table, rows = tables.read(path), plain(path)
    assert table.kind == "openface" and len(table) == len(rows) == 100
    assert table.aus[:3] == ("1", "2", "4") and table.aus[-1] == "28" and len(table.aus) == 18
    for a, au in enumerate(table.aus):
        for suffix, values in (("r", table.intensity_NA), ("c", table.presence_NA)):
            name = f"AU{int(au):02d}_{suffix}"
            expected = [float(row[name]) if name in row else np.nan for row in rows]
            np.testing.assert_array_equal(values[:, a], expected, name)
    assert np.isnan(table.intensity_NA[:, -1]).all()  # AU 28 has presence only
    np.testing.assert_array_equal(table.frame_N, np.arange(1, 101))
    assert table.time_s_N[-1] == 0.099 and set(table.face_N) == {0} and table.success_N.all()
    assert "gaze_0_x" not in table.columns
    more = tables.read(path, columns=["gaze_0_x"])
    assert more.columns["gaze_0_x"][0] == float(rows[0]["gaze_0_x"])
    frame = tables.read_openface(path)
    assert frame.shape == (100, 431) and frame.attrs == {"kind": "openface"}
    ours = pd.read_csv(path, skipinitialspace=True)
    pd.testing.assert_frame_equal(frame, ours, check_dtype=False)
    assert frame.frame.dtype == frame.success.dtype == np.int64


def test_py_feat_1_as_the_csv_module_reads_it(shared_data):
    path = shared_data / "faces" / "Feat_Test.csv"
    table, (row,) = tables.read(path), plain(path)
    assert table.kind == "py-feat" and len(table) == 1 and len(table.aus) == 20
    expected = [float(row[f"AU{int(au):02d}"]) for au in table.aus]
    np.testing.assert_array_equal(table.probability_NA, [expected])
    assert table.emotions[3] == "happiness" and table.emotion_NE[0, 3] == float(row["happiness"])
    np.testing.assert_array_equal(table.boxes_N4[0, 2], float(row["FaceRectWidth"]))
    assert table.frame_N[0] == 1 and table.face_N[0] == 0 and table.inputs_N[0] == row["input"]
    assert np.isnan(table.time_s_N[0]) and table.success_N[0]
    frame = tables.read_pyfeat(path)
    assert frame.shape == (1, 173) and frame.frame[0] == 0
    # Its AUs are probabilities; of an occurrence 0.96 would be "absent".
    told = frames.read(path)
    assert told.probability_NA[0, table.aus.index("12")] == float(row["AU12"])


def test_open_face_2_with_all_its_columns(tmp_path):
    r = "01 02 04 05 06 07 09 10 12 14 15 17 20 23 25 26 45".split()
    header = [
        *"frame face_id timestamp confidence success".split(),
        *(f"gaze_{eye}_{axis}" for eye in "01" for axis in "xyz"),
        *("gaze_angle_x", "gaze_angle_y"),
        *(f"eye_lmk_{axis}_{n}" for axis in "xyXYZ" for n in range(56)),
        *(f"pose_{kind}{axis}" for kind in "TR" for axis in "xyz"),
        *(f"{axis}_{n}" for axis in "xyXYZ" for n in range(68)),
        *("p_scale", "p_rx", "p_ry", "p_rz", "p_tx", "p_ty", *(f"p_{n}" for n in range(34))),
        *(f"AU{n}_r" for n in r),
        *(f"AU{n}_c" for n in [*r[:-1], "28", "45"]),
    ]
    assert len(header) == 714
    lines = [", ".join(header)]  # as Windows builds write it, with blanks
    for n in range(1, 5):
        failed = n == 3
        values = [n, 7, 0.033 * n, 0.02 if failed else 0.98, int(not failed)]
        aus = [0 if failed else 2.5] * 17 + [0 if failed else 1.0] * 18
        lines.append(", ".join(map(str, [*values, *[0.5] * (714 - 5 - 35), *aus])))
    table = tables.read(text(tmp_path / "of.csv", *lines))
    assert table.kind == "openface" and len(table.aus) == 18 and set(table.face_N) == {7, -1}
    np.testing.assert_array_equal(table.success_N, [True, True, False, True])
    # OpenFace writes 0 where it found no face; nothing is known there.
    np.testing.assert_array_equal(np.isnan(table.presence_NA).any(axis=1), ~table.success_N)
    np.testing.assert_array_equal(table.intensity_NA[0], [2.5] * 17 + [np.nan])
    assert table.columns["AU12_r"][2] == 0 and table.confidence_N[2] == 0.02
    np.testing.assert_allclose(table.time_s_N, [0.033, 0.066, 0.099, 0.132])
    told = frames.read(tmp_path / "of.csv")
    assert np.isnan(told.probability_NA[2]).all() and told.probability_NA[3].all()
    assert tables.read_frame(tmp_path / "of.csv").shape == (4, 714)


def test_open_face_of_a_picture(tmp_path):
    path = text(tmp_path / "p.csv", "face,confidence,AU12_r,AU12_c", "0,0.9,1.5,1", "1,0.8,0,0")
    table = tables.read(path)
    assert table.kind == "openface" and table.success_N.all() and set(table.frame_N) == {1}
    np.testing.assert_array_equal(table.face_N, [0, 1])
    np.testing.assert_array_equal(table.presence_NA, [[1], [0]])


def test_py_feat_2_with_its_times_people_and_index(tmp_path):
    path = text(
        tmp_path / "fex.csv",
        ",FaceRectX,FaceRectY,FaceRectWidth,FaceRectHeight,FaceScore,x_0,AU12,Neutral,Happy,valence,"
        "arousal,mesh_x_0,input,frame,approx_time,Identity",
        "0,10.5,20,30,40,0.99,1,0.75,0.25,0.5,0.1,-0.2,3,a.mp4,0,00:00,Person_1",
        "1,50,20,30,40,0.9,1,0.5,0.75,0.25,0.1,-0.2,3,a.mp4,0,00:00,Unknown",
        "2,,,,,0.0,,,,,,,,a.mp4,1830,01:01,",
    )
    table = tables.read(path)
    assert table.kind == "py-feat" and table.emotions == ("neutral", "happiness")
    np.testing.assert_array_equal(table.frame_N, [1, 1, 1831])
    np.testing.assert_array_equal(table.time_s_N, [0, 0, 61])
    np.testing.assert_array_equal(table.face_N, [1, -1, -1])
    np.testing.assert_array_equal(table.success_N, [True, True, False])
    np.testing.assert_array_equal(table.probability_NA[:, 0], [0.75, 0.5, np.nan])
    np.testing.assert_array_equal(table.valence_arousal_N2[0], [0.1, -0.2])
    assert tables.read_pyfeat(path).shape == (3, 16)  # without the nameless index
    told = frames.read(path)
    assert told.face_N.tolist() == ["Person_1", "Unknown", "-1"] and told.time_s_N[2] == 61
    numbered = text(
        tmp_path / "old.csv",
        "frame,FaceRectX,FaceScore,AU12,input",
        *("0,1,0.9,0.5,a.png", "0,2,0.9,0.5,a.png", "0,1,0.9,0.5,b.png", "1,,,,a.png"),
    )
    np.testing.assert_array_equal(tables.read(numbered).face_N, [0, 1, 0, -1])
    assert [len(part) for part in tables.chunks(numbered, rows=1)] == [2, 1, 1]


@pytest.mark.parametrize("format", tables.SUFFIXES)
def test_parts_are_the_whole_and_no_frame_is_cut(tmp_path, monkeypatch, format):
    path = written(tmp_path / "t", made_results(60), format=format)
    whole = tables.read(path)
    (bare,) = tables.chunks(path, values=False)
    assert bare.aus == bare.emotions == () and len(bare.columns) == 9
    np.testing.assert_array_equal(bare.face_N, whole.face_N)
    np.testing.assert_array_equal(bare.boxes_N4, whole.boxes_N4)
    for rows, cells in ((1, 100), (2, 200_000), (7, 1), (7, 500), (66, 500), (67, 1), (1000, 500)):
        monkeypatch.setattr(sheet, "CELLS", cells)
        parts = list(tables.chunks(path, rows=rows))
        assert max(map(len, parts)) <= max(rows, 2)
        numbers = [set(part.frame_N) for part in parts]
        assert sum(map(len, numbers)) == len(set.union(*numbers)) == 60
        for name, values in whole.columns.items():
            joined = np.concatenate([part.columns[name] for part in parts])
            np.testing.assert_array_equal(joined, values, f"{name}, {rows}, {cells}")


def test_a_long_table_does_not_fill_the_memory(tmp_path, monkeypatch):
    path = tmp_path / "long.csv"
    header, *rows = written(tmp_path / "t.csv", made_results(40)).read_text().splitlines()
    with path.open("w") as file:
        file.write(f"{header}\n")
        for copy in range(100):
            for row in rows:
                number, rest = row.split(",", 1)
                file.write(f"{int(number) + 40 * copy},{rest}\n")
    monkeypatch.setattr(sheet, "CELLS", 4000)

    def peak(action):
        tracemalloc.start()
        assert action() == 4400
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    assert peak(lambda: len(tables.read(path))) > 0.9e6
    assert peak(lambda: sum(len(part) for part in tables.chunks(path, rows=100))) < 0.7e6


def test_columns_of_ones_own(tmp_path, monkeypatch):
    path = written(tmp_path / "t.csv", made_results(3))
    header, *rows = path.read_text().splitlines()
    late = text(tmp_path / "late.csv", f"{header},note", f"{rows[0]},", f"{rows[1]},x")
    with monkeypatch.context() as patch:
        patch.setattr(sheet, "CELLS", 1)
        assert tables.read(late, columns=["note"]).columns["note"].tolist() == ["", "x"]
    text(path, f"{header},subject,age", *(f"{row},p{n},3{n}" for n, row in enumerate(rows)))
    table = tables.read(path, columns=["subject", "age"])
    assert table.columns["subject"].tolist() == ["p0", "p1", "p2"]
    assert table.columns["age"].tolist() == [30, 31, 32] and table.emotions == EMOTIONS
    frame = tables.read_frame(path)
    assert frame.subject.tolist() == ["p0", "p1", "p2"] and frame.attrs["kind"] == "jaxfacs"
    with pytest.raises(UserError, match="no column 'sex'"):
        tables.read(path, columns=["sex"])


HEADER = "frame,face_id,timestamp,confidence,success,AU12_r,AU12_c"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; write it again"),
        (b"\xef\xbb\xbf \n\n", "is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is no table"),
        (HEADER.encode("utf-16"), "is no table .it holds bytes that no UTF-8 text has"),
        (HEADER.encode() + b"\n1,0,0,\xff,1,1,1\n", "no UTF-8 text"),
        (b"a,b,c\n1,2,3\n", "has not the columns of jaxfacs, OpenFace"),
        (HEADER.replace(",", ";").encode() + b"\n", "not separated by commas"),
        (f"{HEADER},AU12_r\n".encode(), "two columns 'AU12_r'"),
        (f"{HEADER}\n1,0,0,1,1,1,1\n2,0,0,1\n".encode(), "line 3: 4 fields, not 7; the file is da"),
        (f"{HEADER}\n\n1,0,0,1,1,1,1,9\n".encode(), "line 3: 8 fields, not 7"),
        (f"{HEADER}\n1,0,0,1,1,high,1\n".encode(), "line 2: 'high' is no number for AU12_r"),
        (f"{HEADER}\n1,0,0,1,1,1,1\n2,0,0,1,1,1,inf\n".encode(), "line 3: AU12_c is infinite"),
        (f"{HEADER}\n1,0,1:x,1,1,1,1\n".encode(), "line 2: 'x' is no number for timestamp"),
        (b"frame," + b"x" * (1 << 21), "line 1: more than 1,048,576 characters"),
        (HEADER.encode() + b"\n" + b'"' * 300_000, "is no CSV text: field larger than"),
        (b'[{"frame": 1}]', "one JSON document"),
        (b'{"frame": 1,\n "face_id": 0}\n', "line 1: no JSON object"),
        (b'{"frame": 1}\n{"frame": 2}\n[3]\n', "has not the columns"),
        (b"PAR1 and then nothing", "is no whole Parquet file"),
    ],
)
def test_bad_files_are_named(tmp_path, content, message):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    for reader in (tables.read, lambda p: list(tables.chunks(p)), tables.read_frame):
        with pytest.raises(UserError, match=message) as error:
            reader(path)
        assert "bad.csv" in str(error.value) and "\n" not in str(error.value)


def test_bad_lines_of_json_and_of_parquet(tmp_path):
    path = written(tmp_path / "t.jsonl", made_results(9), format="json")
    lines = path.read_text().splitlines()
    row = json.loads(lines[3])
    for bad, message in (
        (json.dumps({**row, "AU12_r": "high"}), "line 4: 'high' is no number for AU12_r"),
        (json.dumps({**row, "AU12_r": [1]}), r"line 4: '\[1\]' is no number for AU12_r"),
        (json.dumps({**row, "AU12_r": 10**400}), "line 4: AU12_r is infinite"),
        (json.dumps({**row, "more": 1}), r"line 4: other columns than line 1 \(more\)"),
        ("[" * 100_000, "line 4: no JSON object"),
        ("17", "line 4: no JSON object"),
        (lines[3][:-20], "line 4: no JSON object"),
    ):
        text(path, *lines[:3], bad, *lines[4:])
        with pytest.raises(UserError, match=message):
            tables.read(path)
    path = written(tmp_path / "t.parquet", made_results(9), format="parquet")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="is no whole Parquet file"):
        tables.read(path)
    with pytest.raises(UserError, match=r"cannot read .*absent.csv: No such file"):
        tables.read(tmp_path / "absent.csv")
    with pytest.raises(UserError, match=r"cannot read .*: Is a directory"):
        tables.read(tmp_path)


def test_another_tools_reader_says_whose_table_it_is(tmp_path):
    own = written(tmp_path / "own.csv", made_results(2))
    fex = written(tmp_path / "fex.csv", made_results(2), layout="py-feat")
    assert len(tables.read_openface(own)) == len(tables.read_pyfeat(fex)) == 2
    with pytest.raises(UserError, match="no table of py-feat but of jaxfacs"):
        tables.read_pyfeat(own)
    with pytest.raises(UserError, match="no table of OpenFace but of py-feat"):
        tables.read_openface(fex)


def test_pandas_reads_what_is_written(tmp_path):
    results = made_results(20)
    ours = tables.read_frame(written(tmp_path / "t.csv", results))
    typed = pd.read_parquet(written(tmp_path / "t.parquet", results, format="parquet"))
    lines = pd.read_json(written(tmp_path / "t.jsonl", results, format="json"), lines=True)
    pd.testing.assert_frame_equal(ours, pd.read_csv(tmp_path / "t.csv"), check_dtype=False)
    pd.testing.assert_frame_equal(ours, typed, check_dtype=False)
    pd.testing.assert_frame_equal(ours, lines, check_dtype=False)


def test_lines_are_told_also_after_quoted_line_ends(tmp_path):
    path = text(tmp_path / "t.csv", "AU12_c,note", '1,"two\nlines"', "1,", "x,")
    with pytest.raises(UserError, match="line 5: 'x' is no number"):
        frames.read(path)
    (part,) = sheet.parts(path)
    assert part.texts("note") == ["two\nlines", "", ""]


def test_the_fast_way_through_a_csv_gives_what_the_long_way_gives(tmp_path, monkeypatch):
    plain = ["", "1", " 2.5", "-0", "1e5", "nan", "+4", ".5", "5.", "1e-320", "0.1"]
    odd = [" ", "NA", "x", "0x10", "inf", "3#", "1,2", '"3"', '"4,5"', '"6\n"', "\t7", "8\r", "½"]
    rng = np.random.default_rng(0)
    monkeypatch.setattr(sheet, "CELLS", 12)  # four rows at a time
    path = tmp_path / "t.csv"

    def told():
        try:
            parts = list(sheet.parts(path, ["a", "c"], texts=["c"]))
            numbers = np.concatenate([part.numbers("a") for part in parts]).tolist()
            return str((numbers, [text for part in parts for text in part.texts("c")]))
        except UserError as error:
            return str(error)

    ends = set()
    for n in range(3 * 3 * len(odd)):
        cells = rng.choice(plain, (10, 3)).astype(object)
        if n > 20:  # each odd one in each column
            cells[rng.integers(10), n % 3] = odd[n % len(odd)]
        rows = [",".join(row) for row in cells]
        path.write_bytes("\n".join(["a, b ,c", *rows]).encode() + b"\n" * (n % 3))
        fast = told()
        with monkeypatch.context() as patch:
            patch.setattr(sheet, "_plain_columns", lambda *_: None)
            assert told() == fast, path.read_text()
        ends.add(fast[0])
    assert ends == {"(", "/"}  # some were read, some refused
