"""Every row of every rule table: as its source has it, met and unmet, with exactly its reasons.

The texts below were copied from the sources and not from `jaxfacs.facs.emotions`.
"""

from collections import Counter

import pytest

from jaxfacs import facs
from jaxfacs.emotion import RuleMapper, explain_codes
from jaxfacs.facs import PROTOTYPES

# Tlili 2019, fig. 7.1, each "either … or" a row of its own; the words of the criteria stand beside.
FACS_MANUAL = """
    anger: 23+24          # AU23 and AU24 must be present
    disgust: 9 | 10       # either AU9 or AU10
    fear: 1+2+4 | 1+2+5   # unless AU5 is of intensity E then AU4 can be absent
    happiness: 12
    sadness: 1+4+15 | 11 | 6+15   # either AU1+4+15 or 11; an exception is AU6+15
    surprise: 1+2 | 5     # the intensity of AU5 must not be stronger than B
    contempt: 14          # either unilateral or bilateral
"""
PE_MANUAL = """
    happiness: 12
    sadness: 1+4+15 | 6+15
    embarrassment: 12 | 24
    fear: 1+2+4 | 1+2+5
    anger: 23+24
    disgust: 9+10
"""
# Fig. 3.7, its two columns one after the other, in its own words.
FIGURE_3_7 = """
    Happy 12, 25; Sad 4, 15; Fearful 1, 4, 20, 25; Angry 4, 7, 24; Surprised 1, 2, 25, 26;
    Disgusted 9, 10, 17; Happily sad 4, 6, 12, 25; Happily surprised 1, 2, 12, 25;
    Happily disgusted 10, 12, 25; Sadly fearful 1, 4, 15, 25; Sadly angry 4, 7, 15;
    Sadly surprised 1, 4, 25, 26; Sadly disgusted 4, 10; Fearfully angry 4, 20, 25;
    Fearfully surprised 1, 2, 5, 20, 25; Fearfully disgusted 1, 4, 10, 20, 25;
    Angrily surprised 4, 25, 26; Disgusted surprised 1, 2, 5, 10; Happily fearful 1, 2, 12, 25, 26;
    Angrily disgusted 4, 10, 17; Awed 1, 2, 5, 25; Appalled 4, 9, 10; Hatred 4, 7, 10
"""
EMFACS = """
    happiness: 6+12
    sadness: 1+4+15
    surprise: 1+2+5B+26
    fear: 1+2+4+5+7+20+26
    anger: 4+5+7+23
    disgust: {disgust}
    contempt: R12A+R14A
"""
BARTISSOL = """
    neutral: 0
    happiness: 6+12
    sadness: 1+4+14
    surprise: 1+2+5B+26
    fear: 1+2+4+5+7+20+26
    anger: 4+5+7+23
    disgust: 9+15+16
"""
MOST_INTENSE = """
    happiness: 6+12+25
    sadness: 1+4+15
    disgust: 4+10+17
    anger: 4+5+7+24
    surprise: 1+2+5+26
    fear: 1+2+4+5+20+25
"""
VARIANTS = """
    happiness: 6+12 | 12
    sadness: 1+4+11+15 | 1+4+15 | 6+15
    surprise: 1+2+5+26 | 1+2+5+27
    fear: 1+2+4+5+20 | 1+2+4+5+20+25 | 1+2+4+5+20+26 | 1+2+4+5+20+27
    anger: 4+5+7+23 | 4+5+7+24 | 4+5+7+10+22+23+25 | 4+5+7+10+22+23+26
    disgust: 9 | 9+16+15 | 9+16+26 | 9+17 | 10 | 10+16+25 | 10+16+26 | 10+17
    contempt: R14 | R12+R14
"""
# Du, Tao & Martinez 2014, table 1: number, category, AUs, and in brackets who else shows what, %.
DU_2014 = """
    1 Happy 12, 25 [6 (51)]
    2 Sad 4, 15 [1 (60), 6 (50), 11 (26), 17 (67)]
    3 Fearful 1, 4, 20, 25 [2 (57), 5 (63), 26 (33)]
    4 Angry 4, 7, 24 [10 (26), 17 (52), 23 (29)]
    5 Surprised 1, 2, 25, 26 [5 (66)]
    6 Disgusted 9, 10, 17 [4 (31), 24 (26)]
    7 Happily surprised 1, 2, 12, 25 [5 (64), 26 (67)]
    8 Happily disgusted 10, 12, 25 [4 (32), 6 (61), 9 (59)]
    9 Sadly fearful 1, 4, 20, 25 [2 (46), 5 (24), 6 (34), 15 (30)]
    10 Sadly angry 4, 15 [6 (26), 7 (48), 11 (20), 17 (50)]
    11 Sadly surprised 1, 4, 25, 26 [2 (27), 6 (31)]
    12 Sadly disgusted 4, 10 [1 (49), 6 (61), 9 (20), 11 (35), 15 (54), 17 (47), 25 (43)]
    13 Fearfully angry 4, 20, 25 [5 (40), 7 (39), 10 (30), 11 (33)]
    14 Fearfully surprised 1, 2, 5, 20, 25 [4 (47), 10 (35), 11 (22), 26 (51)]
    15 Fearfully disgusted 1, 4, 10, 20, 25 [2 (64), 5 (50), 6 (26), 9 (28), 15 (33)]
    16 Angrily surprised 4, 25, 26 [5 (35), 7 (50), 10 (34)]
    17 Angrily disgusted 4, 10, 17 [7 (60), 9 (57), 24 (36)]
    18 Disgustedly surprised 1, 2, 5, 10 [4 (45), 9 (37), 17 (66), 24 (33)]
    19 Appalled 4, 10 [6 (25), 9 (56), 17 (67), 24 (36)]
    20 Hatred 4, 10 [7 (57), 9 (27), 17 (63), 24 (37)]
    21 Awed 1, 2, 5, 25 [4 (21), 20 (62), 26 (56)]
"""
PAIN = "pain: 4+6+9+43 | 4+7+9+43 | 4+6+10+43 | 4+7+10+43"

