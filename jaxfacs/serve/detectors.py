"""Face detectors for several threads: OpenCV's must not be used by two at once."""

import threading
from collections.abc import Sequence

import numpy as np

from jaxfacs.faces import detect


class ThreadDetector:
    """A detector of which every thread gets its own; followers keep what they know of faces."""

    def __init__(self, name: str):
        self._name = name
        self._local = threading.local()
        first = detect.create(name)  # a missing or damaged file is told at the start
        self.name, self.gives_landmarks = first.name, first.gives_landmarks
        self._local.detector = first

    def __call__(
        self, frame_HWC: np.ndarray, near: Sequence[np.ndarray] | None = None
    ) -> list[detect.Face]:
        detector = getattr(self._local, "detector", None)
        if detector is None:
            detector = self._local.detector = detect.create(self._name)
        return detector(frame_HWC, near)
