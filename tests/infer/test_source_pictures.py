"""Pictures of every kind, and folders and rows of them."""

import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from film_maker import white_corner

from jaxfacs.errors import UserError
from jaxfacs.infer.sources import limits, picture
from jaxfacs.infer.sources import source as sources

GREY = 90


def flat(value=GREY, size=(30, 20), dtype=np.uint8, channels=3):
    """A flat picture with a white top left corner."""
    shape = (size[1], size[0], channels) if channels > 1 else (size[1], size[0])
    frame = np.full(shape, value, dtype)
    frame[:7, :10] = np.iinfo(dtype).max
    return frame


def read(path):
    (source,) = sources.find([str(path)])
    ((number, timestamp, frame),) = source.frames()
    assert (number, timestamp, source.still) == (1, 0.0, True)
    return frame


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "tif", "webp"])
def test_sizes_are_read_from_headers(tmp_path, kind):
    path = tmp_path / f"picture.{kind}"
    cv2.imwrite(str(path), flat())
    assert picture.size(path.read_bytes()) == (30, 20)
    assert read(path).shape == (20, 30, 3)
    for cut in (3, 9, 20, 27, 40):  # headers that break off are no error of ours
        picture.size(path.read_bytes()[:cut])


def test_grey_alpha_sixteen_bits(tmp_path):
    made = {
        "grey.png": flat(channels=1),
        "alpha.png": flat(channels=4),
        "deep.png": flat(GREY * 257, dtype=np.uint16),
        "deep_grey.tif": flat(GREY * 257, dtype=np.uint16, channels=1),
    }
    for name, pixels in made.items():
        if name == "alpha.png":
            pixels[..., 3] = 0  # alpha is left out, not blended
        cv2.imwrite(str(tmp_path / name), pixels)
        frame = read(tmp_path / name)
        assert frame.dtype == np.uint8 and frame.shape == (20, 30, 3)
        assert abs(int(frame[15, 20, 0]) - GREY) <= 1 and np.ptp(frame[15, 20].astype(int)) == 0


def test_cmyk_jpeg(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="Pillow makes the CMYK picture")
    red = image.new("RGB", (32, 32), (200, 30, 40)).convert("CMYK")
    red.save(tmp_path / "print.jpg", quality=95)
    assert np.abs(read(tmp_path / "print.jpg")[16, 16].astype(int) - [200, 30, 40]).max() < 12


@pytest.mark.parametrize(
    ("held", "corner"),
    [(1, "top left"), (2, "top right"), (3, "bottom right"), (6, "top right"), (8, "bottom left")],
)
def test_a_photograph_is_upright_by_its_exif(tmp_path, held, corner):
    raw = cv2.imencode(".jpg", flat())[1].tobytes()
    tiff = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x112, 3, 1, held, 0) + bytes(4)
    exif = b"Exif\0\0" + tiff
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    path = tmp_path / "held.jpg"
    path.write_bytes(raw[:2] + segment + raw[2:])
    frame = read(path)
    assert frame.shape == ((30, 20, 3) if held in (6, 8) else (20, 30, 3))
    assert white_corner(frame) == corner


