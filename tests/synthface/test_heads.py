"""The head interface, on the built-in head and, where its files are here, on the ICT head."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxfacs.synthface import clip, heads
from jaxfacs.synthface.truth import lip_gap


@pytest.fixture(scope="module", params=["builtin", "ict"])
def head(request):
    if request.param == "builtin":
        return clip.load_head()
    return clip.load_head(str(request.getfixturevalue("ict_folder")))


def _marks(head, intensity, **options):
    return heads.landmarks_of(head, heads.deform(head, intensity, **options))


def test_a_head_is_whole(head):
    vertices, triangles = head.vertices_V3, head.triangles_F3
    assert vertices.dtype == np.float32 and np.isfinite(vertices).all()
    assert triangles.min() >= 0 and triangles.max() < len(vertices)
    assert head.part_F.shape == (len(triangles),) and head.part_F.max() < len(heads.PARTS)
    assert set(heads.SHAPES) <= set(head.shapes) <= {*heads.SHAPES, *heads.EXTRAS}
    assert all(shape.shape == vertices.shape for shape in head.shapes.values())
    assert set(heads.MASKS) <= set(head.masks)
    for name, mask in head.masks.items():
        assert mask.shape == (len(vertices),), name
        assert mask.min() >= 0 and mask.max() <= 1 and mask.max() > 0.5, name
    assert {"L1", "L2", "L4", "L6", "L9", "L12"} <= set(head.wrinkles) <= set(head.shapes)
    assert all(np.abs(field).max() <= 1 for field in head.wrinkles.values())


def test_landmarks_are_in_ibug_order_with_the_subjects_right_first(head):
    marks = _marks(head, {})
    x, y, _ = marks.T
    assert (np.diff(x[:17]) > 0).all()  # the jaw from the subject's right (-x) to the left
    assert x[36] < x[39] < 0 < x[42] < x[45]
    assert y[27] > y[28] > y[29] > y[30] > y[33] > y[51] > y[62] >= y[66] > y[57] > y[8]
    assert x[48] < 0 < x[54] and y[19] > y[37] and y[24] > y[44]
    assert np.abs(marks[:, 0] + marks[_MIRROR, 0]).max() < 0.35  # a symmetric neutral face


_MIRROR = np.array(
    [
        *range(16, -1, -1),
        *range(26, 16, -1),
        *(27, 28, 29, 30),
        *(35, 34, 33, 32, 31),
        *(45, 44, 43, 42, 47, 46),
        *(39, 38, 37, 36, 41, 40),
        *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
        *(64, 63, 62, 61, 60, 67, 66, 65),
    ]
)


@pytest.mark.parametrize("au", heads.PAIRED)
def test_sides_are_the_subjects(head, au):
    for side, sign in (("L", 1), ("R", -1)):
        moved = np.linalg.norm(head.shapes[side + au], axis=1)
        x = head.vertices_V3[:, 0] * sign
        assert moved[x > 0.5].sum() > 5 * moved[x < -0.5].sum()


# action -> (landmark, axis, direction): what FACS says one sees, in cm at intensity 5.
_SEEN = [
    *(("1", 21, 1, 0.3), ("2", 18, 1, 0.3), ("4", 21, 1, -0.2), ("5", 44, 1, 0.15)),
    *(("7", 41, 1, 0.05), ("9", 51, 1, 0.1), ("10", 51, 1, 0.3), ("12", 54, 1, 0.3)),
    *(("12", 54, 0, 0.2), ("12", 48, 0, -0.2), ("15", 48, 1, -0.3), ("16", 57, 1, -0.3)),
    *(("17", 57, 1, 0.2), ("18", 54, 0, -0.3), ("20", 54, 0, 0.3), ("22", 51, 2, 0.1)),
    *(("26", 8, 1, -0.5), ("27", 8, 1, -1.5), ("43", 37, 1, -0.3), ("43", 44, 1, -0.3)),
    *(("23", 54, 0, -0.05), ("25", 66, 1, -0.2), ("14", 54, 2, -0.1)),
]


@pytest.mark.parametrize(("au", "landmark", "axis", "least"), _SEEN)
def test_landmarks_move_as_facs_says(head, au, landmark, axis, least):
    moved = (_marks(head, {au: 5}) - _marks(head, {}))[landmark, axis]
    assert moved * np.sign(least) >= abs(least)


@pytest.mark.parametrize("au", heads.SHAPES)
def test_intensity_grows_with_the_letter(head, au):
    rest = head.vertices_V3
    moved = [np.linalg.norm(heads.deform(head, {au: i}) - rest, axis=1).max() for i in (1, 3, 5)]
    assert 0.02 < moved[0] < moved[1] < moved[2]


@pytest.mark.parametrize("au", ["6", "7", "12", "17", "18", "20", "23", "24", "28", "43"])
def test_lips_stay_shut_where_the_action_does_not_part_them(head, au):
    assert lip_gap(_marks(head, {au: 5})) - lip_gap(_marks(head, {})) < 0.06


@pytest.mark.parametrize("au", ["10", "16", "22", "25", "26", "27"])
def test_lips_part_where_the_action_parts_them(head, au):
    assert lip_gap(_marks(head, {au: 5})) - lip_gap(_marks(head, {})) > 0.3


def test_people_close_their_lips_at_rest(head):
    gaps = [lip_gap(heads.landmarks_of(head, _person(head, s).neutral_V3)) for s in range(20)]
    assert np.ptp(gaps) < 0.1


def _person(head, subject):
    return clip.sample_person(subject, head=head)


def _aperture(marks):
    return (marks[[37, 38, 43, 44], 1] - marks[[41, 40, 47, 46], 1]).mean()


@pytest.mark.parametrize("with_", [{}, {"7": 5}, {"6": 5, "7": 5}, {"5": 5}, {"6": 3, "5": 2}])
def test_closed_lids_meet_and_do_not_cross(head, with_):
    rest = _aperture(_marks(head, {}))
    assert abs(_aperture(_marks(head, {"43": 5} | with_))) < 0.1 * rest


def test_everybody_can_close_the_eyes(head):
    both = ("L43", "R43")
    for subject in range(20):
        neutral = _person(head, subject).neutral_V3
        shut = heads.deform_clip(
            head, neutral, both, np.full((1, 2), 5, np.float32), np.zeros((1, 2), np.float32)
        )[0]
        rest = _aperture(heads.landmarks_of(head, neutral))
        assert rest > 0.4 and abs(_aperture(heads.landmarks_of(head, shut))) < 0.05 * rest


@settings(max_examples=15, deadline=None)
@given(
    closing=st.floats(0, 5),
    squint=st.floats(0, 5),
    yaw=st.floats(-25, 25),
    pitch=st.floats(-20, 15),
)
def test_lids_never_sink_into_the_eyeball(closing, squint, yaw, pitch):
    head = clip.load_head()
    posed = heads.deform(head, {"43": closing, "7": squint}, gaze_deg=(yaw, pitch))
    for eye in head.eyes:
        distance = np.linalg.norm(posed[eye.lids] - eye.centre_3, axis=1)
        assert distance.min() >= eye.radius


@pytest.mark.parametrize("subject", [3, 21389450])  # the second's eyeballs are long
def test_closed_lids_cover_everybodys_cornea(head, subject):
    neutral = _person(head, subject).neutral_V3
    shut, still = np.full((1, 2), 5, np.float32), np.zeros((1, 2), np.float32)
    posed = heads.deform_clip(head, neutral, ("L43", "R43"), shut, still)[0]
    for eye in head.eyes:
        ball = posed[eye.vertices]
        front = ball[ball[:, 2] > np.quantile(ball[:, 2], 0.9)]
        centre = eye.centre_3 + (neutral - head.vertices_V3)[eye.vertices].mean(axis=0)
        lids = posed[eye.lids] - centre
        reach = np.linalg.norm(lids, axis=1)
        for point in front - centre:
            along = lids @ point / reach / np.linalg.norm(point) > np.cos(np.radians(5))
            assert (reach[along] > np.linalg.norm(point)).all()


def test_gaze_turns_the_iris_to_the_subjects_left_and_up(head):
    iris = np.unique(head.triangles_F3[head.part_F == heads.PARTS.index("iris")])
    rest = heads.deform(head, {})[iris].mean(axis=0)
    looking = heads.deform(head, {}, gaze_deg=(15, 10))[iris].mean(axis=0)
    assert looking[0] > rest[0] + 0.1 and looking[1] > rest[1] + 0.1


def test_an_action_without_a_side_moves_both():
    head = clip.load_head()
    both = heads.deform(head, {"12": 3})
    np.testing.assert_array_equal(both, heads.deform(head, {"L12": 3, "R12": 3}))


def test_an_unknown_action_and_too_many_weights_are_refused():
    head = clip.load_head()
    with pytest.raises(KeyError, match="99"):
        heads.deform(head, {"99": 1})
    with pytest.raises(ValueError, match="identity weights"):
        heads.identity(head, np.zeros(len(head.identity_M_V3) + 1))


def test_a_clip_is_its_frames_one_by_one():
    head = clip.load_head()
    labels, values = ("L12", "26", "R43"), np.float32([[0, 0, 0], [2, 4, 1], [5, 0, 3]])
    gaze = np.float32([[0, 0], [10, -5], [-20, 8]])
    whole = heads.deform_clip(head, head.vertices_V3, labels, values, gaze)
    for t in range(3):
        alone = heads.deform(head, dict(zip(labels, values[t], strict=True)), gaze_deg=gaze[t])
        np.testing.assert_allclose(whole[t], alone, atol=1e-4)


def test_head_turns_are_signed_as_facs_51_53_55():
    nose, crown = np.array([0, 0, 1.0]), np.array([0, 1.0, 0])
    assert (heads.rotation((20, 0, 0)) @ nose)[0] > 0.3  # 51: to the subject's left
    assert (heads.rotation((0, 20, 0)) @ nose)[1] > 0.3  # 53: up
    assert (heads.rotation((0, 0, 20)) @ crown)[0] > 0.3  # 55: tilted to the left
    np.testing.assert_allclose(
        heads.rotation((31, -12, 7)) @ heads.rotation((31, -12, 7)).T, np.eye(3), atol=1e-6
    )
