"""What clients say: read when right, named when wrong."""

import json
import struct

import cv2
import numpy as np
import pytest

from jaxfacs.errors import UserError
from jaxfacs.infer.sources.picture import size
from jaxfacs.serve import log, messages
from jaxfacs.serve.limits import Limits, Rate, Rates, Shares, TooMany
from jaxfacs.serve.messages import BadMessage, Frame, Start
from jaxfacs.serve.pictures import decode_jpeg, film_suffix

LIMITS = Limits()


def frame(sequence=0, timestamp=0.0, data=b"x", length=None):
    head = struct.pack("<IdI", sequence, timestamp, len(data) if length is None else length)
    return head + data


def test_frames_of_a_message_are_read_in_order():
    data = frame(1, 0.5, b"abc") + frame(2, 0.75, b"")
    assert messages.read_frames(data, LIMITS) == [Frame(1, 0.5, b"abc"), Frame(2, 0.75, b"")]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "without a frame"),
        (b"\0" * 15, "inside the head"),
        (frame() + b"\0", "inside the head"),
        (frame(length=2), "inside a frame"),
        (frame(length=0xFFFFFFFF), "inside a frame"),
        (frame(timestamp=float("nan")), "the time"),
        (frame(timestamp=float("inf")), "the time"),
        (frame(timestamp=-0.1), "the time"),
        (frame(timestamp=1e300), "the time"),
        (frame() * 17, "more than 16"),
    ],
)
def test_wrong_frames_are_named(data, error):
    with pytest.raises(BadMessage, match=error):
        messages.read_frames(data, LIMITS)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "1", '"start"', '{"type": 1}', "{}", '{"type": "start", "width": NaN}',
     "[" * 4000, '{"a":' * 800, "x" * 5000, "\x00", '{"type": "\ud800"'],
)  # fmt: skip
def test_text_that_is_no_message_is_named(text):
    with pytest.raises(BadMessage):
        messages.read_text(text)


def start(**fields):
    return messages.read_start({"type": "start", "format": "jpeg", **fields}, LIMITS)


def test_a_start_is_read():
    assert start() == Start("jpeg")
    assert start(format="raw", width=4, height=2, baseline="first:2.50", smooth_s=1) == Start(
        "raw", 4, 2, "first:2.5", 1.0
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"format": "png"},
        {"format": None},
        {"format": "raw"},
        {"format": "raw", "width": 10, "height": 0},
        {"format": "raw", "width": 60000, "height": 60000},
        {"format": "raw", "width": 1920, "height": 1081},
        {"format": "raw", "width": 1000, "height": 100},
        {"width": -1},
        {"width": True},
        {"width": 2.5},
        {"height": 10**30},
        {"baseline": "profile:/etc/passwd"},
        {"baseline": "image:../../x.png"},
        {"baseline": "first:"},
        {"baseline": "first:0"},
        {"baseline": "first:nan"},
        {"baseline": "first:1e9"},
        {"baseline": "first:-1"},
        {"baseline": "first:999"},
        {"baseline": ["none"]},
        {"smooth_s": -1},
        {"smooth_s": 1e9},
        {"smooth_s": "1"},
        {"smooth_s": True},
        {"smooth_s": float("nan")},
    ],
)
def test_a_wrong_start_is_named(fields):
    with pytest.raises(BadMessage):
        start(**fields)


def test_a_baseline_is_set_for_some_seconds_or_cleared():
    assert messages.read_baseline({"type": "baseline", "action": "set", "seconds": 3}) == 3.0
    assert messages.read_baseline({"type": "baseline", "action": "set"}) == 2.0
    assert messages.read_baseline({"type": "baseline", "action": "clear"}) is None
    for wrong in ({"action": "keep"}, {}, {"action": "set", "seconds": 0}):
        with pytest.raises(BadMessage):
            messages.read_baseline({"type": "baseline", **wrong})


