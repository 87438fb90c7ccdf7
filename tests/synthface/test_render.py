"""The renderer on the built-in head: repeatable bytes, the right pixels, faces that are found."""

import dataclasses

import cv2
import numpy as np
import pytest

from jaxfacs.synthface import dress, heads, render
from jaxfacs.synthface.look import HAIR_STYLES, sample_look
from jaxfacs.synthface.scene import sample_scene
from jaxfacs.synthface.variation import Variation

SIZE = 96


@pytest.fixture(scope="module")
def head() -> heads.Head:
    return heads.load()


def plain(seed: int):
    """Look and scene without what hides the face or varies from frame to frame."""
    rng = np.random.default_rng(seed)
    look = dataclasses.replace(
        sample_look(rng), glasses=None, hair="shaved", beard="none", melanin=0.8, age=0.5
    )
    view = dataclasses.replace(
        sample_scene(rng), noise=0.0, jpeg=0, saturation=1.0, blur=0.3, distance=90.0
    )
    return look, view


@pytest.fixture(scope="module")
def stage(head):
    look, view = plain(4)
    return render.prepare(head, head.vertices_V3, look, view, size=SIZE)


def test_same_input_same_bytes(head):
    rng = np.random.default_rng(1)
    look, view = sample_look(rng), sample_scene(rng)
    vertices = heads.deform(head, {"12": 4.0})
    one, same = (render.render(head, vertices, look, view, size=64) for _ in range(2))
    assert one.image_HWC.tobytes() == same.image_HWC.tobytes()
    np.testing.assert_array_equal(one.landmarks_68x2, same.landmarks_68x2)


def test_drawing_leaves_the_stage_as_it_was(stage, head):
    first = render.draw(stage, head.vertices_V3)
    render.draw(stage, heads.deform(head, {"27": 5.0}), {"1": 1.0}, (30, 10, 5, 1, 1, 2))
    assert first.image_HWC.tobytes() == render.draw(stage, head.vertices_V3).image_HWC.tobytes()


def test_shapes_types_and_range(stage, head):
    picture = render.draw(stage, head.vertices_V3)
    assert picture.image_HWC.shape == (SIZE, SIZE, 3)
    assert picture.image_HWC.dtype == np.uint8
    assert picture.image_HWC.std() > 10
    assert picture.landmarks_68x2.shape == (68, 2)
    assert np.all((picture.landmarks_68x2 > 0) & (picture.landmarks_68x2 < SIZE))
    x, y, w, h = picture.box_4
    inside = (picture.landmarks_68x2 >= (x, y)) & (picture.landmarks_68x2 <= (x + w, y + h))
    assert inside.all()


def test_landmarks_are_in_ibug_order_as_seen(stage, head):
    marks = render.draw(stage, head.vertices_V3).landmarks_68x2
    # The subject's right is on the left of the picture.
    assert marks[0, 0] < marks[36, 0] < marks[30, 0] < marks[45, 0] < marks[16, 0]
    assert marks[19, 1] < marks[37, 1] < marks[30, 1] < marks[51, 1] < marks[57, 1] < marks[8, 1]


def test_turning_left_moves_the_nose_to_the_right_of_the_picture(stage, head):
    def nose(pose):
        marks = render.draw(stage, head.vertices_V3, None, pose).landmarks_68x2
        return marks[30] - (marks[0] + marks[16]) / 2

    assert nose((20, 0, 0, 0, 0, 0))[0] > nose((0, 0, 0, 0, 0, 0))[0] + 2
    assert nose((0, 15, 0, 0, 0, 0))[1] < nose((0, 0, 0, 0, 0, 0))[1] - 1


def test_the_nose_hides_the_far_eye(head):
    """Depth order: repainting the eyes changes both of them from the front, one from the side."""
    look, view = plain(4)
    stages = [
        render.prepare(
            head,
            head.vertices_V3,
            dataclasses.replace(look, iris_rgb=rgb, sclera_rgb=rgb),
            view,
            size=SIZE,
        )
        for rgb in ((0.0, 0.9, 0.0), (0.9, 0.0, 0.0))
    ]

    def eye_pixels(yaw):
        green, red = (
            render.draw(one, head.vertices_V3, None, (yaw, 0, 0, 0, 0, 0)).image_HWC.astype(int)
            for one in stages
        )
        return int((np.abs(green - red).sum(axis=2) > 60).sum())

    assert eye_pixels(0) > 25
    assert 0 < eye_pixels(65) < 0.6 * eye_pixels(0)


def test_creases_change_the_region_of_their_muscle_alone(stage, head):
    rest = render.draw(stage, head.vertices_V3)
    marks = rest.landmarks_68x2
    brow_y, eye_y = marks[17:27, 1].min(), marks[36:48, 1].mean()
    for label, region in (
        ("1", lambda x, y: y < brow_y + 2),
        ("4", lambda x, y: y < eye_y + 4),
        ("15", lambda x, y: y > eye_y + 4),
        ("17", lambda x, y: y > marks[57, 1] - 2),
        ("18", lambda x, y: y > marks[33, 1] - 2),
    ):
        folded = render.draw(stage, head.vertices_V3, {label: 1.0}).image_HWC
        change = np.abs(folded.astype(int) - rest.image_HWC).sum(axis=2)
        assert change.max() > 12, label
        rows, columns = np.nonzero(change > 6)
        assert np.mean(region(columns, rows)) > 0.97, label


