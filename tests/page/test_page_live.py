"""The camera: a fake one that shows a rendered face, one that is refused, one that is recorded."""

import cv2
import numpy as np
import pytest
from page_tools import ARGUMENTS, CHROMIUM, until, watch

from jaxfacs.synthface import clip as synthface

pytestmark = [pytest.mark.long, pytest.mark.slow, pytest.mark.xdist_group("browser")]

LIVE = "#live-state.on"
WAIT_MS = 60_000


@pytest.fixture(scope="module")
def film_of_a_face(tmp_path_factory):
    """A rendered face, smiling, as the raw film that Chromium's fake camera shows."""
    made = synthface.clip(5, subject=103, frames=2, size=240, emotion="happiness")
    path = tmp_path_factory.mktemp("camera") / "face.y4m"
    with path.open("wb") as file:
        file.write(b"YUV4MPEG2 W320 H240 F15:1 Ip A1:1 C420jpeg\n")
        for frame in made.frames_THWC:
            wide = cv2.copyMakeBorder(frame, 0, 0, 40, 40, cv2.BORDER_REPLICATE)
            file.write(b"FRAME\n" + cv2.cvtColor(wide, cv2.COLOR_RGB2YUV_I420).tobytes())
    return path


@pytest.fixture
def with_camera(playwright, film_of_a_face, server):
    """Opens the page in a browser that has a camera; nothing may go wrong in it."""
    opened = []

    def open_page(*more, url=server.url, refusals=False):
        camera = [
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-video-capture={film_of_a_face}",
        ]
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*ARGUMENTS, *camera, *more]
        )
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        opened.append((browser, watch(page, url, refusals=refusals)))
        page.goto(url)
        page.wait_for_selector("#model-name:not(:empty)", state="attached")
        return page

    yield open_page
    for browser, _ in opened:
        browser.close()
    assert [wrong for _, wrong in opened if wrong] == []


ALLOWED = "--use-fake-ui-for-media-stream"


def test_live(with_camera):
    page = with_camera(ALLOWED)
    page.click("#go-live")
    page.wait_for_selector(LIVE, timeout=WAIT_MS)
    until(page, "[...document.querySelectorAll('#bars .chance')].some(n => n.textContent)")
    drawn = page.evaluate("""() => {
      const canvas = document.getElementById("overlay");
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return data.filter((value, i) => i % 4 === 3 && value > 128).length;
    }""")
    assert drawn > 200
    until(page, "/^[0-9.]+ frames/.test(document.getElementById('live-rate').textContent)")
    assert page.inner_text("#live-delay").endswith("ms")
    assert "0 of" in page.inner_text("#live-dropped")
    assert page.inner_text("#live-skipped").isdigit()
    page.wait_for_timeout(2200)  # a neutral face is two seconds of it
    page.click("#neutral")
    page.wait_for_selector("#neutral-clear:visible", timeout=WAIT_MS)
    # What is at rest does not move: nothing is left of it.
    until(page, "document.querySelectorAll('#bars .au-row.present').length === 0")
    page.click("#neutral-clear")
    page.wait_for_selector("#neutral-clear", state="hidden", timeout=WAIT_MS)
    page.click("#live-stop")
    assert page.locator("#start").is_visible()
    assert page.evaluate("document.getElementById('video').srcObject") is None


def test_what_is_sent_stays_within_the_window(with_camera):
    page = with_camera(ALLOWED)
    page.evaluate("""() => {
      const send = WebSocket.prototype.send;
      window.flying = { now: 0, most: 0, order: [], binary: 0 };
      WebSocket.prototype.send = function (data) {
        if (typeof data !== "string") {
          flying.now += 1;
          flying.binary += 1;
          flying.most = Math.max(flying.most, flying.now);
        } else if (!this.heard) {
          this.heard = true;
          this.addEventListener("message", (event) => {
            const message = JSON.parse(event.data);
            if (message.type === "ready") flying.window = message.window;
            if (message.sequence == null) return;
            flying.now -= 1;
            flying.order.push(message.sequence);
          });
        }
        return send.call(this, data);
      };
    }""")
    page.click("#go-live")
    until(page, "window.flying.order.length > 20")
    flying = page.evaluate("window.flying")
    assert 1 <= flying["most"] <= flying["window"]
    assert flying["order"] == list(range(1, len(flying["order"]) + 1))


def test_a_refused_camera_is_explained(with_camera):
    page = with_camera("--deny-permission-prompts")
    page.click("#go-live")
    page.wait_for_selector("#error:not([hidden])", timeout=WAIT_MS)
    assert "not allowed to use the camera" in page.inner_text("#error-text")
    assert page.locator("#start").is_visible()


def test_no_camera_is_explained(visit):
    page = visit()
    page.evaluate("""() => {
      navigator.mediaDevices.getUserMedia = () =>
        Promise.reject(new DOMException("", "NotFoundError"));
    }""")
    page.click("#go-live")
    page.wait_for_selector("#error:not([hidden])", timeout=WAIT_MS)
    assert "No camera was found" in page.inner_text("#error-text")


def test_a_film_is_recorded_and_read(with_camera):
    page = with_camera(ALLOWED)
    page.click("#go-record")
    page.wait_for_selector("#record-go:visible", timeout=WAIT_MS)
    page.click("#record-go")
    until(page, "document.getElementById('record-time').textContent.startsWith('0:02')")
    page.click("#record-go")
    page.wait_for_selector("#work:not([hidden]) .timeline canvas", timeout=WAIT_MS)
    page.focus(".seeker")
    page.keyboard.press("End")
    until(page, "document.getElementById('video').currentTime > 0.8")
    assert page.locator("#stage-note").is_hidden()


def test_a_server_that_goes_away_is_noticed(with_camera, start_server):
    gone = start_server()
    page = with_camera(ALLOWED, url=gone.url, refusals=True)
    page.evaluate("window.addEventListener('error', (event) => event.preventDefault())")
    page.click("#go-live")
    page.wait_for_selector(LIVE, timeout=WAIT_MS)
    gone.stop()
    until(page, "/trying again|start anew|still running|stop/i.test(document.body.innerText)")
    page.wait_for_selector("#error:not([hidden])", timeout=WAIT_MS)
    assert page.locator("#start").is_visible()
    assert np.all([page.locator(f"#{name}").is_enabled() for name in ("choose", "go-live")])
