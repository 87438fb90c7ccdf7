"""Detectors on drawn and, where they are at hand, real pictures."""

import cv2
import numpy as np
import pytest
from cartoon import cartoon_face

from jaxfacs.errors import UserError
from jaxfacs.faces import detect


def test_haar_finds_a_drawn_face_in_the_frame_and_near_its_last_place():
    frame = cartoon_face()
    detector = detect.create("haar")
    (face,) = detector(frame)
    assert 0.5 <= face.confidence <= 1
    assert np.all(np.abs(face.box_4[:2] + face.box_4[2:] / 2 - 120) < 20)
    (near,) = detector(frame, [face.box_4])
    assert detect.overlap(near.box_4, face.box_4) > 0.7
    assert detector(np.full_like(frame, 128), [face.box_4]) == []


def test_no_face_in_flat_or_noisy_pictures():
    detector = detect.create("haar")
    rng = np.random.default_rng(0)
    assert detector(np.zeros((120, 160, 3), np.uint8)) == []
    assert detector(rng.integers(0, 256, (240, 320, 3), np.uint8)) == []
    assert detector(np.zeros((4, 5, 3), np.uint8)) == []


@pytest.mark.parametrize("bad", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32)])
def test_wrong_arrays_are_refused(bad):
    with pytest.raises(ValueError, match="uint8"):
        detect.create("haar")(bad)


def test_detector_names(tmp_path):
    with pytest.raises(UserError, match="no face detector 'mtcnn'"):
        detect.create("mtcnn")
    with pytest.raises(UserError, match=r"gone\.onnx"):
        detect.create(str(tmp_path / "gone.onnx"))
    pointer = tmp_path / "pointer.onnx"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    with pytest.raises(UserError, match="LFS pointer"):
        detect.create(str(pointer))
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(bytes(range(256)))
    with pytest.raises(UserError, match="not a YuNet model"):
        detect.create(str(junk))
    with pytest.raises(UserError, match="min_size"):
        detect.create("haar", min_size=3.0)


def test_detectors_agree_on_real_faces(shared_data):
    haar = detect.create("haar")
    yunet = detect.create(str(shared_data / "yunet" / "face_detection_yunet_2023mar.onnx"))
    counts = {"obama.jpg": 1, "single_face.jpg": 1, "astronaut.png": 1, "two_people.jpg": 2}
    for name, count in counts.items():
        frame = cv2.imread(str(shared_data / "faces" / name))[..., ::-1].copy()
        ours, theirs = haar(frame), yunet(frame)
        assert len(ours) == len(theirs) == count, name
        for a in ours:
            assert max(detect.overlap(a.box_4, b.box_4) for b in theirs) > 0.6, name
        assert theirs[0].landmarks_5x2 is not None
    scenery = cv2.imread(str(shared_data / "faces" / "free-mountain-vector-01.jpg"))
    assert haar(scenery) == [] and yunet(scenery) == []


def test_yunets_infinities_are_no_faces():
    class Net:
        def setInputSize(self, size): ...
        def setScoreThreshold(self, score): ...

        def detect(self, frame):
            row = np.linspace(10, 40, 15, dtype=np.float32)
            row[14] = 0.9
            return 2, np.stack([row, np.where(np.arange(15) == 2, np.inf, row)])

    net = detect.YuNetDetector.__new__(detect.YuNetDetector)
    net._net, net._min_size, net._score = Net(), 0.08, 0.5
    (face,) = net._search(np.zeros((40, 40, 3), np.uint8), 0.5)
    assert np.isfinite(face.box_4).all()
