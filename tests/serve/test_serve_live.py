"""Live sessions: every frame is answered or told as dropped, in order, whatever a client does."""

import json
import threading
import time

import cv2
import numpy as np
import pytest
from loopback import packed, wait_until
from starlette.websockets import WebSocketDisconnect

from jaxfacs.faces.track import follower

TOKEN = "a-token-of-the-test"


class Talk:
    """A session of starlette's test client."""

    def __init__(self, client, url="/v1/live", headers=None):
        self._entered = client.websocket_connect(url, headers=headers or {})
        self._socket = self._entered.__enter__()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._entered.__exit__(None, None, None)

    def say(self, **message):
        self._socket.send_text(json.dumps(message))

    def send_text(self, text):
        self._socket.send_text(text)

    def send(self, *frames):
        self._socket.send_bytes(packed(*frames))

    def send_bytes(self, data):
        self._socket.send_bytes(data)

    def hear(self):
        return json.loads(self._socket.receive_text())

    def start(self, **fields):
        self.say(type="start", **{"format": "jpeg", **fields})
        ready = self.hear()
        assert ready["type"] == "ready", ready
        return ready

    def end(self):
        """What the server says last, and the code it closes with."""
        error = self.hear()
        with pytest.raises(WebSocketDisconnect) as closed:
            self.hear()
        assert error["type"] == "error" and error["error"] and "\n" not in error["error"]
        return error["error"], closed.value.code


@pytest.fixture
def slow(monkeypatch, predictor):
    """Looking at frames waits until the event is set."""
    may_go = threading.Event()
    make = predictor.live

    def made(*args, **options):
        live = make(*args, **options)
        look = live.look

        def looking(*frame):
            may_go.wait(20)
            return look(*frame)

        live.look = looking
        return live

    monkeypatch.setattr(predictor, "live", made)
    yield may_go
    may_go.set()


def test_frames_are_answered_in_order_with_their_latency(served, predictor, jpegs):
    with Talk(served()) as talk:
        assert talk.start() == {"type": "ready", "window": 4, "max_frames_per_message": 16}
        for n, jpeg in enumerate(jpegs):
            talk.send((10 + n, n / 10, jpeg))
            result = talk.hear()
            assert (result["type"], result["sequence"]) == ("result", 10 + n)
            assert result["timestamp"] == n / 10 and result["readable"] is True
            ms = result["latency_ms"]
            assert set(ms) == {"wait", "detect", "network", "total"}
            assert ms["total"] >= ms["detect"] + ms["network"] > 0
            (face,) = result["faces"]
            assert len(face["p"]) == len(face["r"]) == len(face["c"]) == len(predictor.aus)
            assert len(face["emotions"]) == len(predictor.emotions)
            assert face["why"]["emotion"] in predictor.emotions
        talk.say(type="stop")
        assert talk.hear() == {"type": "stopped", "frames": len(jpegs), "dropped": 0}


def test_a_message_may_hold_many_frames(served, jpegs):
    with Talk(served()) as talk:
        talk.start()
        talk.send(*[(n, n / 10, jpeg) for n, jpeg in enumerate(jpegs)])
        talk.say(type="stop")
        heard = [talk.hear() for _ in jpegs]
        assert [(h["type"], h["sequence"]) for h in heard] == [
            ("result", n) for n in range(len(jpegs))
        ]
        assert talk.hear()["type"] == "stopped"


def test_raw_frames_give_what_the_network_gives_at_home(served, predictor, drawn):
    live = predictor.live(follow=follower(predictor._detector))
    with Talk(served()) as talk:
        talk.start(format="raw", width=240, height=240)
        for n, frame in enumerate(drawn):
            talk.send((n, n / 10, frame.tobytes()))
            (face,) = talk.hear()["faces"]
            clips = live.look(frame, n / 10, n)
            (own,) = live.answer(predictor.run(clips)).faces
            # As far as decimals go: another batch may round the last one the other way.
            np.testing.assert_allclose(face["p"], own.probability_A, atol=1.01e-4)
            np.testing.assert_allclose(face["r"], own.intensity_A, atol=1.01e-2)
            np.testing.assert_allclose(face["box"], own.box_4, atol=0.051)


