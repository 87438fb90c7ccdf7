"""Raw frames and readings for tests of what comes after the network."""

import numpy as np
from hypothesis import strategies as st

from jaxfacs.emotion import RuleMapper
from jaxfacs.evaluate.calibration import Curve
from jaxfacs.faces.detect import Face
from jaxfacs.infer.answers import Reading
from jaxfacs.infer.results import RawFace, RawFrame

AUS = ("6", "12")
THRESHOLD_A = np.array([0.3, 0.6])
CURVES = (Curve([0.0, 0.4, 1.0], [0.1, 0.2, 0.95]), None)
FACE = Face(np.array([1, 2, 30, 40], np.float32), 0.9)


def reading(*, intensity=False, curves=CURVES, mapper=True):
    return Reading(
        aus=AUS,
        threshold_A=THRESHOLD_A,
        curves=curves,
        has_intensity=intensity,
        mapper=RuleMapper("emfacs") if mapper else None,
    )


def frame(number, time_s, faces):
    """`faces`: id -> values."""
    return RawFrame(
        number,
        float(time_s),
        tuple(RawFace(i, FACE, np.asarray(v, np.float32)) for i, v in faces.items()),
    )


def film(values_TV, *, times=None, face_id=0, absent=()):
    """Frames of one face."""
    times = np.arange(len(values_TV)) / 25 if times is None else times
    return [
        frame(t + 1, times[t], {} if t in absent else {face_id: v}) for t, v in enumerate(values_TV)
    ]


@st.composite
def films(draw, *, values=2, longest=30):
    """Films of up to three faces that come and go, with a varying rate."""
    count = draw(st.integers(1, longest))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    times = np.cumsum(rng.choice([0.02, 0.04, 0.04, 0.3], count))
    present = rng.random((count, 3)) < rng.choice([0.3, 0.9, 1.0], 3)
    scale = np.repeat([1, 5], 2)[:values]
    return [
        frame(t + 1, times[t], {i: scale * rng.random(values) for i in np.flatnonzero(present[t])})
        for t in range(count)
    ]


def same(first, second):
    """Results of two films are equal to the bit."""
    assert [(r.frame, r.timestamp, r.readable) for r in first] == [
        (r.frame, r.timestamp, r.readable) for r in second
    ]
    for one, other in zip(first, second, strict=True):
        assert [f.face_id for f in one.faces] == [f.face_id for f in other.faces]
        for a, b in zip(one.faces, other.faces, strict=True):
            for name in ("probability_A", "intensity_A", "present_A", "emotion_E", "box_4"):
                np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
