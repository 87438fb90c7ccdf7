"""Overlay films drawn from tables: the right row on the right frame, at the right time."""

import cv2
import numpy as np
import pytest
from tiny_table import write_table

from jaxfacs.errors import UserError
from jaxfacs.infer.results import FaceResult, FrameResult
from jaxfacs.infer.sources import source
from jaxfacs.infer.views import overlay, overlay_file


def read_film(path):
    film, frames = cv2.VideoCapture(str(path)), []
    while True:
        readable, frame = film.read()
        if not readable:
            return frames, film.get(cv2.CAP_PROP_FPS)
        frames.append(frame[..., ::-1])


def shade_of(frame):
    """The frame's number in the film below, each of another grey, from the picture's corner."""
    return round((float(frame[4:40, 4:40].mean()) - 20) / 11)


@pytest.fixture(scope="module")
def grey_film(tmp_path_factory):
    path = tmp_path_factory.mktemp("grey") / "grey.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20.0, (480, 480))
    for t in range(1, 21):
        writer.write(np.full((480, 480, 3), 20 + 11 * t, np.uint8))
    writer.release()
    return source.find([str(path)])[0]


def test_rows_are_drawn_on_their_frames(tmp_path, grey_film):
    table = write_table(tmp_path / "grey.csv", 20, gap=(11,))
    assert overlay_file.draw_film(grey_film, table, tmp_path / "out.mp4") == 20
    frames, fps = read_film(tmp_path / "out.mp4")
    assert fps == 20 and [shade_of(frame) for frame in frames] == list(range(1, 21))
    green = [(frame[:, :480, 1].astype(int) - frame[:, :480, 0] > 60).sum() for frame in frames]
    assert green[10] < 20 and min(green[:10] + green[11:]) > 200  # the box, but in frame 11


def test_a_table_of_some_frames_keeps_their_numbers_and_times(tmp_path, grey_film):
    """Frames 3, 6, 12 of a film, as a table read with --every or --start has them."""
    table = write_table(tmp_path / "all.csv", 20)
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], lines[3], lines[6], lines[12]]) + "\n")
    assert overlay_file.draw_film(grey_film, table, tmp_path / "out.mp4") == 3
    shades = [shade_of(frame) for frame in read_film(tmp_path / "out.mp4")[0]]
    assert shades == [3] * 3 + [6] * 6 + [12]


def test_uneven_times_are_kept_at_a_constant_rate(tmp_path):
    with overlay_file._film(tmp_path / "out.mp4", 20.0) as add:
        for n, time in enumerate((0.0, 0.05, 0.06, 0.25, 0.30, 100.0, 100.05), 1):
            add(np.full((64, 64, 3), 30 * n, np.uint8), time)
    seen = [round(float(frame.mean()) / 30) for frame in read_film(tmp_path / "out.mp4")[0]]
    assert seen[:7] == [1, 3, 3, 3, 3, 4, 5]
    assert seen[-2:] == [6, 7] and len(seen) == 6 + 60 * 20 + 2  # a hole in the times is cut


def test_a_preview_is_small_even_and_as_long(tmp_path):
    path = tmp_path / "odd.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (322, 606))
    for _ in range(12):
        writer.write(np.full((606, 322, 3), 90, np.uint8))
    writer.release()
    overlay_file.preview(source.find([str(path)])[0], tmp_path / "small.webm", height=101)
    frames, fps = read_film(tmp_path / "small.webm")
    assert fps == 10 and len(frames) == 12 and frames[0].shape == (100, 54, 3)


def test_refusals(tmp_path, grey_film):
    bare = write_table(tmp_path / "bare.csv", 5, boxes=False)
    with pytest.raises(UserError, match="no box columns"):
        overlay_file.draw_film(grey_film, bare, tmp_path / "out.mp4")
    with pytest.raises(UserError, match=r"\.mp4 nor in \.webm"):
        overlay_file.draw_film(grey_film, bare, tmp_path / "out.gif")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bare.csv"]


def face(face_id, box, aus):
    count = len(aus)
    ones = np.ones(count)
    return FaceResult(face_id, 0.9, np.float32(box), ones, 3 * ones, ones > 0, np.array([1.0]))


def test_long_lists_fill_two_columns_and_leave_out_the_weakest():
    aus = tuple(str(n) for n in range(1, 29)) + tuple(f"{s}{n}" for n in range(1, 24) for s in "LR")
    frame = np.zeros((480, 640, 3), np.uint8)
    seen = FrameResult(1, 0.0, (face(0, (100, 100, 200, 200), aus),))
    drawn = overlay.draw(frame, seen, aus=aus, emotions=("happiness",))
    assert drawn.shape == (480, 640 + 2 * 230, 3)
    short = overlay.draw(frame, FrameResult(1, 0.0, ()), aus=aus[:20], emotions=("happiness",))
    assert short.shape == (480, 640 + 230, 3)


def test_titles_of_neighbours_do_not_cover_each_other():
    frame = np.zeros((480, 640, 3), np.uint8)
    spots = []
    for n in range(6):
        overlay._draw_title(
            frame, face(n, (100 + 5 * n, 30, 90, 90), ("1", "12")), ("1", "12"), 1.0, spots
        )
    for i, one in enumerate(spots):
        assert one[0] >= 0 and one[2] <= 640 and one[1] >= 0 and one[3] <= 480
        assert not any(overlay._overlap(one, other) for other in spots[:i])
