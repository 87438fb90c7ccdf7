"""Hair, headwear, glasses, earrings and clothes as meshes on the built-in head."""

import dataclasses

import numpy as np
import pytest

from jaxfacs.synthface import canvas, clothes, hairstyles, heads, headwear, props
from jaxfacs.synthface.look import CLOTHES, HEADWEAR, sample_look, skin_rgb


@pytest.fixture(scope="module")
def head() -> heads.Head:
    return heads.load()


def look(**changes):
    bare = {"glasses": None, "headwear": "none", "earrings": 0.0, "loose": 0.0, "hairline": 0.0}
    bare |= {"fringe": False, "hair_length": 1.0, "hair_thickness": 0.8}
    return dataclasses.replace(sample_look(np.random.default_rng(3)), **(bare | changes))


def locks(head, **changes):
    sheet = canvas.canvas(head)
    return hairstyles.locks(head, head.vertices_V3, sheet, look(**changes))


@pytest.mark.parametrize("style", hairstyles.STYLES)
def test_locks_grow_on_the_scalp_and_stay_out_of_the_face(head, style):
    vertices, triangles, colour, uv, edge = locks(head, hair=style)
    unit = canvas.canvas(head).unit
    marks = head.vertices_V3[head.landmarks_68] / unit
    at = vertices / unit
    assert len(triangles) > 500
    assert np.isfinite(at).all() and len(at) == len(colour) == len(uv) == len(edge)
    assert triangles.max() < len(at)
    roots = at.reshape(-1, 7, 2, 3)[:, 0, 0]
    assert np.mean(roots[:, 1] > marks[27, 1] - 4) > 0.9
    eyes_and_mouth = (
        (np.abs(at[:, 0]) < 3.5)
        & (at[:, 1] < marks[37, 1] + 0.3)
        & (at[:, 1] > marks[57, 1])
        & (at[:, 2] > marks[36, 2])
    )
    assert not eyes_and_mouth.any()


def test_long_hair_hangs_and_loose_locks_cross_the_face(head):
    unit = canvas.canvas(head).unit
    chin = head.vertices_V3[head.landmarks_68[8], 1]
    long, short = (locks(head, hair=h)[0] for h in ("long", "short"))
    assert long[:, 1].min() < chin - 2 * unit
    assert short[:, 1].min() > chin - 4 * unit
    marks = head.vertices_V3[head.landmarks_68]

    def before(vertices):
        inside = np.abs(vertices[:, 0]) < 0.6 * np.abs(marks[2, 0])
        return np.sum(inside & (vertices[:, 2] > marks[2, 2]) & (vertices[:, 1] < marks[37, 1]))

    assert before(long) == 0
    assert before(locks(head, hair="long", loose=0.6)[0]) > 15


def test_a_fringe_ends_above_the_eyes(head):
    unit = canvas.canvas(head).unit
    marks = head.vertices_V3[head.landmarks_68]

    def lowest(**changes):
        vertices = locks(head, hair="fringe", **changes)[0]
        middle = (np.abs(vertices[:, 0]) < 3 * unit) & (vertices[:, 2] > marks[36, 2])
        return vertices[middle, 1].min()

    low, high = (lowest(fringe=True, fringe_clear=clear) for clear in (0.0, 2.5))
    assert low < high - unit and low < lowest() - unit
    for seen, clear in ((low, 0.0), (high, 2.5)):
        assert seen > marks[17:27, 1].max() + (clear - 1.0) * unit


@pytest.mark.parametrize("kind", [kind for kind in HEADWEAR if kind != "none"])
def test_headwear_covers_the_crown_and_leaves_the_face_open(head, kind):
    sheet = canvas.canvas(head)
    worn = headwear.headwear(head, head.vertices_V3, sheet, look(headwear=kind, hair="shaved"))
    at = np.concatenate([prop.vertices_N3 for prop in worn]) / sheet.unit
    marks = head.vertices_V3[head.landmarks_68] / sheet.unit
    assert len(at) > 50
    assert at[:, 1].max() > marks[19, 1] + 2
    face = (np.abs(at[:, 0]) < 4) & (at[:, 2] > marks[36, 2]) & (at[:, 1] < marks[37, 1])
    face &= at[:, 1] > marks[57, 1]
    assert not face.any()
    below = at[:, 1] < marks[8, 1] - 4.5
    assert below.any() == (kind in ("scarf", "hood"))
    made = props.props(head, head.vertices_V3, sheet, look(headwear=kind, hair="long"))
    assert any(prop.hairy for prop in made) == (kind not in headwear.HIDES_HAIR)


def test_headwear_none_is_nothing(head):
    assert headwear.headwear(head, head.vertices_V3, canvas.canvas(head), look()) == []


def test_lenses_lie_before_the_eyes_and_dark_ones_fill_them(head):
    sheet = canvas.canvas(head)
    marks = head.vertices_V3[head.landmarks_68]
    assert props.lenses(head, head.vertices_V3, sheet, look()) == ()
    frame = (2.3, 1.8, 0.5, 0.1)
    rings = props.lenses(head, head.vertices_V3, sheet, look(glasses=frame))
    for ring, first in zip(rings, (36, 42), strict=True):
        pupil = marks[first : first + 6].mean(axis=0)
        assert np.all(ring.min(axis=0)[:2] < pupil[:2]) and np.all(ring.max(axis=0)[:2] > pupil[:2])
        assert ring[:, 2].min() > pupil[2]
    clear, dark = (
        len(props.glasses(head, head.vertices_V3, sheet, look(glasses=frame, dark_glasses=on)))
        for on in (False, True)
    )
    assert dark == clear + 2


def test_earrings_hang_from_the_ears(head):
    sheet = canvas.canvas(head)
    right, left = props.earrings(head, head.vertices_V3, sheet, look(earrings=0.5))
    marks = head.vertices_V3[head.landmarks_68]
    assert right.vertices_N3[:, 0].mean() < marks[1, 0] and left.vertices_N3[:, 0].mean() > 0
    assert marks[7, 1] - 2 * sheet.unit < right.vertices_N3[:, 1].mean() < marks[27, 1]


@pytest.mark.parametrize("kind", CLOTHES)
def test_clothes_leave_open_what_they_leave_open(head, kind):
    sheet = canvas.canvas(head)
    worn = look(clothes=kind, clothes_rgb=(0.0, 0.0, 0.4), clothes_pattern=0.0)
    made = clothes.shoulders(head, head.vertices_V3, sheet, worn)
    colour = np.asarray(made.albedo_3)
    skin = np.abs(colour - skin_rgb(worn.melanin, worn.haemoglobin)).max(axis=1) < 1e-3
    cloth = (colour[:, 2] > 0.3) & (colour[:, 0] < 0.05)
    assert cloth.any()
    if kind in ("deep", "straps"):
        assert skin.mean() > 0.02
    elif kind in ("round", "high"):
        assert cloth.all()
    top = made.vertices_N3[:, 1].max()
    assert top < head.vertices_V3[head.landmarks_68[8], 1]
