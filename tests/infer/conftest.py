"""Tiny bundles, and a film that needs no real face."""

import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_bundle import write_tiny

cartoon_face = runpy.run_path(str(Path(__file__).parents[1] / "faces" / "cartoon.py"))[
    "cartoon_face"
]


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


def film_frames(count=40, gap=(20, 30)):
    """A drawn face that drifts to the right, and is gone for a while; its cheeks blush."""
    frames = []
    for t in range(count):
        frame = cartoon_face(centre=(110 + t // 2, 120))
        if gap[0] <= t < gap[1]:
            frame = np.full_like(frame, 150)
        frame[:, :, 0] = np.clip(frame[:, :, 0].astype(int) + t, 0, 255)
        frames.append(frame)
    return frames


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
