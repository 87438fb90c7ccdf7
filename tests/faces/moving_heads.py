"""Rendered heads that move over a background: who is where is known."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from jaxfacs.synthface import clip

WIDTH, HEIGHT, SIDE = 360, 200, 120


@lru_cache(maxsize=8)
def heads(subject: int, seed: int = 71, frames: int = 8) -> tuple[np.ndarray, ...]:
    """Frames of one head, its soft outline 0..1, and the middle (x, y) of its face; the same seed
    gives the same light.
    """
    made = clip.clip(seed, frames=frames, size=SIDE, subject=subject, fps=8.0, near_frontal=True)
    x, y, w, h = made.box_T4.mean(0)
    outline = np.zeros((SIDE, SIDE), np.float32)
    middle_2 = np.array([x + w / 2, y + 0.45 * h])
    cv2.ellipse(
        outline, tuple(map(round, middle_2)), (round(0.62 * w), round(0.66 * h)), 0, 0, 360, 1, -1
    )
    return made.frames_THWC, cv2.GaussianBlur(outline, (0, 0), 2), middle_2


@dataclass(frozen=True)
class Moment:
    """One head in one frame: who, and the middle of its face."""

    subject: int
    x: float
    y: float
    size: float = 1.0


def background(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(70, 170, (5, 9, 3)).astype(np.float32)
    return cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def scene(moments: list[Moment], t: int, back: np.ndarray, seed: int = 71) -> np.ndarray:
    """Later heads are in front."""
    frame = back.copy()
    for moment in moments:
        frames, outline, middle_2 = heads(moment.subject, seed)
        # There and back through the clip, so that nothing jumps.
        k = t % (2 * len(frames) - 2)
        head = frames[min(k, 2 * len(frames) - 2 - k)].astype(np.float32)
        corner_2 = np.array([moment.x, moment.y]) - moment.size * middle_2
        move = np.float32([[moment.size, 0, corner_2[0]], [0, moment.size, corner_2[1]]])
        alpha = cv2.warpAffine(outline, move, (WIDTH, HEIGHT))[..., None]
        frame = alpha * cv2.warpAffine(head, move, (WIDTH, HEIGHT)) + (1 - alpha) * frame
    noise = np.random.default_rng(t).normal(0, 2, frame.shape)
    return np.clip(frame + noise, 0, 255).astype(np.uint8)
