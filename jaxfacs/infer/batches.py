"""Clips of any number of films, gathered into full batches for the network."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from jaxfacs.infer.windows import Clip

Outputs = Mapping[str, np.ndarray]
Submit = Callable[[np.ndarray], Callable[[], Outputs]]
_UNDER_WAY = 1  # batches that the network may still work on while the next one is gathered


class _Asked(NamedTuple):
    clip: Clip
    receive: Callable[[Clip, np.ndarray], None]


class Batches:
    """Gathers clips and hands each its answers, in the order in which they came.

    The network works on one batch while the next one fills; a batch that is full before the one
    before it is done waits for that one. So at most three batches of clips are held.

    Args:
      submit: starts the network on B×T×H×W×3 uint8 clips and returns a function that waits for its
        outputs.
      pack: (outputs, row) -> that clip's answers, K×V.
      size: clips of a full batch.
    """

    def __init__(
        self, submit: Submit, pack: Callable[[Outputs, int], np.ndarray], *, size: int
    ) -> None:
        self._submit, self._pack, self.size = submit, pack, size
        self._gathered: list[_Asked] = []
        self._under_way: deque[tuple[list[_Asked], Callable[[], Outputs]]] = deque()

    @property
    def gathered(self) -> int:
        """Clips that wait for a full batch."""
        return len(self._gathered)

    def add(self, clips: Iterable[Clip], receive: Callable[[Clip, np.ndarray], None]) -> int:
        """Takes clips, and who is given their answers; returns how many there were."""
        count = 0
        for count, clip in enumerate(clips, 1):  # noqa: B007
            self._gathered.append(_Asked(clip, receive))
            if len(self._gathered) == self.size:
                self.flush()
                self.settle(_UNDER_WAY)
        return count

    def flush(self) -> None:
        """Starts the network on what was gathered, full or not."""
        if not self._gathered:
            return
        asked, self._gathered = self._gathered, []
        outputs = self._submit(np.stack([clip.frames_THWC for clip, _ in asked]))
        # From here on only the answers' places are needed, not the pictures.
        kept = [
            _Asked(Clip(clip.run, clip.frames_THWC[:0], clip.answers), receive)
            for clip, receive in asked
        ]
        self._under_way.append((kept, outputs))

    def settle(self, under_way: int = 0) -> None:
        """Waits until at most so many batches are under way."""
        while len(self._under_way) > under_way:
            asked, outputs = self._under_way.popleft()
            values = outputs()
            for row, (clip, receive) in enumerate(asked):
                receive(clip, self._pack(values, row))
