"""Cells of AUs as coders write them, phases, and expressions that overlap in one film."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxfacs.data.builders import micro
from jaxfacs.errors import UserError

AUS = ("4", "12", "L12", "R12", "15", "R15")


@pytest.mark.parametrize(
    ("text", "occurrence", "intensity"),
    [
        ("4", [1, 0, 0, 0, 0, 0], [-1, 0, 0, 0, 0, 0]),
        ("AU4B + 12", [1, 1, -1, -1, 0, 0], [2, -1, -1, -1, 0, 0]),
        ("L12C", [0, 1, 1, 0, 0, 0], [0, 3, 3, 0, 0, 0]),
        ("12l + R12E", [0, 1, 1, 1, 0, 0], [0, 5, -1, 5, 0, 0]),
        ("R12 or R15", [0, -1, 0, -1, -1, -1], [0, -1, 0, -1, -1, -1]),
        ("L12 or R12", [0, 1, -1, -1, 0, 0], [0, -1, -1, -1, 0, 0]),
        ("4+12?", [1, -1, -1, -1, 0, 0], [-1, -1, -1, -1, 0, 0]),
        ("4+?", [1, -1, -1, -1, -1, -1], [-1, -1, -1, -1, -1, -1]),
        ("?", [-1] * 6, [-1] * 6),
        ("", [-1] * 6, [-1] * 6),
        ("/", [-1] * 6, [-1] * 6),
        ("4 mouth", [-1] * 6, [-1] * 6),
        ("0", [0] * 6, [0] * 6),
        ("4+99", [1, -1, -1, -1, -1, -1], [-1, -1, -1, -1, -1, -1]),  # FACS has no 99
        ("L17+4", [1, 0, 0, 0, 0, 0], [-1, 0, 0, 0, 0, 0]),  # 17 has no sides
    ],
)
def test_cells(text, occurrence, intensity):
    occurrence_A, intensity_A = micro.Cell.parse(text).scores(AUS)
    assert occurrence_A.tolist() == occurrence and intensity_A.tolist() == intensity


@given(st.text(alphabet="0123456789LRABE+?/ or,", max_size=20))
def test_any_text_is_a_cell(text):
    """What is named is never absent, and an intensity belongs to what is present."""
    cell = micro.Cell.parse(text)
    aus = micro.aus_of([cell])
    occurrence_A, intensity_A = cell.scores(aus)
    assert set(occurrence_A.tolist()) <= {-1, 0, 1}
    assert all(occurrence_A[aus.index(label)] != 0 for label in cell.labels)
    assert (occurrence_A[intensity_A > 0] == 1).all() and (
        intensity_A[occurrence_A == 0] == 0
    ).all()


def expression(name: str, onset: int, apex: int | None, offset: int, aus: str) -> micro.Expression:
    place = Path("/delivery/film")
    return micro.Expression(name, "s1", place, onset, apex, offset, micro.Cell.parse(aus))


def test_what_another_expression_has_is_not_absent():
    one = expression("a", 1, 3, 6, "4B")
    other = expression("b", 5, None, 9, "12")
    third = expression("c", 6, None, 6, "?")
    number_T = np.arange(1, 7)
    occurrence_TA, intensity_TA, phase_TA = micro.labels(one, [one, other], ("4", "12"), number_T)
    assert occurrence_TA.T.tolist() == [[1] * 6, [0, 0, 0, 0, -1, -1]]
    assert intensity_TA.T.tolist() == [[-1, -1, 2, -1, -1, -1], [0, 0, 0, 0, -1, -1]]
    assert phase_TA.T.tolist() == [[1, 1, 2, 3, 3, 3], [0, 0, 0, 0, -1, -1]]
    occurrence_TA, _, _ = micro.labels(one, [one, third], ("4", "12"), number_T)
    assert occurrence_TA.T.tolist() == [[1] * 6, [0, 0, 0, 0, 0, -1]]


def test_numbers_that_make_no_sense_are_listed():
    sheet = micro.Sheet()
    for onset, offset in ((5, 4), (0, micro.LONGEST), (2, 2)):
        sheet.add(expression(f"{onset}", onset, None, offset, "4"), path="p")
    assert [e.name for e in sheet.expressions] == ["2"]
    assert [row.reason for row in sheet.left_out] == [
        "unreadable labels: onset 5, offset 4",
        f"unreadable labels: onset 0, offset {micro.LONGEST}",
    ]


@pytest.mark.parametrize(
    ("text", "number"),
    [("46", 46), ("46.0", 46), ("/", None), ("", None), ("-1", None), ("nan", None), ("1e99", None),
     ("inf", None), ("0", 0)],
)  # fmt: skip
def test_frame_numbers(text, number):
    assert micro.frame_number(text) == number


def test_people_who_are_not_there():
    people = [expression("a", 1, None, 2, "4")]
    people.append(dataclasses.replace(people[0], name="b", subject="s2"))
    assert micro.split_of("subjects", "", people) is None
    assert micro.split_of("all", "", people) == {"s1": "train", "s2": "train"}
    assert micro.split_of("subjects", "s2", people) == {"s1": "train", "s2": "test"}
    with pytest.raises(UserError, match="there are s1, s2"):
        micro.split_of("subjects", "s3", people)


def test_folders_behind_links_are_found_once(tmp_path):
    source, away = tmp_path / "source", tmp_path / "away"
    (away / "raw/sub02").mkdir(parents=True)
    (source / "sub01").mkdir(parents=True)
    (source / "linked").symlink_to(away, target_is_directory=True)
    (away / "raw/round").symlink_to(source, target_is_directory=True)
    (away / "raw/CASME2-Coding.xlsx").write_text("")
    found = micro.folders(source, r"SUB\d+")
    assert found == [source / "linked/raw/sub02", source / "sub01"]
    assert micro.workbooks(source, "casme2*cod*.xlsx") == [source / "linked/raw/CASME2-Coding.xlsx"]
