"""The built-in head: a sound mesh, and actions that move the face the way FACS says."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from jaxfacs.synthface import builtin, builtin_parts, builtin_people, heads

# iBUG indices; "left" is the subject's left, at +x.
BROW_INNER, BROW_OUTER = (21, 22), (18, 25)
LID_UPPER, LID_LOWER = (37, 38, 43, 44), (40, 41, 46, 47)
CORNERS = (48, 54)
UPPER_LIP, LOWER_LIP = (50, 51, 52), (56, 57, 58)
INNER_UPPER, INNER_LOWER = (61, 62, 63), (65, 66, 67)
CHIN = (7, 8, 9)
NOSE_WINGS = (31, 35)
EVERY_SHAPE = sorted(heads.SHAPES)


@pytest.fixture(scope="module")
def head() -> heads.Head:
    return builtin.head()


@pytest.fixture(scope="module")
def mirror_V(head) -> np.ndarray:
    """The vertex at the mirror image of each vertex, found by position alone."""
    flipped = head.vertices_V3 * np.float32([-1, 1, 1])
    at = np.round(head.vertices_V3 * 1e4).astype(np.int64)
    table = {}
    for index, key in enumerate(map(tuple, at)):
        table.setdefault(key, []).append(index)
    found = []
    for key in map(tuple, np.round(flipped * 1e4).astype(np.int64)):
        near = [
            (key[0] + i, key[1] + j, key[2] + k)
            for i in (0, -1, 1)
            for j in (0, -1, 1)
            for k in (0, -1, 1)
        ]
        found.append(next((table[n] for n in near if n in table), None))
    assert all(found), "a vertex has no mirror image"
    return found


def moved(head, label: str, intensity: float = 5.0) -> np.ndarray:
    """Displacement of the 68 landmarks, cm."""
    posed = heads.deform(head, {label: intensity})
    return heads.landmarks_of(head, posed) - heads.landmarks_of(head, head.vertices_V3)


def mean(displacement: np.ndarray, marks, axis: int) -> float:
    return float(displacement[list(marks), axis].mean())


def people_mode(name: str) -> int:
    return [field.__name__ for field, _ in builtin_people.MODES].index(name)


def outward(displacement: np.ndarray) -> float:
    """How far the lip corners go apart, per side."""
    return float(displacement[54, 0] - displacement[48, 0]) / 2


# --- the mesh ------------------------------------------------------------------------------


def test_mesh_is_sound(head):
    v, f = head.vertices_V3, head.triangles_F3
    assert v.dtype == np.float32 and f.dtype == np.int32 and head.part_F.dtype == np.uint8
    assert 5_000 <= len(v) <= 12_000
    assert np.isfinite(v).all()
    assert f.min() == 0 and f.max() == len(v) - 1
    assert len(np.unique(f)) == len(v), "a vertex belongs to no triangle"
    assert len(head.part_F) == len(f) and set(np.unique(head.part_F)) == set(range(6))
    a, b, c = (v[f[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    assert area.min() > 1e-6


def test_skin_has_holes_only_at_eyes_mouth_ears_and_neck(head):
    """Every directed edge occurs once; edges without a partner close into few loops."""
    skin = head.triangles_F3[head.part_F == heads.PARTS.index("skin")]
    edges = np.concatenate([skin[:, [0, 1]], skin[:, [1, 2]], skin[:, [2, 0]]])
    once = {tuple(e) for e in edges}
    assert len(once) == len(edges), "an edge is used twice in one direction"
    rim = np.array([e for e in once if (e[1], e[0]) not in once])
    at = head.vertices_V3[rim[:, 0]]
    eyes = sum(np.linalg.norm(at - eye.centre_3, axis=1) < 1.7 for eye in head.eyes) > 0
    mouth = (np.abs(at[:, 0]) < 2.8) & (np.abs(at[:, 1] + 7.2) < 0.8) & (at[:, 2] > 6)
    ears = np.abs(at[:, 0]) > 5.5
    neck = at[:, 1] < -15
    assert (eyes | mouth | ears | neck).all()


def test_faces_look_outwards(head):
    """From the front the triangles of the face turn counter-clockwise."""
    v, f = head.vertices_V3, head.triangles_F3[head.part_F == 0]
    a, b, c = (v[f[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    middle = (a + b + c) / 3
    forehead = (
        (np.abs(middle[:, 0]) < 3) & (middle[:, 1] > 3) & (middle[:, 1] < 6) & (middle[:, 2] > 6)
    )
    assert forehead.sum() > 50 and (normal[forehead, 2] > 0).all()
    for eye in head.eyes:
        ball = head.triangles_F3[np.isin(head.triangles_F3, eye.vertices).all(axis=1)]
        a, b, c = (v[ball[:, k]] for k in range(3))
        out = ((a + b + c) / 3 - eye.centre_3) * np.cross(b - a, c - a)
        assert (out.sum(axis=1) > 0).all()


def test_neutral_is_symmetric(mirror_V):
    assert all(mirror_V)


@pytest.mark.parametrize("au", heads.PAIRED)
def test_left_shapes_mirror_right_shapes(head, mirror_V, au):
    left, right = head.shapes["L" + au], head.shapes["R" + au]
    flipped = left * np.float32([-1, 1, 1])
    # Coincident vertices (where the lips meet) may be matched either way.
    error = [
        min(np.abs(right[j] - flipped[i]).max() for j in images)
        for i, images in enumerate(mirror_V)
    ]
    assert max(error) < 1e-3


@pytest.mark.parametrize("au", heads.UNPAIRED)
def test_unpaired_shapes_are_symmetric(head, mirror_V, au):
    shape = head.shapes[au]
    flipped = shape * np.float32([-1, 1, 1])
    error = [
        min(np.abs(shape[j] - flipped[i]).max() for j in images)
        for i, images in enumerate(mirror_V)
    ]
    assert max(error) < 1e-3


def test_everything_is_there(head):
    assert sorted(head.shapes) == EVERY_SHAPE
    assert set(head.masks) >= set(heads.MASKS)
    assert set(head.wrinkles) <= set(head.shapes)
    count = len(head.vertices_V3)
    for shape in head.shapes.values():
        assert shape.dtype == np.float32 and shape.shape == (count, 3) and np.isfinite(shape).all()
        assert 0.1 < np.linalg.norm(shape, axis=1).max() < 6
    for field in head.wrinkles.values():
        assert field.dtype == np.float32 and field.shape == (count,)
        assert 0.2 < np.abs(field).max() <= 1
    for name, mask in head.masks.items():
        assert mask.dtype == np.float32 and mask.min() >= 0 and mask.max() <= 1, name
        assert mask.max() > 0.8, name
    assert len(head.identity_M_V3) >= 12
    assert head.identity_M_V3.dtype == np.float32 and np.isfinite(head.identity_M_V3).all()


def test_landmarks_lie_where_ibug_says(head):
    marks = heads.landmarks_of(head, head.vertices_V3)
    assert len(np.unique(head.landmarks_68)) == 68
    pairs = [(0, 16), (8, 8), (17, 26), (21, 22), (31, 35), (36, 45), (39, 42), (37, 44), (41, 46)]
    pairs += [(48, 54), (50, 52), (59, 55), (60, 64), (61, 63), (67, 65), (33, 33), (57, 57)]
    for right, left in pairs:
        np.testing.assert_allclose(marks[right] * [-1, 1, 1], marks[left], atol=1e-3)
        assert right == left or marks[right, 0] < marks[left, 0]
    assert (np.diff(marks[:17, 0]) > 0).all()  # the jaw, from the subject's right
    assert (np.diff(marks[17:27, 0]) > 0).all()
    assert (np.diff(marks[27:31, 1]) < 0).all()  # down the bridge of the nose
    assert marks[30, 2] == pytest.approx(marks[:, 2].max(), abs=0.3)
    heights = [marks[i, 1] for i in (24, 44, 46, 33, 51, 57, 8)]
    assert heights == sorted(heights, reverse=True)


def test_digest_is_the_same_in_another_process(head):
    code = (
        "import hashlib; from jaxfacs.synthface import builtin; h = builtin.head();"
        "d = hashlib.sha256(h.vertices_V3.tobytes() + h.triangles_F3.tobytes());"
        "[d.update(h.shapes[k].tobytes()) for k in sorted(h.shapes)];"
        "d.update(h.identity_M_V3.tobytes()); print(d.hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    own = hashlib.sha256(head.vertices_V3.tobytes() + head.triangles_F3.tobytes())
    for key in sorted(head.shapes):
        own.update(head.shapes[key].tobytes())
    own.update(head.identity_M_V3.tobytes())
    assert other.stdout.strip() == own.hexdigest()


# --- the actions, by their FACS description ------------------------------------------------


def test_1_raises_the_inner_brow_more_than_the_outer(head):
    d = moved(head, "1")
    assert mean(d, BROW_INNER, 1) > 0.5
    assert mean(d, BROW_INNER, 1) > 2 * mean(d, BROW_OUTER, 1)


def test_2_raises_the_outer_brow_more_than_the_inner(head):
    d = moved(head, "2")
    assert mean(d, BROW_OUTER, 1) > 0.5
    assert mean(d, BROW_OUTER, 1) > 2 * mean(d, BROW_INNER, 1)


def test_4_lowers_the_brows_and_draws_them_together(head):
    d = moved(head, "4")
    assert mean(d, BROW_INNER, 1) < -0.3
    assert d[22, 0] < -0.2 and d[21, 0] > 0.2


def test_5_raises_the_upper_lid_alone(head):
    d = moved(head, "5")
    assert mean(d, LID_UPPER, 1) > 0.15
    assert abs(mean(d, LID_LOWER, 1)) < 0.05


def test_6_raises_the_cheeks_and_leaves_the_mouth(head):
    posed = heads.deform(head, {"6": 5})
    cheek = head.masks["cheek"] > 0.7
    assert (posed - head.vertices_V3)[cheek, 1].mean() > 0.3
    d = moved(head, "6")
    assert np.abs(d[48:68]).max() < 0.1
    assert mean(d, LID_LOWER, 1) > 0.1


def test_7_narrows_the_eyes_from_below(head):
    d = moved(head, "7")
    assert mean(d, LID_LOWER, 1) > 0.15 > 0 > mean(d, LID_UPPER, 1)


def test_9_raises_the_wings_and_lowers_the_brow(head):
    d = moved(head, "9")
    assert mean(d, NOSE_WINGS, 1) > 0.2
    assert mean(d, BROW_INNER, 1) < -0.15
    assert mean(d, UPPER_LIP, 1) > 0.15


def test_10_raises_the_middle_of_the_upper_lip_more_than_the_corners(head):
    d = moved(head, "10")
    assert mean(d, UPPER_LIP, 1) > 0.4
    assert mean(d, UPPER_LIP, 1) > 2 * mean(d, CORNERS, 1)


def test_12_pulls_the_corners_up_back_and_out(head):
    d = moved(head, "12")
    assert mean(d, CORNERS, 1) > 0.4
    assert outward(d) > 0.4
    assert mean(d, CORNERS, 2) < -0.2


def test_14_pulls_the_corners_out_and_in_without_raising_them(head):
    d = moved(head, "14")
    assert outward(d) > 0.2
    assert abs(mean(d, CORNERS, 1)) < 0.12
    assert mean(d, CORNERS, 2) < -0.1


def test_15_pulls_the_corners_down(head):
    d = moved(head, "15")
    assert mean(d, CORNERS, 1) < -0.4
    assert abs(mean(d, UPPER_LIP, 1)) < 0.15


def test_16_lowers_the_lower_lip_alone(head):
    d = moved(head, "16")
    assert mean(d, LOWER_LIP, 1) < -0.35
    assert abs(mean(d, UPPER_LIP, 1)) < 0.05


def test_17_pushes_the_lower_lip_up_and_out(head):
    d = moved(head, "17")
    assert mean(d, LOWER_LIP, 1) > 0.2 and mean(d, LOWER_LIP, 2) > 0.1
    assert mean(d, CORNERS, 1) < mean(d, LOWER_LIP, 1) - 0.2


@pytest.mark.parametrize("au", ["18", "22"])
def test_18_and_22_bring_the_corners_in_and_the_lips_out(head, au):
    d = moved(head, au)
    assert outward(d) < -0.4
    assert mean(d, (*UPPER_LIP, *LOWER_LIP), 2) > 0.4


def test_20_stretches_the_mouth_sideways(head):
    d = moved(head, "20")
    assert outward(d) > 0.5
    assert mean(d, CORNERS, 1) < 0.05


@pytest.mark.parametrize("au", ["23", "24", "28"])
def test_23_24_and_28_hide_the_red_of_the_lips(head, au):
    d = moved(head, au)
    marks = heads.landmarks_of(head, head.vertices_V3)
    before = marks[51, 1] - marks[57, 1]
    assert d[51, 1] - d[57, 1] < -(0.2 if au != "28" else 0.6) * before


@pytest.mark.parametrize("au", ["25", "26", "27"])
def test_25_26_and_27_part_the_lips_and_leave_the_upper_one(head, au):
    d = moved(head, au)
    gap = mean(d, INNER_UPPER, 1) - mean(d, INNER_LOWER, 1)
    assert gap > {"25": 0.4, "26": 1.2, "27": 2.5}[au]
    assert abs(mean(d, UPPER_LIP, 1)) < 0.3
    chin = mean(d, CHIN, 1)
    assert abs(chin) < 0.05 if au == "25" else chin < -1


@pytest.mark.parametrize("au", ["1", "2", "4", "5", "6", "7", "12", "14", "15", "17", "18", "20",
                                "23", "24", "28", "43"])  # fmt: skip
def test_lips_stay_together(head, au):
    d = moved(head, au)
    assert (d[[61, 62, 63], 1] - d[[67, 66, 65], 1]).max() < 0.06


@pytest.mark.parametrize("side", ["L", "R"])
def test_43_closes_one_eye(head, side):
    posed = heads.deform(head, {side + "43": 5})
    marks, rest = heads.landmarks_of(head, posed), heads.landmarks_of(head, head.vertices_V3)

    def aperture(at, first):
        return (at[first + 1, 1] + at[first + 2, 1] - at[first + 4, 1] - at[first + 5, 1]) / 2

    shut, open_ = (42, 36) if side == "L" else (36, 42)
    assert aperture(rest, shut) > 0.7
    assert aperture(marks, shut) < 0.1 * aperture(rest, shut)
    assert aperture(marks, open_) == pytest.approx(aperture(rest, open_), abs=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_43_closes_the_eyes_of_everybody(head, seed):
    weights = np.random.default_rng(seed).normal(size=len(head.identity_M_V3))
    rest = heads.landmarks_of(head, heads.identity(head, weights))
    shut = heads.landmarks_of(head, heads.deform(head, {"43": 5}, weights))
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        gape = rest[upper, 1] - rest[lower, 1]
        assert gape > 0.4
        assert abs(shut[upper, 1] - shut[lower, 1]) < 0.1 * gape


def test_lids_do_not_pass_through_each_other(head):
    weights = np.zeros(len(head.identity_M_V3))
    weights[people_mode("_lid_opening")] = -2.5
    squint = heads.landmarks_of(head, heads.deform(head, {"43": 3.5, "7": 5, "6": 5}, weights))
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        assert squint[upper, 1] - squint[lower, 1] > -0.02


@pytest.mark.parametrize("level", [0, 1, 2, 3, 4, 5])
def test_lids_never_cut_the_eyeball(head, level):
    for people in (None, np.full(len(head.identity_M_V3), 0.7), np.full(30, -0.7)):
        posed = heads.deform(head, {"43": level, "6": 2}, people)
        for eye in head.eyes:
            ball = posed[eye.vertices]
            low, high = ball.min(axis=0), ball.max(axis=0)
            centre = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, 0])
            radius = (high[0] - low[0]) / 2
            centre[2] = high[2] - radius
            off = np.linalg.norm(posed[eye.lids] - centre, axis=1)
            assert off.min() > radius - 0.01


UPPER_FACE = ("1", "2", "4", "5", "7", "43")
LOWER_FACE = ("10", "11", "12", "14", "15", "16", "17", "18", "20", "22", "23", "24", "25", "26",
              "27", "28")  # fmt: skip


@pytest.mark.parametrize("au", UPPER_FACE)
def test_upper_face_actions_leave_the_lower_face(head, au):
    d = moved(head, au)
    assert np.abs(d[[*range(3, 14), *range(48, 68)]]).max() < 0.02


@pytest.mark.parametrize("au", LOWER_FACE)
def test_lower_face_actions_leave_the_brows_and_the_upper_lids(head, au):
    d = moved(head, au)
    assert np.abs(d[[*range(17, 27), *LID_UPPER]]).max() < 0.06


@pytest.mark.parametrize("au", heads.PAIRED)
def test_one_side_leaves_the_other(head, au):
    displaced = np.linalg.norm(head.shapes["L" + au], axis=1)
    far_right = head.vertices_V3[:, 0] < -1.3
    assert displaced[far_right].max() < 0.02
    assert displaced[~far_right].max() > 0.1


def test_teeth_and_tongue_follow_the_jaw(head):
    shape = head.shapes["26"]
    teeth = np.unique(head.triangles_F3[head.part_F == heads.PARTS.index("teeth")])
    upper = teeth[head.vertices_V3[teeth, 1] > builtin_parts.UPPER_EDGE_Y + 0.3]
    lower = teeth[head.vertices_V3[teeth, 1] < builtin_parts.LOWER_EDGE_Y - 0.4]
    assert np.abs(shape[upper]).max() == 0
    assert shape[lower, 1].max() < -0.6


def test_eyes_turn_with_the_gaze(head):
    posed = heads.deform(head, {}, gaze_deg=(20, 0))
    right, left = head.eyes
    for eye in (right, left):
        front = eye.vertices[np.argmax(head.vertices_V3[eye.vertices, 2])]
        assert posed[front, 0] - head.vertices_V3[front, 0] > 0.3
    assert right.centre_3[0] < 0 < left.centre_3[0]


def test_looking_down_lowers_the_lids(head):
    down = heads.deform(head, {}, gaze_deg=(0, -25)) - head.vertices_V3
    assert mean(down[head.landmarks_68], LID_UPPER, 1) < -0.2


@pytest.mark.parametrize("seed", range(6))
def test_people_keep_a_sound_face(head, seed):
    weights = np.random.default_rng(seed).normal(size=len(head.identity_M_V3))
    person = heads.identity(head, weights)
    marks = heads.landmarks_of(head, person)
    heights = [marks[i, 1] for i in (24, 44, 46, 33, 51, 57, 8)]
    assert heights == sorted(heights, reverse=True)
    before = head.vertices_V3[head.triangles_F3]
    after = person[head.triangles_F3]
    normal = [np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0]) for t in (before, after)]
    flipped = (normal[0] * normal[1]).sum(axis=1) < 0
    assert flipped.mean() < 0.002
    sphere = [person[eye.vertices] for eye in head.eyes]
    for ball in sphere:
        extent = np.ptp(ball, axis=0)
        assert abs(extent[0] / extent[1] - 1) < 0.02
