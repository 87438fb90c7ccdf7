"""Landmarks come to lie where the papers put them; masks leave the face."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxfacs.faces import align
from jaxfacs.faces.crop import crop
from jaxfacs.faces.points import AVERAGE_68x2, centres

# The papers' places, written out once more, in 256 px.
SCC = {8: (127.65, 227.82), 36: (79.16, 87.04), 45: (176.84, 87.04)}
EYES_MOUTH = np.array([(88, 100), (168, 100), (128, 190)], float)


def eyes_mouth_face() -> np.ndarray:
    """68 points whose eyes and mouth have the template's proportions."""
    face = 228.0 * AVERAGE_68x2
    for part, centre in ((slice(36, 42), EYES_MOUTH[0]), (slice(42, 48), EYES_MOUTH[1])):
        face[part] += centre - face[part].mean(0)
    face[48:] += EYES_MOUTH[2] - (face[48] + face[54]) / 2
    return face


moves = {
    "angle": st.floats(-np.pi, np.pi),
    "scale": st.floats(0.1, 8),
    "shift": st.tuples(st.floats(-300, 1500), st.floats(-300, 1500)),
    "size": st.sampled_from([96, 112, 224, 256, 300]),
}


def turned(face_68x2, angle, scale, shift) -> np.ndarray:
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return face_68x2 @ turn.T + shift


@given(**moves)
@settings(max_examples=60, deadline=None)
def test_landmarks_land_on_the_templates(angle, scale, shift, size):
    def landed(name, face_68x2):
        points = turned(face_68x2, angle, scale, shift)
        matrix = align.ALIGNMENTS[name].matrix(points, size)
        assert matrix is not None
        return align.moved(matrix, points)

    got = centres(landed("eyes-mouth", eyes_mouth_face()))
    np.testing.assert_allclose(got, EYES_MOUTH * size / 256, atol=0.1)
    stretched = AVERAGE_68x2 @ np.array([[1.1, 0.2], [-0.1, 0.8]])  # an affine one undoes it
    got = landed("scc", stretched)[list(SCC)]
    np.testing.assert_allclose(got, np.array(list(SCC.values())) * size / 256, atol=0.1)
    got = landed("openface", AVERAGE_68x2)
    jaw = got[16, 0] - got[0, 0]
    assert jaw == pytest.approx(139.4 * 0.7 * size / 112, rel=0.01)  # 0.7 px a mm
    np.testing.assert_allclose(got.mean(0), [size / 2, size / 2], atol=0.1)
    np.testing.assert_allclose(got[0, 1], got[16, 1], atol=0.1)


def test_an_average_face_fills_the_middle_224_of_me_graphau():
    matrix = align.ALIGNMENTS["eyes-mouth"].matrix(AVERAGE_68x2, 256)
    assert matrix is not None
    got = align.moved(matrix, AVERAGE_68x2)
    np.testing.assert_allclose(centres(got), EYES_MOUTH, atol=1.5)
    assert got.min() > 16 and got[:, 0].max() < 240 and got[:, 1].max() < 250


def test_expressions_do_not_move_the_rigid_points_of_openface():
    smiling = AVERAGE_68x2.copy()
    smiling[48:] += (0.02, -0.05)
    smiling[17:27] -= (0, 0.05)
    smiling[8] += (0, 0.1)
    chosen = align.ALIGNMENTS["openface"]
    np.testing.assert_array_equal(chosen.matrix(smiling, 112), chosen.matrix(AVERAGE_68x2, 112))


@pytest.mark.parametrize("name", align.ALIGNMENTS)
def test_points_in_one_spot_or_unknown_have_no_matrix(name):
    chosen = align.ALIGNMENTS[name]
    assert chosen.matrix(np.zeros((68, 2)), 112) is None
    unknown = AVERAGE_68x2.copy()
    unknown[[36, 45, 8]] = np.nan
    assert chosen.matrix(unknown, 112) is None


