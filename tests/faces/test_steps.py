"""Words of a preparation: what they mean, which go together, what is kept of them."""

import json
import pickle
from dataclasses import replace

import pytest

from jaxfacs.errors import UserError
from jaxfacs.faces.steps import PRESETS, FaceSteps


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), FaceSteps("haar", "box", 0.1, "", 112)),
        (("haar",), FaceSteps("haar", "box", 0.1, "", 112)),
        (("box:0.05", "haar"), FaceSteps("haar", "box", 0.05, "", 112)),
        (("boxes", "box:0"), FaceSteps("boxes", "box", 0.0, "", 112)),
        (("none",), FaceSteps("none", "box", 0.1, "", 112)),
        (("whole",), FaceSteps("none", "box", 0.1, "", 112)),
        (
            ("a/b.onnx", "eyes-mouth", "ellipse"),
            FaceSteps("a/b.onnx", "eyes-mouth", 0.1, "ellipse"),
        ),
        (("me-graphau",), FaceSteps("landmarks", "eyes-mouth", 0.1, "", 256)),
        (("me-graphau", "y.onnx"), FaceSteps("y.onnx", "eyes-mouth", 0.1, "", 256)),
        (("scc",), FaceSteps("landmarks", "scc", 0.1, "", 256)),
        (("landmarks", "scc"), FaceSteps("landmarks", "scc", 0.1, "", 256)),
        (("fmae-iat",), FaceSteps("haar", "box", 0.05, "", 224)),
        (("fmae-iat", "boxes"), FaceSteps("boxes", "box", 0.05, "", 224)),
        (("openface",), FaceSteps("landmarks", "openface", 0.1, "", 112)),
        (("bocklisch",), FaceSteps("haar", "box", 0.1, "ellipse", 227)),
        (("box:0.2", "bocklisch"), FaceSteps("haar", "box", 0.2, "ellipse", 227)),
    ],
)
def test_words_and_what_they_mean(words, expected):
    assert FaceSteps.parse(words) == expected
    assert FaceSteps.parse(words, size=64) == replace(expected, size=64)


@pytest.mark.parametrize("words", [*((name,) for name in PRESETS), ("x/y.onnx", "box:0.123456789")])
def test_what_is_kept_means_the_same(words):
    steps = FaceSteps.parse(words)
    card = json.loads(json.dumps(steps.card))
    again = FaceSteps.parse(card["steps"], size=card["size"])
    assert again == replace(steps, detection=card["detector"])
    assert again.words == steps.words and card["margin"] == steps.margin
    assert pickle.loads(pickle.dumps(steps)) == steps  # goes to worker processes


def test_of_a_detectors_file_only_the_name_is_kept():
    steps = FaceSteps.parse(("/home/somebody/yunet.onnx",))
    assert steps.words == ("yunet.onnx", "box:0.1") and steps.card["detector"] == "yunet.onnx"
    assert steps.detection == "/home/somebody/yunet.onnx"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("hare",), "no face step 'hare'; did you mean haar"),
        (("open-face",), "did you mean openface"),
        (("eyes_mouth",), "did you mean eyes-mouth"),
        (("zzz",), "no face step 'zzz'; use haar, whole, me-graphau"),
        (("",), "no face step ''"),
        (("haar", "boxes"), "'haar' and 'boxes' both say where the face is"),
        (("box:0.1", "box:0.2"), "both say how it is laid"),
        (("ellipse", "ellipse"), "both say what is blacked out"),
        (("me-graphau", "fmae-iat"), "me-graphau and fmae-iat are both whole"),
        (("box:wide",), "'box:wide': the margin is a share of the box, 0 to 2"),
        (("box:-0.1",), "share of the box"),
        (("box:nan",), "share of the box"),
        (("none", "box:0.1"), "'none' and 'box:0.1' do not go together"),
        (("none", "eyes-mouth"), "do not go together"),
        (("haar", "eyes-mouth"), "needs the eyes.*'haar' does not.*'landmarks' or a YuNet .onnx"),
        (("boxes", "openface"), "needs 68 landmarks with the jaw.*use the step 'landmarks'"),
        (("y.onnx", "scc"), "needs 68 landmarks .*YuNet finds 5 points.*or use 'eyes-mouth'"),
        (("openface", "ellipse"), "brings a mask of its own; leave out 'ellipse'"),
    ],
)
def test_words_that_are_refused(words, message):
    with pytest.raises(UserError, match=message):
        FaceSteps.parse(words)


@pytest.mark.parametrize("size", [-1, 15, 1025])
def test_sizes_that_are_refused(size):
    with pytest.raises(UserError, match=f"face crops of {size} pixels.*16 to 1024"):
        FaceSteps.parse(("haar",), size=size)


def test_a_detector_is_loaded_before_the_work(tmp_path):
    FaceSteps.parse(("haar",)).require()
    FaceSteps.parse(("none",)).require()
    gone = FaceSteps.parse((str(tmp_path / "gone.onnx"),))
    with pytest.raises(UserError, match=r"gone\.onnx"):
        gone.require()
    with pytest.raises(UserError, match="no face detector 'dlib'"):
        FaceSteps.boxed("dlib", size=112)
    assert FaceSteps.boxed("none", margin=0.3, size=20) == FaceSteps.parse(("none",), size=20)
    assert FaceSteps.boxed("haar", margin=0.3, size=20).words == ("haar", "box:0.3")


@pytest.mark.parametrize(
    ("words", "given", "message"),
    [
        (("boxes",), {"boxes": False, "points": (68,)}, "'boxes' needs boxes that come with"),
        (("me-graphau",), {"boxes": True}, "'landmarks' needs landmarks that come with"),
        (
            ("scc",),
            {"boxes": True, "points": (68, 49)},
            "'scc' needs 68 .*; 49 landmarks are given",
        ),
        (("me-graphau",), {"boxes": True, "points": (12,)}, "none of the known orders"),
    ],
)
def test_what_a_delivery_lacks_is_said_before_the_work(words, given, message):
    with pytest.raises(UserError, match=message):
        FaceSteps.parse(words).require_given(**given)


def test_what_a_delivery_has_suffices():
    FaceSteps.parse(("haar",)).require_given(boxes=False)
    FaceSteps.parse(("boxes",)).require_given(boxes=True)
    FaceSteps.parse(("me-graphau",)).require_given(boxes=False, points=(5, 49, 51, 66, 68))
    FaceSteps.parse(("openface",)).require_given(boxes=False, points=(66, 68))
    FaceSteps.parse(("landmarks", "box:0.2")).require_given(boxes=False, points=(49,))
