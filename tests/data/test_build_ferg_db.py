"""FERG-DB: rendered characters."""

import deliveries
import pytest

from jaxfacs.data.builders import ferg_db
from jaxfacs.faces.prepare import FaceSteps

NAMES = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")


@pytest.fixture
def source(tmp_path):
    """Two pictures a character and emotion; `grey` of the emotion's place and the number."""
    root = tmp_path / "delivered" / "FERG_DB_256"
    for character in ferg_db.CHARACTERS:
        for e, name in enumerate(NAMES):
            for number in (1, 2):
                folder = root / character / f"{character}_{name}"
                path = folder / f"{character}_{name}_{number}.png"
                deliveries.write_picture(path, 2 * e + number)
    return root


def key(character: str, name: str, number: int) -> str:
    return f"{character}/{character}_{name}/{character}_{name}_{number}.png"


def test_every_picture_has_its_character_and_emotion(source, tmp_path, capsys):
    opened = deliveries.build(
        "ferg_db", source.parent, tmp_path / "out", "--protocol", "mery", "--validation", "0"
    )
    assert opened.emotions[3] == "happiness"
    assert opened.splits == {"train": 70, "test": 14}
    clips = deliveries.clips(opened)
    for character in ferg_db.CHARACTERS:
        for e, name in enumerate(NAMES):
            for number in (1, 2):
                clip = clips[key(character, name, number)]
                assert (clip.subject, clip.emotion) == (character, e)
                assert deliveries.shown(clip) == [deliveries.grey(2 * e + number)]
    assert set(deliveries.clips(opened, "test")) == {
        key("mery", name, number) for name in NAMES for number in (1, 2)
    }
    assert "frames 84 (-55683)" in capsys.readouterr().out


def test_characters_are_dealt_out_whole(source, tmp_path):
    opened = deliveries.build("ferg_db", source, tmp_path / "out")
    found = [set(opened.subjects[split]) for split in ("train", "validation", "test")]
    assert sorted(map(len, found)) == [1, 1, 4] and set().union(*found) == {*ferg_db.CHARACTERS}


def test_at_random_a_fifth_is_the_test_and_characters_are_in_both_parts(source, tmp_path):
    opened = deliveries.build(
        "ferg_db", source, tmp_path / "out", "--protocol", "random", "--validation", "0"
    )
    assert sum(opened.splits.values()) == 84 and 6 <= opened.splits["test"] <= 30
    assert {name for split in opened.splits for name in opened.subjects[split]} == {""}
    for path, clip in deliveries.clips(opened).items():
        assert NAMES[clip.emotion] in path
    again = ferg_db.read(source, ferg_db.Options(protocol="random"))
    test = {p for r in again.recordings if r.split == "test" for p in r.frames.paths}
    assert test == set(deliveries.clips(opened, "test"))
    assert {path.split("/")[0] for path in test} == set(ferg_db.CHARACTERS)


def test_misnamed_pictures_are_listed(source, tmp_path):
    wrong = source / "ray" / "ray_joy" / "ray_fear_9.png"
    deliveries.write_picture(wrong, 1)
    opened = deliveries.build("ferg_db", source, tmp_path / "out", "--protocol", "ray")
    assert sum(opened.splits.values()) == 84
    rows = (tmp_path / "out" / "skipped.csv").read_text().splitlines()[1:]
    assert rows == [",,ray/ray_joy/ray_fear_9.png,,name and folder disagree"]


def test_a_missing_character_is_named(source, tmp_path, capsys):
    (source / "jules").rename(source.parent / "jules")
    told = deliveries.refused(capsys, "ferg_db", source, tmp_path / "out")
    assert "lacks the characters jules" in told


def test_a_folder_of_no_emotion_is_named(source, tmp_path, capsys):
    (source / "aia" / "aia_bored").mkdir()
    told = deliveries.refused(capsys, "ferg_db", source, tmp_path / "out")
    assert "aia_bored" in told


def test_the_pictures_are_faces_already():
    steps = FaceSteps.parse(ferg_db.BUILDER.faces, size=ferg_db.BUILDER.size)
    assert (steps.detection, steps.size) == ("none", 256)
