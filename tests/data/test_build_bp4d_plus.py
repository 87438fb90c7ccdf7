"""BP4D+: 34 named columns, four folds, labels and pictures that do not end together."""

from pathlib import Path

import deliveries
import numpy as np
import pytest
from binghamton import left_out, long_form, pictures, short_form

from jaxfacs import facs
from jaxfacs.data.builders import bp4d_plus
from jaxfacs.faces.steps import FaceSteps


@pytest.fixture
def source(tmp_path) -> Path:
    """M040 and F072 (fold 1), F074 (fold 2), F041 (fold 4) in a folder BP4D+_v0.2."""
    root = tmp_path / "delivered" / "BP4D+_v0.2"
    occ, pictured = root / "AUCoding" / "AU_OCC", root / "2D+3D"
    short_form(occ / "M040_T1.csv", {1: {1: 1, 27: 1}, 2: {12: 9}, 3: {39: 1}})
    pictures(pictured / "M040" / "T1", range(1, 6), 3)
    for au in ("06", "17"):
        grades = ("1,0", "2,9", "3,4") if au == "06" else ("1,5", "2,1", "3,0")
        deliveries.write_text(root / f"AUCoding/AU_INT/AU{au}/M040_T1_AU{au}.csv", *grades)
    short_form(occ / "F072_T6.csv", {4: {2: 1}, 5: {2: 1}})
    pictures(pictured / "F072" / "T6", [4, 5], 4)
    short_form(occ / "F074_T8.csv", {7: {4: 1}})
    deliveries.write_film(root / "2D" / "F074_T8.mp4.avi", [0])  # of another name: not its film
    deliveries.write_film(root / "2D" / "F074_T8.avi", list(range(1, 9)))
    # Labels go on after the last picture.
    short_form(occ / "F041_T7.csv", {n: {24: 1} for n in (8, 9, 10, 11)})
    pictures(pictured / "F041" / "T7", [8, 9], 3)
    deliveries.write_text(root / "Physiology/F041/T7/Pulse Rate_BPM.txt", "61.0")
    return root.parent


def test_every_label_of_a_delivery(source, tmp_path, capsys):
    opened = deliveries.build("bp4d_plus", source, tmp_path / "out", "--validation", "0")
    assert opened.aus == (*facs.DATASET_AUS["bp4d"], "27", "39")
    assert opened.subjects == {"train": ("F041", "F074"), "test": ("F072", "M040")}
    assert opened.people == "bp4d_plus"
    clips = deliveries.clips(opened)
    assert set(clips) == {"M040/T1:1", "F072/T6:4", "F074/T8:7", "F041/T7:8"}
    grey = deliveries.grey
    expected = {
        "M040/T1:1": (
            [1, 2, 3],
            {"1": [1, 0, 0], "27": [1, 0, 0], "12": [0, -1, 0], "39": [0, 0, 1]},
        ),
        "F072/T6:4": ([4, 5], {"2": [1, 1]}),
        "F074/T8:7": ([7], {"4": [1]}),
        "F041/T7:8": ([8, 9], {"24": [1, 1]}),
    }
    grades = {"6": [0, -1, 4], "17": [5, 1, 0]}
    for key, (numbers, present) in expected.items():
        clip = clips[key]
        assert deliveries.shown(clip) == [grey(n) for n in numbers]
        for au in opened.aus:
            assert deliveries.labels(opened, clip, au) == present.get(au, [0] * len(numbers))
            graded = grades.get(au) if key == "M040/T1:1" else None
            assert deliveries.grades(opened, clip, au) == (graded or [-1] * len(numbers))
    assert left_out(opened) == [
        ("2D+3D/F041/T7/10.jpg", "10", "missing"),
        ("2D+3D/F041/T7/11.jpg", "11", "missing"),
    ]
    told = capsys.readouterr().out
    assert "0 of 2 published counts agree" in told and "subjects 4 (-136)" in told


def test_four_folds_part_the_140_people():
    listed = [subject for fold in bp4d_plus.FOUR_FOLD.values() for subject in fold]
    assert len(listed) == len(set(listed)) == 140
    assert set(listed) == {
        *(f"F{n:03d}" for n in range(1, 83)),
        *(f"M{n:03d}" for n in range(1, 59)),
    }
    assert [len(fold) for fold in bp4d_plus.FOUR_FOLD.values()] == [35] * 4


def test_folds_test_their_own_people(source):
    found = {}
    for protocol in ("fold1", "fold2", "fold3", "fold4", "subjects"):
        delivery = bp4d_plus.read(source, bp4d_plus.Options(protocol=protocol))
        found[protocol] = {r.subject for r in delivery.recordings if r.split == "test"}
        splits = {r.split for r in delivery.recordings}
        assert splits <= ({None} if protocol == "subjects" else {"train", "test"})
    assert found == {
        "fold1": {"M040", "F072"}, "fold2": {"F074"}, "fold3": set(), "fold4": {"F041"},
        "subjects": set(),
    }  # fmt: skip


def test_intensity_alone(source):
    delivery = bp4d_plus.read(source, bp4d_plus.Options(aus="intensity"))
    assert delivery.aus == ("6", "10", "12", "14", "17")
    (first,) = (r for r in delivery.recordings if r.name == "M040/T1")
    assert first.intensity_TA[:, 0].tolist() == [0, -1, 4]
    assert np.all(first.intensity_TA[:, 1:4] == -1)


def test_default_faces_are_understood():
    assert FaceSteps.parse(bp4d_plus.BUILDER.faces).detection == "haar"


# Bad input


def test_bp4d_is_refused(tmp_path, capsys):
    root = tmp_path / "BP4D"
    for task in ("T1", "T2", "T3"):
        long_form(root / "AUCoding" / f"F001_{task}.csv", {1: {1: 1}})
    told = deliveries.refused(capsys, "bp4d_plus", root, tmp_path / "out")
    assert "labels of T2, T3, which BP4D+ does not code" in told and "build bp4d reads" in told


def test_people_of_eb_plus_are_refused(source, tmp_path, capsys):
    short_form(source / "BP4D+_v0.2/AUCoding/AU_OCC/F101_T1.csv", {1: {1: 1}})
    told = deliveries.refused(capsys, "bp4d_plus", source, tmp_path / "out")
    assert "F101, who is not among the 140 people" in told and "eb_plus" in told


def test_packed_pictures(source, tmp_path, capsys):
    pictured = source / "BP4D+_v0.2" / "2D+3D"
    (pictured / "M040").rename(tmp_path / "M040")
    (pictured / "M040.zip").write_bytes(b"PK")
    told = deliveries.refused(capsys, "bp4d_plus", source, tmp_path / "out")
    assert "2D+3D/M040.zip is packed; unpack it and its neighbours there" in told


def test_another_set_is_refused(tmp_path, capsys):
    deliveries.write_text(tmp_path / "x" / "ActionUnit_Labels" / "SN001_au1.txt", "1,0")
    deliveries.write_text(tmp_path / "x" / "labels.zip", "PK")
    told = deliveries.refused(capsys, "bp4d_plus", tmp_path / "x", tmp_path / "out")
    assert "is not BP4D+ as delivered" in told and "unpack labels.zip first" in told
