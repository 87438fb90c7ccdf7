"""Segments are those of the presence in the table, with frames and seconds."""

import csv

import numpy as np
import pytest

from jaxfacs.errors import UserError
from jaxfacs.infer import segments, tables
from jaxfacs.infer.answer import answer
from jaxfacs.infer.results import FaceResult, FrameResult

AUS = ("6", "L12")


def table(path, probability_TA, *, absent=(), step=1, threshold=0.3):
    """What `jaxfacs predict` writes of one face at 25 frames a second."""
    with tables.writing(path, aus=AUS, emotions=()) as writer:
        for t, probability_A in enumerate(probability_TA):
            p, present, graded = answer(np.array(probability_A), np.full(2, threshold))
            face = FaceResult(0, 1.0, np.zeros(4), p, graded, present, np.zeros(0))
            faces = () if t in absent else (face,)
            writer.add(FrameResult(1 + t * step, t / 25, faces))
    return path


def written(path, **options):
    out = path.with_suffix(".segments.csv")
    count = segments.write(path, out, **options)
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == count and (rows == [] or tuple(rows[0]) == segments.HEADER)
    return rows


def rise(*levels):
    return [(level, 0.0) for level in levels]


def test_onset_apex_and_offset_in_frames_and_seconds(tmp_path):
    path = table(tmp_path / "film.csv", rise(0, 0.1, 0.4, 0.9, 0.5, 0.1, 0))
    (row,) = written(path, thresholds={"6": 0.3, "L12": 0.3})
    assert row == {
        "face_id": "0",
        "AU": "6",
        "onset_frame": "3",
        "apex_frame": "4",
        "offset_frame": "6",
        "onset_s": "0.080",
        "apex_s": "0.120",
        "offset_s": "0.200",
        "duration_s": "0.120",
        "peak_probability": "0.9000",
        "peak_intensity": "4.43",
        "onset_seen": "1",
        "offset_seen": "1",
    }


def test_it_begins_where_the_table_says_present_and_wavering_is_one(tmp_path):
    """0.25 is below the threshold of 0.3 and above 0.7 of it; 0.2 is below both."""
    wavers = table(tmp_path / "a.csv", rise(0, 0.4, 0.4, 0.25, 0.4, 0.4, 0.25, 0.2, 0))
    (row,) = written(wavers, thresholds={"6": 0.3})
    assert (row["onset_frame"], row["offset_frame"]) == ("2", "7")
    ends = table(tmp_path / "b.csv", rise(0, 0.4, 0.4, 0.2, 0.4, 0.4, 0.2, 0))
    assert len(written(ends, thresholds={"6": 0.3})) == 2
    # Without thresholds: the lowest probability that the table calls present, 0.4; 0.7 of it, 0.28.
    assert len(written(wavers)) == 2


def test_one_frame_is_no_segment_and_a_lost_face_ends_one(tmp_path):
    path = table(tmp_path / "a.csv", rise(0, 0.9, 0, 0.9, 0.9, 0.9, 0.9, 0.9, 0), absent={5})
    rows = written(path)
    assert [(r["onset_frame"], r["onset_seen"]) for r in rows] == [("4", "1"), ("7", "0")]
    assert [(r["offset_frame"], r["offset_seen"]) for r in rows] == [("5", "0"), ("9", "1")]
    assert len(written(path, shortest=1)) == 3


def test_frames_that_were_left_out_on_purpose_break_nothing(tmp_path):
    (row,) = written(table(tmp_path / "a.csv", rise(0, 0.9, 0.9, 0), step=5))
    assert (row["onset_frame"], row["offset_frame"]) == ("6", "16")


def test_openface_and_empty_and_wrong_tables(tmp_path):
    openface = tmp_path / "of.csv"
    openface.write_text(
        "frame, face_id, timestamp, success, AU06_r, AU06_c\n"
        + "".join(f"{t}, 0, {t / 25}, 1, {2.0 * (t == 3)}, {int(2 <= t < 5)}.0\n" for t in range(8))
    )
    (row,) = written(openface)
    assert (row["onset_frame"], row["apex_frame"], row["offset_frame"]) == ("2", "3", "5")
    assert written(table(tmp_path / "none.csv", rise(0.1, 0.1))) == []
    assert written(table(tmp_path / "nobody.csv", rise(0.9, 0.9), absent={0, 1})) == []
    timeless = tmp_path / "timeless.csv"
    timeless.write_text("frame,AU06_c\n1,1\n2,1\n")
    with pytest.raises(UserError, match="no time"):
        written(timeless)
    timeless.write_text("frame,timestamp,AU06_c\n1,0.1,1\n2,0.1,1\n")
    with pytest.raises(UserError, match="do not rise"):
        written(timeless)
