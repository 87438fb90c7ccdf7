"""FERA 2015: BP4D's files with odd and even people, and SEMAINE's ELAN files read with care."""

from pathlib import Path

import deliveries
import numpy as np
import pytest
from binghamton import left_out, long_form, pictures

from jaxfacs import facs
from jaxfacs.data.builders import bp4d, fera2015
from jaxfacs.errors import UserError
from jaxfacs.faces.steps import FaceSteps

SEMAINE = ("--part", "semaine")


@pytest.fixture
def bp4d_part(tmp_path) -> Path:
    """F001 trains, F002 is of the development set; label files lie in AUCoding itself."""
    root = tmp_path / "FERA_2015" / "BP4D"
    long_form(root / "AUCoding" / "F001_T1.csv", {5: {1: 1}, 6: {1: 9, 23: 1}, 7: {99: 1}})
    long_form(root / "AUCoding" / "F002_T3.csv", {1: {17: 1}})
    graded = root / "AU Intensity Codes3.0" / "AU06" / "F001_T1_AU06.csv"
    deliveries.write_text(graded, "5,2", "6,9", "7,1")
    pictures(root / "BP4D-training" / "F001" / "T1", [5, 6, 7], 4)
    pictures(root / "BP4D" / "BP4D-training" / "F002" / "T3", [1], 3)
    return root.parent


def test_every_label_of_the_bp4d_part(bp4d_part, tmp_path, capsys):
    opened = deliveries.build("fera2015", bp4d_part, tmp_path / "out")
    assert opened.aus == facs.DATASET_AUS["fera2015_bp4d"] and opened.people == "bp4d"
    assert opened.subjects == {"train": ("F001",), "validation": ("F002",)}
    train = deliveries.clips(opened, "train")["F001/T1:5"]
    assert deliveries.shown(train) == [deliveries.grey(n) for n in (5, 6, 7)]
    expected = {"1": [1, -1, -1], "23": [0, 1, -1]}
    for au in opened.aus:
        assert deliveries.labels(opened, train, au) == expected.get(au, [0, 0, -1])
        assert deliveries.grades(opened, train, au) == ([2, -1, 1] if au == "6" else [-1] * 3)
    validation = deliveries.clips(opened, "validation")["F002/T3:1"]
    for au in opened.aus:
        assert deliveries.labels(opened, validation, au) == [int(au == "17")]
    assert left_out(opened) == []
    told = capsys.readouterr().out
    assert "frames/train 3 (-75583), AU1/train 1 (-17580)" in told
    assert "frames/validation 1 (-71260)" in told and "AU24/" not in told


def test_published_counts_are_bp4ds():
    (odd, odd_A), (even, even_A) = fera2015.COUNTS["train"], fera2015.COUNTS["validation"]
    frames, positives = zip(*bp4d.PART_COUNTS.values(), strict=True)
    assert odd + even == sum(frames)
    assert (np.add(odd_A, even_A) == np.sum(positives, 0)).all()


def test_aus_and_protocols_of_the_bp4d_part(bp4d_part):
    options = fera2015.Options(aus="intensity", protocol="subjects")
    delivery = fera2015.read(bp4d_part, options)
    assert delivery.aus == ("6", "10", "12", "14", "17")
    assert [r.split for r in delivery.recordings] == [None, None]
    odd = {s for s, split in bp4d.odd_even(bp4d.PEOPLE).items() if split == "train"}
    women, men = range(1, 24, 2), range(1, 18, 2)
    assert odd == {*(f"F{n:03d}" for n in women), *(f"M{n:03d}" for n in men)} and len(odd) == 21


def test_people_of_another_set(bp4d_part, tmp_path, capsys):
    long_form(bp4d_part / "BP4D" / "AUCoding" / "M044_T1.csv", {5: {1: 1}})
    told = deliveries.refused(capsys, "fera2015", bp4d_part, tmp_path / "out")
    assert "holds M044, who is none of the 41 people of FERA 2015" in told


# SEMAINE


def eaf(
    path: Path,
    stretches: dict[str, list[tuple[int | None, int | None]]],
    *,
    until: int = 400,
    head: str = '<?xml version="1.0" encoding="UTF-8"?>',
) -> Path:
    """An ELAN file: tier -> (begin, end) in ms of each stretch, and a last time slot."""
    times = [t for pairs in stretches.values() for pair in pairs for t in pair] + [until]
    slots = [
        f'<TIME_SLOT TIME_SLOT_ID="ts{i}"' + (f' TIME_VALUE="{t}"/>' if t is not None else "/>")
        for i, t in enumerate(times)
    ]
    tiers, place = [], 0
    for name, pairs in stretches.items():
        tiers.append(f'<TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="{name}">')
        for _ in pairs:
            tiers.append(
                f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{place}" TIME_SLOT_REF1='
                f'"ts{place}" TIME_SLOT_REF2="ts{place + 1}"><ANNOTATION_VALUE>on'
                "</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>"
            )
            place += 2
        tiers.append("</TIER>")
    document = "<ANNOTATION_DOCUMENT><TIME_ORDER>", *slots, "</TIME_ORDER>", *tiers
    return deliveries.write_text(path, head, *document, "</ANNOTATION_DOCUMENT>")


