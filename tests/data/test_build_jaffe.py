"""JAFFE: names that say who and what, and names that do not."""

import deliveries
import numpy as np
import pytest

from jaxfacs.data.builders import jaffe
from jaxfacs.faces.prepare import FaceSteps

README = """\
Semantic ratings of the pictures of JAFFE

  # HAP SAD SUR ANG DIS FEA PIC
-----------------------------------------
1 2.87 2.52 2.10 1.97 1.97 2.06 KA-NE1
2 4.90 1.06 1.48 1.05 1.03 1.08 KL-HA1
"""


@pytest.fixture
def source(tmp_path):
    """Two expressions of each model; the serial number is the grey level's."""
    root = tmp_path / "delivered" / "jaffe"
    for m, model in enumerate(jaffe.MODELS):
        deliveries.write_picture(root / f"{model}.NE1.{2 * m + 1}.tiff", 2 * m + 1)
        deliveries.write_picture(root / f"{model}.HA1.{2 * m + 2}.tiff", 2 * m + 2)
    return root


def test_every_picture_has_its_model_expression_and_ratings(source, tmp_path, capsys):
    (source / "README_FIRST.txt").write_text(README)
    opened = deliveries.build(
        "jaffe", source.parent, tmp_path / "out", "--protocol", "loso", "--fold", "3",
        "--validation", "0",
    )  # fmt: skip
    assert opened.emotions == ("neutral", "happiness", "sadness", "surprise", "anger", "disgust",
                               "fear")  # fmt: skip
    assert opened.attributes[:2] == ("rating_happiness", "rating_sadness")
    clips = deliveries.clips(opened)
    rated = {"KA.NE1.1.tiff": [2.87, 2.52, 2.10, 1.97, 1.97, 2.06],
             "KL.HA1.4.tiff": [4.90, 1.06, 1.48, 1.05, 1.03, 1.08]}  # fmt: skip
    for m, model in enumerate(jaffe.MODELS):
        for e, (code, serial) in enumerate((("NE", 2 * m + 1), ("HA", 2 * m + 2))):
            name = f"{model}.{code}1.{serial}.tiff"
            clip = clips[name]
            assert (clip.subject, clip.emotion) == (model, e)
            assert deliveries.shown(clip) == [deliveries.grey(serial)]
            expected = rated.get(name, [np.nan] * 6)
            np.testing.assert_allclose(clip.attributes_TK, [expected], rtol=1e-6)
    assert set(opened.subjects["test"]) == {"KM"} and opened.splits == {"train": 18, "test": 2}
    assert "mean ratings of 2 pictures found in README_FIRST.txt" in capsys.readouterr().out


def test_tenths_of_each_expression(source, tmp_path):
    """Every picture is the test of one fold, and each fold tests every expression."""
    tested: list[str] = []
    for fold in range(1, 11):
        delivery = jaffe.read(source, jaffe.Options(protocol="ten-fold", fold=fold))
        test = [r for r in delivery.recordings if r.split == "test"]
        assert {r.subject for r in delivery.recordings} == {""}
        assert sorted(e for r in test for e in r.emotion_T.tolist()) == [0, 1]
        tested += [path for r in test for path in r.frames.paths]
    assert sorted(tested) == sorted(path.name for path in source.iterdir())
    opened = deliveries.build(
        "jaffe", source, tmp_path / "out", "--protocol", "ten-fold", "--fold", "10"
    )
    assert set(deliveries.clips(opened, "test")) == {"YM.NE1.19.tiff", "YM.HA1.20.tiff"}


def test_stray_blanks_are_forgiven_and_wrong_names_listed(source, tmp_path):
    (source / "KA.NE1.1.tiff").rename(source / "KA.NE1.1 .tiff")
    (source / "KA.HA1.2.tiff").rename(source / "KA.HA1..2.tiff")
    deliveries.write_picture(source / "KX.NE1.90.tiff", 1)
    deliveries.write_picture(source / "YM.FE1.91.tiff", 1)
    deliveries.write_picture(source / "YM.SA1.91.tiff", 1)  # one number, two expressions
    deliveries.write_picture(source / "YM.HA1.20 .tiff", 1)
    (source / "KL.NE1.3.tiff").write_bytes(b"II*\0cut short")
    opened = deliveries.build("jaffe", source, tmp_path / "out")
    clips = deliveries.clips(opened)
    assert len(clips) == 19
    assert (clips["KA.NE1.1 .tiff"].emotion, clips["KA.HA1..2.tiff"].emotion) == (0, 1)
    assert opened.attributes == ()
    rows = (tmp_path / "out" / "skipped.csv").read_text().splitlines()[1:]
    assert sorted(rows) == [
        ",,KL.NE1.3.tiff,,unreadable",
        ",,KX.NE1.90.tiff,,name does not say who and what",
        ",,YM.FE1.91.tiff,,label clash",
        ",,YM.HA1.20.tiff,,copy of another file",
        ",,YM.SA1.91.tiff,,label clash",
    ]


def test_other_pictures_are_refused(tmp_path, capsys):
    deliveries.write_picture(tmp_path / "source" / "a.tiff", 1)
    told = deliveries.refused(capsys, "jaffe", tmp_path / "source", tmp_path / "out")
    assert "no picture has a name like KA.AN1.39.tiff" in told
    (tmp_path / "source" / "a.tiff").rename(tmp_path / "source" / "a.jpg")
    told = deliveries.refused(capsys, "jaffe", tmp_path / "source", tmp_path / "out")
    assert "not JAFFE as delivered" in told and "a.jpg" in told


def test_there_are_ten_folds(source, tmp_path, capsys):
    told = deliveries.refused(capsys, "jaffe", source, tmp_path / "out", "--fold", "11")
    assert "--fold 11 is not between 1 and 10" in told


def test_the_usual_faces_are_found_ones():
    assert FaceSteps.parse(jaffe.BUILDER.faces).detection == "haar"
