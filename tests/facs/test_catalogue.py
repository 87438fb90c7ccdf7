"""Catalogue, dataset lists and emotion tables agree with each other and with their sources."""

import subprocess
import sys

import pytest

from jaxfacs import facs
from jaxfacs.facs import ACTION_UNITS, DATASET_AUS, EMOTION_SETS, PROTOTYPES, emotions


def test_catalogue_has_the_codes_and_the_gaps_of_facs():
    main = set(range(1, 29)) - {3}
    assert main <= set(ACTION_UNITS)
    assert set(range(30, 40)) <= set(ACTION_UNITS)
    assert set(range(41, 47)) <= set(ACTION_UNITS)
    assert {*range(51, 67), 68, 69} <= set(ACTION_UNITS)
    assert not {0, 3, 47, 48, 49, 67, 99} & set(ACTION_UNITS)


def test_every_unit_is_whole():
    for number, unit in ACTION_UNITS.items():
        assert unit.number == number and unit.name and unit.region in facs.REGIONS
        if unit.mirror is not None:
            assert ACTION_UNITS[unit.mirror].mirror == number
        assert not (unit.sided and unit.region not in ("upper", "lower"))
    named = {n for n, unit in ACTION_UNITS.items() if unit.muscles}
    assert {*range(1, 29)} - {3, 19} <= named
    assert {n for n, u in ACTION_UNITS.items() if u.descriptor} == {19, 29, 30, *range(32, 38)}
    assert [ACTION_UNITS[n].region for n in (1, 7, 9, 12, 51, 61)] == (
        ["upper", "upper", "lower", "lower", "head", "eyes"]
    )


@pytest.mark.parametrize(
    ("intensity", "letter"), [(0, ""), (0.99, ""), (1, "A"), (2.9, "B"), (3, "C"), (5, "E")]
)
def test_intensity_letters(intensity, letter):
    assert facs.intensity_letter(intensity) == letter


def test_intensity_outside_the_scale_is_refused():
    for intensity in (-1, 5.1, float("nan")):
        with pytest.raises(ValueError, match="outside"):
            facs.intensity_letter(intensity)


@pytest.mark.parametrize("name", sorted(DATASET_AUS))
def test_dataset_lists_are_labels_once_each(name):
    labels = DATASET_AUS[name]
    assert len(set(labels)) == len(labels)
    known = [label for label in labels if facs.split_label(label)[1] in ACTION_UNITS]
    assert [facs.parse_label(label) for label in known] == known
    assert name == "emotionet_60" or known == list(labels)


def test_dataset_lists_have_the_published_sizes():
    sizes = {"bp4d": 12, "eb_plus": 27, "disfa": 12, "disfa_8": 8, "bp4d_plus": 34, "pyfeat": 20}
    sizes |= {f"emotionet_{n}": n for n in (60, 23, 12, 11)}
    sizes |= {"opengraphau": 41, "opengraphau_27": 27, "openface": 17, "openface_occurrence": 18}
    assert {name: len(DATASET_AUS[name]) for name in sizes} == sizes


def test_emotion_sets_use_canonical_names():
    for name, members in EMOTION_SETS.items():
        assert len(set(members)) == len(members), name
        assert tuple(map(emotions.canonical, members)) == members
    assert emotions.canonical(" Happy ") == "happiness"
    assert emotions.canonical("Happily_Surprised") == "happily surprised"


@pytest.mark.parametrize("name", sorted(PROTOTYPES))
def test_prototype_tables_are_whole(name):
    table = PROTOTYPES[name]
    assert table.source
    for row in table.rows:
        assert row.codes or row.emotion == "neutral"
        assert emotions.canonical(row.emotion) == row.emotion
        core = {code.label for code in row.codes}
        assert not core & set(row.shares)
        assert all(0 < share < 1 and facs.parse_label(au) for au, share in row.shares.items())
        assert not row.one_sided or any(code.side for code in row.codes)


def test_tables_say_what_their_sources_say():
    def formulas(table, emotion):
        return [facs.format(r.codes) for r in PROTOTYPES[table].rows if r.emotion == emotion]

    assert formulas("facs_manual", "sadness") == ["1+4+15", "11", "6+15"]
    assert formulas("masur", "disgust") == ["9+15+17"]
    assert formulas("bartissol", "sadness") == ["1+4+14"]
    assert formulas("emfacs", "contempt") == ["R12A+R14A"]
    assert PROTOTYPES["du2014"].emotions == EMOTION_SETS["du2014"]
    assert len(PROTOTYPES["tlili_compound"].rows) == 23
    awed = PROTOTYPES["du2014"].rows[-1]
    assert (awed.emotion, dict(awed.shares)) == ("awed", {"4": 0.21, "20": 0.62, "26": 0.56})
    table = emotions.TLILI_COOCCURRENCE
    assert tuple(table.percent) == DATASET_AUS["eb_plus"]
    assert {len(row) for row in table.percent.values()} == {len(table.emotions)}
    assert table.percent["12"][table.emotions.index("anger")] == 59.33


def test_importing_facs_loads_only_the_standard_library():
    script = (
        "import sys, jaxfacs.facs; heavy = {'numpy', 'jax', 'cv2', 'scipy'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
