"""Things before the face: seen where they are held, told in `covered`, the same every time."""

import dataclasses

import numpy as np
import pytest

from jaxfacs.synthface import canvas, heads, overlay, things
from jaxfacs.synthface.look import sample_look
from jaxfacs.synthface.scene import sample_scene
from jaxfacs.synthface.things import KINDS, TARGETS, Thing
from jaxfacs.synthface.variation import Variation

SIZE = 64
MOUTH = list(TARGETS["mouth"])
EYES = list(TARGETS["eyes"])


@pytest.fixture(scope="module")
def head() -> heads.Head:
    return heads.load()


def held(kind: str, **changes) -> Thing:
    plain = {"aside_2": (0.0, 0.0), "turn": 0.0, "scale": 1.0, "follows": True, "leaves": 0.0}
    plain |= {"sway_2": (0.0, 0.0), "swing": 1.0, "phase": 0.0, "defocus": 0.0, "seed": 4}
    return Thing(kind=kind, **({"target": "mouth"} | plain | changes))  # type: ignore[arg-type]


def marks() -> np.ndarray:
    """A face from the front in a picture of SIZE: landmarks about their usual places, in cm."""
    at = np.zeros((68, 2))
    angle = np.linspace(np.pi, 0, 17)
    at[:17] = np.c_[7 * np.cos(angle), 8.5 * np.sin(angle)]
    at[17:22], at[22:27] = np.c_[np.linspace(-5, -1, 5), 0 * at[:5, 0] - 3.5], (0, -3.5)
    at[22:27, 0] = np.linspace(1, 5, 5)
    at[27:36] = np.c_[0 * at[:9, 0], np.linspace(-1.5, 2, 9)]
    at[36:42], at[42:48] = (-3.2, -1.5), (3.2, -1.5)
    turn = np.linspace(0, 2 * np.pi, 21)[:-1]
    at[48:68] = np.c_[2.5 * np.cos(turn), 4.5 + 0.8 * np.sin(turn)]
    return at * (0.6 * SIZE / overlay.FACE_CM) + SIZE / 2


def drawn(head, *worn: Thing, seed: int = 3, frame: int = 0, **scene_changes):
    rng = np.random.default_rng(seed)
    look = dataclasses.replace(sample_look(rng), glasses=None, glare=0.0)
    view = sample_scene(rng, Variation.without("camera", "shadow", "background"))
    view = dataclasses.replace(view, things=worn, fill=0.6, **scene_changes)
    sheet = canvas.canvas(head)
    over = overlay.prepare(head, head.vertices_V3, sheet, look, view, SIZE)
    image = np.full((SIZE, SIZE, 3), 128, np.uint8)
    covered = overlay.draw(over, image, marks(), lambda at: at[:, :2], frame)
    return image, covered


def test_nothing_is_held_and_nothing_covered(head):
    image, covered = drawn(head)
    assert np.all(image == 128)
    assert not covered.any()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_held_to_the_mouth_is_seen_there_and_told(head, kind):
    image, covered = drawn(head, held(kind, seed=2))
    assert covered[MOUTH].mean() > 0.3 or kind in ("scarf", "head")
    changed = np.abs(image.astype(int) - 128).sum(axis=2) > 20
    assert 20 < changed.sum() < 0.85 * SIZE**2
    at = np.round(marks()[covered]).astype(int)
    if kind not in ("phone", "head"):  # some are as grey as the picture, some lie beside the face
        assert changed[at[:, 1], at[:, 0]].mean() > 0.6
    again, same = drawn(head, held(kind, seed=2))
    assert again.tobytes() == image.tobytes()
    np.testing.assert_array_equal(covered, same)


def test_a_thing_stays_with_its_target_or_in_its_place(head):
    _, over_eyes = drawn(head, held("blob", target="eyes", seed=5, scale=1.5))
    assert over_eyes[EYES].any() or over_eyes[27:31].any()
    assert not over_eyes[MOUTH].all()
    gone = held("hand", leaves=2.0)
    assert drawn(head, gone, frame=0)[1].any()
    assert not drawn(head, gone, frame=40)[1].any()


def test_outside_the_picture_is_covered(head):
    camera = dataclasses.replace(sample_scene(np.random.default_rng(0)).camera)
    camera = dataclasses.replace(camera, border_4=(0.0, 0.0, 0.0, 0.45), vignette=0.0)
    _, covered = drawn(head, camera=camera)
    assert covered[MOUTH].all()
    assert not covered[EYES].any()


def test_shade_falls_in_patterns(head):
    for pattern in ("blinds", "leaves", "edge", "window"):
        image, covered = drawn(head, pattern=pattern, pattern_depth=0.6, seed=8)
        assert np.ptp(image.astype(int)) > 20, pattern
        assert image.max() <= 128
        assert not covered.any()


def test_glare_stays_in_the_lenses(head):
    image = np.full((SIZE, SIZE, 3), 100, np.uint8)
    angle = np.linspace(0, 2 * np.pi, 29)[:-1]
    overlay._glare(image, np.c_[20 + 8 * np.cos(angle), 30 + 6 * np.sin(angle)], 0.6)
    rows, columns = np.nonzero(image[..., 0] > 104)
    assert len(rows) > 30
    assert (rows.min(), rows.max()) >= (23, 30) and columns.max() <= 29
    overlay._glare(image, np.full((28, 2), 1e4), 0.6)  # a lens outside the picture


def test_one_scene_in_ten_has_something_before_the_face():
    drawn_things = [things.sample_things(np.random.default_rng(k)) for k in range(1500)]
    assert 0.07 < np.mean([len(t) > 0 for t in drawn_things]) < 0.14
    assert {thing.kind for worn in drawn_things for thing in worn} == set(KINDS)


def test_hands_have_fingers():
    """Across the fingers of a spread hand there are several edges, across the arm two."""
    thing = held("hand", seed=0)
    for seed in range(40):
        thing = dataclasses.replace(thing, seed=seed)
        made = things.sprite(thing, 4.0, np.array([0.4, 0.3, 0.25]))
        edges = np.abs(np.diff((made.cover_HW > 0.5).astype(int), axis=1)).sum(axis=1)
        assert edges[-8] == 2
        if edges.max() >= 8:
            break
    else:
        pytest.fail("no hand with four fingers apart among 40")
