"""MRL Eye: labels in file names, pupils where they are given."""

from pathlib import Path

import deliveries
import numpy as np
import pytest
from deliveries import grey

from jaxfacs.data.builders import mrl_eye
from jaxfacs.faces.prepare import FaceSteps

TOP = "mrlEyes_2018_01"
# name -> AU 43, attributes but the pupil's place.
PICTURES = {
    "s0001_00001_0_0_0_0_0_01": (1, [0, 0, 0, 0, 1]),
    "s0001_00002_0_1_1_2_1_02": (0, [0, 1, 2, 1, 2]),
    "s0026_00001_1_0_1_1_1_03": (0, [1, 0, 1, 1, 3]),
}
EVERYBODY = ("--validation", "0", "--test", "0")


@pytest.fixture
def source(tmp_path) -> Path:
    folder = tmp_path / "source"
    for number, name in enumerate(PICTURES):
        place = folder / TOP / name[:5] / f"{name}.png"
        deliveries.write_picture(place, number, height=20 + number, width=24)
    deliveries.write_text(folder / TOP / "annotations.txt", "what the names mean")
    return folder


def test_every_label_of_every_eye(source, tmp_path):
    deliveries.write_text(
        source / "pupil.txt",
        "s0001_00002_0_1_1_2_1_02.png 12 9.5",
        "a heading of words",
        "s0026/s0026_00001_1_0_1_1_1_03.png,7,8",
        "s0009_00002_0_1_1_2_1_02.png 1 2",
    )
    out = tmp_path / "out"
    opened = deliveries.build("mrl_eye", source, out, *EVERYBODY)
    told = {
        Path(key).stem: (
            clip.subject,
            deliveries.labels(opened, clip, "43")[0],
            deliveries.shown(clip)[0],
            np.nan_to_num(clip.attributes_TK[0], nan=-1).tolist(),
        )
        for key, clip in deliveries.clips(opened).items()
    }
    pupils = {0: [-1, -1], 1: [12, 9.5], 2: [7, 8]}
    assert told == {
        name: (name[:5], closed, grey(i), [*values, *pupils[i]])
        for i, (name, (closed, values)) in enumerate(PICTURES.items())
    }
    assert opened.attributes == mrl_eye.ATTRIBUTES and opened.aus == ("43",)
    assert (out / "skipped.csv").read_text().splitlines()[1:] == [
        "pupil.txt,4,s0009_00002_0_1_1_2_1_02.png,,missing"
    ]
    assert "pupil.txt: 1 rows are not 'name x y' (the first: line 2)" in (
        (out / "labels.json").read_text()
    )


def test_first_25_people_train(source, tmp_path):
    opened = deliveries.build("mrl_eye", source, tmp_path / "out", "--protocol", "first25")
    subjects = {s: {c.subject for c in deliveries.clips(opened, s).values()} for s in opened.splits}
    assert subjects == {"train": {"s0001"}, "validation": {"s0026"}}
    words = FaceSteps.parse(mrl_eye.BUILDER.faces, size=mrl_eye.BUILDER.size).words
    assert words == ("none",)


def test_names_that_say_nothing_are_listed(source, tmp_path):
    deliveries.write_picture(source / TOP / "s0001/s0001_00003_0_0_9_0_0_01.png", 1)
    deliveries.write_picture(source / TOP / "s0001/s0002_00003_0_0_1_0_0_01.png", 1)
    out = tmp_path / "out"
    (source / TOP / "s0001/s0001_00001_0_0_0_0_0_01.png").write_bytes(b"\x89PNG")
    assert len(deliveries.clips(deliveries.build("mrl_eye", source, out, *EVERYBODY))) == 2
    assert (out / "skipped.csv").read_text().splitlines()[1:] == [
        f",,{TOP}/s0001/s0001_00003_0_0_9_0_0_01.png,,no label: its name says nothing",
        f",,{TOP}/s0001/s0002_00003_0_0_1_0_0_01.png,,label clash",
        f",,{TOP}/s0001/s0001_00001_0_0_0_0_0_01.png,,unreadable",
    ]


def test_refused(source, tmp_path, capsys):
    deliveries.write_picture(source / "copy/s0001/s0001_00001_0_0_0_0_0_01.png", 1)
    text = deliveries.refused(capsys, "mrl_eye", source, tmp_path / "out")
    assert "are one picture; remove one of them" in text and "copy/s0001/s0001_00001" in text
    other = tmp_path / "other"
    (other / TOP).mkdir(parents=True)
    text = deliveries.refused(capsys, "mrl_eye", other, tmp_path / "out")
    assert "has no picture named like s0001_00001_0_0_0_0_0_01.png" in text
    text = deliveries.refused(capsys, "mrl_eye", other / TOP, tmp_path / "out")
    assert "is not MRL Eye as delivered" in text
