import csv
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from jaxfacs.data import build as building
from jaxfacs.data import label_table, records
from jaxfacs.data.builders import folder
from jaxfacs.errors import UserError


def write_table(path: Path, header: str, *rows: str) -> Path:
    path.write_text("\n".join((header, *rows)) + "\n")
    return path


def picture(value: int) -> np.ndarray:
    return np.full((48, 40, 3), value, np.uint8)


def write_film(path: Path, frames: int) -> None:
    film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (48, 48))
    for i in range(frames):
        film.write(np.full((48, 48, 3), 10 + 20 * i, np.uint8))
    film.release()


@pytest.fixture
def source(tmp_path) -> Path:
    """Three subjects with four numbered pictures each, and a film of eight frames."""
    root = tmp_path / "mine"
    for subject in "abc":
        (root / subject).mkdir(parents=True)
        for i in range(4):
            cv2.imwrite(str(root / subject / f"{i:03d}.png"), picture(40 * i))
    write_film(root / "film.mp4", 8)
    return root


def pictures(label: str = "1", subjects: str = "abc") -> list[str]:
    return [f"{s}/{i:03d}.png,{s},{label}" for s in subjects for i in range(4)]


def build(source: Path, out: Path, **options) -> records.RecordSet:
    own = {k: options.pop(k) for k in ("labels", "first_frame", "stills", "name") if k in options}
    shared = {"faces": ("none",), "frames": 4, "size": 24, "workers": 1, **options}
    given = building.BuildOptions(source, out, **shared)
    building.build(folder.BUILDER, given, folder.Options(**own))
    return records.open_set(out, verify=True)


# The table


def read(tmp_path: Path, header: str, *rows: str) -> label_table.LabelTable:
    return label_table.read(write_table(tmp_path / "t.csv", header, *rows))


def test_spellings_of_columns(tmp_path):
    table = read(
        tmp_path,
        "image, AU01_r,AU02_c,4,'AU 6',au_12_intensity,L14,AU15_p,gaze_0_x",
        "x.png,2.5,1,1,0,3,1,0.7,0.1",
    )
    assert table.aus == ("1", "2", "4", "6", "12", "14", "L14")
    assert table.ignored == ["AU15_p", "gaze_0_x"]
    occurrence = dict(zip(table.aus, table.occurrence_RA[0].tolist(), strict=True))
    assert occurrence == {"1": 1, "2": 1, "4": 1, "6": 0, "12": 1, "14": 1, "L14": 1}
    intensity = dict(zip(table.aus, table.intensity_RA[0].tolist(), strict=True))
    assert intensity == {"1": 2.5, "2": -1, "4": -1, "6": -1, "12": 3, "14": -1, "L14": -1}


@pytest.mark.parametrize("cell", ["", "9", "999", "-1", "NA", "nan", " None ", "9.0", "-1.0"])
def test_unknown_is_never_absent(tmp_path, cell):
    table = read(tmp_path, "image,AU12,AU4_r", f"x.png,{cell},{cell}", "y.png,1,2")
    assert (table.occurrence_RA[0] == -1).all() and (table.intensity_RA[0] == -1).all()
    assert (table.occurrence_RA[1] == 1).all()


def test_bare_columns_are_intensity_when_they_look_it(tmp_path):
    table = read(tmp_path, "image,1,2,4", "x.png,0,3,B", "y.png,1,1,0")
    assert table.occurrence_RA.tolist() == [[0, 1, 1], [1, 1, 0]]
    assert table.intensity_RA.tolist() == [[-1, 3, 2], [-1, 1, 0]]


def test_occurrence_follows_from_intensity_where_it_is_not_given(tmp_path):
    table = read(tmp_path, "image,AU12_r,AU12_c", "x.png,0.5,", "y.png,4,0", "z.png,2,9")
    assert table.occurrence_RA[:, 0].tolist() == [0, 0, 1]