SOURCES = {
    "facs_manual": FACS_MANUAL,
    "tlili_pe_manual": PE_MANUAL,
    "emfacs": EMFACS.format(disgust="9+15+16"),
    "masur": EMFACS.format(disgust="9+15+17"),
    "bartissol": BARTISSOL,
    "facs_most_intense": MOST_INTENSE,
    "emfacs_variants": VARIANTS,
    "pain": PAIN,
}


def copied(text):
    rows = Counter()
    for line in text.strip().splitlines():
        emotion, formulas = line.split("#")[0].split(":")
        for formula in formulas.split("|"):
            rows[emotion.strip(), frozenset(facs.parse(formula.strip()))] += 1
    return rows


def ours(table):
    return Counter((row.emotion, frozenset(row.codes)) for row in PROTOTYPES[table].rows)


@pytest.mark.parametrize("table", sorted(SOURCES))
def test_a_table_has_the_rows_of_its_source(table):
    assert ours(table) == copied(SOURCES[table])


def test_the_compound_emotions_are_those_of_figure_3_7():
    rows = Counter()
    for entry in FIGURE_3_7.replace("\n", " ").split(";"):
        words = entry.replace(",", " ").split()
        name = " ".join(word for word in words if not word.isdigit())
        codes = frozenset(facs.Code(int(word)) for word in words if word.isdigit())
        rows[facs.emotions.canonical(name), codes] += 1
    assert len(rows) == 23 and ours("tlili_compound") == rows


def test_du_has_21_categories_with_their_shares():
    rows = {}
    for line in DU_2014.strip().splitlines():
        head, variants = line.strip().rstrip("]").split("[")
        words = head.replace(",", " ").split()[1:]
        name = " ".join(word for word in words if not word.isdigit())
        codes = frozenset(facs.Code(int(word)) for word in words if word.isdigit())
        pairs = (pair.strip(" )").split(" (") for pair in variants.split(","))
        rows[facs.emotions.canonical(name)] = codes, {au: int(share) / 100 for au, share in pairs}
    assert len(rows) == 21
    table = PROTOTYPES["du2014"].rows
    assert {row.emotion: (frozenset(row.codes), dict(row.shares)) for row in table} == rows


def test_no_table_is_left_out():
    assert {*SOURCES, "tlili_compound", "du2014"} == {*PROTOTYPES}


ROWS = [
    pytest.param(row, id=f"{table}-{row.emotion}-{facs.format(row.codes)}")
    for table, rows in PROTOTYPES.items()
    for row in rows.rows
    if row.codes
]


def written(row):
    """The row's codes at intensities that keep its limits."""
    return {code.label: code for code in (*row.codes, *row.at_most, *row.at_least)}


