"""AffectNet in its two releases."""

import os
from pathlib import Path

import cv2
import deliveries
import numpy as np
import pytest

from jaxfacs.cli import main
from jaxfacs.data import records
from jaxfacs.data.builders import affectnet
from jaxfacs.faces.prepare import FaceSteps

HEADER = ",".join(affectnet.COLUMNS)
LIST = "Manually_Annotated_file_lists"
IMAGES = "Manually_Annotated/Manually_Annotated_Images"


def landmarks(first: float) -> list[float]:
    return [first + 0.25 * n for n in range(136)]


def row(name: str, expression: int | str, valence: str, arousal: str, box: str = "8,16,8,8") -> str:
    points = ";".join(f"{v:g}" for v in landmarks(1.0))
    return f"{name},{box},{points},{expression},{valence},{arousal}"


TRAINING = (
    row("1/a.jpg", 0, "0.1", "-0.2"),
    row("1/b.png", 1, "0.9", "0.3"),
    row("2/c.jpg", 7, "-0.5", "0.5"),
    row("2/d.jpg", 8, "-2", "-2"),  # none
    row("2/e.jpg", 9, "-2", "-2"),  # uncertain
    row("2/f.jpg", 10, "-2", "-2", "-1,-1,-1,-1"),  # no face
    row("2/g.jpg", 8, "0.25", "-0.75"),
    row("2/h.jpg", 6, "-2", "-2"),
)
VALIDATION = (row("3/i.jpg", 5, "-0.6", "0.4"), row("3/j.jpg", 2, "-1", "1"))
FOUND = {  # expression, valence, arousal
    "1/a.jpg": (0, 0.1, -0.2), "1/b.png": (1, 0.9, 0.3), "2/c.jpg": (7, -0.5, 0.5),
    "2/g.jpg": (-1, 0.25, -0.75), "2/h.jpg": (6, np.nan, np.nan),
    "3/i.jpg": (5, -0.6, 0.4), "3/j.jpg": (2, -1, 1),
}  # fmt: skip


@pytest.fixture
def source(tmp_path):
    """The release of 2017; `grey` of a picture is its letter's place."""
    root = tmp_path / "delivered"
    deliveries.write_text(root / LIST / "training.csv", HEADER, *TRAINING)
    deliveries.write_text(root / LIST / "validation.csv", *VALIDATION)  # without a header
    for text in (*TRAINING, *VALIDATION):
        name = text.split(",")[0]
        deliveries.write_picture(root / IMAGES / name, ord(Path(name).stem) - ord("a"))
    return root


def crops(root: Path, rows: dict[str, tuple[int, object, object, object]]) -> Path:
    """The release of 2021: path -> number of its grey level, expression, valence, arousal."""
    for name, (number, *labels) in rows.items():
        folder, stem = name.split("/")
        deliveries.write_picture(root / folder / "images" / f"{stem}.jpg", number)
        (root / folder / "annotations").mkdir(exist_ok=True)
        for kind, value in zip(("exp", "val", "aro"), labels, strict=True):
            np.save(root / folder / "annotations" / f"{stem}_{kind}.npy", value)
        np.save(root / folder / "annotations" / f"{stem}_lnd.npy", np.array(landmarks(1.0)))
    return root


ROWS = {
    "train_set/0": (0, 0, 0.1, -0.2),
    "train_set/1": (1, "7", "-0.5", "0.25"),  # stored as strings
    "train_set/10": (2, 3, -2.0, -2.0),
    "train_set/9": (3, np.array(["2"]), np.float32(0.5), np.array([0.75])),
    "val_set/0": (4, 6, 1.0, -1.0),
}
TRUTH = {
    "train_set/0": (0, 0.1, -0.2), "train_set/1": (7, -0.5, 0.25),
    "train_set/10": (3, np.nan, np.nan), "train_set/9": (2, 0.5, 0.75), "val_set/0": (6, 1, -1),
}  # fmt: skip


def affect(clip) -> list[float]:
    """Valence and arousal; a record has none where both are unknown."""
    found = clip.valence_arousal_T2
    return [np.nan, np.nan] if found is None else found[0].tolist()


def build(source: Path, out: Path, *options: str):
    return deliveries.build("affectnet", source, out, "--validation", "0", *options)


