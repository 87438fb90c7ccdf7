"""What the tests of the page share: the server's process, films, what must not go wrong."""

import os
import re
import runpy
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np

TESTS = Path(__file__).parents[1]
CHROMIUM = os.environ.get("JAXFACS_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
# Nothing that asks the outside world; the sandbox and the GPU need rights that tests may lack.
ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
SERVE = (
    "import sys; from pathlib import Path; from jaxfacs.serve.command import serve; "
    "serve(model=Path(sys.argv[1]), port=0, token=sys.argv[2] or None)"
)

write_tiny = runpy.run_path(str(TESTS / "infer" / "tiny_bundle.py"))["write_tiny"]
cartoon_face = runpy.run_path(str(TESTS / "faces" / "cartoon.py"))["cartoon_face"]

FPS, LENGTH = 20, 60  # of the films made here


class Server:
    """`jaxfacs serve` in a process of its own, on a free port of this machine."""

    def __init__(self, bundle: Path, folder: Path, token: str = ""):
        self.log = folder / "server.log"
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-c", SERVE, str(bundle), token],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=folder,
                env={**os.environ, "TMPDIR": str(folder), "JAX_PLATFORMS": "cpu"},
            )
        said = ""
        for line in self._process.stdout:
            said += line
            if found := re.search(r"http://\S+", line):
                self.url = found[0]
                return
        raise RuntimeError(f"the server did not start: {said}{self.log.read_text()}")

    def stop(self):
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._process.stdout.close()


def watch(page, url, *, refusals=False):
    """Collects what must not happen on a page: errors in the console, requests to elsewhere."""
    wrong = []
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))

    def said(message):
        refused = ("Failed to load resource", "WebSocket connection to")
        expected = refusals and any(words in message.text for words in refused)
        expected |= "willReadFrequently" in message.text  # the tests read the canvas, not the page
        if message.type in ("error", "warning") and not expected:
            wrong.append(f"console: {message.text}")

    def asked(request):
        here = request.url.startswith((url, "blob:", "data:"))
        if not here:
            wrong.append(f"request: {request.url}")

    page.on("console", said)
    page.on("request", asked)
    page.on("websocket", lambda ws: asked(_AsHttp(ws.url)))
    return wrong


class _AsHttp:
    def __init__(self, url: str):
        self.url = url.replace("ws://", "http://", 1)


def until(page, expression, timeout_s=60.0):
    """Waits until a JavaScript expression is true.

    Playwright's own `wait_for_function` needs `eval` in the page, and its policy forbids that.
    """
    end = time.monotonic() + timeout_s
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"never true: {expression}"
        page.wait_for_timeout(40)


def write_film(path, frames, *, fourcc, fps=FPS):
    height, width = frames[0].shape[:2]
    code = cv2.VideoWriter.fourcc(*fourcc)
    writer = cv2.VideoWriter(str(path), code, float(fps), (width, height))
    assert writer.isOpened(), f"OpenCV cannot write {fourcc} here"
    for frame in frames:
        writer.write(frame[..., ::-1])
    writer.release()
    return path


def drawn_frames(faces=1):
    """A drawn face whose cheeks blush around the middle; a second one beside it if asked for.

    It blushes little by little: a face that changes at once might be taken for somebody else's.
    """
    frames = []
    for t in range(LENGTH):
        parts = [cartoon_face(centre=(120 + t // 4, 120)) for _ in range(faces)]
        frame = np.concatenate(parts, axis=1)
        blush = int(np.clip(90 * (t - LENGTH / 3) / (LENGTH / 3), 0, 90))
        frame[:, :240, 0] = np.clip(frame[:, :240, 0].astype(int) + blush, 0, 255)
        frames.append(frame)
    return frames
