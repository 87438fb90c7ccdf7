"""300-W: .pts files in each spelling, landmarks in the crop, protocols, damaged files."""

from pathlib import Path

import deliveries
import numpy as np
import pytest
from deliveries import grey

from jaxfacs.data.builders import w300
from jaxfacs.faces.align import OPENFACE_68x2
from jaxfacs.faces.prepare import FaceSteps

FACE_68x2 = (OPENFACE_68x2 - OPENFACE_68x2.min(0)) / np.ptp(OPENFACE_68x2, axis=0).max()
# folder/stem and ending -> grey number.
PICTURES = {
    "afw/1051618982_1.jpg": 1,
    "helen/trainset/100032540_1.jpg": 2,
    "lfpw/trainset/image_0001.png": 3,
    "helen/testset/296814969_3.jpg": 4,
    "lfpw/testset/image_0001.png": 5,
    "ibug/image_003 _1.jpg": 6,
    "300W/01_Indoor/indoor_001.png": 7,
}


def points(number: int) -> np.ndarray:
    """68×2 as MATLAB counts: a face 16 pixels wide, at another place in each picture."""
    return 8 + number + 16 * FACE_68x2


def pts(point_K2: np.ndarray, *, blanks: str = " ", count: int | None = None) -> list[str]:
    rows = [f"{x:.3f} {y:.3f}" for x, y in point_K2]
    said = len(point_K2) if count is None else count
    return ["version: 1", f"n_points:{blanks}{said}", "{", *rows, "}"]


@pytest.fixture
def source(tmp_path) -> Path:
    folder = tmp_path / "source"
    for name, number in PICTURES.items():
        path = folder / name
        deliveries.write_picture(path, number, height=40, width=48)
        blanks = "  " if number % 2 else " "
        deliveries.write_text(path.with_suffix(".pts"), *pts(points(number), blanks=blanks))
    return folder


def names(opened, split: str) -> set[str]:
    return set(deliveries.clips(opened, split)) if split in opened.splits else set()


def test_every_landmark_of_every_picture(source, tmp_path):
    """The whole picture of 40×48, squared to 48 and shrunk to 32."""
    opened = deliveries.build("w300", source, tmp_path / "out", "--validation", "0")
    clips = deliveries.clips(opened)
    assert set(clips) == set(PICTURES) - {"300W/01_Indoor/indoor_001.png"}
    for name, clip in clips.items():
        number = PICTURES[name]
        assert clip.subject == "" and deliveries.shown(clip) == [grey(number)]
        wanted = (points(number) - 0.5 + [0, 4]) * 32 / 48
        np.testing.assert_allclose(clip.landmarks_T68x2[0], wanted, atol=2e-3)
    assert names(opened, "test") == {k for k in clips if "test" in k or "ibug" in k}


def test_given_landmarks_lay_the_face(source, tmp_path):
    steps = FaceSteps.parse(w300.BUILDER.faces, size=w300.BUILDER.size)
    assert steps.words == ("landmarks", "box:0.25") and steps.size == 224
    words = ("--faces", *w300.BUILDER.faces, "--size", "64", "--validation", "0")
    opened = deliveries.build("w300", source, tmp_path / "out", *words)
    for clip in deliveries.clips(opened).values():
        point_K2 = clip.landmarks_T68x2[0]
        assert clip.found_T.all() and (point_K2 > 0).all() and (point_K2 < 64).all()
        assert np.ptp(point_K2[:, 0]) > 25


@pytest.mark.parametrize(
    ("protocol", "test", "validation"),
    [
        ("common", ("helen/testset", "lfpw/testset"), ()),
        ("challenging", ("ibug",), ()),
        ("tuned", ("ibug",), ("helen/testset", "lfpw/testset")),
        ("private", ("300W",), ()),
    ],
)
def test_protocols(source, tmp_path, protocol, test, validation):
    words = ("--protocol", protocol, "--validation", "0")
    opened = deliveries.build("w300", source, tmp_path / "out", *words)
    assert names(opened, "test") == {n for n in PICTURES if n.startswith(test)}
    assert names(opened, "validation") == {
        n for n in PICTURES if validation and n.startswith(validation)
    }
    trained = ("afw", "helen/trainset", "lfpw/trainset")
    if protocol == "private":
        trained = ("afw", "helen", "lfpw", "ibug")
    assert names(opened, "train") == {n for n in PICTURES if n.startswith(trained)}


def test_damaged_lonely_and_mirrored_files_are_listed(source, tmp_path):
    deliveries.write_text(source / "afw/short.pts", *pts(points(1)[:60]))
    deliveries.write_text(source / "afw/lying.pts", *pts(points(1), count=66))
    deliveries.write_text(source / "afw/words.pts", "version: 1", "no points")
    deliveries.write_text(source / "afw/alone.pts", *pts(points(1)))
    deliveries.write_picture(source / "afw/plain.jpg", 1)
    deliveries.write_picture(source / "afw/a_mirror.jpg", 1)
    deliveries.write_text(source / "afw/a_mirror.pts", *pts(points(1)))
    (source / "ibug/image_003 _1.jpg").write_bytes(b"\xff\xd8")
    out = tmp_path / "out"
    words = ("--validation", "0")
    clips = deliveries.clips(deliveries.build("w300", source, out, *words))
    assert set(clips) == {n for n in PICTURES if not n.startswith(("300W", "ibug"))}
    bad = "unreadable labels:"
    assert sorted((out / "skipped.csv").read_text().splitlines()[1:]) == sorted([
        ",,afw/alone.jpg,,missing",
        f",,afw/lying.pts,,{bad} afw/lying.pts says 66 points and has 68; 68 are needed",
        ",,afw/plain.jpg,,no label",
        f",,afw/short.pts,,{bad} afw/short.pts says 60 points and has 60; 68 are needed",
        ',,afw/words.pts,,"unreadable labels: afw/words.pts is no list of points '
        '(version, n_points, { x y … })"',
        ",,ibug/image_003 _1.jpg,,unreadable",
    ])  # fmt: skip
    assert "half a pixel is taken off" in (out / "labels.json").read_text()
    assert "1 mirrored copies (*_mirror.pts) are left out" in (out / "labels.json").read_text()


def test_refused(source, tmp_path, capsys):
    out = tmp_path / "out"
    deliveries.write_picture(source / "afw/1051618982_1.png", 1)
    text = deliveries.refused(capsys, "w300", source, out)
    assert "1051618982_1.jpg share one .pts; remove one" in text
    other = tmp_path / "other"
    (other / "afw").mkdir(parents=True)
    text = deliveries.refused(capsys, "w300", other, out)
    assert "has no readable .pts file of --protocol full" in text
    deliveries.write_text(other / "afw/a.pts", "torn")
    text = deliveries.refused(capsys, "w300", other, out)
    assert "afw/a.pts is no list of points" in text
    (tmp_path / "third" / "AU_OCC").mkdir(parents=True)
    text = deliveries.refused(capsys, "w300", tmp_path / "third", out)
    assert "is not 300-W as delivered" in text
