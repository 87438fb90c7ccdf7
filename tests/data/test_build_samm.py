"""SAMM: a header in row 14, sides and grades, doubtful AUs, phases, known bad cells, long films."""

import json
from pathlib import Path

import deliveries
import numpy as np
import pytest
from deliveries import grey

from jaxfacs.data.builders import samm
from jaxfacs.faces.prepare import FaceSteps

HEADER = [
    "Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame",
    "Duration", "Micro", "Action Units", "Estimated Emotion", "Objective Classes", "Notes",
]  # fmt: skip
# (subject, clip, onset, apex, offset, AUs, emotion, class); the sheet has numbers for some people.
ROWS = [
    (6, "006_1_2", 101, 103, 105, "4+L12C", "Happiness", 1),
    ("007", "007_3_1", 1, 2, 3, "R12 or R15", "Other", 7),
    ("007", "007_3_2", 20, 0, 22, "", "Anger", ""),
    (11, "011_1_1", 5, 5, 6, "R14A + 4?", "Contempt", 2),
]


def sheet(rows: list[tuple]) -> list[list]:
    above = [[f"note {n}"] for n in range(13)]
    of = [
        [s, c, 3, on, apex, off, 9, "Micro", aus, e, k, ""]
        for s, c, on, apex, off, aus, e, k in rows
    ]
    return [*above, HEADER, *of, ["", "", "159 in all"]]


def write(folder: Path, rows: list[tuple] = ROWS, book: str = "SAMM_Micro_FACS_Codes_v2") -> Path:
    deliveries.write_sheets(folder / f"{book}.xlsx", {"MICRO_ONLY": sheet(rows), "other": [["x"]]})
    for _, clip, onset, _, offset, *_ in rows:
        subject = clip.split("_")[0]
        padding = 5 if subject == "006" else 4  # of the numbers: it differs between people
        for number in range(onset, offset + 1):
            name = f"{subject}_{number:0{padding}d}.jpg"
            deliveries.write_picture(folder / "SAMM" / subject / clip / name, number)
    return folder


@pytest.fixture
def source(tmp_path) -> Path:
    return write(tmp_path / "source")


def table(opened, clip) -> dict[str, tuple]:
    """AU -> occurrence, intensity and phase of each frame."""
    return {
        au: (
            deliveries.labels(opened, clip, au),
            deliveries.grades(opened, clip, au),
            clip.phase_TA[:, opened.aus.index(au)].tolist(),
        )
        for au in opened.aus
    }


def notes(out: Path) -> list[str]:
    return json.loads((out / "labels.json").read_text())["notes"]


def test_every_label_of_every_clip(source, tmp_path):
    opened = deliveries.build("samm", source, tmp_path / "out", "--protocol", "all")
    clips = deliveries.clips(opened)
    assert opened.aus == ("4", "12", "L12", "R12", "14", "R14", "15", "R15")
    assert sorted(clips) == ["006_1_2:101", "007_3_1:1", "007_3_2:20", "011_1_1:5"]

    clip = clips["006_1_2:101"]
    assert clip.subject == "006" and opened.emotions[clip.emotion] == "happiness"
    assert deliveries.shown(clip) == [grey(n) for n in range(101, 106)]
    np.testing.assert_allclose(clip.timestamps_T, np.arange(5) / 200)
    absent = ([0] * 5, [0] * 5, [0] * 5)
    moves = [1, 1, 2, 3, 3]
    assert table(opened, clip) == {
        "4": ([1] * 5, [-1] * 5, moves),
        "12": ([1] * 5, [-1, -1, 3, -1, -1], moves),
        "L12": ([1] * 5, [-1, -1, 3, -1, -1], moves),
        **dict.fromkeys(("R12", "14", "R14", "15", "R15"), absent),
    }
    assert clip.attributes_TK.tolist() == [[1, 1]] * 5

    clip = clips["007_3_1:1"]
    assert opened.emotions[clip.emotion] == "other"
    unknown, absent = ([-1] * 3, [-1] * 3, [-1] * 3), ([0] * 3, [0] * 3, [0] * 3)
    assert table(opened, clip) == {
        **dict.fromkeys(("12", "R12", "15", "R15"), unknown),
        **dict.fromkeys(("4", "L12", "14", "R14"), absent),
    }
    clip = clips["007_3_2:20"]  # nothing is said of AUs, and the apex is none
    assert table(opened, clip) == dict.fromkeys(opened.aus, unknown)
    assert np.isnan(clip.attributes_TK[:, 1]).all()

    clip = clips["011_1_1:5"]
    assert table(opened, clip) == {
        "4": ([-1] * 2, [-1] * 2, [-1] * 2),
        "14": ([1, 1], [1, -1], [2, 3]),
        "R14": ([1, 1], [1, -1], [2, 3]),
        **dict.fromkeys(("12", "L12", "R12", "15", "R15"), ([0] * 2, [0] * 2, [0] * 2)),
    }
    told = notes(tmp_path / "out")
    assert "007_3_2: apex 0 is outside of 20 to 22, taken for unknown" in told
    assert "the sheet has 4 rows, not 159: no cell was mended" in told