def test_lists_of_2017(source, tmp_path, capsys):
    opened = build(source, tmp_path / "out")
    assert opened.emotions == ("neutral", "happiness", "sadness", "surprise", "fear", "disgust",
                               "anger", "contempt")  # fmt: skip
    clips = deliveries.clips(opened)
    assert set(clips) == {f"{IMAGES}/{name}" for name in FOUND}
    for name, (emotion, valence, arousal) in FOUND.items():
        clip = clips[f"{IMAGES}/{name}"]
        assert (clip.emotion, clip.subject) == (emotion, "")
        np.testing.assert_allclose(affect(clip), [valence, arousal], rtol=1e-6)
        assert deliveries.shown(clip) == [deliveries.grey(ord(Path(name).stem) - ord("a"))]
        # The crop is the picture, of the same size: points are where they were.
        expected = np.array(landmarks(1.5), np.float32).reshape(68, 2)
        np.testing.assert_allclose(clip.landmarks_T68x2[0], expected, atol=1e-4)
    assert {key.split("/")[2] for key in deliveries.clips(opened, "test")} == {"3"}
    told = capsys.readouterr().out
    assert "validation.csv has no header" in told
    assert "training.csv: 3 pictures of unknown expression" in told


def test_faces_of_2017_are_in_the_given_boxes(source, tmp_path):
    assert affectnet.read(source, affectnet.Options()).faces == ("boxes",)
    for path in (source / IMAGES).rglob("*.*"):
        picture = np.zeros((40, 40, 3), np.uint8)
        picture[16:24, 8:16] = 255  # as row("…", box="8,16,8,8") has it
        cv2.imwrite(str(path), picture)
    options = ("--faces", "boxes", "box:0", "--size", "32")
    opened = build(source, tmp_path / "out", *options)
    clip = deliveries.clips(opened)[f"{IMAGES}/1/a.jpg"]
    np.testing.assert_allclose(clip.box_T4, [[8, 16, 8, 8]])
    crop = cv2.imdecode(np.frombuffer(clip.frames[0], np.uint8), cv2.IMREAD_GRAYSCALE)
    assert crop[4:-4, 4:-4].min() > 200 and clip.found_T.all()


def test_each_release_is_prepared_as_suits_it(source, tmp_path):
    new = crops(tmp_path / "new", ROWS)
    for delivered, words in ((source, ["boxes", "box:0.1"]), (new, ["none"])):
        out = tmp_path / words[0]
        assert (
            main(["data", "build", "affectnet", "--source", str(delivered), "--out", str(out)]) == 0
        )
        crop = records.open_set(out).crop
        assert (crop["steps"], crop["size"]) == (words, 224)


def test_a_box_of_minus_ones_is_unknown(source):
    with open(source / LIST / "training.csv", "a") as file:
        file.write(row("1/a.jpg", 3, "0", "0", "-1,-1,-1,-1") + "\n")
    boxes = affectnet.read(source, affectnet.Options()).recordings[0].box_T4
    np.testing.assert_array_equal(boxes, [[8, 16, 8, 8]] * 5 + [[np.nan] * 4])


def test_files_of_2021(tmp_path, monkeypatch):
    source = crops(tmp_path / "source", ROWS)
    opened = build(source, tmp_path / "out")
    clips = deliveries.clips(opened)
    assert len(clips) == len(ROWS)
    for name, (emotion, valence, arousal) in TRUTH.items():
        folder, stem = name.split("/")
        clip = clips[f"{folder}/images/{stem}.jpg"]
        assert clip.emotion == emotion
        np.testing.assert_allclose(affect(clip), [valence, arousal], rtol=1e-6)
        assert deliveries.shown(clip) == [deliveries.grey(ROWS[name][0])]
        assert clip.landmarks_T68x2[0, 0].tolist() == [1.5, 1.75]
    assert set(deliveries.clips(opened, "test")) == {"val_set/images/0.jpg"}
    delivery = affectnet.read(source, affectnet.Options(landmarks=False))
    assert delivery.faces == () and delivery.recordings[0].landmarks_TK2 is None
    assert [p.split("/")[2] for p in delivery.recordings[0].frames.paths] == [
        "0.jpg", "1.jpg", "9.jpg", "10.jpg"
    ]  # fmt: skip


def test_a_folder_of_a_million_files_is_listed_once(tmp_path, monkeypatch):
    source = crops(tmp_path / "source", ROWS)
    listed: list[str] = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: (listed.append(str(path)), listdir(path))[1])
    monkeypatch.setattr(Path, "rglob", None)
    affectnet.read(source, affectnet.Options())
    assert len(listed) == len(set(listed)) == 4


