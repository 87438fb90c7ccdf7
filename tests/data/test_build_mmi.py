"""MMI from deliveries written here: markers in XML, sides, views, stills, films on their side."""

import csv
from collections import Counter
from pathlib import Path

import cv2
import deliveries as d
import numpy as np
import pytest

from jaxfacs.data.builders import mmi, mmi_coding
from jaxfacs.errors import UserError
from jaxfacs.faces.prepare import FaceSteps

N, U = 0, -1  # neutral, unknown
Markers = list[tuple[int, int]]  # frame from 1, type


def oao(path: Path, *units: tuple[str, Markers]) -> Path:
    rows = ['<?xml version="1.0" encoding="UTF-8"?>', "<ActionUnitCoding>"]
    for number, markers in units:
        rows.append(f'  <ActionUnit Number="{number}">')
        rows += [f'    <Marker Frame="{frame}" Type="{kind}"/>' for frame, kind in markers]
        rows.append("  </ActionUnit>")
    return d.write_text(path, *rows, "</ActionUnitCoding>")


def session(folder: Path, *tracks: tuple[str, str | None], more: str = "") -> Path:
    rows = [
        f'<track filename="{name}"' + (f' view="{view}"' if view is not None else "") + "/>"
        for name, view in tracks
    ]
    return d.write_text(
        folder / "session.xml", '<session sessionId="1">', *rows, more, "</session>"
    )


def emotion(folder: Path, stem: str, value: str) -> None:
    tag = f'<Metatag Name="Emotion" Value="{value}"/>'
    d.write_text(folder / f"{stem}.xml", f'<Clip><Metatag Name="View" Value="0"/>{tag}</Clip>')


# A smile of 12 frames; a wink on the left, then a blink of both eyes coded by halves of frames.
UNITS = (
    ("12", [(1, 0), (3, 1), (5, 2), (8, 3), (11, 0)]),
    ("46L", [(4, 1), (6, 2), (7, 0)]),
    ("28B", [(2, 2), (9, 0)]),
    ("2", [(5, 1), (6, 9)]),
    ("D", [(1, 0)]),
)
PHASE = {
    "2": [0, 0, 0, 0, 1, U, U, U, U, U, U, U],
    "12": [0, 0, 1, 1, 2, 2, 2, 3, 3, 3, 0, 0],
    "28": [U, 2, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0],
    "46": [0, 0, 0, 1, 1, 2, 0, 0, 0, 0, 0, 0],
    "L46": [0, 0, 0, 1, 1, 2, 0, 0, 0, 0, 0, 0],
}
AUS = tuple(PHASE)


def write_delivery(source: Path) -> Path:
    """A coded film of 12 frames, one with another AU, one with an emotion alone."""
    top = source / "Sessions"
    oao(top / "501/S001-001-oao_aucs.xml", *UNITS)
    session(top / "501", ("S001-001.avi", "0"))
    emotion(top / "501", "S001-001", "4")
    d.write_film(top / "501/S001-001.avi", list(range(12)))
    oao(top / "502/S002-007-oao_aucs.xml", ("46", [(1, 0), (2, 2), (3, 0)]))
    session(top / "502", ("S002-007.avi", "0"))
    emotion(top / "502", "S002-007", "9")
    d.write_film(top / "502/S002-007.avi", [3, 4, 5])
    session(top / "503", ("S003-002.avi", "0"))
    emotion(top / "503", "S003-002", "6")
    d.write_film(top / "503/S003-002.avi", [7, 8])
    return source


def skipped(out: Path) -> list[dict[str, str]]:
    with open(out / "skipped.csv", newline="") as file:
        return list(csv.DictReader(file))


NO_SPLIT = ("--validation", "0", "--test", "0")


def table(opened, label_TA: np.ndarray) -> dict[str, list[int]]:
    return {au: label_TA[:, a].tolist() for a, au in enumerate(opened.aus)}


