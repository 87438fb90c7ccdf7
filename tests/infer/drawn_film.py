"""Frames of a film that needs no real face."""

import runpy
from pathlib import Path

import numpy as np

cartoon_face = runpy.run_path(str(Path(__file__).parents[1] / "faces" / "cartoon.py"))[
    "cartoon_face"
]


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
