import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxfacs import facs
from jaxfacs.data.projection import Projection, unsided

WHOLE = ("1", "12", "17")
SIDES = ("L1", "R1", "L12", "R12")


def project(source: dict[str, int], target: str, *, flipped: bool = False) -> int:
    way = Projection.between(tuple(source), (target,), flipped=flipped)
    return int(way.occurrence(np.array([list(source.values())], np.int8))[0, 0])


@pytest.mark.parametrize(
    ("source", "target", "wanted"),
    [
        ({"12": 1}, "12", 1),
        ({"12": -1}, "12", -1),
        ({"1": 1}, "12", -1),  # nobody coded it
        ({"L12": 1, "R12": 0}, "12", 1),
        ({"L12": 1, "R12": -1}, "12", 1),
        ({"L12": 1}, "12", 1),
        ({"L12": 0, "R12": 0}, "12", 0),
        ({"L12": 0, "R12": -1}, "12", -1),  # the right one may have moved
        ({"L12": 0}, "12", -1),
        ({"12": 0}, "L12", 0),  # absent on both
        ({"12": 1}, "L12", -1),  # which side is not said
        ({"12": -1, "L12": 0, "R12": 1}, "12", 1),  # unknown whole, known sides
        ({"12": 0, "L12": -1}, "R12", 0),
    ],
)
def test_occurrence_of_wholes_and_sides(source, target, wanted):
    assert project(source, target) == wanted


@pytest.mark.parametrize(
    ("left", "right", "wanted"),
    [(2, 3.5, 3.5), (2, -1, -1), (5, -1, 5), (-1, 0, -1), (0, 0, 0), (-1, -1, -1)],
)
def test_intensity_of_the_whole_is_that_of_the_stronger_side(left, right, wanted):
    way = Projection.between(("L12", "R12"), ("12",))
    assert way.intensity(np.array([[left, right]], np.float32))[0, 0] == wanted


def test_flip_swaps_sides_also_where_one_is_asked_for():
    source = {"L12": 1, "R12": 0, "51": 1, "52": 0, "4": 1}
    assert project(source, "L12", flipped=True) == 0
    assert project(source, "R12", flipped=True) == 1
    assert project(source, "12", flipped=True) == 1
    assert project(source, "51", flipped=True) == 0  # head turned left is turned right
    assert project(source, "4", flipped=True) == 1


tables = st.lists(st.lists(st.integers(-1, 1), min_size=7, max_size=7), min_size=1, max_size=5).map(
    lambda rows: np.array(rows, np.int8)
)
targets = st.lists(st.sampled_from((*WHOLE, *SIDES, "9", "L6")), min_size=1, max_size=6)


@settings(deadline=None)
@given(tables, targets)
def test_flip_is_the_projection_of_the_mirrored_table(table, target):
    source = (*WHOLE, *SIDES)
    mirrored = tuple(facs.swap_sides(label) for label in source)
    flipped = Projection.between(source, target, flipped=True).occurrence(table)
    np.testing.assert_array_equal(flipped, Projection.between(mirrored, target).occurrence(table))


@settings(deadline=None)
@given(tables, targets)
def test_known_labels_are_never_changed_and_unknown_ones_only_by_the_same_au(table, target):
    source = (*WHOLE, *SIDES)
    got = Projection.between(source, target).occurrence(table)
    for i, label in enumerate(target):
        number = facs.split_label(label)[1]
        same = [k for k, s in enumerate(source) if facs.split_label(s)[1] == number]
        if label in source:
            own = table[:, source.index(label)]
            np.testing.assert_array_equal(got[own >= 0, i], own[own >= 0])
        nothing_said = (table[:, same] < 0).all(1) if same else np.ones(len(table), bool)
        assert (got[nothing_said, i] == -1).all()


@settings(deadline=None)
@given(tables)
def test_occurrence_and_intensity_agree(table):
    source = (*WHOLE, *SIDES)
    intensity = np.where(table == 1, 3.0, table).astype(np.float32)
    way = Projection.between(source, unsided(source))
    occurrence, graded = way.occurrence(table), way.intensity(intensity)
    known = graded >= 0
    np.testing.assert_array_equal(occurrence[known], (graded >= 1)[known])


def test_unsided_joins_sides_and_keeps_order():
    assert unsided(("R12", "4", "L12", "12", "L1")) == ("12", "4", "1")