def test_megc_has_three_classes_and_leaves_others_out(source, tmp_path):
    words = ("--emotions", "megc2019", "--protocol", "all")
    opened = deliveries.build("samm", source, tmp_path / "out", *words)
    told = {key: opened.emotions[c.emotion] for key, c in deliveries.clips(opened).items()}
    assert told == {"006_1_2:101": "positive", "007_3_2:20": "negative", "011_1_1:5": "negative"}


def test_frames_around_show_the_same_aus_absent(source, tmp_path):
    for number in (99, 100, 106, 107, 108):
        deliveries.write_picture(source / f"SAMM/006/006_1_2/006_{number:05d}.jpg", number)
    words = ("--around", "2", "--test-subject", "006")
    opened = deliveries.build("samm", source, tmp_path / "out", *words)
    clips = deliveries.clips(opened, "test")
    assert sorted(clips) == ["006_1_2:101", "006_1_2:106", "006_1_2:99"]
    before = clips["006_1_2:99"]
    assert before.emotion == -1 and deliveries.shown(before) == [grey(99), grey(100)]
    assert table(opened, before)["4"] == ([0, 0], [0, 0], [0, 0])
    assert table(opened, before)["R12"] == ([-1, -1], [-1, -1], [-1, -1])
    others = {c.subject for c in deliveries.clips(opened).values()} - {"006"}
    assert others == {"007", "011"}


def test_missing_and_bad_pictures_and_rows_are_listed(source, tmp_path):
    deliveries.write_sheets(
        source / "SAMM_Micro_FACS_Codes_v2.xlsx",
        {"s": sheet([*ROWS, ("007", "007_9_9", 9, 8, 7, "4", "Fear", 5)])},
    )
    (source / "SAMM/006/006_1_2/006_00102.jpg").unlink()
    (source / "SAMM/007/007_3_1/007_0003.jpg").write_bytes(b"\xff\xd8\xff")
    clips = deliveries.clips(
        deliveries.build("samm", source, tmp_path / "out", "--protocol", "all")
    )
    assert deliveries.shown(clips["006_1_2:103"]) == [grey(n) for n in (103, 104, 105)]
    book = "SAMM_Micro_FACS_Codes_v2.xlsx"
    assert sorted((tmp_path / "out/skipped.csv").read_text().splitlines()[1:]) == [
        f"{book},15,SAMM/006/006_1_2/102.jpg,102,missing",
        f"{book},16,SAMM/007/007_3_1/007_0003.jpg,3,unreadable",
        f'{book},19,007/007_9_9,,"unreadable labels: onset 9, offset 7"',
    ]


def test_known_bad_cells_are_mended_and_told(tmp_path):
    aus = {15: "R12 or R15", 18: "R12 or R15", 41: "L14 or R14", 64: "R14 or R15", 154: "?"}
    rows = [
        (f"{20 + r % 9:03d}", f"{20 + r % 9:03d}_{r}_1", 5700, "" if r in (125, 132) else 5710,
         5720 if r == 56 else 5715, aus.get(r, "4"), "Anger", 1)
        for r in range(159)
    ]  # fmt: skip
    folder = tmp_path / "source"
    deliveries.write_sheets(folder / "SAMM_Micro_FACS_Codes_v2.xlsx", {"s": sheet(rows)})
    (folder / "SAMM").mkdir()
    mended = samm.read(folder, samm.Options())
    of = {r.name: r for r in mended.recordings}

    def present(row: int) -> set[str]:
        recording = of[rows[row][1]]
        return {au for au, v in zip(mended.aus, recording.occurrence_TA[0], strict=True) if v == 1}

    assert present(15) == present(18) == {"12", "R12", "15", "R15"}
    assert present(41) == {"14", "L14"} and present(64) == present(154) == {"14", "R14"}
    assert present(16) == {"4"}
    assert len(of[rows[56][1]].frames) == 5739 - 5700 + 1
    # 4945 is outside of these onsets and offsets: it would not be taken for an apex.
    apexes = {r: int((of[rows[r][1]].phase_TA == 2).any()) for r in (125, 132, 133)}
    assert apexes == {125: 0, 132: 0, 133: 1}
    assert "mended, after tvaranka/meb: line 30, Action Units 'R12 or R15' -> 'R12 + R15'" in (
        mended.notes
    )
    assert sum("mended" in note for note in mended.notes) == 8

    kept = samm.read(folder, samm.Options(repair=False))
    assert not any("mended" in note for note in kept.notes)
    first = next(r for r in kept.recordings if r.name == rows[15][1])
    column = [kept.aus.index(au) for au in ("12", "R12", "15")]
    assert (first.occurrence_TA[:, column] == -1).all()