def test_sides_give_the_whole(tmp_path):
    table = read(tmp_path, "image,L12,R12", "x.png,1,0", "y.png,0,9")
    whole = table.aus.index("12")
    assert table.occurrence_RA[:, whole].tolist() == [1, -1]


def test_semicolons_and_byte_order_mark(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("﻿image;AU12;emotion\nx.png;1;Happy\n".encode())
    table = label_table.read(path)
    assert table.aus == ("12",) and table.rows[0].emotion == "happiness"


def test_affect_lies_in_its_range_or_is_unknown(tmp_path):
    table = read(tmp_path, "image,Valence,arousal", "x.png,-1,0.5", "y.png,-2,", "z.png,1,-5.0")
    assert table.aus == () and table.occurrence_RA.shape == (3, 0)
    expected = [[-1, 0.5], [np.nan, np.nan], [1, np.nan]]
    np.testing.assert_array_equal(table.valence_arousal_R2, expected)
    one = read(tmp_path, "image,AU12,valence", "x.png,1,0.25")
    np.testing.assert_array_equal(one.valence_arousal_R2, [[0.25, np.nan]])
    assert read(tmp_path, "image,AU12", "x.png,1").valence_arousal_R2 is None


def test_affect_travels_with_its_frames(source, tmp_path):
    rows = [f"{s}/{i:03d}.png,{s},{i / 4},-0.5" for s in "abc" for i in range(4)]
    write_table(source / "t.csv", "image,subject,valence,arousal", *rows)
    opened = build(source, tmp_path / "out", frames=3)
    clips = [opened.clip(s, n) for s, count in opened.splits.items() for n in range(count)]
    found = {c.clip_id[2:]: c.valence_arousal_T2.tolist() for c in clips}
    assert found == {
        "000.png:0": [[0.0, -0.5], [0.25, -0.5], [0.5, -0.5]],
        "000.png:3": [[0.75, -0.5]],
    }


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["image,AU12"], "has no rows"),
        (["image,smile", "x.png,1"], "no AU column.*image, smile"),
        (["AU12", "1"], "no column with paths"),
        (["film,AU12", "x.mp4,1"], "need a column 'frame'"),
        (["film,frame,AU12", "x.mp4,one,1"], "line 2: frame 'one'"),
        (["image,AU99", "x.png,1"], "column 'AU99'"),
        (["image,AU12,12", "x.png,1,1"], "'AU12' and '12' both hold AU 12"),
        (["image,path,AU12", "x.png,x.png,1"], "both name the image"),
        (["image,AU12", "x.png,7"], "line 2, column 'AU12': '7'"),
        (["image,AU12", "x.png,yes"], "'yes' is no AU label"),
        (["image,AU12_c", "x.png,3"], "occurrence of AU 12"),
        (["image,AU12", "x.png,1,2"], "line 2: 3 cells"),
        (["image,AU12", ",1"], "needs a film or an image"),
        (["image,AU12,split", "x.png,1,holdout"], "unknown split 'holdout'"),
        (["image,valence", "x.png,7"], r"line 2, column 'valence': '7' is not in \[-1, 1\]"),
        (["image,valence", "x.png,high"], "'high' is not in"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, lines, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, *lines)


