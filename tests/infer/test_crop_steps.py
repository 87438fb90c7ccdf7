"""Prediction cuts faces as the records of its network were cut."""

import cv2
import numpy as np
import pytest
from tiny_bundle import FRAMES, SIZE, write_tiny

import jaxfacs
from jaxfacs import cli
from jaxfacs.errors import UserError
from jaxfacs.faces import detect
from jaxfacs.faces.align import ALIGNMENTS, moved
from jaxfacs.faces.crop import crop
from jaxfacs.faces.points import AVERAGE_68x2, centres
from jaxfacs.faces.prepare import FaceSteps, prepared
from jaxfacs.infer.crop_spec import CropSpec

BOX = np.array([60, 40, 100, 100], np.float32)


@pytest.fixture(scope="module")
def frame() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (220, 240, 3), np.uint8)


def points(angle: float = 0.2) -> np.ndarray:
    """Five landmarks of an average face in the box, turned by `angle` about its corner."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    right, left, _ = centres(AVERAGE_68x2)
    unit = np.stack([right, left, AVERAGE_68x2[30], AVERAGE_68x2[48], AVERAGE_68x2[54]])
    return (100 * unit) @ turn.T + BOX[:2]


def card(*words: str, size: int = 24) -> dict:
    return dict(FaceSteps.parse(words, size=size).card)


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.2])
def test_earlier_records_keep_no_words_and_are_cut_as_before(frame, margin):
    earlier = CropSpec.of_card({"detector": "haar", "margin": margin, "size": 24}, 24)
    expected = crop(frame, BOX, size=24, margin=margin)
    np.testing.assert_array_equal(earlier(frame, BOX), expected)
    now = CropSpec.of_card(card("haar", f"box:{margin}"), 24)
    assert now == earlier
    small = CropSpec.of_card(card("haar", f"box:{margin}"), 16)(frame, BOX, points())
    shrunk = cv2.resize(expected, (16, 16), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(small, shrunk)


def test_bundles_that_say_nothing_are_cut_as_before(frame):
    got = CropSpec.of_card({}, 32)(frame, BOX)
    np.testing.assert_array_equal(got, crop(frame, BOX, size=32, margin=0.2))


def test_the_ellipse_is_drawn(frame):
    got = CropSpec.of_card(card("bocklisch", size=32), 32)(frame, BOX)
    plain = crop(frame, BOX, size=32, margin=0.1)
    assert not got[0, 0].any() and not got[-1, -1].any()
    np.testing.assert_array_equal(got[12:20, 8:24], plain[12:20, 8:24])


def test_eyes_and_mouth_lie_where_the_records_have_them(frame):
    spec = CropSpec.of_card(card("me-graphau", "yunet.onnx", size=64), 64)
    matrix = spec.steps.matrix(points())
    assert matrix is not None
    landed = centres(moved(matrix, points()))
    np.testing.assert_allclose(landed, ALIGNMENTS["eyes-mouth"].template_N2 / 4, atol=0.4)
    upright, turned = spec(frame, BOX), spec(frame, BOX, points())
    assert (upright != turned).any()
    np.testing.assert_array_equal(spec(frame, BOX, points(0.0)), upright)


def test_a_set_of_whole_pictures_is_cut_with_the_margin(frame):
    spec = CropSpec.of_card(card("none"), 24)
    np.testing.assert_array_equal(spec(frame, BOX), crop(frame, BOX, size=24, margin=0.1))


def test_frames_are_cut_as_the_builder_cuts_them(tmp_path, frames):
    predictor = jaxfacs.load(write_tiny(tmp_path / "e.jaxfacs", crop=card("bocklisch", size=24)))
    cuts = prepared(frames[:20], FaceSteps.parse(("bocklisch",), size=24))
    built = [cv2.resize(c.frame_HWC, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for c in cuts]
    results = predictor.predict(frames[:20])
    for got, picture, cut in zip(results, frames, built, strict=False):
        np.testing.assert_array_equal(predictor.crop(picture, got.faces[0].box_4), cut)
    assert predictor.settings["faces"] == ["haar", "box:0.1", "ellipse"]


def test_a_real_film_is_aligned_as_the_builder_aligns_it(tmp_path, shared_data):
    yunet = str(shared_data / "yunet" / "face_detection_yunet_2023mar.onnx")
    words = ("me-graphau", yunet)
    film = cv2.VideoCapture(str(shared_data / "faces" / "single_face.mp4"))
    pictures = [cv2.cvtColor(film.read()[1], cv2.COLOR_BGR2RGB) for _ in range(6)]
    path = write_tiny(tmp_path / "y.jaxfacs", per_frame=True, crop=card(*words, size=SIZE))
    predictor = jaxfacs.load(path, detector=yunet)
    cuts = np.stack([c.frame_HWC for c in prepared(pictures, FaceSteps.parse(words, size=SIZE))])
    clip = cuts[np.clip(np.arange(FRAMES), 0, 5)]
    by_hand = predictor.run(clip[None])["probability"][0, :6]
    shown = np.stack([r.faces[0].probability_A for r in predictor.predict(pictures)])
    np.testing.assert_allclose(shown, by_hand, atol=2e-3)
    upright = [
        predictor.crop(p, r.faces[0].box_4)
        for p, r in zip(pictures, predictor.predict(pictures), strict=True)
    ]
    assert np.abs(np.stack(upright).astype(int) - cuts).mean() > 1  # alignment does something


def test_the_landmarks_of_the_detector_reach_the_crop(tmp_path, frame, monkeypatch):
    path = write_tiny(tmp_path / "l.jaxfacs", crop=card("me-graphau", size=SIZE), per_frame=True)
    monkeypatch.setattr(detect.HaarDetector, "gives_landmarks", True)
    predictor = jaxfacs.load(path)

    def answer(landmarks_5x2) -> np.ndarray:
        face = detect.Face(BOX, 1.0, landmarks_5x2)
        stream = predictor.stream(follow=lambda _: [(0, face)])
        (result,) = [*stream.push(frame, 0.0), *stream.finish()]
        return result.faces[0].probability_A

    cut = predictor.crop(frame, BOX, points())
    by_hand = predictor.run(np.stack([cut] * FRAMES)[None])["probability"][0, 0]
    np.testing.assert_allclose(answer(points()), by_hand, atol=1e-3)
    assert np.abs(answer(None) - by_hand).max() > 2e-3


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (["landmarks", "eyes-mouth"], "'haar' finds no eyes and mouth; .*YuNet .onnx file"),
        (["landmarks", "scc"], "laid by 'scc', which needs 68 landmarks.*train on records"),
        (["landmarks", "openface"], "laid by 'openface'.*'eyes-mouth' or 'box:0.1'"),
        (["haar", "wavelets"], "no face step 'wavelets'.*update jaxfacs"),
        ("haar", "not a list of words"),
        ([1], "not a list of words"),
    ],
)
def test_what_cannot_be_done_says_what_to_do(tmp_path, film, capsys, steps, message):
    made = {"detector": "haar", "margin": 0.1, "size": 24, "steps": steps}
    path = write_tiny(tmp_path / "m.jaxfacs", crop=made)
    with pytest.raises(UserError, match=rf"m\.jaxfacs: .*{message}"):
        jaxfacs.load(path)
    if steps == ["landmarks", "scc"]:
        out = tmp_path / "out"
        assert cli.main(["predict", str(film), "--model", str(path), "--out", str(out)]) == 2
        err = capsys.readouterr().err.strip()
        assert "laid by 'scc'" in err and "\n" not in err and not list(tmp_path.glob("out/*"))