def test_a_frame_without_a_face_or_picture_is_answered(served):
    grey = cv2.imencode(".jpg", np.full((120, 160, 3), 128, np.uint8))[1].tobytes()
    with Talk(served()) as talk:
        talk.start()
        talk.send((0, 0.0, grey), (1, 0.1, b"no picture"), (2, 0.2, b""), (3, 0.3, grey[:200]))
        heard = [talk.hear() for _ in range(4)]
    assert [h["type"] for h in heard] == ["result"] * 4
    assert [h["readable"] for h in heard] == [True, False, False, False]
    assert all(h["faces"] == [] for h in heard)


def test_too_much_is_dropped_oldest_first_and_told_in_order(served, jpegs, slow):
    with Talk(served()) as talk:
        talk.start()
        for n in range(12):
            talk.send((n, n / 10, jpegs[0]))
        time.sleep(0.3)
        slow.set()
        heard = [talk.hear() for _ in range(12)]
        talk.say(type="stop")
        stopped = talk.hear()
    assert [h["sequence"] for h in heard] == list(range(12))
    dropped = [h["sequence"] for h in heard if h["type"] == "dropped"]
    assert dropped == [1, 2, 3, 4, 5, 6, 7]  # one is looked at, the newest four wait
    assert {h["reason"] for h in heard if h["type"] == "dropped"} == {"behind"}
    assert stopped == {"type": "stopped", "frames": 12, "dropped": 7}


def test_each_limit_of_a_frame_is_told_as_a_reason(served, jpegs):
    limits = {"frame_bytes": 300_000, "frame_pixels": 100_000}
    large = cv2.imencode(".jpg", np.zeros((400, 400, 3), np.uint8))[1].tobytes()
    long = cv2.imencode(".jpg", np.zeros((40, 400, 3), np.uint8))[1].tobytes()
    with Talk(served(limits=limits)) as talk:
        talk.start()
        talk.send((0, 0.0, jpegs[0]), (1, 0.1, b"x" * 300_001), (2, 0.2, large))
        talk.send((3, 0.0, jpegs[0]), (4, 0.2, long), (5, 0.3, jpegs[0]))
        heard = [talk.hear() for _ in range(6)]
    reasons = [None, "too large", "too many pixels", "time", "shape", None]
    assert [h.get("reason") for h in heard] == reasons


def test_too_fast_is_told(served, jpegs):
    with Talk(served(limits={"frames_per_second": 3})) as talk:
        talk.start()
        talk.send(*[(n, n / 10, jpegs[0]) for n in range(6)])
        reasons = [talk.hear().get("reason") for _ in range(6)]
    assert reasons == [None] * 3 + ["too fast"] * 3


@pytest.mark.parametrize(
    "wrong",
    [
        "no json",
        '{"type": "stop"}',
        '{"type": "start", "format": "gif"}',
        '{"type": "start", "format": "raw", "width": 1e9, "height": 1}',
        '{"type": "start", "format": "jpeg", "baseline": "profile:/etc/passwd"}',
        b"\0\0\0\0",
        "",
    ],
)
def test_a_wrong_start_is_told_and_closed(served, wrong):
    client = served()
    with Talk(client) as talk:
        (talk.send_bytes if isinstance(wrong, bytes) else talk.send_text)(wrong)
        assert talk.end()[1] == 4400
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"short",
        packed((0, 0.0, b"x")) + b"rest",
        packed((0, float("nan"), b"x")),
        packed(*[(n, n / 10, b"x") for n in range(17)]),
        packed((5, 0.0, b"x"), (5, 0.1, b"x")),
        packed((5, 0.0, b"x"), (4, 0.1, b"x")),
        "no json",
        '{"type": "start", "format": "jpeg"}',
        '{"type": "baseline", "action": "eat"}',
        '{"type": "unheard"}',
    ],
)
def test_a_wrong_message_is_told_and_closed(served, wrong):
    with Talk(served()) as talk:
        talk.start()
        (talk.send_bytes if isinstance(wrong, bytes) else talk.send_text)(wrong)
        while (heard := talk.hear())["type"] in ("result", "dropped"):
            pass
        assert heard["type"] == "error"
        with pytest.raises(WebSocketDisconnect) as closed:
            talk.hear()
        assert closed.value.code == 4400