def names(reasons):
    return {str(reason) for reason in reasons}


@pytest.mark.parametrize("row", ROWS)
def test_a_row_is_met_by_its_aus_and_by_no_fewer(row):
    mapper = RuleMapper([row])
    levels = written(row)
    own = {code.label for code in row.codes}
    met = explain_codes(mapper, [levels[label] for label in own], emotion=row.emotion)
    assert met.probability == 1
    assert (names(met.speaks_for), met.speaks_against) == (own, ())
    for lacking in own:
        rest = [levels[label] for label in own - {lacking}]
        unmet = explain_codes(mapper, rest, emotion=row.emotion)
        assert unmet.probability == 0
        against = {f"no {lacking}"}
        if row.one_sided and rest:
            # The lone code is read on the side that fits better; what lacks there decides.
            against |= {f"no {facs.swap_sides(lacking)}"}
            assert names(unmet.speaks_against) & against
        elif not row.one_sided:
            # An AU that lacks is not at its least intensity either.
            assert names(unmet.speaks_against) == against
            assert names(unmet.speaks_for) == own - {lacking}
        assert explain_codes(mapper, rest, emotion="neutral").probability == 1


LIMITED = [row for row in ROWS if row.values[0].at_least or row.values[0].at_most]


def test_the_limited_rows_are_those_of_the_sources():
    assert sorted(row.id for row in LIMITED) == [
        "bartissol-surprise-1+2+5B+26",
        "emfacs-surprise-1+2+5B+26",
        "emfacs_variants-happiness-12",
        "facs_manual-fear-1+2+5",
        "facs_manual-surprise-1+2",
        "facs_manual-surprise-5",
        "masur-surprise-1+2+5B+26",
    ]


@pytest.mark.parametrize("row", LIMITED)
@pytest.mark.parametrize("letter", "ABCDE")
def test_limits_hold_at_every_letter(row, letter):
    mapper = RuleMapper([row])
    (limit,) = (*row.at_least, *row.at_most)
    level = "ABCDE".index(letter) + 1
    others = [code for code in row.codes if code.label != limit.label]
    reading = explain_codes(mapper, [*others, facs.Code(limit.au, "", level)], emotion=row.emotion)
    kept = level >= limit.intensity if row.at_least else level <= limit.intensity
    assert reading.probability == kept
    if not kept:
        assert names(reading.speaks_against) == {limit.label}


ONE_SIDED = [row for row in ROWS if row.values[0].one_sided]


@pytest.mark.parametrize("row", ONE_SIDED)
def test_one_sided_rows_take_either_side_and_not_both(row):
    mapper = RuleMapper([row])
    numbers = [code.au for code in row.codes]

    def chance(*sides, levels=(2, 2)):
        codes = [
            facs.Code(number, side, level)
            for number in numbers
            for side, level in zip(sides, levels, strict=False)
        ]
        return explain_codes(mapper, codes, emotion="contempt")

    for side in "LR":
        reading = chance(side)
        assert reading.probability == 1
        assert names(reading.speaks_for) == {f"{side}{number}" for number in numbers}
    assert chance("L", "R").probability == 0
    assert chance("").probability == 0  # coded without a side is both sides
    # A letter ahead of the other side is one-sided enough; half of one is half.
    assert chance("L", "R", levels=(3, 2)).probability == 1
    assert chance("L", "R", levels=(2, 5)).probability == 1


def test_contempt_of_the_manual_may_be_on_one_side_or_both():
    mapper = RuleMapper("facs_manual")
    for formula in ("14", "L14", "R14", "L14B+R14C"):
        assert explain_codes(mapper, formula).emotion == "contempt"


def test_fear_without_4_needs_the_strongest_5_and_with_4_it_does_not():
    mapper = RuleMapper("facs_manual")
    for letter in "ABCDE":
        with_4 = explain_codes(mapper, f"1+2+4+5{letter}", emotion="fear")
        without = explain_codes(mapper, f"1+2+5{letter}", emotion="fear")
        assert with_4.probability > 0.4  # 5A and 5B are surprise's as well
        assert without.probability == (letter == "E")


def test_sadness_has_its_exception():
    mapper = RuleMapper("facs_manual")
    for formula, sad in (("6+15", True), ("15", False), ("6", False), ("1+4", False), ("11", True)):
        assert (explain_codes(mapper, formula).emotion == "sadness") == sad