def test_a_table_that_is_no_text(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(UserError, match="not a CSV"):
        label_table.read(path)
    with pytest.raises(UserError, match="does not exist"):
        label_table.read(tmp_path / "none.csv")


# The set


def test_numbered_pictures_become_clips(source, tmp_path):
    write_table(source / "t.csv", "image,subject,AU12", *pictures())
    opened = build(source, tmp_path / "out")
    assert sum(opened.splits.values()) == 3 and opened.frames == 4
    assert sorted(opened.subject_names) == ["a", "b", "c"]
    assert all(len(s) == 1 for s in opened.subjects.values())
    clip = opened.clip("train", 0)
    grey = [cv2.imdecode(np.frombuffer(j, np.uint8), 1).mean() for j in clip.frames]
    np.testing.assert_allclose(grey, [0, 40, 80, 120], atol=2)


def test_frames_one_makes_every_picture_a_clip(source, tmp_path):
    write_table(source / "t.csv", "image,subject,AU12", *pictures())
    assert sum(build(source, tmp_path / "out", frames=1).splits.values()) == 12


def test_a_gap_in_the_numbers_ends_a_clip(source, tmp_path):
    rows = [row for row in pictures() if "002" not in row]
    write_table(source / "t.csv", "image,subject,AU12", *rows)
    opened = build(source, tmp_path / "out", validation=0, test=0)
    assert opened.index("train")["length_N"].tolist() == [2, 1] * 3


def test_a_film_is_cut_by_the_frames_of_the_table(source, tmp_path):
    rows = [f"film.mp4,{i},s,{i % 2}" for i in range(8)]
    write_table(source / "t.csv", "film,frame,subject,AU12", *rows)
    opened = build(source, tmp_path / "out", frames=5, validation=0, test=0)
    assert opened.index("train")["length_N"].tolist() == [5, 3]
    clip = opened.clip("train", 1)
    assert clip.occurrence_TA[:, 0].tolist() == [1, 0, 1]
    np.testing.assert_allclose(clip.timestamps_T, [0.2, 0.24, 0.28], atol=1e-6)
    grey = [cv2.imdecode(np.frombuffer(j, np.uint8), 1).mean() for j in clip.frames]
    np.testing.assert_allclose(grey, [110, 130, 150], atol=6)


def test_a_film_counted_from_one_and_labelled_at_every_second_frame(source, tmp_path):
    rows = [f"film.mp4,{i},s,1" for i in (1, 3, 5, 7)]
    write_table(source / "t.csv", "film,frame,subject,AU12", *rows)
    opened = build(source, tmp_path / "out", first_frame=1, validation=0, test=0)
    assert opened.index("train")["length_N"].tolist() == [4]
    grey = cv2.imdecode(np.frombuffer(opened.clip("train", 0).frames[1], np.uint8), 1).mean()
    assert grey == pytest.approx(50, abs=6)  # the third frame of the film


def skipped(out: Path) -> list[tuple[str, str]]:
    with open(out / "skipped.csv", newline="") as file:
        return [(row["line"], row["reason"]) for row in csv.DictReader(file)]


def test_what_cannot_be_used_is_listed_with_its_reason(source, tmp_path, capsys):
    (source / "a" / "001.png").write_bytes(b"no picture")
    (source / "broken.mp4").write_bytes(b"no film")
    rows = [*pictures(), "b/777.png,b,1"]
    rows = [f"{row.split(',')[0]},,,{row.split(',', 1)[1]}" for row in rows]
    rows += [f",film.mp4,{i},c,1" for i in (6, 7, 8, 9)] + [",broken.mp4,0,c,1", ",gone.mp4,0,c,1"]
    write_table(source / "t.csv", "image,film,frame,subject,AU12", *rows)
    opened = build(source, tmp_path / "out", validation=0, test=0)
    reasons = skipped(tmp_path / "out")
    assert sorted(reasons) == sorted(
        [
            ("3", "unreadable"), ("14", "missing"), ("17", "not in film"), ("18", "not in film"),
            ("19", "unreadable"), ("20", "missing"),
        ]
    )  # fmt: skip
    assert opened.index("train")["length_N"].sum() == len(rows) - len(reasons)
    said = capsys.readouterr().out
    assert "2 × not in film" in said and "2 × unreadable" in said and "2 × missing" in said


def test_pictures_without_a_face_are_kept_and_marked(source, tmp_path, capsys):
    write_table(source / "t.csv", "image,subject,AU12", *pictures())
    opened = build(source, tmp_path / "out", faces=("haar",), validation=0, test=0)
    clip = opened.clip("train", 0)
    assert len(clip.frames) == 4 and not clip.found_T.any()
    assert clip.box_T4.tolist() == [[0, 4, 40, 40]] * 4  # the middle of 40×48 pixels
    assert "no face found in 12, kept and flagged" in capsys.readouterr().out
    assert opened.crop["steps"] == ["haar", "box:0.1"]


def test_a_real_face_is_found_and_cropped(shared_data, tmp_path):
    source = tmp_path / "faces"
    source.mkdir()
    for i, name in enumerate(("obama.jpg", "single_face.jpg")):
        os.symlink(shared_data / "faces" / name, source / name)
        (source / f"{i}.jpg").write_bytes((shared_data / "faces" / name).read_bytes())
    write_table(source / "t.csv", "image,subject,12", "0.jpg,o,1", "1.jpg,s,1")
    opened = build(source, tmp_path / "out", faces=("haar",), validation=0, test=0.5, size=64)
    assert opened.splits == {"train": 1, "test": 1}
    clip = opened.clip("train", 0)
    assert clip.found_T.all() and clip.box_T4[0, 2] > 30
    # A link that leads out of the folder is not followed, wherever it points.
    write_table(source / "t.csv", "image,subject,12", "obama.jpg,o,1")
    with pytest.raises(UserError, match=r"obama\.jpg leads out of"):
        build(source, tmp_path / "again", validation=0, test=0)


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "a/../../secret.png"])
def test_paths_that_leave_the_folder_are_refused(source, tmp_path, path):
    cv2.imwrite(str(tmp_path / "secret.png"), picture(1))
    write_table(source / "t.csv", "image,subject,AU12", *pictures(), f"{path},a,1")
    with pytest.raises(UserError, match="leads out of"):
        build(source, tmp_path / "out")