def test_an_affine_needs_three_points_off_a_line():
    line = np.tile(AVERAGE_68x2[:1], (68, 1)) + np.arange(68)[:, None] * (1.0, 0.5)
    assert align.ALIGNMENTS["scc"].matrix(line, 112) is None


@pytest.mark.parametrize("name", align.ALIGNMENTS)
@pytest.mark.parametrize("scale", [0.4, 1.0, 2.7])
def test_the_picture_goes_where_its_points_go(name, scale):
    """Soft dots at landmarks of a turned face are found at the moved landmarks, to 0.1 px."""
    face = turned(AVERAGE_68x2, 0.3, 250 * scale, (160 * scale, 60 * scale))
    places = (8, 36, 45, 30)
    matrix = align.ALIGNMENTS[name].matrix(face, 256)
    assert matrix is not None
    height = width = int(420 * scale)
    y, x = np.mgrid[:height, :width] + 0.5  # the middle of the first pixel is (0.5, 0.5)
    for place in places:
        dot = np.exp(
            -((x - face[place, 0]) ** 2 + (y - face[place, 1]) ** 2) / (2 * (4 * scale) ** 2)
        )
        frame = np.repeat(np.round(255 * dot).astype(np.uint8)[..., None], 3, 2)
        got = align.warp(frame, matrix, 256)[..., 0].astype(float)
        gy, gx = np.mgrid[:256, :256] + 0.5
        middle = np.array([(gx * got).sum(), (gy * got).sum()]) / got.sum()
        expected = align.moved(matrix, face[place : place + 1])[0]
        if (expected > 14).all() and (expected < 242).all():  # the whole dot is in the crop
            np.testing.assert_allclose(middle, expected, atol=0.1)


def test_a_warp_that_moves_nothing_changes_nothing():
    frame = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    np.testing.assert_array_equal(align.warp(frame, np.eye(3)[:2], 40), frame)
    matrix = align.square_matrix(np.array([5.0, 8.0]), 16.0, 32)
    same = crop(frame, np.float32([5, 8, 16, 16]), size=32, margin=0.0)
    np.testing.assert_array_equal(align.warp(frame, matrix, 32), same)


def test_shrinking_averages_and_outside_repeats_the_edge():
    noise = np.random.default_rng(0).integers(0, 2, (128, 128, 1), np.uint8)
    frame = np.repeat(255 * noise, 3, 2)
    out = align.warp(frame, align.square_matrix(np.zeros(2), 128.0, 16), 16)
    blocks = frame.reshape(16, 8, 16, 8, 3).mean((1, 3))
    np.testing.assert_allclose(out, blocks, atol=1)
    frame = np.full((20, 20, 3), 40, np.uint8)
    frame[:, -1] = 200
    out = align.warp(frame, align.square_matrix(np.array([15.0, -30.0]), 40.0, 80), 80)
    assert (out[:, 12:] == 200).all() and (out[:, 2] == 40).all()


def test_an_ellipse_keeps_the_face_and_hides_the_corners():
    mask = align.ellipse(112)
    assert (mask == mask[::-1]).all() and (mask == mask[:, ::-1]).all()
    assert mask.mean() == pytest.approx(np.pi * 0.38 * 0.5, rel=0.01)
    assert mask[56, 15:97].all() and mask[1:111, 56].all()
    assert not mask[:, :12].any() and not mask[:20, :20].any()


def test_a_hull_holds_the_landmarks_and_rises_above_the_brows():
    face = align.OPENFACE_68x2
    low, lifted = align.hull(face, 112, 0.0), align.hull(face, 112, 30.0)
    x, y = np.floor(face[27:]).astype(int).T
    assert low[y, x].all() and lifted[y, x].all()
    top = int(np.floor(face[17:27, 1].min()))
    assert not low[: top - 1].any() and lifted[max(top - 25, 0), 40:72].all()
    assert not lifted[111, :20].any() and (low <= lifted).all()


def test_a_hull_of_landmarks_far_away_is_no_fault():
    assert not align.hull(AVERAGE_68x2 * 10 + 1e9, 64, 5.0).any()