def test_every_phase_of_every_frame(tmp_path, capsys):
    source = write_delivery(tmp_path / "in")
    opened = d.build("mmi", source, tmp_path / "out", *NO_SPLIT)
    assert opened.aus == AUS
    found = d.clips(opened)
    assert set(found) == {"501/S001-001:1", "502/S002-007:1"}
    smile = found["501/S001-001:1"]
    assert table(opened, smile.phase_TA) == PHASE
    occurrence = {au: [min(p, 1) for p in row] for au, row in PHASE.items()}
    assert table(opened, smile.occurrence_TA) == occurrence
    assert (smile.intensity_TA == -1).all()  # nobody grades in MMI
    assert d.shown(smile) == [d.grey(n) for n in range(12)]
    assert (smile.subject, smile.emotion) == ("S001", mmi.EMOTIONS.index("happiness"))
    np.testing.assert_allclose(smile.timestamps_T, np.arange(12) / 25, atol=2e-3)
    wink = found["502/S002-007:1"]
    # an AU that the file does not list is absent; the side of a whole one is not known
    rest = {au: [0, 0, 0] for au in AUS}
    assert table(opened, wink.phase_TA) == {**rest, "46": [0, 2, 0], "L46": [0, U, 0]}
    assert table(opened, wink.occurrence_TA) == {**rest, "46": [0, 1, 0], "L46": [0, U, 0]}
    assert (wink.subject, wink.emotion) == ("S002", -1)
    assert [(r["path"], r["reason"]) for r in skipped(tmp_path / "out")] == [
        ("Sessions/503/S003-002.avi", "no AU with times, which --films all takes")
    ]
    told = capsys.readouterr().out
    assert "emotion 9, none of 1 to 6: unknown" in told
    assert "ActionUnit 'D', which FACS does not have" in told
    assert "marker of a type that is none of 0 to 3" in told
    assert "2 × person of a shot by its name" in told