def test_sided_creases_stay_on_their_side(stage, head):
    rest = render.draw(stage, head.vertices_V3).image_HWC.astype(int)
    left = render.draw(stage, head.vertices_V3, {"L12": 1.0}).image_HWC
    middle = render.draw(stage, head.vertices_V3).landmarks_68x2[30, 0]
    change = np.abs(left - rest).sum(axis=2).sum(axis=0)
    assert change[int(middle) + 1 :].sum() > 20 * change[: int(middle) - 1].sum()


def test_every_face_folds_in_its_own_way_and_smooth_skin_not_at_all(head):
    look, view = plain(4)

    def folded(**changes):
        one = dataclasses.replace(look, **changes)
        made = render.prepare(head, head.vertices_V3, one, view, size=48)
        bare, deep = (
            render.draw(made, head.vertices_V3, on).image_HWC.astype(int) for on in ({}, {"1": 1.0})
        )
        return np.abs(deep - bare).sum(axis=2)

    mine, other = folded(crease=1.0), folded(crease=1.0, seed=look.seed + 1)
    assert mine.max() > 12 and other.max() > 12
    assert np.abs(mine - other).max() > 8
    assert folded(crease=1.0, age=1.0).sum() > 1.3 * folded(crease=1.0, age=0.0).sum()
    assert folded(crease=0.0).max() == 0


def test_age_deepens_what_is_there_at_rest(head):
    look, view = plain(4)
    young, old = (
        render.render(
            head, head.vertices_V3, dataclasses.replace(look, age=age), view, size=SIZE
        ).image_HWC.astype(int)
        for age in (0.0, 1.0)
    )
    assert np.abs(young - old).sum(axis=2).max() > 12


@pytest.mark.parametrize("hair", HAIR_STYLES)
def test_every_kind_of_hair_and_glasses_is_drawn(head, hair):
    look, view = plain(5)
    dressed = dataclasses.replace(
        look, hair=hair, glasses=(2.3, 1.8, 0.5, 0.1), glasses_rgb=(0.01, 0.01, 0.01)
    )
    bare = dataclasses.replace(look, hair=hair)
    image = render.render(head, head.vertices_V3, dressed, view, size=SIZE)
    other = render.render(head, head.vertices_V3, bare, view, size=SIZE).image_HWC
    change = np.abs(image.image_HWC.astype(int) - other).sum(axis=2) > 30
    assert change.sum() > 30
    around_eyes = image.landmarks_68x2[17:48]
    rows = np.nonzero(change)[0]
    height = np.ptp(around_eyes[:, 1])
    assert rows.min() > around_eyes[:, 1].min() - height
    assert rows.max() < around_eyes[:, 1].max() + height


def test_a_picture_too_small_is_refused(head):
    look, view = plain(4)
    with pytest.raises(ValueError, match="32"):
        render.prepare(head, head.vertices_V3, look, view, size=16)


def test_haar_finds_near_frontal_faces(head):
    """30 varied people; the whole aim (98 % of hundreds) is measured by hand, not here. No hand is
    before the face, and the camera is a good one."""
    plainly = Variation.without("occlusion", "camera")
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    found = 0
    for seed in range(30):
        rng = np.random.default_rng((2, seed))
        look, view = sample_look(rng), sample_scene(rng, plainly)
        weights = rng.normal(0, 0.8, len(head.identity_M_V3))
        labels = rng.choice(list(head.shapes), 3)
        intensity = {str(label): float(rng.uniform(0, 4)) for label in labels}
        picture = render.render(
            head,
            heads.deform(head, intensity, weights),
            look,
            view,
            size=144,
            pose_6=(*rng.uniform(-10, 10, 1), *rng.uniform(-6, 6, 2), 0, 0, 0),
            neutral_V3=heads.identity(head, weights),
        )
        grey = cv2.cvtColor(picture.image_HWC, cv2.COLOR_RGB2GRAY)
        boxes = cascade.detectMultiScale(grey, 1.1, 3, minSize=(36, 36))
        found += any(_overlap(box, picture.box_4) > 0.4 for box in boxes)
    assert found >= 28


def _overlap(one, other) -> float:
    low = np.maximum(one[:2], other[:2])
    high = np.minimum(np.add(one[:2], one[2:]), np.add(other[:2], other[2:]))
    both = np.prod(np.maximum(high - low, 0))
    return float(both / (np.prod(one[2:]) + np.prod(other[2:]) - both))


def test_vertices_of_another_head_are_refused(stage, head):
    with pytest.raises(ValueError, match="vertices"):
        render.draw(stage, head.vertices_V3[:-1])


def test_a_person_is_dressed_once_for_many_scenes(head):
    """Bytes do not depend on whether a person was dressed for this scene or for an earlier one."""
    look, view = plain(2)
    dressed = dress.dress(head, head.vertices_V3, look)
    for seen in (dataclasses.replace(view, fill=0.3), view, dataclasses.replace(view, fill=0.9)):
        stage = render.prepare(head, head.vertices_V3, look, seen, size=48, dressed=dressed)
        kept = render.draw(stage, head.vertices_V3).image_HWC
        alone = render.render(head, head.vertices_V3, look, seen, size=48).image_HWC
        assert kept.tobytes() == alone.tobytes()
