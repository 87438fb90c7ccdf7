"""SMIC: clips by their folders, three cameras, whole views or faces, spans of a workbook."""

import json
from pathlib import Path

import deliveries
import numpy as np
import pytest
from deliveries import grey

from jaxfacs.data.builders import smic
from jaxfacs.faces.prepare import FaceSteps

# clip -> numbers of its frames.
CLIPS = {"s1_ne_01": (3, 4, 5), "s1_po_02": (1, 2), "s12_sur_01": (8, 9, 10, 11)}


def write_clip(folder: Path, numbers: tuple[int, ...], name: str = "image{:06d}.bmp") -> None:
    for number in numbers:
        deliveries.write_picture(folder / name.format(number), number)


@pytest.fixture
def source(tmp_path) -> Path:
    folder = tmp_path / "source"
    kinds = {"ne": "negative", "po": "positive", "sur": "surprise"}
    for clip, numbers in CLIPS.items():
        subject, kind, _ = clip.split("_")
        place = f"HS/{subject}/micro/{kinds[kind]}/{clip}"
        write_clip(folder / "SMIC_all_raw" / place, numbers)
        shifted = tuple(n + 12 for n in numbers)  # another grey, to tell them apart
        for number, shown in zip(numbers, shifted, strict=True):
            crop = folder / "SMIC_all_cropped" / place / f"reg_image{number:06d}.bmp"
            deliveries.write_picture(crop, shown)
    write_clip(folder / "SMIC_all_raw/HS/s1/non_micro/s1_n1", (6, 7))
    write_clip(folder / "SMIC_all_raw/VIS/s2/micro/positive/s2_po_01", (1,))
    return folder


def test_clips_have_their_class_and_frames(source, tmp_path):
    opened = deliveries.build("smic", source, tmp_path / "out", "--protocol", "all")
    clips = deliveries.clips(opened)
    assert opened.emotions == ("negative", "positive", "surprise") and opened.aus == ()
    told = {
        key: (clip.subject, clip.emotion, deliveries.shown(clip)) for key, clip in clips.items()
    }
    assert told == {
        "s1_ne_01:3": ("s1", 0, [grey(3), grey(4), grey(5)]),
        "s1_po_02:1": ("s1", 1, [grey(1), grey(2)]),
        "s12_sur_01:8": ("s12", 2, [grey(n) for n in (8, 9, 10, 11)]),
    }
    clip = clips["s1_ne_01:3"]
    np.testing.assert_allclose(clip.timestamps_T, [0, 0.01, 0.02])
    assert opened.attributes == ("micro",) and clip.attributes_TK.tolist() == [[1], [1], [1]]


def test_other_cameras_and_kinds(source, tmp_path):
    opened = deliveries.build(
        "smic", source, tmp_path / "vis", "--camera", "vis", "--protocol", "all"
    )
    assert list(deliveries.clips(opened)) == ["s2_po_01:1"]
    assert "25 frames a second are assumed" in (tmp_path / "vis/labels.json").read_text()
    words = ("--pictures", "cropped", "--protocol", "all")
    opened = deliveries.build("smic", source, tmp_path / "cropped", *words)
    assert deliveries.shown(deliveries.clips(opened)["s1_po_02:1"]) == [grey(13), grey(14)]


def test_cropped_faces_are_taken_whole_unless_told_otherwise(source):
    cropped = smic.read(source, smic.Options(pictures="cropped"))
    assert cropped.faces == ("whole",)
    assert smic.read(source, smic.Options()).faces == ()
    assert FaceSteps.parse(smic.BUILDER.faces).words == ("haar", "box:0.1")


def test_clips_without_an_expression_have_no_emotion(source, tmp_path):
    opened = deliveries.build("smic", source, tmp_path / "out", "--non-micro", "--protocol", "all")
    clip = deliveries.clips(opened)["s1_n1:6"]
    assert clip.emotion == -1 and clip.attributes_TK.tolist() == [[0], [0]]
    assert len(deliveries.clips(opened)) == 4


def test_one_person_left_out(source, tmp_path, capsys):
    opened = deliveries.build("smic", source, tmp_path / "out", "--test-subject", "s12")
    assert list(deliveries.clips(opened, "test")) == ["s12_sur_01:8"]
    assert {c.subject for c in deliveries.clips(opened, "train").values()} == {"s1"}
    text = deliveries.refused(capsys, "smic", source, tmp_path / "no", "--test-subject", "s3")
    assert "--test-subject s3: nobody is; there are s1, s12" in text


