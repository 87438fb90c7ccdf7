"""CAS(ME)²: three sheets without headers, names by rules, frames from 1, films or pictures."""

from pathlib import Path

import deliveries
import pytest
from deliveries import grey

from jaxfacs.data.builders import cas_me2
from jaxfacs.faces.prepare import FaceSteps

BOOK = "CAS(ME)^2code_final(Updated).xlsx"
MACRO, MICRO = "macro-expression", "micro-expression"
CODES = [
    [1, "disgusting1_1", 3, 5, 6, "4+9", "negative", MACRO, "disgust"],
    [1, "disgusting1_2", 10, 11, 0, "R14", "others", MICRO, "helpless"],
    [2, "happy5_1", 2, 0, 4, "6+12", "positive", MACRO, "happiness"],
]
PEOPLE = [["15", "s15", 1], ["16", "s16", 2]]
STIMULI = [["0101", "disgusting1"], [505, "happy5"]]


def write_book(folder: Path, codes=CODES, people=PEOPLE, stimuli=STIMULI) -> None:
    names = {"CASFEcode_final": codes, "naming rule1": people, "naming rule2": stimuli}
    deliveries.write_sheets(folder / BOOK, names)


@pytest.fixture
def source(tmp_path) -> Path:
    folder = tmp_path / "source"
    write_book(folder)
    films = {"s15/15_0101disgustingteeth": 14, "s16/16_0505happy": 5}
    for film, last in films.items():
        deliveries.write_film(folder / "rawvideo" / f"{film}.avi", list(range(last)), fps=30)
        for number in range(1, last + 1):
            name = f"img{number}.jpg" if number > 9 else f"img00{number}.jpg"
            deliveries.write_picture(folder / "rawpic" / film / name, number)
    return folder


def test_every_label_of_every_clip(source, tmp_path):
    opened = deliveries.build("cas_me2", source, tmp_path / "out", "--protocol", "all")
    clips = deliveries.clips(opened)
    assert opened.aus == ("4", "6", "9", "12", "14", "R14")
    told = {
        key: (
            clip.subject,
            opened.emotions[clip.emotion],
            deliveries.shown(clip),
            clip.attributes_TK[:, 0].tolist(),
            {au: deliveries.labels(opened, clip, au)[0] for au in opened.aus},
            clip.phase_TA.max(1).tolist(),
        )
        for key, clip in clips.items()
    }
    off = dict.fromkeys(opened.aus, 0)
    assert told == {
        "s15/disgusting1_1:3": (
            "s15", "negative", [grey(n) for n in (3, 4, 5, 6)], [0] * 4, off | {"4": 1, "9": 1},
            [1, 1, 2, 3],
        ),
        # the offset is not known: it ends in its apex
        "s15/disgusting1_2:10": (
            "s15", "other", [grey(10), grey(11)], [1] * 2, off | {"14": 1, "R14": 1}, [1, 2],
        ),
        # the apex is not known
        "s16/happy5_1:2": (
            "s16", "positive", [grey(n) for n in (2, 3, 4)], [0] * 3, off | {"6": 1, "12": 1},
            [1, 0, 3],
        ),
    }  # fmt: skip
    middle = clips["s16/happy5_1:2"].phase_TA[1, opened.aus.index("12")]
    assert middle == -1


def test_films_count_from_one(source, tmp_path):
    words = ("--pictures", "rawvideo", "--protocol", "all")
    opened = deliveries.build("cas_me2", source, tmp_path / "out", *words)
    clip = deliveries.clips(opened)["s15/disgusting1_1:3"]
    assert deliveries.shown(clip) == [grey(n - 1) for n in (3, 4, 5, 6)]
    assert FaceSteps.parse(cas_me2.BUILDER.faces).words == ("haar", "box:0.1")


def test_films_that_end_too_soon_are_listed(source, tmp_path):
    write_book(source, [*CODES[:2], [2, "happy5_1", 4, 5, 7, "12", "positive", MACRO, ""]])
    words = ("--pictures", "rawvideo", "--protocol", "all")
    deliveries.build("cas_me2", source, tmp_path / "out", *words)
    assert (tmp_path / "out/skipped.csv").read_text().splitlines()[1:] == [
        f"{BOOK},3,rawvideo/s16/16_0505happy.avi,{number},not in film" for number in (6, 7)
    ]


def test_own_words_are_emotions_too(source, tmp_path):
    words = ("--emotions", "reported", "--protocol", "all")
    opened = deliveries.build("cas_me2", source, tmp_path / "out", *words)
    assert opened.emotions == ("disgust", "happiness", "helpless")
    told = [opened.emotions[clip.emotion] for clip in deliveries.clips(opened).values()]
    assert sorted(told) == ["disgust", "happiness", "helpless"]


def test_megc_leaves_others_out(source, tmp_path):
    words = ("--emotions", "megc2019", "--test-subject", "s16")
    opened = deliveries.build("cas_me2", source, tmp_path / "out", *words)
    assert sorted(deliveries.clips(opened)) == ["s15/disgusting1_1:3", "s16/happy5_1:2"]
    assert list(deliveries.clips(opened, "test")) == ["s16/happy5_1:2"]


def test_rows_that_nothing_names_are_listed(source, tmp_path):
    lost = [
        [9, "happy5_1", 2, 3, 4, "12", "positive", MACRO, ""],
        [2, "sad7_1", 2, 3, 4, "15", "negative", MACRO, ""],
        [2, "happy5_9", 0, 0, 0, "15", "negative", MACRO, ""],
    ]
    write_book(source, [*CODES, *lost])
    deliveries.build("cas_me2", source, tmp_path / "out", "--protocol", "all")
    assert (tmp_path / "out/skipped.csv").read_text().splitlines()[1:] == [
        f"{BOOK},4,9/happy5_1,,no name: participant 9",
        f"{BOOK},5,2/sad7_1,,no name: stimulus sad7_1",
        f'{BOOK},6,rawpic/s16/16_0505happy,,"unreadable labels: no onset, or no offset and apex"',
    ]


def test_refused(source, tmp_path, capsys):
    out = tmp_path / "out"
    text = deliveries.refused(capsys, "cas_me2", source, out, "--pictures", "cropped")
    assert "cropped is missing" in text
    write_book(source, [[1, "disgusting1_1/../../..", 3, 5, 6, "4", "negative", MACRO, ""]])
    assert f"{BOOK}, line 1:" in (text := deliveries.refused(capsys, "cas_me2", source, out))
    assert "leads out of the folder" in text
    write_book(source, people=[["", "nobody", 1]])
    text = deliveries.refused(capsys, "cas_me2", source, out)
    assert "naming rule1, line 1: no person's number" in text
    deliveries.write_sheets(source / BOOK, {"codes": CODES})
    text = deliveries.refused(capsys, "cas_me2", source, out)
    assert "should have a sheet of codes, 'naming rule1' and 'naming rule2'; it has codes" in text
    (source / BOOK).write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    assert "has a password" in deliveries.refused(capsys, "cas_me2", source, out)
    (source / BOOK).unlink()
    assert "has no workbook" in deliveries.refused(capsys, "cas_me2", source, out)