def test_films_with_an_emotion_alone_and_those_on_their_side(tmp_path):
    source = write_delivery(tmp_path / "in")
    halves = np.zeros((48, 48, 3), np.uint8)
    halves[:, 24:] = 200  # bright on the right
    film = cv2.VideoWriter(
        str(source / "Sessions/503/S003-002.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (48, 48)
    )
    for _ in range(3):
        film.write(halves)
    film.release()

    def shown(out: str, *options: str) -> np.ndarray:
        opened = d.build("mmi", source, tmp_path / out, "--films", "all", *NO_SPLIT, *options)
        clip = d.clips(opened)["503/S003-002:1"]
        assert len(clip.frames) == 3 and mmi.EMOTIONS[clip.emotion] == "surprise"
        assert (clip.occurrence_TA == -1).all() and (clip.phase_TA == -1).all()
        picture = cv2.imdecode(np.frombuffer(clip.frames[0], np.uint8), cv2.IMREAD_GRAYSCALE)
        return (
            np.array(
                [
                    [picture[4:12, 4:12].mean(), picture[4:12, 20:28].mean()],
                    [picture[20:28, 4:12].mean(), picture[20:28, 20:28].mean()],
                ]
            )
            > 100
        )

    # a quarter clockwise brings the right side to the bottom
    assert shown("turned").tolist() == [[False, False], [True, True]]
    assert shown("straight", "--turned", "none").tolist() == [[False, True], [False, True]]


def test_as_bocklisch_counted(tmp_path):
    source = write_delivery(tmp_path / "in")
    options = ("--labels", "bocklisch", "--aus", "bocklisch", "--views", "all", *NO_SPLIT)
    opened = d.build("mmi", source, tmp_path / "all", *options)
    assert opened.aus == ("2", "12", "28", "46", "L46")
    smile = d.clips(opened)["501/S001-001:1"]
    # markers at 1 3 5 8 11, 4 6 7, 2 9, 5 6; nothing is known of frames 10 and 12
    assert table(opened, smile.occurrence_TA) == {
        "2": [0, 0, 0, 0, 1, 1, 0, 0, 0, U, 0, U],
        "12": [1, 0, 1, 0, 1, 0, 0, 1, 0, U, 1, U],
        "28": [0, 1, 0, 0, 0, 0, 0, 0, 1, U, 0, U],
        "46": [0, 0, 0, 1, 0, 1, 1, 0, 0, U, 0, U],
        "L46": [0, 0, 0, 1, 0, 1, 1, 0, 0, U, 0, U],
    }
    wink = d.clips(opened)["502/S002-007:1"]
    assert table(opened, wink.occurrence_TA)["46"] == [1, 1, 1]
    assert table(opened, wink.occurrence_TA)["L46"] == [U, U, U]
    kept = d.build("mmi", source, tmp_path / "markers", *options, "--frames-of", "markers")
    lengths = {k: len(clip.frames) for k, clip in d.clips(kept).items()}
    assert lengths == {"501/S001-001:1": 9, "501/S001-001:11": 1, "502/S002-007:1": 3}
    assert d.shown(d.clips(kept)["501/S001-001:11"]) == [d.grey(10)]
    assert len(mmi.BOCKLISCH) == len(set(mmi.BOCKLISCH)) == 34
    steps = FaceSteps.parse(("bocklisch",))
    assert (steps.mask, steps.size) == ("ellipse", 227)


def test_views_and_stills(tmp_path, capsys):
    top = tmp_path / "in" / "Sessions"
    for number, view in (("1", "0"), ("2", "1"), ("3", "2"), ("4", "7"), ("5", None)):
        name = f"S00{number}-001"
        session(top / number, (f"{name}.avi", view))
        oao(top / number / f"{name}-oao_aucs.xml", ("1", [(1, 2)]))
        d.write_film(top / number / f"{name}.avi", [int(number)])
    # stills of one person: named AUs are there, one that is only ever neutral is not
    session(top / "6", ("S006-001.jpg", "0"), ("S006-002.png", "0"), ("notes.txt", "0"))
    d.write_picture(top / "6/S006-001.jpg", 6)
    d.write_picture(top / "6/S006-002.png", 7)
    oao(top / "6/S006-001-aucs.xml", ("12R", []), ("46", []), ("25", [(1, 0)]))
    oao(top / "6/S006-002-oao_aucs.xml", ("46L", [(1, 2)]))
    emotion(top / "6", "S006-002", "2")

    def built(out: str, *options: str) -> dict:
        opened = d.build("mmi", tmp_path / "in", tmp_path / out, *NO_SPLIT, *options)
        return {k: (opened, clip) for k, clip in d.clips(opened).items()}

    assert set(built("frontal")) == {"1/S001-001:1"}
    assert "2 × of no known view; --views all takes it" in capsys.readouterr().out
    assert set(built("profile", "--views", "profile")) == {"2/S002-001:1"}
    assert set(built("dual", "--views", "dual")) == {"3/S003-001:1"}
    stills = {"Sessions/6/S006-001.jpg", "Sessions/6/S006-002.png"}
    everything = built("all", "--views", "all", "--media", "all")
    assert set(everything) == {f"{n}/S00{n}-001:1" for n in range(1, 6)} | stills
    found = built("stills", "--media", "stills")
    assert set(found) == stills
    opened, first = found["Sessions/6/S006-001.jpg"]
    assert opened.aus == ("12", "R12", "25", "46", "L46")
    assert first.occurrence_TA.tolist() == [[1, 1, 0, 1, U]]
    _, second = found["Sessions/6/S006-002.png"]
    assert second.occurrence_TA.tolist() == [[0, 0, 0, 1, 1]]
    assert (first.emotion, second.emotion) == (-1, mmi.EMOTIONS.index("disgust"))
    assert (first.subject, d.shown(second)) == ("S006", [d.grey(7)])


def test_who_is_shown(tmp_path):
    top = tmp_path / "Sessions"
    for number in range(1, 13):
        session(top / f"{number}", ("a.avi", "0"), more=f'<subject id="{number % 12}"/>')
        oao(top / f"{number}/a-oao_aucs.xml", ("1", [(1, 2)]))
        d.write_film(top / f"{number}/a.avi", [number])
    session(top / "1", ("a.avi", "0"))
    tag = '<Metatag Name="Subject" Value="M7"/>'
    d.write_text(top / "1/a.xml", f"<Clip>{tag}</Clip>")

    def splits(**options) -> dict[str, str | None]:
        return {r.subject: r.split for r in mmi.read(tmp_path, mmi.Options(**options)).recordings}

    people = sorted({"M7", *map(str, range(2, 12)), "0"})
    assert splits() == dict.fromkeys(people, None)
    tested = {s for s, split in splits(protocol="fold2").items() if split == "test"}
    assert tested == {people[1], people[11]}
    assert [s for s, split in splits(test_subject="M7").items() if split == "test"] == ["M7"]


def test_films_shorter_than_their_labels(tmp_path):
    source = write_delivery(tmp_path / "in")
    d.write_film(source / "Sessions/501/S001-001.avi", list(range(9)))
    opened = d.build("mmi", source, tmp_path / "out", *NO_SPLIT)
    clip = d.clips(opened)["501/S001-001:1"]
    assert table(opened, clip.phase_TA) == {au: row[:9] for au, row in PHASE.items()}
    rows = [(r["path"], r["frame"]) for r in skipped(tmp_path / "out") if "film" in r["reason"]]
    assert ("Sessions/501/S001-001.avi", "10") in rows  # the last marker is at 11
    assert ("Sessions/501/S001-001.avi", "11") in rows


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        # before an onset an AU is neutral, before an apex nobody knows
        ([("4", [(3, 1)])], ([0, 0, 1, 1, 1], [0, 0, 1, 1, 1])),
        ([("4", [(3, 2)])], ([U, U, 1, 1, 1], [U, U, 2, 2, 2])),
        ([("4", [])], ([U] * 5, [U] * 5)),
        # two spells of one AU, and two sides that do different things
        ([("4", [(1, 0), (2, 2), (3, 0)]), ("4", [(1, 0), (4, 2)])],
         ([0, 1, 0, 1, 1], [0, 2, 0, 2, 2])),
        ([("4L", [(1, 1), (4, 2)]), ("R4", [(1, 3), (3, 0)])],
         ([1, 1, 1, 1, 1], [U, U, 1, 2, 2])),
        # 17 has no sides: the whole is meant
        ([("17", [(1, 2)])], ([0] * 5, [0] * 5)),
    ],
)  # fmt: skip
def test_the_whole_is_what_its_parts_do(tmp_path, units, expected):
    actions = mmi_coding.actions_of(oao(tmp_path / "x-oao_aucs.xml", *units), Counter())
    occurrence_T, phase_T = mmi_coding.timed(actions, "4", 5)
    assert (occurrence_T.tolist(), phase_T.tolist()) == expected