def test_a_raw_frame_of_another_size_is_named(served):
    with Talk(served()) as talk:
        talk.start(format="raw", width=4, height=2)
        talk.send((0, 0.0, bytes(23)))
        error, code = talk.end()
        assert code == 4400 and "24 bytes" in error


def test_a_client_that_says_nothing_is_closed(served):
    client = served(limits={"idle_s": 0.1})
    with Talk(client) as talk:
        error, code = talk.end()
        assert code == 4408 and "nothing was sent" in error
    with Talk(client) as talk:
        talk.start()
        assert talk.end()[1] == 4408


def test_a_session_has_a_longest_time(served, jpegs):
    with Talk(served(limits={"session_s": 2, "idle_s": 5})) as talk:
        talk.start()
        talk.send((0, 0.0, jpegs[0]))
        assert talk.hear()["type"] == "result"
        assert talk.end()[1] == 4410


def test_a_client_has_so_many_sessions(served):
    client = served(limits={"sessions": 2})
    with Talk(client) as first, Talk(client) as second:
        first.start(), second.start()
        with Talk(client) as third:
            error, code = third.end()
            assert code == 4429 and "2 sessions" in error
        second.say(type="stop")
        assert second.hear()["type"] == "stopped"
        wait_until(lambda: "jaxfacs_live_sessions 1\n" in client.get("/metrics").text)
        with Talk(client) as third:
            third.start()


def test_tokens_and_origins_of_websockets(served):
    client = served(tokens=(TOKEN,))
    for url, headers, code in (
        ("/v1/live", {}, 4401),
        ("/v1/live?token=wrong", {}, 4401),
        (f"/v1/live?token={TOKEN}", {"Origin": "https://evil.example"}, 4403),
    ):
        with Talk(client, url, headers) as talk:
            assert talk.end()[1] == code
    for url, headers in (
        (f"/v1/live?token={TOKEN}", {}),
        ("/v1/live", {"Authorization": f"Bearer {TOKEN}"}),
        (f"/v1/live?token={TOKEN}", {"Origin": "http://localhost"}),
    ):
        with Talk(client, url, {"Host": "localhost", **headers}) as talk:
            talk.start()


def test_the_last_seconds_can_be_a_persons_rest(served, jpegs):
    with Talk(served()) as talk:
        talk.start()
        talk.say(type="baseline", action="set", seconds=2)
        assert talk.hear() == {"type": "baseline", "set": False}  # nobody was seen yet
        for n in range(6):
            talk.send((n, n / 10, jpegs[0]))
            before = talk.hear()["faces"][0]["p"]
        talk.say(type="baseline", action="set", seconds=2)
        assert talk.hear() == {"type": "baseline", "set": True}
        talk.send((10, 1.0, jpegs[0]))
        at_rest = talk.hear()["faces"][0]["p"]
        talk.say(type="baseline", action="clear")
        assert talk.hear() == {"type": "baseline", "set": False}
        talk.send((11, 1.1, jpegs[0]))
        after = talk.hear()["faces"][0]["p"]
    assert max(before) > 0.3 and max(at_rest) < 0.3
    np.testing.assert_allclose(after, before, atol=0.02)


def test_a_bug_closes_the_session_and_not_the_server(served, jpegs, monkeypatch, capsys):
    client = served()
    service = client.app._service
    monkeypatch.setattr(service, "explain", lambda face: 1 / 0)
    with Talk(client) as talk:
        talk.start()
        talk.send((0, 0.0, jpegs[0]))
        error, code = talk.end()
        assert code == 1011 and "log" in error
    assert "ZeroDivisionError" in capsys.readouterr().err
    monkeypatch.undo()
    with Talk(client) as talk:
        talk.start()
        talk.send((0, 0.0, jpegs[0]))
        assert talk.hear()["type"] == "result"
