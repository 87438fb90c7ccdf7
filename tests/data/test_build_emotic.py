"""EMOTIC: MATLAB records of one, several or no people, boxes beyond the edge, unknown scales."""

import json
from pathlib import Path
from typing import Any

import deliveries
import numpy as np
import pytest
from deliveries import grey

from jaxfacs.data.builders import emotic
from jaxfacs.faces.prepare import FaceSteps

savemat = pytest.importorskip("scipy.io").savemat

WIDTH, HEIGHT = 48, 40


def structs(rows: list[dict[str, Any]]) -> np.ndarray:
    """A MATLAB struct array, 1×N."""
    out = np.zeros((1, len(rows)), [(name, object) for name in (rows[0] if rows else ["none"])])
    for i, row in enumerate(rows):
        for name, value in row.items():
            out[name][0, i] = value
    return out


def words(*names: str) -> np.ndarray:
    """A MATLAB cell array of texts."""
    out = np.empty((1, len(names)), object)
    out[0, :] = names
    return out


def scales(valence: float, arousal: float, dominance: float) -> np.ndarray:
    return structs([{"valence": valence, "arousal": arousal, "dominance": dominance}])


def person(box: list[float], names: tuple[str, ...], vad=(5.5, 1, 10), **told: Any) -> dict:
    """Of the training part: one annotator."""
    return {
        "body_bbox": np.array([box], float),
        "annotations_categories": structs([{"categories": words(*names)}]),
        "annotations_continuous": scales(*vad),
        "gender": told.get("gender", "Male"),
        "age": told.get("age", "Adult"),
    }


def judged(box: list[float], combined: tuple[str, ...], vad=(10, 5.5, 1), **told: Any) -> dict:
    """Of the other parts: several annotators, and what they sum up to."""
    several = [{"categories": words("Anger")}, {"categories": words("Peace", "Fear")}]
    return {
        "body_bbox": np.array([box], float),
        "annotations_categories": structs(several),
        "combined_categories": words(*combined),
        "annotations_continuous": structs([{"valence": 1, "arousal": 1, "dominance": 1}] * 2),
        "combined_continuous": scales(*vad),
        "gender": told.get("gender", "Female"),
        "age": told.get("age", "Kid"),
    }


def record(name: str, *people: dict, folder: str = "mscoco/images") -> dict:
    return {
        "filename": name,
        "folder": folder,
        "image_size": structs([{"n_col": WIDTH, "n_row": HEIGHT}]),
        "original_database": structs([{"name": "mscoco", "info": 1}]),
        "person": structs(list(people)),
    }


TRAIN = [
    record(
        "a1.jpg",
        person([4, 6, 20, 30], ("Anger", "Doubt/Confusion"), (1, 10, 5.5)),
        person([30, 10, 60, 50], ("Peace",), (np.nan, 5, 5), gender="Female", age="Teenager"),
    ),
    record("a2.jpg", person([0, 0, 48, 40], ("Yearning",))),
]
VAL = [record("b3.jpg", judged([1, 2, 11, 22], ("Fear", "Sympathy")), folder="emodb_small/images")]
TEST = [record("c4.jpg", judged([5, 5, 15, 15], ("Pain",), (np.nan,) * 3))]


def write(folder: Path, train=TRAIN, val=VAL, test=TEST, **others) -> Path:
    parts = {"train": train, "val": val, "test": test}
    path = folder / "Annotations/Annotations.mat"
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {**{k: structs(v) for k, v in parts.items() if v}, **others})
    for rows in parts.values():
        for row in rows:
            if ".." not in row["filename"]:
                number = int(row["filename"][1])
                picture = folder / "emotic" / row["folder"] / row["filename"]
                deliveries.write_picture(picture, number, height=HEIGHT, width=WIDTH)
    return folder


@pytest.fixture
def source(tmp_path) -> Path:
    return write(tmp_path / "source")


