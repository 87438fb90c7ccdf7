"""Tables over time: envelopes against the frames themselves; segments; chunks leave no trace."""

import numpy as np
import pytest
from tiny_table import AUS, values, write_table

from jaxfacs.errors import UserError
from jaxfacs.infer import segments
from jaxfacs.infer.views import course


def test_a_short_film_keeps_every_frame(tmp_path):
    found = course.read(write_table(tmp_path / "a.csv", 40, gap=range(11, 21)))
    p, r, c, e = values(40)
    (face,) = found.faces
    there = np.r_[0:10, 20:40]
    assert found.every_frame and found.timed and found.end_s == pytest.approx(2.0)
    assert (found.frames, found.frames_with_face, face.frames) == (40, 30, 30)
    assert face.rows_B.tolist() == [1] * 10 + [0] * 10 + [1] * 20
    for values_BK in (face.low_BK, face.high_BK, face.mean_BK):
        for part, wanted in zip("prc", (p, r, c), strict=True):
            got = values_BK[there][:, getattr(found.values, part)]
            np.testing.assert_allclose(got, wanted[there], atol=1e-6)
        assert np.isnan(values_BK[10:20]).all()
    np.testing.assert_allclose(face.present_A, c[there].mean(0))
    np.testing.assert_allclose(
        face.intensity_A, [r[there, a][c[there, a] > 0].mean() for a in range(len(AUS))], rtol=1e-6
    )
    np.testing.assert_allclose(face.emotion_E, e[there].mean(0), rtol=1e-6)
    np.testing.assert_allclose(face.peak_s_A, there[p[there].argmax(0)] / 20.0)


def test_a_long_film_is_an_envelope(tmp_path):
    found = course.read(write_table(tmp_path / "a.csv", 100), bins=7)
    p, *_ = values(100)
    (face,) = found.faces
    bin_N = np.arange(100) * 7 // 100
    for b in range(7):
        part = p[bin_N == b]
        slot = found.values.p
        np.testing.assert_allclose(face.low_BK[b, slot], part.min(0), atol=1e-6)
        np.testing.assert_allclose(face.high_BK[b, slot], part.max(0), atol=1e-6)
        np.testing.assert_allclose(face.mean_BK[b, slot], part.mean(0), atol=1e-6)
    assert found.frame_B.tolist() == [int(np.flatnonzero(bin_N == b)[0]) + 1 for b in range(7)]
    assert not found.every_frame


def _segments_by_hand(p_T, time_T):
    """(onset, offset, begins, ends) with threshold 0.5; None in `p_T`: no face."""
    runs, t = [], 0
    while t < len(p_T):
        if p_T[t] is None or p_T[t] < 0.5:
            t += 1
            continue
        start = last = t
        while t < len(p_T) and p_T[t] is not None and p_T[t] >= 0.35:
            last = t if p_T[t] >= 0.5 else last
            t += 1
        ends = last + 1 < len(p_T) and p_T[last + 1] is not None
        begins = start > 0 and p_T[start - 1] is not None
        if sum(p >= 0.5 for p in p_T[start : last + 1]) >= 2:
            runs.append((time_T[start], time_T[last + 1 if ends else last], begins, ends))
    return runs