def test_damaged_and_lonely_files_of_2021_are_listed(tmp_path):
    source = crops(tmp_path / "source", {**ROWS, "val_set/5": (5, 1, 0.5, 0.5)})
    annotations = source / "train_set" / "annotations"
    np.save(annotations / "1_val.npy", np.array([{}], object))  # would be unpickled
    np.save(annotations / "9_exp.npy", np.array([1, 2]))
    broken = annotations / "10_aro.npy"
    broken.write_bytes(broken.read_bytes().replace(b"'<f8", b"'<f8\0"))
    deliveries.write_picture(source / "train_set" / "images" / "77.jpg", 1)
    (source / "val_set" / "images" / "5.jpg").unlink()
    opened = build(source, tmp_path / "out", "--may-lack")
    assert set(deliveries.clips(opened)) == {"train_set/images/0.jpg", "val_set/images/0.jpg"}
    rows = (tmp_path / "out" / "skipped.csv").read_text().splitlines()[1:]
    assert rows[0] == ",,train_set/images/77.jpg,,no label"
    reason = "unreadable labels: "
    assert rows[1].startswith(f",,train_set/images/1.jpg,,{reason}1_val.npy: Object arrays")
    assert rows[2] == f',,train_set/images/9.jpg,,"{reason}9_exp.npy holds 2 values, not one"'
    assert rows[3].startswith(',,train_set/images/10.jpg,,"unreadable labels: 10_aro.npy: ')
    assert rows[-1] == ",,val_set/images/5.jpg,,missing"


def test_damaged_rows_and_contradictions_of_2017_are_listed(source, tmp_path):
    with open(source / LIST / "training.csv", "a") as file:
        file.write(f"{row('1/x.jpg', 'happy', '0', '0')}\n1/y.jpg,1,2\n")
        file.write(f"{TRAINING[0]}\n{row('2/c.jpg', 6, '-0.5', '0.5')}\n")
        file.write(row("1/z.jpg", 12, "0", "0") + "\n")
    opened = build(source, tmp_path / "out")
    assert set(deliveries.clips(opened)) == {f"{IMAGES}/{n}" for n in FOUND if n != "2/c.jpg"}
    rows = (tmp_path / "out" / "skipped.csv").read_text().splitlines()[1:]
    assert rows == [
        "training.csv,10,1/x.jpg,,unreadable labels",
        "training.csv,11,1/y.jpg,,unreadable labels",
        "training.csv,14,1/z.jpg,,unreadable labels",
        f"training.csv,,{IMAGES}/2/c.jpg,,label clash",
        f"training.csv,,{IMAGES}/2/c.jpg,,label clash",
    ]


def test_automatic_labels_are_for_training(source, tmp_path):
    options = ("--annotation", "both")
    folder = source / "Automatically_annotated_file_list"
    deliveries.write_text(
        folder / "automatically_annotated.csv", HEADER, row("9/k.jpg", 3, "0", "0")
    )
    deliveries.write_picture(source / "Automatically_Annotated_Images" / "9" / "k.jpg", 11)
    opened = build(source, tmp_path / "out", *options)
    clip = deliveries.clips(opened, "train")["Automatically_Annotated_Images/9/k.jpg"]
    assert clip.emotion == 3 and deliveries.shown(clip) == [deliveries.grey(11)]
    assert len(deliveries.clips(opened)) == len(FOUND) + 1


def test_a_path_that_leaves_the_folder_is_refused(source, tmp_path, capsys):
    with open(source / LIST / "training.csv", "a") as file:
        file.write(row("../../secret.jpg", 1, "0", "0") + "\n")
    told = deliveries.refused(capsys, "affectnet", source, tmp_path / "out")
    assert "training.csv, line 10: '../../secret.jpg' leads out of the folder" in told


def test_half_copied_deliveries_are_refused(source, tmp_path, capsys):
    (source / LIST / "validation.csv").unlink()
    told = deliveries.refused(capsys, "affectnet", source, tmp_path / "out")
    assert "no validation.csv in Manually_Annotated_file_lists" in told
    new = crops(tmp_path / "new", {"train_set/0": ROWS["train_set/0"]})
    told = deliveries.refused(capsys, "affectnet", new, tmp_path / "out")
    assert "no val_set/annotations" in told
    (new / "val_set" / "annotations").mkdir(parents=True)
    told = deliveries.refused(capsys, "affectnet", new, tmp_path / "out")
    assert "holds no labels like 0_exp.npy" in told


def test_a_list_without_a_good_row_is_refused(source, tmp_path, capsys):
    deliveries.write_text(source / LIST / "training.csv", HEADER, "1/a.jpg,b", "1/b.jpg,c")
    told = deliveries.refused(capsys, "affectnet", source, tmp_path / "out")
    assert "training.csv, line 2" in told


def test_another_folder_is_refused(tmp_path, capsys):
    (tmp_path / "source" / "CAER-S").mkdir(parents=True)
    told = deliveries.refused(capsys, "affectnet", tmp_path / "source", tmp_path / "out")
    assert "not AffectNet as delivered" in told


def test_the_usual_faces():
    steps = FaceSteps.parse(affectnet.BUILDER.faces, size=affectnet.BUILDER.size)
    assert (steps.detection, steps.size) == ("none", 224)
    assert FaceSteps.parse(("boxes",), size=224).needs_known
