"""Films, pictures, folders and pipes, whole and broken."""

import io
import shutil

import cv2
import numpy as np
import pytest

from jaxfacs.errors import UserError
from jaxfacs.infer.sources import mjpeg, pipe
from jaxfacs.infer.sources import source as sources


def jpeg(level: int, *, progressive=False, size=40) -> bytes:
    rng = np.random.default_rng(level)
    picture = rng.integers(0, 256, (size, size + 8, 3), np.uint8)
    picture[:] = picture // 8 + level
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive), cv2.IMWRITE_JPEG_RST_INTERVAL, 2]
    return cv2.imencode(".jpg", picture, options)[1].tobytes()


class Trickle(io.RawIOBase):
    """A pipe that gives a few bytes at a time."""

    def __init__(self, data: bytes, step: int):
        self._data, self._step = data, step

    def read(self, size=-1):
        part, self._data = self._data[: self._step], self._data[self._step :]
        return part


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_jpegs_of_a_pipe_are_cut_exactly(step):
    thumbnail = jpeg(5, size=8)
    with_thumbnail = jpeg(9)
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    files = [
        jpeg(10),
        jpeg(90, progressive=True),
        with_thumbnail[:2] + segment + with_thumbnail[2:],
    ]
    junk: list[str] = []
    parts = list(mjpeg.split(Trickle(b"".join(files), step), on_junk=junk.append))
    assert parts == files and junk == []
    assert all(cv2.imdecode(np.frombuffer(p, np.uint8), 1) is not None for p in parts)


def test_broken_jpegs_of_a_pipe_are_named_and_passed():
    good, broken = jpeg(10), jpeg(20)
    junk: list[str] = []
    stream = io.BytesIO(b"hello" + good + broken[:300] + good + b"tail")
    parts = list(mjpeg.split(stream, on_junk=junk.append))
    assert good in parts and any("5 bytes" in j for j in junk)
    assert list(mjpeg.split(io.BytesIO(good[:-1]), on_junk=junk.append)) == []
    assert any("ended inside" in j for j in junk)
    assert list(mjpeg.split(io.BytesIO(b""), on_junk=junk.append)) == []


def test_random_bytes_end():
    rng = np.random.default_rng(0)
    for seed in range(50):
        data = rng.integers(0, 256, 3000, np.uint8)
        data[rng.integers(0, 3000, 400)] = 0xFF
        data[rng.integers(0, 3000, 100)] = 0xD8
        list(mjpeg.split(Trickle(data.tobytes(), 1 + seed * 13), on_junk=lambda text: None))


def send(monkeypatch, data: bytes):
    monkeypatch.setattr(pipe, "standard_input", lambda: io.BytesIO(data))


def test_raw_pipe(monkeypatch):
    frames = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3), np.uint8)
    (source,) = sources.find(["-"], fps=10.0, pipe_size=(6, 4))
    send(monkeypatch, frames.tobytes() + b"\0\0")
    read = list(source.frames())
    np.testing.assert_array_equal([f for _, _, f in read], frames)
    assert [t for _, t, _ in read] == [0, 0.1, 0.2]
    assert source.warnings == ["the pipe ended inside a frame; that frame is left out"]
    send(monkeypatch, b"")
    with pytest.raises(UserError, match="held no frame"):
        list(source.frames())


def test_film_and_its_name(film):
    (source,) = sources.find([str(film)])
    assert (source.name, source.fps, source.total, source.still) == ("drawn", 20.0, 40, False)
    assert len(list(source.frames())) == len(list(source.frames())) == 40  # may be read again


def test_a_film_that_breaks_off_gives_what_is_there(film, tmp_path):
    cut = tmp_path / "cut.avi"
    raw = film.read_bytes()
    cut.write_bytes(raw[: len(raw) // 2])
    (source,) = sources.find([str(cut)])
    count = len(list(source.frames()))
    assert 5 < count < 35
    # An .avi's frame count stands at its head: the loss is known.
    assert sources.ends_early(source, count) and "40 frames" in source.warnings[0]


@pytest.mark.parametrize("content", [b"", b"no film at all" * 50])
def test_what_is_no_film_is_refused_by_name(tmp_path, content):
    for name in ("thing.mp4", "thing.jpg", "thing"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=r"thing.* does not decode"):
            sources.find([str(tmp_path / name)])


def test_folders(tmp_path, film):
    with pytest.raises(UserError, match="holds no film and no picture"):
        sources.find([str(tmp_path)])
    for name in ("b.png", "a.jpg"):
        cv2.imwrite(str(tmp_path / name), np.zeros((8, 8, 3), np.uint8))
    shutil.copy(film, tmp_path / "z.avi")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "broken.mp4").write_text("no film")
    (tmp_path / "c.jpg").write_text("no picture either")
    skipped: list[str] = []
    found = sources.find([str(tmp_path)], on_skip=skipped.append)
    assert [(s.name, s.still) for s in found] == [("z", False), (tmp_path.name, True)]
    assert len(skipped) == 1 and "broken.mp4" in skipped[0]
    frames = list(found[1].frames())
    assert [f is not None for _, _, f in frames] == [True, True, False]
    assert "c.jpg" in found[1].warnings[0]
    as_film = sources.find([str(tmp_path)], fps=5.0, on_skip=skipped.append)[1]
    assert not as_film.still and [t for _, t, _ in as_film.frames()] == [0, 0.2, 0.4]


def test_names_that_are_not_there():
    with pytest.raises(UserError, match=r"no file or folder gone\.mp4"):
        sources.find(["gone.mp4"])
    with pytest.raises(UserError, match="named twice"):
        sources.find(["-", "-"])
    with pytest.raises(UserError, match="fps is 0"):
        sources.find(["-"], fps=0.0)


def test_a_percent_sign_in_a_name_is_no_pattern(tmp_path, film):
    odd = tmp_path / "take%02d.avi"
    shutil.copy(film, odd)
    assert len(list(sources.find([str(odd)])[0].frames())) == 40