@pytest.mark.parametrize("rows", [1, 7, 2000])
def test_segments_do_not_see_the_chunks(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(course, "_CHUNK", rows)
    path = write_table(tmp_path / "a.csv", 90, gap=(30, 31, 60))
    (face,) = course.read(path, bins=9).faces
    p, r, c, _ = values(90)
    time_T = np.arange(90) / 20.0
    for a, au in enumerate(AUS):
        p_T = [None if t + 1 in (30, 31, 60) else p[t, a] for t in range(90)]
        found = [s for s in face.segments if s.au == au]
        got = [(s.onset_s, s.offset_s, s.begins, s.ends) for s in found]
        wanted = _segments_by_hand(p_T, time_T)
        assert [run[2:] for run in got] == [run[2:] for run in wanted], au
        np.testing.assert_allclose([run[:2] for run in got], [run[:2] for run in wanted])
        for segment in found:
            inside = (time_T >= segment.onset_s) & (time_T < segment.offset_s + 0.01)
            inside &= (c[:, a] > 0) & np.array([p is not None for p in p_T])
            assert segment.level == pytest.approx(r[inside, a].max())
            assert time_T[inside][r[inside, a].argmax()] == pytest.approx(segment.apex_s)


def test_segments_are_those_of_the_table_of_segments(tmp_path):
    rng = np.random.default_rng(5)
    path = tmp_path / "film.csv"
    rows = ["frame,face_id,timestamp,confidence,success,AU12_r,AU12_c,AU12_p"]
    for t, p in enumerate(rng.uniform(0.2, 0.9, 120).round(3)):
        seen = t % 50 != 49
        told = f"{5 * p:.2f},{float(p >= 0.6)},{p}" if seen else ",,"
        rows.append(f"{t + 1},{0 if seen else -1},{t / 25:.3f},1,{int(seen)},{told}")
    path.write_text("\n".join(rows) + "\n")
    segments.write(path, tmp_path / "segments.csv", thresholds={"12": 0.6})
    lines = (tmp_path / "segments.csv").read_text().splitlines()
    head = lines[0].split(",")
    names = ("onset_s", "apex_s", "offset_s", "onset_seen", "offset_seen")
    wanted = [[float(line.split(",")[head.index(name)]) for name in names] for line in lines[1:]]
    (face,) = course.read(path, thresholds={"12": 0.6}).faces
    got = [[s.onset_s, s.apex_s, s.offset_s, s.begins, s.ends] for s in face.segments]
    assert len(wanted) > 8
    np.testing.assert_allclose(got, wanted, atol=1e-3)


def test_of_many_segments_the_longest_of_each_au_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(course, "MOST_SEGMENTS", 4)
    path = write_table(tmp_path / "a.csv", 90)
    (face,) = course.read(path).faces
    monkeypatch.undo()
    (whole,) = course.read(path).faces
    assert face.num_segments == whole.num_segments == len(whole.segments) > 4
    assert {s.au for s in face.segments} == set(AUS) and len(face.segments) == 4
    assert set(face.segments) <= set(whole.segments)


def test_the_faces_of_the_most_frames_are_kept(tmp_path):
    path = write_table(tmp_path / "a.csv", 20, faces=3)
    found = course.read(path, most_faces=2)
    assert found.num_faces == 3 and [face.face_id for face in found.faces] == [0, 1]
    assert [face.face_id for face in course.read(path, face_id=2).faces] == [2]
    with pytest.raises(UserError, match="no face 7; it has: 0, 1, 2"):
        course.read(path, face_id=7)


def test_tables_of_others(tmp_path):
    """Presence and intensity without probability; frames without times; a failed frame's guess."""
    path = tmp_path / "a.csv"
    path.write_text(
        "frame, face_id, timestamp, confidence, success, AU12_r, AU12_c\n"
        "1, 0, 0, 0.9, 1, 2.5, 1\n2, 0, 0, 0.9, 1, 0.2, 0\n3, 0, 0, 0.1, 0, 4.0, 1\n"
    )
    found = course.read(path)
    (face,) = found.faces
    assert not found.timed and found.start_s_B.tolist() == [1, 2, 3]
    assert face.rows_B.tolist() == [1, 1, 0]
    assert found.measure == "intensity"
    np.testing.assert_allclose(face.mean_BK[:2, found.values.p], [[0.5], [0.04]], atol=1e-6)
    np.testing.assert_allclose(face.present_A, [0.5])


def test_presence_by_threshold_where_the_table_has_none(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        "frame,face_id,timestamp,confidence,success,AU12_p\n1,0,0,1,1,0.6\n2,0,0.1,1,1,0.8\n"
    )
    assert course.read(path).faces[0].present_A[0] == 1
    assert course.read(path, thresholds={"12": 0.7}).faces[0].present_A[0] == 0.5


def test_no_rows_is_said(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("frame,face_id,timestamp,confidence,success,AU12_p\n")
    with pytest.raises(UserError, match="no row"):
        course.read(path)