def test_a_workbook_narrows_clips_and_gaps_end_them(source, tmp_path):
    write_clip(source / "SMIC_all_raw/HS/s1/micro/negative/s1_ne_01", (1, 7))
    rows = [
        ["", "filename", "onset", "offset"],
        [0, "s1_ne_01", 4, 7],
        [1, "s12_sur_01", 40, 50],
    ]
    deliveries.write_sheets(source / "smic.xlsx", {"Sheet1": rows})
    opened = deliveries.build("smic", source, tmp_path / "out", "--protocol", "all")
    clips = deliveries.clips(opened)
    assert sorted(clips) == ["s12_sur_01:8", "s1_ne_01:4", "s1_ne_01:7", "s1_po_02:1"]
    assert deliveries.shown(clips["s1_ne_01:4"]) == [grey(4), grey(5)]
    assert len((tmp_path / "out/skipped.csv").read_text().splitlines()) == 1  # its header
    told = "s12_sur_01: smic.xlsx says 40 to 50, the folder holds 8 to 11, which are taken"
    assert json.loads((tmp_path / "out/labels.json").read_text())["notes"] == [told]


def test_longer_clips_are_cut_by_their_workbook(tmp_path):
    source = tmp_path / "source"
    top = source / "SMIC-E_raw image"
    for camera, clip, numbers in (
        ("HS", "s01/s1_ne_01", range(1, 9)),
        ("HS", "s02/s2_sur_03", range(4, 9)),
        ("VIS", "s01/s1_ne_01", range(1, 4)),
    ):
        home = top / f"{camera}_long/SMIC-{camera}-E"
        write_clip(home / clip, tuple(numbers), "image{:06d}.jpg")
    header = ["Subject", "Filename", "Number", "OnsetF", "OffsetF", "Emotion"]
    for camera, onset in (("HS", 3), ("VIS", 2)):
        rows = [header, [1, "s1_ne_01", 1, onset, onset + 1, "negative"]]
        rows += [[2, "s2_sur_03", 1, 5, 7, "surprise"], ["", "in all", 2]]
        book = top / f"{camera}_long/SMIC-{camera}-E_annotation.xlsx"
        deliveries.write_sheets(book, {"Sheet1": rows})
    words = ("--protocol", "all", "--around", "1")
    clips = deliveries.clips(deliveries.build("smic", source, tmp_path / "out", *words))
    told = {k: (c.subject, c.emotion, deliveries.shown(c)) for k, c in clips.items()}
    assert told == {
        "s1_ne_01:2": ("s1", -1, [grey(2)]),
        "s1_ne_01:3": ("s1", 0, [grey(3), grey(4)]),
        "s1_ne_01:5": ("s1", -1, [grey(5)]),
        "s2_sur_03:4": ("s2", -1, [grey(4)]),
        "s2_sur_03:5": ("s2", 2, [grey(5), grey(6), grey(7)]),
        "s2_sur_03:8": ("s2", -1, [grey(8)]),
    }


def test_a_bad_picture_is_listed(source, tmp_path):
    place = "SMIC_all_raw/HS/s12/micro/surprise/s12_sur_01/image000009.bmp"
    (source / place).write_bytes(b"BM")
    out = tmp_path / "out"
    clips = deliveries.clips(deliveries.build("smic", source, out, "--protocol", "all"))
    assert deliveries.shown(clips["s12_sur_01:10"]) == [grey(10), grey(11)]
    assert (out / "skipped.csv").read_text().splitlines()[1:] == [f",,{place},9,unreadable"]


def test_refused(source, tmp_path, capsys):
    text = deliveries.refused(capsys, "smic", source, tmp_path / "out", "--camera", "nir")
    assert "no clip like s1_ne_01 of --camera nir --pictures raw" in text
    twice = source / "SMIC_all_raw/HS/s1/micro/positive/s1_ne_01"
    write_clip(twice, (3,))
    text = deliveries.refused(capsys, "smic", source, tmp_path / "out")
    assert "are one clip; remove one of them" in text and "positive/s1_ne_01" in text
    other = tmp_path / "other"
    deliveries.write_picture(other / "AU_OCC" / "a.jpg", 1)
    text = deliveries.refused(capsys, "smic", other, tmp_path / "out")
    assert "is not SMIC as delivered" in text


def test_a_locked_workbook_is_refused(source, tmp_path, capsys):
    (source / "smic.xlsx").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    text = deliveries.refused(capsys, "smic", source, tmp_path / "out")
    assert "smic.xlsx has a password" in text