NOTHING: dict = {f"AU{au}": [] for au in fera2015.SEMAINE_AUS}


@pytest.fixture
def semaine(tmp_path) -> Path:
    """Sessions 1 and 12 (training), 13 (development), 9 (faulty), 2 (not listed)."""
    root = tmp_path / "FERA_2015" / "Semaine" / "SEMAINE-Sessions"
    # 20 ms a frame: AU 12 from frame 2 to 4 and from 7 on, AU 25 up to frame 3, AU 1 not asked.
    tiers = {
        "Speech": [(0, 380)],
        "AU1": [(0, 380)],
        "AU1 Intensity": [(0, 380)],
        **NOTHING,
        "AU12": [(59, 99), (140, 900)],
        "AU12 Intensity": [(0, 380)],
        "AU25": [(0, 60)],
    }
    eaf(root / "rec1" / "2008.12.05_User Frontal.eaf", tiers, until=900)
    deliveries.write_film(
        root / "rec1" / "2008_User Frontal_C_Obadiah.avi", list(range(12)), fps=50
    )
    deliveries.write_film(root / "rec1" / "2008_Operator Frontal.avi", [0])
    deliveries.write_text(root / "rec1.txt", "1 9")
    # The annotation ends at frame 4 (80 ms), the range at 7; there is no tier of AU 45.
    some = {name: [] for name in NOTHING if name != "AU45"}
    eaf(root / "rec12" / "x.eaf", {**some, "AU2": [(20, 40)]}, until=80)
    deliveries.write_film(root / "rec12" / "x.avi", list(range(6)), fps=50)
    deliveries.write_text(root / "rec12.txt", "0 7")
    eaf(root / "rec13" / "y.eaf", {**NOTHING, "AU45": [(0, 0)]}, until=40)
    deliveries.write_film(root / "rec13" / "y.avi", [5, 6, 7], fps=50)
    for number in (2, 9):
        eaf(root / f"rec{number}" / "z.eaf", NOTHING)
    return root.parent.parent


def test_every_label_of_the_semaine_part(semaine, tmp_path, capsys):
    opened = deliveries.build("fera2015", semaine, tmp_path / "out", *SEMAINE)
    assert opened.aus == ("2", "12", "17", "25", "28", "45")
    assert opened.subjects["train"] == opened.subjects["validation"]  # nobody known
    train = deliveries.clips(opened, "train")
    validation = deliveries.clips(opened, "validation")
    assert set(train) == {"rec1:1", "rec12:0"} and set(validation) == {"rec13:0"}
    grey = deliveries.grey
    first = train["rec1:1"]
    assert first.subject == ""
    assert deliveries.shown(first) == [grey(n) for n in range(1, 9)]
    np.testing.assert_allclose(first.timestamps_T, np.arange(1, 9) / 50, atol=1e-3)
    expected = {"12": [0, 1, 1, 1, 0, 0, 1, 1], "25": [1, 1, 1, 0, 0, 0, 0, 0]}
    for au in opened.aus:
        assert deliveries.labels(opened, first, au) == expected.get(au, [0] * 8), au
        assert deliveries.grades(opened, first, au) == [-1] * 8
    short = train["rec12:0"]
    assert deliveries.shown(short) == [grey(n) for n in range(6)]
    expected = {"2": [0, 1, 1, 0, 0, -1], "45": [-1] * 6}
    for au in opened.aus:
        assert deliveries.labels(opened, short, au) == expected.get(au, [0] * 5 + [-1]), au
    blink = validation["rec13:0"]  # no rec13.txt: all that is annotated
    assert deliveries.shown(blink) == [grey(5), grey(6), grey(7)]
    for au in opened.aus:
        assert deliveries.labels(opened, blink, au) == ([1, 0, 0] if au == "45" else [0] * 3)
    assert left_out(opened) == [
        ("rec12/x.avi", "6", "not in film"),
        ("rec2", "", "session of neither set, without public labels"),
        ("rec9", "", "session left out; --faulty keeps it"),
    ]
    told = capsys.readouterr().out
    assert "rec12: the annotation ends at frame 5, the range at 7" in told
    assert "rec12: no tier for AU45, taken for not coded" in told


def test_faulty_sessions_and_dealing_out(semaine):
    options = fera2015.Options(part="semaine", faulty=True, protocol="subjects")
    delivery = fera2015.read(semaine, options)
    assert [r.name for r in delivery.recordings] == ["rec1", "rec9", "rec12", "rec13"]
    assert {r.split for r in delivery.recordings} == {None}