def test_long_films(tmp_path):
    folder = tmp_path / "source"
    header = [
        "Subject", "Filename", "Inducement Code", "Onset", "Apex", "Offset", "Duration", "Type",
        "Action Units", "Notes",
    ]  # fmt: skip
    rows = [
        [6, "006_1_1", 3, 2.0, 3.0, 4.0, 3, "Macro", "12", ""],
        [6, "006_1_2", 3, 7, 8, 9, 3, "Micro - 1/2", "L14", ""],
        [7, "007_2_1", 3, 0, 5, 6, 3, "Macro", "4", ""],
    ]
    above = [[f"note {n}"] for n in range(9)]
    deliveries.write_sheets(
        folder / "SAMM_LongVideos_V3_Release.xlsx", {"FACS_Movement_Only": [*above, header, *rows]}
    )
    for film, last in (("006_1", 12), ("007_2", 7)):
        for number in range(1, last + 1):
            place = folder / "SAMM_longvideos" / film / f"{film}_{number:04d}.jpg"
            deliveries.write_picture(place, number)
    words = ("--part", "long", "--protocol", "all", "--around", "3")
    opened = deliveries.build("samm", folder, tmp_path / "out", *words)
    clips = deliveries.clips(opened)
    one = clips["006_1_1:1"]  # frame 1 is around; 5 and 6 are as well, 7 is of the next one
    assert deliveries.shown(one) == [grey(n) for n in range(1, 7)]
    assert deliveries.labels(opened, one, "12") == [0, 1, 1, 1, 0, 0]
    assert deliveries.labels(opened, one, "14") == [-1, 0, 0, 0, -1, -1]
    assert one.attributes_TK[:, 0].tolist() == [0] * 6
    two = clips["006_1_2:5"]
    assert deliveries.shown(two) == [grey(n) for n in range(5, 13)]
    assert two.phase_TA[:, opened.aus.index("L14")].tolist() == [0, 0, 1, 2, 3, 0, 0, 0]
    assert two.attributes_TK[0, 0] == 1
    three = clips["007_2_1:2"]  # no onset: it begins at the apex
    assert three.phase_TA[:, opened.aus.index("4")].tolist() == [0, 0, 0, 2, 3, 0]
    assert len((tmp_path / "out/skipped.csv").read_text().splitlines()) == 1  # its header


def test_refused(source, tmp_path, capsys):
    out = tmp_path / "out"
    book = source / "SAMM_Micro_FACS_Codes_v2.xlsx"
    text = deliveries.refused(capsys, "samm", source, out, "--around", "-1")
    assert "--around -1 is negative" in text
    write(source, [(6, "../../006_1_2", 1, 2, 3, "4", "Fear", 1)])
    assert "line 15: '../../006_1_2' leads out" in deliveries.refused(capsys, "samm", source, out)
    write(source, ROWS, book="SAMM_FACS_copy")
    assert "are both codings of SAMM" in deliveries.refused(capsys, "samm", source, out)
    (source / "SAMM_FACS_copy.xlsx").unlink()
    deliveries.write_sheets(book, {"s": [["Subject", "Filename"], [6, "006_1_2"]]})
    assert "has no row with the columns Subject, Filename, Onset Frame" in (
        deliveries.refused(capsys, "samm", source, out)
    )
    book.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    assert "has a password" in deliveries.refused(capsys, "samm", source, out)
    book.unlink()
    assert "has no workbook SAMM*FACS*.xlsx" in deliveries.refused(capsys, "samm", source, out)


def test_half_copied(source, tmp_path, capsys):
    for path in sorted((source / "SAMM/006/006_1_2").iterdir()):
        path.unlink()
    text = deliveries.refused(capsys, "samm", source, tmp_path / "out")
    assert "5 of 13 pictures or films that the labels name are not in" in text


def test_faces_are_looked_for():
    assert FaceSteps.parse(samm.BUILDER.faces).words == ("haar", "box:0.1")