@pytest.mark.parametrize("flags", [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]])
def test_the_size_of_a_jpeg_is_read_from_its_header(flags):
    picture = np.zeros((48, 80, 3), np.uint8)
    data = cv2.imencode(".jpg", picture, flags)[1].tobytes()
    assert size(data) == (80, 48)
    assert decode_jpeg(data).shape == (48, 80, 3)
    sizes = [size(data[:n]) for n in range(len(data))]
    assert set(sizes) == {None, (80, 48)}  # cut anywhere: known or not, never wrong, no exception


def test_the_size_of_a_png_is_read_from_its_header():
    data = cv2.imencode(".png", np.zeros((48, 80, 3), np.uint8))[1].tobytes()
    assert size(data) == (80, 48)
    assert size(data[:20]) is None


def test_rubbish_has_no_size_and_no_picture():
    rng = np.random.default_rng(0)
    for length in range(200):
        data = b"\xff\xd8\xff" + rng.bytes(length)
        size(data)  # whatever it says, it does not raise
        assert decode_jpeg(data) is None


def test_a_bomb_is_known_by_its_header():
    data = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes()
    at = data.index(b"\xff\xc0") + 5
    bomb = data[:at] + struct.pack(">HH", 65000, 65000) + data[at + 4 :]
    assert size(bomb) == (65000, 65000)


@pytest.mark.parametrize(
    ("head", "suffix"),
    [
        (b"\0\0\0\x18ftypmp42", ".mp4"),
        (b"\x1a\x45\xdf\xa3....", ".mkv"),
        (b"RIFF....AVI LIST", ".avi"),
        (b"\xff\xd8\xff\xe0", ".jpg"),
        (b"\x89PNG\r\n\x1a\n", ".png"),
        ((b"\x47" + b"\0" * 187) * 3, ".ts"),
        # What makes FFmpeg open other files and addresses is no film here.
        (b"#EXTM3U\n/etc/passwd", None),
        (b"ffconcat version 1.0\nfile /etc/passwd", None),
        (b"<?xml version='1.0'?><MPD>", None),
        (b"v=0\no=- 0 0 IN IP4 127.0.0.1", None),
        (b"RIFF....WAVEfmt ", None),
        (b"", None),
        (b"GIF89a", None),
    ],
)
def test_a_film_is_known_by_its_first_bytes(head, suffix):
    assert film_suffix(head) == suffix


def test_shares_are_counted_for_each_client_and_for_all():
    shares = Shares()
    with shares.holding("sessions", "a", most=1, most_of_all=2):
        with pytest.raises(TooMany, match="one client"):
            shares.take("sessions", "a", most=1)
        shares.take("sessions", "b", most=1, most_of_all=2)
        with pytest.raises(TooMany, match="the server"):
            shares.take("sessions", "c", most=1, most_of_all=2)
        shares.take("uploads", "a", most=1)
    shares.give_back("sessions", "b")
    assert shares.held("sessions") == 0


def test_a_rate_lets_a_second_pass_at_once_and_then_so_many_a_second():
    now = [0.0]
    rate = Rate(10, clock=lambda: now[0])
    assert sum(rate.take() for _ in range(30)) == 10
    now[0] += 0.5
    assert sum(rate.take() for _ in range(30)) == 5
    now[0] += 100
    assert rate.full and sum(rate.take() for _ in range(30)) == 10


def test_buckets_of_clients_that_left_are_forgotten():
    rates = Rates(10)
    for n in range(5000):
        rates.take(str(n))
        rates._buckets[str(n)]._at -= 10  # ten seconds ago
    assert len(rates._buckets) < 1100


def test_a_limit_of_nothing_is_refused():
    with pytest.raises(UserError, match="idle_s"):
        Limits(idle_s=0)
    with pytest.raises(UserError, match="window"):
        Limits(window=-1)


def test_a_line_of_the_log_is_one_line(capsys):
    log.event("upload.taken", name="a\nfake event\r\x1b[31m\u2028" + "x" * 1000, bytes=3)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].isascii() and len(lines[0]) < 400
    words = lines[0].split(" ", 2)
    assert words[1] == "upload.taken"
    assert json.loads(words[2].split("=", 1)[1].rpartition(" ")[0]).startswith("a\nfake event")
