"""EB+: whatever label files are there, and emotions of tasks where somebody says them."""

from pathlib import Path

import deliveries
import pytest
from binghamton import left_out, pictures, short_form

from jaxfacs import facs
from jaxfacs.data.builders import eb_plus
from jaxfacs.errors import UserError
from jaxfacs.faces.steps import FaceSteps

ALL_TRAIN = ("--validation", "0", "--test", "0")


@pytest.fixture
def source(tmp_path) -> Path:
    """F001 of BP4D+, and people and tasks beyond every known range."""
    root = tmp_path / "EB+"
    occ = root / "AUCoding" / "AU_OCC"
    short_form(occ / "F001_T1.csv", {1: {1: 1}, 2: {30: 1}})
    pictures(root / "2D+3D" / "F001" / "T1", [1, 2], 4)
    short_form(occ / "M199_T8.csv", {5: {36: 1}, 6: {12: 9}})
    pictures(root / "2D+3D" / "M199" / "T8", [5, 6], 3)
    short_form(occ / "P1234_T11.csv", {3: {24: 1}, 4: {}})
    deliveries.write_film(root / "2D+3D" / "P1234_T11.avi", [1, 2, 3])
    deliveries.write_text(occ / "M200_T8.csv", "1,1,2", "5,0,?")
    deliveries.write_text(occ / "readme.csv", "not,labels")
    return root


def test_every_label_of_a_delivery(source, tmp_path, capsys):
    words = ["--task-emotions", "T1=Happy", "T8=pain", "T9=anger", *ALL_TRAIN]
    opened = deliveries.build("eb_plus", source, tmp_path / "out", *words)
    # The 27 of the thesis that have a column, and what else was seen.
    assert opened.aus == tuple(sorted({*facs.DATASET_AUS["eb_plus"], "36"}, key=int))
    assert opened.emotions == facs.EMOTION_SETS["eb_plus"]
    assert opened.subjects == {"train": ("F001", "M199", "P1234")}
    clips = deliveries.clips(opened, "train")
    grey = deliveries.grey
    expected = {
        "F001/T1:1": ([1, 2], {"1": [1, 0], "30": [0, 1]}, "happiness"),
        "M199/T8:5": ([5, 6], {"36": [1, 0], "12": [0, -1]}, "pain"),
        "P1234/T11:3": ([3], {"24": [1]}, None),
    }
    assert set(clips) == set(expected)
    for key, (numbers, present, emotion) in expected.items():
        assert deliveries.shown(clips[key]) == [grey(n) for n in numbers]
        for au in opened.aus:
            found = deliveries.labels(opened, clips[key], au)
            assert found == present.get(au, [0] * len(numbers)), (key, au)
            assert deliveries.grades(opened, clips[key], au) == [-1] * len(numbers)
        place = -1 if emotion is None else opened.emotions.index(emotion)
        assert clips[key].emotion == place
    assert left_out(opened) == [
        ("2D+3D/P1234_T11.avi", "4", "not in film"),
        (
            "AUCoding/AU_OCC/M200_T8.csv",
            "",
            "unreadable labels: line 2, column 3: '?' is no number",
        ),
    ]
    told = capsys.readouterr().out
    assert "found 3 people; recordings by task: T1 1, T8 1, T11 1" in told
    assert "--task-emotions names T9, of which there are no labels" in told


def test_without_emotions_and_on_the_aus_of_the_thesis(source):
    delivery = eb_plus.read(source, eb_plus.Options(aus="tlili"))
    assert delivery.aus == facs.DATASET_AUS["eb_plus"] and len(delivery.aus) == 27
    assert delivery.emotions == ()
    assert all(r.emotion_T is None and r.split is None for r in delivery.recordings)


@pytest.mark.parametrize("word", ["T1", "T1=bliss", "1=happiness", "happiness=T1", "=fear"])
def test_emotions_that_are_none(word):
    with pytest.raises(UserError, match="is not like T1=happiness; there are happiness, sadness"):
        eb_plus.task_emotions([word])


def test_a_task_with_two_emotions(source, tmp_path, capsys):
    words = ("--task-emotions", "T1=fear", "T1=anger")
    told = deliveries.refused(capsys, "eb_plus", source, tmp_path / "out", *words)
    assert "names T1 twice" in told


def test_default_faces_are_understood():
    assert FaceSteps.parse(eb_plus.BUILDER.faces).detection == "haar"


def test_another_set_is_refused(tmp_path, capsys):
    (tmp_path / "x" / "Emotion").mkdir(parents=True)
    told = deliveries.refused(capsys, "eb_plus", tmp_path / "x", tmp_path / "out")
    assert "is not EB+ as delivered" in told


def test_label_folder_without_labels(tmp_path, capsys):
    deliveries.write_text(tmp_path / "x" / "AUCoding" / "notes.csv", "1,2")
    told = deliveries.refused(capsys, "eb_plus", tmp_path / "x", tmp_path / "out")
    assert "has no label file like AU_OCC/F001_T1.csv; is it EB+?" in told
