"""Cameras that vanish, and streams whose senders stall, die and send rubbish, on loopback."""

import http.server
import threading
import time
from functools import partial

import cv2
import numpy as np
import pytest

from jaxfacs.errors import UserError
from jaxfacs.infer.sources import limits, live_input
from jaxfacs.infer.sources import source as sources

PATIENT = live_input.Patience(opening=2.0, reading=0.5, tries=2, pause=0.02)


class Camera:
    """Gives `count` frames, one in 5 ms, and then none."""

    def __init__(self, count: int, pace=0.005):
        self.left, self.pace, self.shown = count, pace, 0

    def read(self):
        if self.left == 0:
            return False, None
        time.sleep(self.pace)
        self.left, self.shown = self.left - 1, self.shown + 1
        return True, np.full((4, 6, 3), self.shown, np.uint8)

    def get(self, prop):
        return {cv2.CAP_PROP_FPS: 25.0}.get(prop, 4.0)

    def set(self, prop, value): ...
    def release(self): ...


def plugged(monkeypatch, cameras):
    """Each time camera 0 is opened the next of `cameras` is there; None: none is."""
    queue = list(cameras)

    def opened(index):
        camera = queue.pop(0) if queue else None
        if camera is None:
            raise UserError(f"camera {index} cannot be opened")
        return camera

    monkeypatch.setattr(live_input, "open_camera", opened)
    return queue


def find(**options):
    (source,) = sources.find([], cameras=(0,), patience=PATIENT, **options)
    return source


def test_a_camera_gives_frames_with_the_times_at_which_they_came(monkeypatch):
    plugged(monkeypatch, [Camera(0), Camera(20, pace=0.01)])
    source = find()
    assert (source.name, source.live, source.fps, source.origin) == (
        "camera-0",
        True,
        25,
        "camera 0",
    )
    began = time.monotonic()
    frames = list(source.frames())
    times = [t for _, t, _ in frames]
    assert [n for n, _, _ in frames] == list(range(1, 21)) and times[0] == 0
    assert (np.diff(times) > 0).all() and 0.15 < times[-1] < time.monotonic() - began
    assert [int(f[0, 0, 0]) for _, _, f in frames] == list(range(1, 21))
    assert "camera 0 gave no more frames after" in source.warnings[0]
    with pytest.raises(UserError, match="live"):
        list(source.frames(first=3))


def test_a_camera_ends_when_asked(monkeypatch):
    plugged(monkeypatch, [Camera(0), Camera(10_000)])
    source = find(end=0.1, every=2)
    frames = list(source.frames())
    assert source.fps == 12.5 and 2 <= len(frames) <= 11 and frames[-1].timestamp < 0.1
    assert all((n - 1) % 2 == 0 for n, _, _ in frames) and source.warnings == []
    with pytest.raises(UserError, match="leave out --start"):
        plugged(monkeypatch, [Camera(1)])
        find(start=3)


def test_a_camera_that_comes_back_goes_on_and_one_that_does_not_is_named(monkeypatch):
    plugged(monkeypatch, [Camera(0), Camera(5), None, Camera(7)])
    source = find()
    frames = list(source.frames())
    assert [n for n, _, _ in frames] == list(range(1, 13))  # what came before is kept
    assert "(frame 5); it was opened again" in source.warnings[0]
    assert "(frame 12)" in source.warnings[1] and "what came before is kept" in source.warnings[1]


def test_a_camera_without_any_frame_is_an_error(monkeypatch):
    plugged(monkeypatch, [])
    with pytest.raises(UserError, match="camera 0 cannot be opened"):
        find()
    plugged(monkeypatch, [Camera(0), Camera(0)])
    with pytest.raises(UserError, match="gives no frame"):
        list(find().frames())
    with pytest.raises(UserError, match="numbered from 0"):
        sources.find([], cameras=(-1,))


def test_who_reads_too_slowly_gets_the_newest_frames_and_is_told(monkeypatch):
    plugged(monkeypatch, [Camera(0), Camera(60, pace=0.003)])
    source = find()
    frames = source.frames()
    first = next(frames)
    time.sleep(0.4)
    rest = list(frames)
    numbers = [n for n, _, _ in rest]
    assert first.number == 1 and numbers[-1] == 60 and len(rest) <= 8
    assert any("came faster than they were read" in w for w in source.warnings)


