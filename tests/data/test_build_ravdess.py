"""RAVDESS: labels in file names, films with and without sound, sounds as pictures."""

import json
import wave
from pathlib import Path

import cv2
import deliveries
import numpy as np
import pytest
from deliveries import grey

from jaxfacs.data import sound
from jaxfacs.data.builders import ravdess
from jaxfacs.faces.prepare import FaceSteps

EVERYBODY = ("--validation", "0", "--test", "0")


def write_sound(path: Path, hertz: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.3 * np.sin(2 * np.pi * hertz * np.arange(9000) / 8000)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


@pytest.fixture
def source(tmp_path) -> Path:
    folder = tmp_path / "source"
    films = {
        "Video_Speech_Actor_01/Actor_01/01-01-03-02-01-02-01": [1, 2, 3],
        "Video_Speech_Actor_01/Actor_01/02-01-03-02-01-02-01": [1, 2, 3],  # without its sound
        "Video_Song_Actor_02/Actor_02/02-02-01-01-02-01-02": [7, 8],
    }
    for name, numbers in films.items():
        deliveries.write_film(folder / f"{name}.avi", numbers, fps=30)
        (folder / f"{name}.avi").rename(folder / f"{name}.mp4")
    write_sound(folder / "Actor_01/03-01-05-01-02-01-01.wav", 500)
    write_sound(folder / "Actor_12/03-01-08-02-01-01-12.wav", 1500)
    (folder / "Actor_01/readme.txt").write_text("words")
    return folder


def test_films_have_their_names_labels(source, tmp_path):
    opened = deliveries.build("ravdess", source, tmp_path / "out", *EVERYBODY)
    clips = deliveries.clips(opened)
    assert opened.emotions == (
        "neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise",
    )  # fmt: skip
    assert opened.attributes == (
        "song", "intensity", "statement", "repetition", "actor", "gender",
    )  # fmt: skip
    told = {
        key: (
            clip.subject,
            opened.emotions[clip.emotion],
            clip.attributes_TK.tolist(),
            deliveries.shown(clip),
        )
        for key, clip in clips.items()
    }
    assert told == {
        "Actor_01/01-01-03-02-01-02-01:0": (
            "Actor_01", "happiness", [[0, 2, 1, 2, 1, 0]] * 3, [grey(n) for n in (1, 2, 3)],
        ),
        "Actor_02/02-02-01-01-02-01-02:0": (
            "Actor_02", "neutral", [[1, 1, 2, 1, 2, 1]] * 2, [grey(7), grey(8)],
        ),
    }  # fmt: skip
    notes = json.loads((tmp_path / "out/labels.json").read_text())["notes"]
    assert notes[0].startswith("no files of actors 3, 4, 5")


def test_sounds_become_pictures(source, tmp_path):
    out = tmp_path / "out"
    words = ("--part", "audio", "--faces", "whole", "--size", "128", *EVERYBODY)
    opened = deliveries.build("ravdess", source, out, *words)
    clips = deliveries.clips(opened)
    told = {
        key: (clip.subject, opened.emotions[clip.emotion], clip.attributes_TK.tolist())
        for key, clip in clips.items()
    }
    assert told == {
        "Actor_01/03-01-05-01-02-01-01:0": ("Actor_01", "anger", [[0, 1, 2, 1, 1, 0]]),
        "Actor_12/03-01-08-02-01-01-12:0": ("Actor_12", "surprise", [[0, 2, 1, 1, 12, 1]]),
    }
    for key, clip in clips.items():
        stored = cv2.imdecode(np.frombuffer(clip.frames[0], np.uint8), cv2.IMREAD_GRAYSCALE)
        subject, stem = key.removesuffix(":0").split("/")
        wanted = sound.picture(source / subject / f"{stem}.wav")
        assert np.abs(stored.astype(int) - wanted).mean() < 3  # but for JPEG


def test_faces_are_looked_for_in_films_alone(source):
    assert FaceSteps.parse(ravdess.BUILDER.faces).words == ("haar", "box:0.1")
    assert ravdess.read(source, ravdess.Options()).faces == ()
    assert ravdess.read(source, ravdess.Options(part="audio")).faces == ("whole",)


def test_channel_and_test_actors(source, tmp_path, capsys):
    opened = deliveries.build("ravdess", source, tmp_path / "song", "--channel", "song", *EVERYBODY)
    assert list(deliveries.clips(opened)) == ["Actor_02/02-02-01-01-02-01-02:0"]
    opened = deliveries.build("ravdess", source, tmp_path / "out", "--test-actors", "2")
    assert {c.subject for c in deliveries.clips(opened, "test").values()} == {"Actor_02"}
    assert {c.subject for c in deliveries.clips(opened, "train").values()} == {"Actor_01"}
    text = deliveries.refused(capsys, "ravdess", source, tmp_path / "no", "--test-actors", "9")
    assert "--test-actors 9: there are 1, 2" in text


def test_names_that_contradict_the_owners_are_listed(source, tmp_path):
    write_sound(source / "Actor_02/03-01-05-01-02-01-03.wav", 500)
    write_sound(source / "Actor_02/03-01-09-01-02-01-02.wav", 500)
    write_sound(source / "Actor_02/01-01-05-01-02-01-02.wav", 500)
    damaged = source / "Actor_02/03-01-04-01-02-01-02.wav"
    damaged.write_bytes(b"RIFF")
    out = tmp_path / "out"
    opened = deliveries.build("ravdess", source, out, "--part", "audio", *EVERYBODY)
    assert len(deliveries.clips(opened)) == 2
    assert (out / "skipped.csv").read_text().splitlines()[1:] == [
        ",,Actor_02/01-01-05-01-02-01-02.wav,,bad name: modality 01 is no .wav",
        ",,Actor_02/03-01-05-01-02-01-03.wav,,bad name: actor 03 lies in Actor_02",
        ",,Actor_02/03-01-09-01-02-01-02.wav,,bad name: there is no emotion 09",
        ",,Actor_02/03-01-04-01-02-01-02.wav,,"
        "unreadable: no whole PCM .wav file (it ends too soon)",
    ]


def test_a_damaged_film_is_listed(source, tmp_path):
    film = "Video_Song_Actor_02/Actor_02/02-02-01-01-02-01-02.mp4"
    (source / film).write_bytes(b"no film")
    out = tmp_path / "out"
    clips = deliveries.clips(deliveries.build("ravdess", source, out, *EVERYBODY))
    assert list(clips) == ["Actor_01/01-01-03-02-01-02-01:0"]
    assert (out / "skipped.csv").read_text().splitlines()[1:] == [f",,{film},0,unreadable"]


def test_refused(source, tmp_path, capsys):
    write_sound(source / "again/03-01-05-01-02-01-01.wav", 500)
    text = deliveries.refused(capsys, "ravdess", source, tmp_path / "out", "--part", "audio")
    assert "are one take; remove one of them" in text and "again/03-01-05" in text
    other = tmp_path / "other"
    deliveries.write_picture(other / "a.jpg", 1)
    text = deliveries.refused(capsys, "ravdess", other, tmp_path / "out")
    assert "has no video file of RAVDESS" in text
