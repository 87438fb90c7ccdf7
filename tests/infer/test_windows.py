"""Every frame is answered once, from the right clip, for any length, stride and hop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxfacs.infer.bundle import InputSpec
from jaxfacs.infer.windows import Run


def play(length, spec, *, step, hop, late=0):
    """Runs a network that answers with the number of the frame each answer is about.

    Returns the values, the largest number of crops kept, and all clips as lists of frame numbers.
    """
    run = Run(spec, step=step, hop=hop)
    values, kept, clips, queue = [], 0, [], []

    def ask():
        for clip in run.clips():
            places = clip.frames_THWC[:, 0, 0, 0].astype(int)
            clips.append((places.tolist(), clip.answers))
            queue.append((clip, np.float32([[places[k]] for k in spec.answers])))

    def read(ahead):
        while len(queue) > ahead:
            run.receive(*queue.pop(0))
        while len(values) < run.length and (v := run.value(len(values))) is not None:
            values.append(float(v[0]))

    for number in range(length):
        run.append(np.full((1, 1, 1), number, np.int32))
        ask()
        read(late)
        kept = max(kept, len(run._crops))
    run.close()
    ask()
    read(0)
    return values, kept, clips


@settings(max_examples=300, deadline=None)
@given(
    length=st.integers(1, 70),
    frames=st.integers(1, 9),
    step=st.integers(1, 3),
    hop=st.integers(1, 9),
    per_frame=st.booleans(),
    late=st.integers(0, 3),
)
def test_each_frame_gets_its_own_answer(length, frames, step, hop, per_frame, late):
    hop = min(hop, frames)
    answers = tuple(range(frames)) if per_frame and frames > 1 else (frames // 2,)
    spec = InputSpec(frames=frames, size=1, answers=answers)
    values, kept, _ = play(length, spec, step=step, hop=hop, late=late)
    # Answers are linear in the frame number, so interpolated ones are right as well; only a tail
    # that no stride reaches may repeat the last one.
    slack = step if per_frame else 0
    assert len(values) == length
    assert np.abs(np.array(values) - np.arange(length)).max() <= slack
    assert kept <= (frames - 1) * step + 1 + hop * step + 1


@pytest.mark.parametrize("length", [1, 2, 5, 16, 17, 40])
def test_per_clip_windows_are_centred_and_repeat_the_edges(length):
    spec = InputSpec(frames=5, size=1, answers=(2,))
    _, _, clips = play(length, spec, step=1, hop=1)
    assert [answers for _, answers in clips] == [((0, c),) for c in range(length)]
    for centre, (places, _) in enumerate(clips):
        assert places == np.clip(np.arange(centre - 2, centre + 3), 0, length - 1).tolist()


def test_per_frame_windows_answer_from_their_middle():
    spec = InputSpec(frames=8, size=1, answers=tuple(range(8)))
    _, _, clips = play(50, spec, step=1, hop=4)
    for places, answers in clips[1:-1]:
        assert [k for k, _ in answers] == [2, 3, 4, 5]
        assert [p for _, p in answers] == places[2:6]
    assert sorted(p for _, answers in clips for _, p in answers) == list(range(50))


def test_networks_that_answer_fewer_frames_than_they_read():
    spec = InputSpec(frames=8, size=1, answers=(1, 3, 5, 7))
    for length in range(1, 40):
        values, _, _ = play(length, spec, step=1, hop=4)
        assert len(values) == length
        assert np.abs(np.array(values) - np.arange(length)).max() <= 1
