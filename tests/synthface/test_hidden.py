"""Labels that a picture cannot show are unknown."""

import numpy as np
import pytest

from jaxfacs.synthface import heads, hidden, render
from jaxfacs.synthface.look import sample_look
from jaxfacs.synthface.scene import sample_scene
from jaxfacs.synthface.truth import LABELS
from jaxfacs.synthface.variation import Variation

BROWS, LEFT_BROW, MOUTH = range(17, 27), range(22, 27), range(48, 68)


def _unknown(points, **on) -> set[str]:
    covered = np.zeros((1, 68), bool)
    covered[0, list(points)] = True
    intensity = np.zeros((1, len(LABELS)), np.float32)
    for label, value in on.items():
        intensity[0, LABELS.index(label)] = value
    return {
        x
        for x, off in zip(LABELS, hidden.unseen(LABELS, intensity, covered)[0], strict=True)
        if off
    }


def test_what_is_covered_is_unknown_and_nothing_else():
    assert _unknown(()) == set()
    both = {"1", "2", "4"}
    assert _unknown(BROWS) == both | {side + au for au in both for side in "LR"}
    mouth = _unknown(MOUTH)
    assert {"12", "L12", "15", "17", "23", "25", "26", "28"} <= mouth
    assert not {"1", "4", "6", "9", "43", "45"} & mouth


def test_one_side_tells_of_both():
    assert _unknown(LEFT_BROW) == {"L1", "L2", "L4"}
    # What acts on the covered side alone is not seen to act; it would be wrong to say that it
    # does not.
    assert _unknown(LEFT_BROW, **{"2": 3.0, "L2": 3.0}) == {"L1", "L2", "L4", "2"}
    seen = {"2": 3.0, "L2": 3.0, "R2": 2.0}
    assert _unknown(LEFT_BROW, **seen) == {"L1", "L2", "L4"}


@pytest.mark.parametrize(("yaw", "far"), [(0, ()), (50, range(42, 46)), (-50, range(36, 40))])
def test_the_far_side_of_a_turned_head_is_covered(yaw, far):
    head = heads.load()
    rng = np.random.default_rng(1)
    plain = Variation.naive()
    look, view = sample_look(rng, plain), sample_scene(rng, plain)
    picture = render.render(
        head, head.vertices_V3, look, view, size=48, pose_6=(yaw, 0, 0, 0, 0, 0)
    )
    near = set(range(36, 68)) - {*range(36, 48), 31, 35, *range(48, 68)}
    assert not picture.covered_68[sorted(near)].any()
    assert picture.covered_68[17:].any() == bool(far)
    if far:
        other = range(36, 48)
        assert picture.covered_68[list(far)].sum() > picture.covered_68[list(other)].sum() / 2
