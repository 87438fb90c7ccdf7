"""CAER: films in folders of emotions."""

import cv2
import deliveries
import pytest

from jaxfacs.data.builders import caer, reading
from jaxfacs.faces.prepare import FaceSteps

NAMES = ("Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")


@pytest.fixture
def source(tmp_path):
    """One film of 3 frames an emotion and split; the splits begin at frames 0, 7 and 14."""
    root = tmp_path / "delivered" / "CAER"
    for s, split in enumerate(("train", "validation", "test")):
        for e, name in enumerate(NAMES):
            first = 7 * s + e
            deliveries.write_film(root / split / name / "0001.avi", [first, first + 1, first + 2])
    return root


def test_films_have_the_label_and_split_of_their_folder(source, tmp_path):
    deliveries.write_film(source / "train" / "Happy" / "0010.avi", list(range(18)))
    (source / "train" / "Happy" / "0002.avi").write_bytes(b"no film")
    opened = deliveries.build("caer", source.parent, tmp_path / "out")
    assert opened.emotions == ("anger", "disgust", "fear", "happiness", "neutral", "sadness",
                               "surprise")  # fmt: skip
    assert opened.splits == {"train": 9, "validation": 7, "test": 7}
    for s, split in enumerate(("train", "validation", "test")):
        clips = deliveries.clips(opened, split)
        for e, name in enumerate(NAMES):
            clip = clips[f"{split}/{name}/0001.avi:0"]
            assert (clip.emotion, clip.subject) == (e, "")
            assert deliveries.shown(clip) == [deliveries.grey(7 * s + e + t) for t in range(3)]
            assert clip.timestamps_T == pytest.approx([0, 0.04, 0.08], abs=1e-6)
    clips = deliveries.clips(opened, "train")
    long = [clips["train/Happy/0010.avi:0"], clips["train/Happy/0010.avi:16"]]
    assert [len(clip.frames) for clip in long] == [16, 2]
    assert [clip.emotion for clip in long] == [3, 3]
    rows = (tmp_path / "out" / "skipped.csv").read_text().splitlines()[1:]
    assert rows == [",,train/Happy/0002.avi,0,unreadable"]


@pytest.mark.parametrize(
    ("counted", "length"), [(7.0, 7), (0.0, 1), (-9e18, 1), (float("nan"), 1), (1e15, 1 << 20)]
)
def test_a_damaged_header_cannot_fill_the_memory(monkeypatch, tmp_path, counted, length):
    class Opened:
        def __init__(self, path):
            self.path = path

        def get(self, _):
            return counted

    monkeypatch.setattr(cv2, "VideoCapture", Opened)
    assert reading.film_length(tmp_path / "film.avi") == length


def test_a_half_copied_delivery_is_refused(source, tmp_path, capsys):
    (source / "test" / "Sad" / "0001.avi").unlink()
    told = deliveries.refused(capsys, "caer", source, tmp_path / "out")
    assert "nothing for sadness" in told and "copy the rest" in told


def test_a_strange_folder_is_named(source, tmp_path, capsys):
    (source / "train" / "Bored").mkdir()
    told = deliveries.refused(capsys, "caer", source, tmp_path / "out")
    assert "Bored" in told and "none of the emotions" in told


def test_another_folder_is_refused(tmp_path, capsys):
    (tmp_path / "source" / "AUCoding").mkdir(parents=True)
    (tmp_path / "source" / "CAER.zip").touch()
    told = deliveries.refused(capsys, "caer", tmp_path / "source", tmp_path / "out")
    assert "not CAER as delivered" in told and "unpack CAER.zip" in told


def test_the_usual_faces_are_found_ones():
    assert FaceSteps.parse(caer.BUILDER.faces).detection == "haar"