def test_every_label_of_every_person(source, tmp_path):
    chosen = ("--faces", "boxes", "box:0", "--size", "32")
    opened = deliveries.build("emotic", source, tmp_path / "out", *chosen)
    assert opened.attributes == emotic.ATTRIBUTES and len(opened.attributes) == 29

    def told(clip) -> tuple:
        values = dict(zip(opened.attributes, clip.attributes_TK[0].tolist(), strict=True))
        scale = [values.pop(name) for name in ("dominance", "age", "gender")]
        assert set(values.values()) == {0, 1}
        named = {name for name, value in values.items() if value == 1}
        affect_T2 = clip.valence_arousal_T2  # None where all of it is unknown
        affect = [9, 9] if affect_T2 is None else np.nan_to_num(affect_T2[0], nan=9).tolist()
        numbers = [[round(v, 4) for v in row] for row in (affect, np.nan_to_num(scale, nan=9))]
        return clip.box_T4[0].tolist(), named, *numbers, deliveries.shown(clip)

    found = {k.removeprefix("emotic/"): told(c) for k, c in deliveries.clips(opened).items()}
    ninth = round(-0.5 / 4.5, 4)  # of 5
    assert found == {
        "mscoco/images/a1.jpg#0": (
            [4, 6, 16, 24], {"anger", "doubt_confusion"}, [-1, 1], [0, 2, 0], [grey(1)],
        ),
        "mscoco/images/a1.jpg#1": (  # cut off at the picture's edge
            [30, 10, 18, 30], {"peace"}, [9, ninth], [ninth, 1, 1], [grey(1)],
        ),
        "mscoco/images/a2.jpg": (
            [0, 0, 48, 40], {"yearning"}, [0, -1], [1, 2, 0], [grey(2)],
        ),
        "emodb_small/images/b3.jpg": (
            [1, 2, 10, 20], {"fear", "sympathy"}, [1, 0], [-1, 0, 1], [grey(3)],
        ),
        "mscoco/images/c4.jpg": ([5, 5, 10, 10], {"pain"}, [9, 9], [9, 0, 1], [grey(4)]),
    }  # fmt: skip
    assert {s: opened.splits[s] for s in opened.splits} == {"train": 3, "validation": 1, "test": 1}
    notes = json.loads((tmp_path / "out/labels.json").read_text())["notes"]
    assert notes == ["1 boxes left their picture and are cut off at its edge"]
    assert FaceSteps.parse(emotic.BUILDER.faces, size=emotic.BUILDER.size).words == (
        "boxes", "box:0",
    )  # fmt: skip


def test_without_boxes_pictures_of_several_people_are_left_out(source, tmp_path):
    out = tmp_path / "out"
    opened = deliveries.build("emotic", source, out, "--box", "none")
    assert len(deliveries.clips(opened)) == 3
    assert (out / "skipped.csv").read_text().splitlines()[1:] == [
        "Annotations.mat,1,emotic/mscoco/images/a1.jpg,,several people"
    ]
    assert emotic.read(source, emotic.Options(box="none")).faces == ("haar",)


def test_boxes_outside_and_bad_pictures_are_listed(tmp_path):
    nobody = person([50, 3, 70, 20], ("Peace",))
    source = write(tmp_path / "source", [*TRAIN, record("a5.jpg", nobody), record("a6.jpg")])
    (source / "emotic/mscoco/images/a2.jpg").write_bytes(b"\xff\xd8")
    (source / "emotic/mscoco/images/c4.jpg").unlink()
    out = tmp_path / "out"
    opened = deliveries.build("emotic", source, out, "--may-lack")
    assert {s: opened.splits[s] for s in opened.splits} == {"train": 2, "validation": 1}
    assert (out / "skipped.csv").read_text().splitlines()[1:] == [
        "Annotations.mat,3,emotic/mscoco/images/a5.jpg,,no box in the picture",
        "Annotations.mat,2,emotic/mscoco/images/a2.jpg,,unreadable",
        "Annotations.mat,1,emotic/mscoco/images/c4.jpg,,missing",
    ]


def test_the_older_layout(tmp_path):
    source = write(tmp_path / "source")
    (source / "Annotations/Annotations.mat").rename(source / "CVPR17_Annotations.mat")
    (source / "emotic").rename(source / "cvpr_emotic")
    assert len(deliveries.clips(deliveries.build("emotic", source, tmp_path / "out"))) == 5


@pytest.mark.parametrize(
    ("train", "text"),
    [
        ([record("a.jpg", person([0, 0, 9, 9], ("Joy",)))], "record 1: 'Joy' is none of the 26"),
        ([record("a.jpg", person([0, 0, 9], ("Peace",)))], "record 1: body_bbox or image_size is"),
        ([{"filename": "a.jpg", "folder": "x"}], "record 1: no field person, it has filename"),
        ([record("../../a.jpg")], "line 1: 'mscoco/images/../../a.jpg' leads out of the folder"),
    ],
)
def test_bad_records_are_refused(tmp_path, capsys, train, text):
    source = tmp_path / "source"
    (source / "Annotations").mkdir(parents=True)
    savemat(source / "Annotations/Annotations.mat", {"train": structs(train)})
    message = deliveries.refused(capsys, "emotic", source, tmp_path / "out")
    assert text in message and "Annotations.mat" in message


def test_bad_files_and_folders_are_refused(source, tmp_path, capsys):
    out, file = tmp_path / "out", source / "Annotations/Annotations.mat"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert "is no readable MATLAB file" in deliveries.refused(capsys, "emotic", source, out)
    savemat(file, {"other": 1})
    assert "holds none of train, val, test" in deliveries.refused(capsys, "emotic", source, out)
    (source / "emotic/Annotations.mat").write_bytes(whole)
    assert "are both annotations" in deliveries.refused(capsys, "emotic", source, out)
    file.unlink()
    (source / "emotic/Annotations.mat").unlink()
    assert "has no Annotations.mat" in deliveries.refused(capsys, "emotic", source, out)
    (tmp_path / "other/AU_OCC").mkdir(parents=True)
    text = deliveries.refused(capsys, "emotic", tmp_path / "other", out)
    assert "is not EMOTIC as delivered" in text
