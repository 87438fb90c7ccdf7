"""FACS codes are read as people write them, and nonsense is refused where it stands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxfacs import facs
from jaxfacs.errors import UserError
from jaxfacs.facs import ACTION_UNITS, Code

SIDED = sorted(n for n, unit in ACTION_UNITS.items() if unit.sided)


@st.composite
def codes(draw) -> Code:
    au = draw(st.sampled_from(sorted(ACTION_UNITS)))
    side = draw(st.sampled_from(["", "L", "R"])) if ACTION_UNITS[au].sided else ""
    return Code(au, side, draw(st.one_of(st.none(), st.integers(1, 5))))


def formulas() -> st.SearchStrategy[list[Code]]:
    return st.lists(codes(), max_size=8, unique_by=lambda code: code.au)


@given(formulas())
def test_parse_undoes_format(formula):
    assert facs.parse(facs.format(formula)) == tuple(formula)


@given(formulas().filter(bool), st.randoms(use_true_random=False))
def test_every_spelling_reads_the_same(formula, random):
    def spell(code: Code) -> str:
        letter = "" if code.intensity is None else "ABCDE"[code.intensity - 1]
        number = f"{code.au:02d}" if random.random() < 0.5 else str(code.au)
        body = (
            f"{number}{code.side}{letter}"
            if random.random() < 0.5
            else (f"{code.side}{number}{letter}")
        )
        prefix = random.choice(["", "AU", "AU ", "au_", " AU-", "AD"])
        return (prefix + body).lower() if random.random() < 0.3 else prefix + body

    text = random.choice(["+", " + ", ", ", ","]).join(spell(code) for code in formula)
    assert facs.parse(text) == tuple(formula)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("1+2+5B+26", "1+2+5B+26"),
        ("R12A+R14A", "R12A+R14A"),
        ("L12", "L12"),
        ("AU06_r", "6"),
        ("AU 12", "12"),
        ("1, 2, 25, 26", "1+2+25+26"),
        ("1+2+L12+R14  ", "1+2+L12+R14"),
        ("L12+R12C", "L12+R12C"),
        ("0", "0"),
    ],
)
def test_examples(text, written):
    assert facs.format(facs.parse(text)) == written


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 0),
        ("  ", 2),
        ("1+2+", 4),
        ("1++2", 2),
        ("+1", 0),
        ("1+2 3", 4),
        ("1+3", 2),
        ("1+47", 2),
        ("0+1", 0),
        ("1+12F", 4),
        ("12AB", 3),
        ("12.5", 2),
        ("1+L25", 2),
        ("25R", 2),
        ("L12R", 3),
        ("12+4+12", 5),
        ("L12+12", 4),
        ("12+R12B", 3),
        ("R12 or R15", 4),
        ("1+smile", 2),
        ("AU12_R", 5),
        ("T23", 0),
        ("-12", 0),
        ("1|2", 1),
        ("１２", 0),  # digits of another script
        ("9999999999999999999999", 0),
    ],
)
def test_nonsense_is_refused_where_it_stands(text, position):
    with pytest.raises(facs.CodeError) as caught:
        facs.parse(text)
    assert caught.value.position == position
    assert caught.value.caret == f"{text}\n{' ' * position}^"
    assert f"character {position + 1}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, UserError) and isinstance(caught.value, ValueError)


@given(st.text(alphabet="0123456789ABELRTUau+,_ rc.'", max_size=12))
def test_any_text_is_read_or_refused_inside_itself(text):
    try:
        formula = facs.parse(text)
    except facs.CodeError as error:
        assert 0 <= error.position <= len(text)
    else:
        assert facs.parse(facs.format(formula)) == formula


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("AU06_r", "6"),
        ("AU12_c", "12"),
        (" AU12_r", "12"),  # OpenFace 1 puts a blank after each comma
        ("12", "12"),
        ("AU 12", "12"),
        ("au_12_intensity", "12"),
        ("au_1", "1"),
        ("'AU 1'", "1"),
        ("L12", "L12"),
        ("AUR14", "R14"),
        ("AU12L_r", "L12"),
        ("AU01_p", "1"),
    ],
)
def test_column_names(name, label):
    assert facs.parse_label(name) == label


@pytest.mark.parametrize(
    "name", ["frame", "AU", "AU99", "AU1_AU2", "12B", "1+2", "", "AU12_R", "0"]
)
def test_column_names_that_are_no_labels(name):
    with pytest.raises(facs.CodeError):
        facs.parse_label(name)


@given(codes(), st.sampled_from("rcp"))
def test_columns_read_back(code, kind):
    assert facs.parse_label(facs.column(code.label, kind)) == code.label


def test_columns_are_openfaces():
    assert facs.column("1", "c") == "AU01_c"
    assert facs.column("12", "r") == "AU12_r"
    assert facs.column("L12", "r") == "AU12L_r"
    with pytest.raises(ValueError, match="kind"):
        facs.column("12", "x")
    with pytest.raises(facs.CodeError):
        facs.column("AU12", "r")


@given(codes())
def test_mirroring_twice_changes_nothing(code):
    assert facs.swap_sides(facs.swap_sides(code.label)) == code.label


def test_mirror():
    assert facs.swap_sides("L12") == "R12"
    assert facs.swap_sides("25") == "25"
    assert facs.swap_sides("51") == "52"  # a mirrored head turns the other way
    assert facs.swap_sides("61") == "62"
    assert facs.swap_sides("3") == "3"  # a column of EmotioNet, no code of FACS


@pytest.mark.parametrize("bad", [(3,), (12, "X"), (25, "L"), (12, "", 6), (12, "", 0)])
def test_impossible_codes_cannot_be_made(bad):
    with pytest.raises(ValueError, match=r"."):
        Code(*bad)