def test_stopping_early_lets_the_camera_go(monkeypatch):
    camera = Camera(10_000)
    plugged(monkeypatch, [Camera(0), camera])
    frames = find().frames()
    next(frames)
    frames.close()
    time.sleep(0.05)
    left = camera.left
    time.sleep(0.05)
    assert camera.left == left


class Sender(http.server.BaseHTTPRequestHandler):
    """Motion JPEG over HTTP, as network cameras send it; what happens is told by the path."""

    def do_GET(self):
        kind, _, count = self.path.strip("/").partition("-")
        if kind == "nothing":
            self.server.stop.wait(20)
            return
        self.send_response(404 if kind == "missing" else 200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=cut")
        self.end_headers()
        if kind == "rubbish":
            rubbish = np.random.default_rng(0).integers(0, 256, 200_000, np.uint8).tobytes()
            self.wfile.write(rubbish)
            return
        for k in range(int(count or 0)):
            picture = np.full((48, 64, 3), 40 + 3 * k, np.uint8)
            data = cv2.imencode(".jpg", picture)[1].tobytes()
            head = f"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            self.wfile.write(head.encode() + data + b"\r\n")
            time.sleep(0.02)
        if kind == "stalls":
            self.server.stop.wait(20)

    def log_message(self, *args): ...


@pytest.fixture(scope="module")
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sender) as running:
        running.daemon_threads, running.stop = True, threading.Event()
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.stop.set()
        running.shutdown()


def stream(address, **options):
    (source,) = sources.find([address], patience=PATIENT, **options)
    return source


def test_a_network_stream_is_live(server):
    source = stream(f"{server}/lasts-500", end=0.4)
    assert source.live and source.total is None and source.name == "lasts-500"
    frames = list(source.frames())
    times = np.array([t for _, t, _ in frames])
    assert len(frames) >= 5 and times[0] == 0 and (np.diff(times) > 0).all() and times[-1] < 0.4
    assert frames[0].frame_HWC.shape == (48, 64, 3)


@pytest.mark.parametrize("kind", ["stalls", "ends"])
def test_a_sender_that_stalls_or_ends_is_asked_again_a_bounded_number_of_times(server, kind):
    began = time.monotonic()
    source = stream(f"{server}/{kind}-12")
    frames = list(source.frames())
    assert time.monotonic() - began < 20
    assert len(frames) >= 24  # as often as it is opened, it sends twelve
    assert [n for n, _, _ in frames] == sorted({n for n, _, _ in frames})
    assert "it was opened again" in source.warnings[0]
    assert "what came before is kept" in source.warnings[-1]


@pytest.mark.parametrize("kind", ["nothing", "missing", "rubbish"])
def test_a_sender_of_nothing_or_rubbish_is_refused_in_time(server, kind):
    began = time.monotonic()
    with pytest.raises(UserError, match=rf"http://127.*{kind}.*(gives no film|does not decode)"):
        stream(f"{server}/{kind}")
    assert time.monotonic() - began < 15


def test_nobody_there_and_passwords_are_not_told():
    with pytest.raises(UserError) as refused:
        stream("rtsp://user:secret@127.0.0.1:9/stream")
    assert "secret" not in str(refused.value) and "***@127.0.0.1:9" in str(refused.value)


def test_a_film_behind_an_address_is_no_live_stream(tmp_path):
    from film_maker import write_film

    write_film(tmp_path / "film.mp4")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.log_message = lambda *args: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        source = stream(f"http://127.0.0.1:{running.server_port}/film.mp4?x=1")
        frames = list(source.frames(first=10))
        running.shutdown()
    assert not source.live and source.total == 30 and source.name == "film"
    assert [n for n, _, _ in frames] == list(range(11, 31))


def test_enormous_live_frames_are_refused(server, monkeypatch):
    monkeypatch.setattr(limits, "MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(UserError, match="64×48 pixels"):
        stream(f"{server}/lasts-20")
