"""Timelines and face maps: what is drawn is what the table says, for any table."""

import json
import xml.etree.ElementTree as ET

import cv2
import numpy as np
import pytest
from tiny_table import AUS, write_table

from jaxfacs.errors import UserError
from jaxfacs.infer.views import heat, plots
from jaxfacs.infer.views.overlay import regions

SVG = "{http://www.w3.org/2000/svg}"


def texts(path):
    return ["".join(node.itertext()) for node in ET.parse(path).iter(f"{SVG}text")]


def test_a_timeline_names_every_row_and_the_gap(tmp_path):
    table = write_table(tmp_path / "film.csv", 60, gap=range(20, 30))
    (tmp_path / "film.json").write_text(json.dumps({"settings": {"thresholds": {"12": 0.7}}}))
    plots.timeline(table, tmp_path / "out" / "film.svg")
    said = texts(tmp_path / "out" / "film.svg")
    for label in (*map(plots.named, AUS), "happiness", "neutral", "no face", "threshold"):
        assert label in said
    assert "L14  dimpler, left" in said
    assert any("60 frames, 50 with a face" in text for text in said)
    assert not (tmp_path / "out" / "film.svg").read_text().count("http://www.w3.org/1999/xhtml")


def test_a_timeline_is_the_same_bytes_again(tmp_path):
    table = write_table(tmp_path / "film.csv", 20)
    for name in ("a.svg", "b.svg"):
        plots.timeline(table, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_long_table_of_several_faces_stays_bounded(tmp_path):
    table = write_table(tmp_path / "film.csv", 1100, faces=2, aus=AUS[:2])
    course = plots.timeline(table, tmp_path / "film.png")
    assert len(course.frame_B) == 1000 and len(course.faces) == 2
    picture = cv2.imread(str(tmp_path / "film.png"))
    assert picture.shape[1] == 1300 and picture.shape[0] < 1300
    assert {tuple(bgr) for bgr in picture.reshape(-1, 3)} >= {(178, 114, 0), (0, 94, 213)}  # faces


def test_odd_tables_are_drawn(tmp_path):
    """One frame; no face anywhere; a name that matplotlib would take for mathematics."""
    one = write_table(tmp_path / "$x^{$.csv", 1)
    plots.timeline(one, tmp_path / "one.png")
    none = write_table(tmp_path / "none.csv", 5, gap=range(1, 6))
    plots.timeline(none, tmp_path / "none.svg")
    assert "no face in any frame" in texts(tmp_path / "none.svg")
    with pytest.raises(UserError, match="no frame with a face"):
        heat.face_map(none, tmp_path / "none.svg")


def test_refusals_name_the_remedy(tmp_path):
    table = write_table(tmp_path / "film.csv", 5, boxes=False)
    with pytest.raises(UserError, match=r"neither in \.png nor in \.svg"):
        plots.timeline(table, tmp_path / "film.jpg")
    with pytest.raises(UserError, match="no face 4"):
        plots.timeline(table, tmp_path / "film.png", face_id=4)
    with pytest.raises(UserError, match="tells no box"):
        heat.face_map(table, tmp_path / "film.png", film=tmp_path / "film.mp4")
    assert not list(tmp_path.glob("*.png"))


def test_times_are_written_as_long_as_the_film_asks_for():
    assert [plots.clock(t, 10) for t in (0, 2.5)] == ["0 s", "2.5 s"]
    assert plots.clock(65, 600) == "1:05" and plots.clock(3725, 7200) == "1:02:05"


def test_runs():
    assert plots.runs(np.array([1, 1, 0, 1, 0, 0, 1], bool)) == [(0, 2), (3, 4), (6, 7)]
    assert plots.runs(np.zeros(3, bool)) == []


def test_a_face_map_shows_each_present_au_by_side(tmp_path):
    path = tmp_path / "film.csv"
    path.write_text(
        "frame,face_id,timestamp,confidence,success,AU12_r,AU14L_r,AU14R_r,AU09_r,"
        "AU12_c,AU14L_c,AU14R_c,AU09_c\n"
        "1,0,0.0,1,1,3,4,0,0,1,1,0,0\n2,0,0.1,1,1,0,2,0,0,0,1,0,0\n"
    )
    heat.face_map(path, tmp_path / "map.svg")
    said = texts(tmp_path / "map.svg")
    assert {"12  50 %", "L14  100 %"} <= set(said)
    assert any("Not seen: 9, R14" in text or "Not seen: R14, 9" in text for text in said)
    heat.face_map(path, tmp_path / "map2.svg", measure="intensity")
    assert {"12  3.0", "L14  3.0"} <= set(texts(tmp_path / "map2.svg"))
    left = [x for x, *_ in regions("L14")]
    assert min(left) > 0.5  # the subject's left is on the picture's right


def test_a_map_over_a_frame_of_the_film(tmp_path, film):
    table = write_table(tmp_path / "film.csv", 40)
    heat.face_map(table, tmp_path / "map.png", film=film)
    picture = cv2.imread(str(tmp_path / "map.png"))
    heat.face_map(table, tmp_path / "drawn.png")
    assert (picture != cv2.imread(str(tmp_path / "drawn.png"))).any(-1).mean() > 0.2
    with pytest.raises(UserError, match="tells no box of face 0 in frame 77"):
        heat.face_map(table, tmp_path / "map.png", film=film, frame=77)
    without = tmp_path / "openface.csv"
    without.write_text("frame,face_id,timestamp,confidence,success,AU12_c\n1,0,0,1,1,1\n")
    with pytest.raises(UserError, match="no intensity columns"):
        heat.face_map(without, tmp_path / "map.png", measure="intensity")


def test_names_beside_the_face_keep_their_distance():
    heights = heat._spread([0.3] * 20 + [1.2] * 6, 0.06)
    assert (np.diff(heights) >= 0.06 - 1e-9).all() and max(heights) <= 1.36
    assert heat._spread([0.1, 0.5], 0.06) == [0.1, 0.5]