def test_sessions_are_in_one_set_each():
    train, validation = fera2015.SESSIONS["train"], fera2015.SESSIONS["validation"]
    assert (len(train), len(validation)) == (16, 15)
    assert len({*train, *validation}) == 31 and {*fera2015.FAULTY} < {*train, *validation}


BOMB = '<!DOCTYPE d [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE d SYSTEM "http://127.0.0.1:9/x.dtd">'
ENTITY = '<!DOCTYPE d [<!ENTITY a SYSTEM "secret">]>'


@pytest.mark.parametrize("head", [BOMB, OUTSIDE, ENTITY])
def test_xml_that_defines_types_is_refused(tmp_path, head):
    path = eaf(tmp_path / "x.eaf", {"AU2": [(0, 20)]}, head=head)
    with pytest.raises(UserError, match=r"x.eaf, line 1: a document type, which ELAN never writes"):
        fera2015.elan(path)


def test_xml_that_is_too_large(tmp_path, monkeypatch):
    path = eaf(tmp_path / "x.eaf", {"AU2": [(0, 20)]})
    monkeypatch.setattr(fera2015, "MAX_XML_BYTES", 100)
    with pytest.raises(UserError, match="no session's file"):
        fera2015.elan(path)


@pytest.mark.parametrize(
    ("stretches", "message"),
    [
        ({"AU2": [(None, 20)]}, "AU2 refers to ts0, whose time is not set"),
        ({"AU2": [(60, 20)]}, "a stretch of AU2 ends before it begins"),
        ({"Speech": [(0, 20)]}, "no times, or none of the tiers AU2 AU12"),
        ({"AU2": [("x", 20)]}, r"line 3: no ELAN file \(invalid literal"),
        ({"AU2": [], "AU02": []}, "two tiers are for AU 2"),
    ],
)
def test_elan_files_that_make_no_sense(semaine, stretches, message):
    path = eaf(semaine / "Semaine/SEMAINE-Sessions/rec12/x.eaf", stretches)
    with pytest.raises(UserError, match=message):
        fera2015.occurrence(fera2015.elan(path), 0, 4)
    delivery = fera2015.read(semaine, fera2015.Options(part="semaine"))
    assert [r.name for r in delivery.recordings] == ["rec1", "rec13"]
    (row,) = (row for row in delivery.left_out if row.file)
    assert row.file == "rec12/x.eaf" and row.reason.startswith("unreadable labels: ")


def test_a_cut_file_is_named_with_its_line(semaine):
    path = semaine / "Semaine/SEMAINE-Sessions/rec12/x.eaf"
    path.write_text(path.read_text()[:200])
    delivery = fera2015.read(semaine, fera2015.Options(part="semaine"))
    (row,) = (row for row in delivery.left_out if row.file)
    assert row.line and "no ELAN file" in row.reason


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1", "expected two numbers"),
        ("a b", "expected two numbers"),
        ("7 7", "the coded range 7 to 7 is none"),
        ("0 99999999", "the coded range 0 to 99999999 is none"),
        ("500 600", "the range begins at 500, the annotation ends at 5"),
    ],
)
def test_ranges_that_are_none(semaine, text, message):
    deliveries.write_text(semaine / "Semaine/SEMAINE-Sessions/rec12.txt", text)
    delivery = fera2015.read(semaine, fera2015.Options(part="semaine"))
    (row,) = (row for row in delivery.left_out if row.file)
    assert (row.file, row.line) == ("rec12.txt", 1) and message in row.reason


def test_two_films_of_one_session(semaine, tmp_path, capsys):
    deliveries.write_film(semaine / "Semaine/SEMAINE-Sessions/rec13/other.avi", [0])
    told = deliveries.refused(capsys, "fera2015", semaine, tmp_path / "out", *SEMAINE)
    assert "rec13 holds other.avi and y.avi; leave the one that was coded" in told


def test_no_session_that_can_be_used(tmp_path, capsys):
    deliveries.write_text(tmp_path / "x" / "rec1" / "a.eaf", "no XML")
    told = deliveries.refused(capsys, "fera2015", tmp_path / "x", tmp_path / "out", *SEMAINE)
    assert "no session of" in told and "line 1: no ELAN file" in told


@pytest.mark.parametrize("part", ["bp4d", "semaine"])
def test_another_set_is_refused(tmp_path, capsys, part):
    (tmp_path / "x" / "Emotion").mkdir(parents=True)
    told = deliveries.refused(capsys, "fera2015", tmp_path / "x", tmp_path / "out", "--part", part)
    assert f"part of FERA 2015 (--part {part}) as delivered" in told


def test_default_faces_are_understood():
    assert FaceSteps.parse(fera2015.BUILDER.faces).detection == "haar"