def test_numbers_of_action_units(tmp_path):
    names = ("AU 12", "L 10", "r10", "17L", "28T", "006", "99", "", "12C", "1" * 5000)
    notes: Counter = Counter()
    path = oao(tmp_path / "x-oao_aucs.xml", *((name, []) for name in names))
    found = [f"{a.side}{a.au}" for a in mmi_coding.actions_of(path, notes)]
    assert found == ["12", "L10", "R10", "17", "28", "6"]
    assert sum(notes.values()) == 4


BOMB = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><x>&b;</x>'
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "line 1: a DOCTYPE; remove it"),
        ('<!DOCTYPE x SYSTEM "secret"><x/>', "line 1: a DOCTYPE; remove it"),
        ("<x>\n<y></x>", "line 2: mismatched tag"),
        ("", "no element found"),
        ("<x>&nothing;</x>", "undefined entity"),
        ('<x><ActionUnit Number="1">\n<Marker Frame="1"/></ActionUnit></x>',
         "line 2: a marker needs a Frame and a Type"),
        ('<x><Marker Frame="1" Type="0"/></x>', "line 1: frame 1 of no AU"),
        ('<x><ActionUnit Number="1"><Marker Frame="0" Type="0"/></ActionUnit></x>', "frame 0 of"),
        ('<x><ActionUnit Number="1"><Marker Frame="200000" Type="0"/></ActionUnit></x>',
         "frame 200000 of"),
        ('<x><ActionUnit Number="1"><Marker Frame="90" Type="0"/></ActionUnit></x>',
         "a marker at frame 90, and S001-001.avi has 12 frames"),
        ('<x><ActionUnit Number="1"><Marker Frame="2" Type="0"/>\n<Marker Frame="2" Type="1"/>'
         "</ActionUnit></x>", "line 2: two markers at frame 2 contradict"),
    ],
)  # fmt: skip
def test_a_damaged_session_is_left_out_and_listed(tmp_path, capsys, text, message):
    source = write_delivery(tmp_path / "in")
    path = source / "Sessions/501/S001-001-oao_aucs.xml"
    path.write_text(text)
    opened = d.build("mmi", source, tmp_path / "out", *NO_SPLIT)
    assert set(d.clips(opened)) == {"502/S002-007:1"}
    row = next(r for r in skipped(tmp_path / "out") if r["path"] == "Sessions/501")
    assert str(path) in row["reason"] and message in row["reason"]
    for name in ("502", "503"):  # and where nothing else is there, it is told at once
        for file in (source / "Sessions" / name).iterdir():
            file.unlink()
    told = d.refused(capsys, "mmi", source, tmp_path / "other")
    assert str(path) in told and message in told