def test_own_splits_are_kept_and_checked(source, tmp_path):
    named = {"a": "train", "b": "val", "c": "test"}
    rows = [f"{row},{named[row[0]]}" for row in pictures()]
    write_table(source / "t.csv", "image,subject,AU12,split", *rows)
    opened = build(source, tmp_path / "out")
    assert opened.subjects == {"train": ("a",), "validation": ("b",), "test": ("c",)}
    rows[0] = rows[0].replace("train", "test")
    write_table(source / "t.csv", "image,subject,AU12,split", *rows)
    with pytest.raises(UserError, match="'a' is in several splits"):
        build(source, tmp_path / "again")


def test_emotions_by_name(source, tmp_path):
    words = {"a": "Happy", "b": "", "c": "sad"}
    rows = [f"{row},{words[row[0]]}" for row in pictures()]
    write_table(source / "t.csv", "image,subject,AU12,emotion", *rows)
    opened = build(source, tmp_path / "out", validation=0, test=0)
    assert opened.emotions == ("happiness", "sadness")
    assert sorted(opened.index("train")["emotion_N"].tolist()) == [-1, 0, 1]


def test_too_few_subjects_to_split(source, tmp_path):
    write_table(source / "t.csv", "image,subject,AU12", *pictures(subjects="a"))
    with pytest.raises(UserError, match=r"1 subject\(s\) cannot fill 3 splits"):
        build(source, tmp_path / "out")


def test_the_same_frame_twice(source, tmp_path):
    write_table(source / "t.csv", "image,subject,AU12", *pictures(), "a/000.png,a,0")
    with pytest.raises(UserError, match="lines 2 and 14 label the same frame"):
        build(source, tmp_path / "out")


def test_no_table_and_two_tables(source, tmp_path):
    with pytest.raises(UserError, match=r"found: none"):
        build(source, tmp_path / "out")
    for name in ("x.csv", "y.csv"):
        write_table(source / name, "image,AU12", "a/000.png,1")
    with pytest.raises(UserError, match=r"found: x\.csv, y\.csv.*--labels"):
        build(source, tmp_path / "out")


def test_twice_gives_the_same_bytes(source, tmp_path):
    from plain_sets import tree_digest

    write_table(source / "t.csv", "image,subject,AU12", *pictures())
    build(source, tmp_path / "one", workers=1)
    build(source, tmp_path / "two", workers=3)
    assert tree_digest(tmp_path / "one") == tree_digest(tmp_path / "two")
