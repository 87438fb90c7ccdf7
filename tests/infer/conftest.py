"""Tiny bundles, and a film that needs no real face."""

import cv2
import pytest
from drawn_film import film_frames
from tiny_bundle import write_tiny


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    """Paths of tiny bundles by kind."""
    folder = tmp_path_factory.mktemp("bundles")
    kinds = {
        "clip": {},
        "frame": {"per_frame": True},
        "full": {"per_frame": True, "intensity": True, "emotion": True},
    }
    return {kind: write_tiny(folder / f"{kind}.jaxfacs", **kinds[kind]) for kind in kinds}


@pytest.fixture(scope="session")
def frames():
    """40 frames, RGB 240×240; faces in all but 20-29."""
    return film_frames()


@pytest.fixture(scope="session")
def film(tmp_path_factory, frames):
    """The same as an .avi of JPEGs, 20 frames a second; its index stands at the end."""
    path = tmp_path_factory.mktemp("film") / "drawn.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20.0, (240, 240))
    for frame in frames:
        writer.write(frame[..., ::-1])
    writer.release()
    return path