def test_files_beyond_all_bounds_are_not_parsed(tmp_path):
    path = tmp_path / "big.xml"
    with open(path, "wb") as file:
        file.truncate(mmi_coding.XML_BYTES + 1)
    with pytest.raises(UserError, match="is larger than 4 MiB: no label file"):
        mmi_coding.elements(path)


def test_what_is_not_whole_is_refused(tmp_path, capsys):
    (tmp_path / "ck" / "FACS").mkdir(parents=True)
    told = d.refused(capsys, "mmi", tmp_path / "ck", tmp_path / "out")
    assert "is not MMI as delivered" in told
    source = write_delivery(tmp_path / "in")
    told = d.refused(capsys, "mmi", source, tmp_path / "out", "--views", "dual")
    assert "no labelled films of view dual" in told
    # a film outside of the delivery
    for name in ("502", "503"):
        (source / "Sessions" / name / "session.xml").unlink()
    path = session(source / "Sessions/501", ("../../../S001-001.avi", "0"))
    told = d.refused(capsys, "mmi", source, tmp_path / "out")
    assert f"{path}, line 2" in told and "leads out of the folder" in told
    # the same session in two pages of the download
    for page in ("page1", "page2"):
        session(source / page / "Sessions/501", ("S001-001.avi", "0"))
    told = d.refused(capsys, "mmi", source, tmp_path / "out")
    assert "session 501 is in" in told and "remove one" in told


def test_missing_files_of_a_session_are_listed(tmp_path):
    source = write_delivery(tmp_path / "in")
    folder = source / "Sessions/501"
    (folder / "S001-001-oao_aucs.xml").unlink()
    annotation = '<annotation filename="S001-001-oao_aucs.xml"/>'
    session(folder, ("S001-001.avi", "0"), more=annotation)
    oao(source / "Sessions/504/S004-001-oao_aucs.xml", ("1", [(1, 2)]))
    d.build("mmi", source, tmp_path / "out", *NO_SPLIT)
    rows = {(r["path"], r["reason"].split(",")[0]) for r in skipped(tmp_path / "out")}
    assert ("Sessions/504/session.xml", "missing") in rows
    assert ("Sessions/501/S001-001-oao_aucs.xml", "missing") in rows
    assert ("Sessions/501/S001-001.avi", "no AU with times") in rows


def test_the_builder_says_how_faces_are_found():
    assert FaceSteps.parse(mmi.BUILDER.faces).detection == "haar"