def bomb(width: int, height: int) -> bytes:
    """A small .png that claims to be large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 20))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_enormous_pictures_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    (tmp_path / "bomb.png").write_bytes(bomb(30_000, 30_000))
    decoded = []
    monkeypatch.setattr(cv2, "imdecode", lambda *a: decoded.append(a))
    with pytest.raises(UserError, match=r"bomb\.png is 30000×30000 pixels"):
        sources.find([str(tmp_path / "bomb.png")])
    assert picture.decode(bomb(30_000, 30_000)) is None and decoded == []
    jpeg = b"\xff\xd8\xff\xc0\x00\x11\x08" + struct.pack(">HH", 60_000, 60_000) + bytes(30)
    assert picture.size(jpeg) == (60_000, 60_000) and picture.decode(jpeg) is None
    monkeypatch.setattr(limits, "MAX_PICTURE_BYTES", 10)
    with pytest.raises(UserError, match="larger than"):
        picture.read(tmp_path / "bomb.png")


def test_what_is_no_picture_is_named(tmp_path):
    cases = {"empty.png": b"", "text.jpg": b"not a picture" * 9, "cut.png": bomb(40, 40)[:60]}
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=rf"{name} does not decode as a picture"):
            sources.find([str(tmp_path / name)])
    os.mkfifo(tmp_path / "queue.png")
    with pytest.raises(UserError, match="not a regular file"):
        sources.find([str(tmp_path / "queue.png")])


def test_a_folder_of_mixed_things(tmp_path):
    for k, name in enumerate(["shot10.png", "shot2.png", "shot1.png"]):
        cv2.imwrite(str(tmp_path / name), flat(40 + k))
    (tmp_path / "shot3.png").write_bytes(b"")
    (tmp_path / "shot4.png").write_bytes(bomb(30_000, 30_000))
    (tmp_path / "notes.txt").write_text("not read")
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / "inner.png").mkdir()
    os.symlink(tmp_path / "loop.png", tmp_path / "loop.png")
    (source,) = sources.find([str(tmp_path)])
    names = ["shot1.png", "shot2.png", "shot3.png", "shot4.png", "shot10.png"]
    assert [p.name for p in source.pictures] == names and source.still
    frames = list(source.frames())
    assert [f is not None for _, _, f in frames] == [True, True, False, False, True]
    assert len(source.warnings) == 2 and "30000×30000" in source.warnings[1]
    (source,) = sources.find([str(tmp_path)], every=2)
    assert [p.name for p in source.pictures] == names[::2]
    (source,) = sources.find([str(tmp_path)], fps=10, start=0.1, end=0.4)
    assert not source.still and [round(t, 3) for _, t, _ in source.frames()] == [0.1, 0.2, 0.3]
    with pytest.raises(UserError, match="pictures without times"):
        sources.find([str(tmp_path)], start=1)


def test_a_numbered_row_is_a_film(tmp_path):
    for k in (1, 2, 3, 5, 10):
        cv2.imwrite(str(tmp_path / f"take 1_{k:04d}.png"), flat(40 + k))
    (source,) = sources.find([str(tmp_path / "take 1_%04d.png")], fps=12.5, every=2)
    frames = list(source.frames())
    assert (source.name, source.still, source.fps, source.total) == ("take 1", False, 6.25, 3)
    assert [n for n, _, _ in frames] == [1, 3, 5] and frames[1].timestamp == 2 / 12.5
    assert [int(f[15, 20, 0]) for _, _, f in frames] == [41, 43, 50]
    assert "5 numbers between 1 and 10 are missing" in source.warnings[0]
    with pytest.raises(UserError, match="no picture is named like"):
        sources.find([str(tmp_path / "other_%d.png")])


def test_options_that_make_no_sense(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), flat())
    for options, words in {
        ("every", 0): "every is 0",
        ("start", "1:75"): "'1:75' is no time",
        ("end", "-3"): "'-3' is no time",
        ("end", "nan"): "'nan' is no time",
        ("start", "soon"): "'soon' is no time",
    }.items():
        with pytest.raises(UserError, match=words):
            sources.find([str(tmp_path)], fps=5, **dict([options]))
    with pytest.raises(UserError, match="end comes after start"):
        sources.find([str(tmp_path)], fps=5, start=2, end=1)
    assert sources.seconds("1:02:03.5") == 3723.5 and sources.seconds("90.5") == 90.5


def test_warnings_are_bounded_and_said_once():
    warnings = sources.Source("x", None).warnings
    for k in range(100):
        warnings.append(f"thing {k}")
        warnings.append("thing 0")
    assert len(warnings) == limits.MAX_WARNINGS and warnings[-1] == "and 81 more things went wrong"
