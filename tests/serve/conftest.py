"""A server of a tiny network, in this process: behind starlette's test client, or on loopback."""

import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
from loopback import Loopback
from starlette.testclient import TestClient

import jaxfacs
from jaxfacs import emotion
from jaxfacs.serve.app import create_app
from jaxfacs.serve.limits import Limits
from jaxfacs.serve.service import Settings

_HERE = Path(__file__).parent
write_tiny = runpy.run_path(str(_HERE.parent / "infer" / "tiny_bundle.py"))["write_tiny"]
cartoon_face = runpy.run_path(str(_HERE.parent / "faces" / "cartoon.py"))["cartoon_face"]


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """Path of a bundle: per-frame answers, emotions by rule."""
    path = tmp_path_factory.mktemp("model") / "tiny.jaxfacs"
    return write_tiny(path, per_frame=True, mapper=emotion.RuleMapper().to_json())


@pytest.fixture(scope="session")
def predictor(model):
    return jaxfacs.load(model)


@pytest.fixture(scope="session")
def drawn():
    """12 frames, RGB 240x240, of a drawn face that blushes."""
    frames = []
    for t in range(12):
        frame = cartoon_face(centre=(110 + t, 120))
        frame[:, :, 0] = np.clip(frame[:, :, 0].astype(int) + 4 * t, 0, 255)
        frames.append(frame)
    return frames


@pytest.fixture(scope="session")
def jpegs(drawn):
    return [cv2.imencode(".jpg", frame[..., ::-1])[1].tobytes() for frame in drawn]


@pytest.fixture(scope="session")
def film(tmp_path_factory, drawn):
    """The frames as the bytes of an .avi, 20 frames a second."""
    path = tmp_path_factory.mktemp("film") / "drawn.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20.0, (240, 240))
    for frame in drawn:
        writer.write(frame[..., ::-1])
    writer.release()
    return path.read_bytes()


@pytest.fixture
def folder(tmp_path):
    """Where films lie while they are read."""
    path = tmp_path / "temporary"
    path.mkdir()
    return path


@pytest.fixture
def served(predictor, folder):
    """settings and limits -> a test client of a server that is ready."""
    opened = []

    def serve(*, limits=None, **settings):
        settings = Settings(limits=Limits(**(limits or {})), temporary=folder, **settings)
        client = TestClient(create_app(predictor, settings), base_url="http://localhost")
        opened.append(client)
        return client.__enter__()

    yield serve
    for client in opened:
        client.__exit__(None, None, None)
    assert not list(folder.iterdir()), "the server left something in its temporary folder"


@pytest.fixture
def loopback(predictor, folder):
    """settings and limits -> a real server on a free port."""
    opened = []

    def serve(*, limits=None, **settings):
        limits = Limits(**(limits or {}))
        settings = Settings(limits=limits, temporary=folder, **settings)
        opened.append(Loopback(create_app(predictor, settings), limits))
        return opened[-1]

    yield serve
    for server in opened:
        server.stop()
    assert not list(folder.iterdir()), "the server left something in its temporary folder"
