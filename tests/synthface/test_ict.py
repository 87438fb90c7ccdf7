"""The ICT head's files: read once, kept, and refused by name where they are damaged."""

import os
import time

import numpy as np
import pytest

from jaxfacs.errors import UserError
from jaxfacs.synthface import heads, ict


@pytest.fixture
def copy(ict_folder, tmp_path):
    """A folder of links to the files, of which a test may replace some."""
    folder = tmp_path / "FaceXModel"
    folder.mkdir()
    for file in ict_folder.iterdir():
        (folder / file.name).symlink_to(file)
    return folder


def _replace(path, data):
    path.unlink()
    path.write_bytes(data)


def test_it_loads_from_the_folder_or_the_one_above(ict_folder):
    for path in (ict_folder, str(ict_folder.parent)):
        assert heads.load(str(path)).name == "ict"


def test_a_second_load_is_fast_and_equal(ict_folder):
    first = ict.load(ict_folder)
    start = time.perf_counter()
    second = ict.load(ict_folder)
    assert time.perf_counter() - start < 3.0  # 0.4 s on two idle cores; 240 MB of text take more
    np.testing.assert_array_equal(first.vertices_V3, second.vertices_V3)
    np.testing.assert_array_equal(first.shapes["L12"], second.shapes["L12"])


def test_shapes_follow_their_files(ict_folder):
    """One vertex of mouthSmile_L read by hand from the text."""

    def vertex(name, number):
        lines = (ict_folder / f"{name}.obj").read_text().splitlines()
        rows = [line.split()[1:] for line in lines if line.startswith("v ")]
        return np.array(rows[number], np.float32)

    corner = 6213  # landmark 54, the subject's left corner of the mouth
    offset = vertex("mouthSmile_L", corner) - vertex("generic_neutral_mesh", corner)
    head = ict.load(ict_folder)
    at = head.landmarks_68[54]
    np.testing.assert_allclose(
        head.vertices_V3[at], vertex("generic_neutral_mesh", corner), atol=1e-4
    )
    assert offset[0] > 0  # outwards on the subject's left
    moved = head.shapes["L12"][at]
    assert np.dot(moved, offset) / np.linalg.norm(moved) / np.linalg.norm(offset) > 0.99


def test_the_shells_are_left_out(ict_folder):
    head = ict.load(ict_folder)
    assert len(head.vertices_V3) < ict.VERTICES
    used = np.unique(head.triangles_F3)
    assert len(used) >= len(head.vertices_V3) - 68


def test_eyes_look_straight_ahead_at_rest(ict_folder):
    head = ict.load(ict_folder)
    for eye, sign in zip(head.eyes, (-1, 1), strict=True):
        assert np.sign(eye.centre_3[0]) == sign  # right first
        at = head.vertices_V3[eye.vertices] - eye.centre_3
        top = at[np.argsort(-np.linalg.norm(at, axis=1))[:30]].mean(axis=0)
        assert np.degrees(np.arccos(top[2] / np.linalg.norm(top))) < 1.0


def test_no_folder_is_one_line_that_names_it(tmp_path):
    with pytest.raises(UserError, match=r"generic_neutral_mesh\.obj"):
        heads.load(str(tmp_path))


def test_a_missing_shape_is_named(copy):
    (copy / "jawOpen.obj").unlink()
    with pytest.raises(UserError, match=r"jawOpen\.obj is missing"):
        ict.load(copy)


def test_a_truncated_shape_is_named(copy):
    whole = (copy / "browDown_L.obj").read_bytes()
    for data in (whole[:700_000], b"", whole.replace(b"\nv ", b"\nv nan ", 1)):
        _replace(copy / "browDown_L.obj", data)
        with pytest.raises(UserError, match=r"browDown_L\.obj is damaged"):
            ict.load(copy)


def test_a_neutral_mesh_without_its_polygons_is_named(copy):
    whole = (copy / "generic_neutral_mesh.obj").read_bytes()
    _replace(copy / "generic_neutral_mesh.obj", whole[: whole.index(b"usemtl M_Teeth")])
    with pytest.raises(UserError, match=r"generic_neutral_mesh\.obj is damaged.*teeth"):
        ict.load(copy)


def test_damaged_landmarks_are_named(copy):
    for data in (b"{", b"{}", b'{"idx_to_landmark_verts": [1, 2]}'):
        _replace(copy / "vertex_indices.json", data)
        with pytest.raises(UserError, match=r"vertex_indices\.json"):
            ict.load(copy)


def test_a_damaged_cache_is_parsed_again(ict_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = ict.load(ict_folder)
    (cached,) = (tmp_path / "jaxfacs").iterdir()
    whole = cached.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1 :]
    for damaged in (whole[:1000], flipped):
        cached.write_bytes(damaged)
        second = ict.load(ict_folder)
        np.testing.assert_array_equal(first.identity_M_V3, second.identity_M_V3)
        np.testing.assert_array_equal(first.shapes["R9"], second.shapes["R9"])
        assert cached.read_bytes() == whole


def test_a_cache_that_cannot_be_written_only_warns(ict_folder, monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    with pytest.warns(UserWarning, match="not kept"):
        assert ict.load(ict_folder).name == "ict"


def test_a_changed_file_is_read_anew(copy):
    before = ict.load(copy).shapes["L12"]
    source = (copy / "mouthSmile_L.obj").read_bytes()
    neutral = (copy / "generic_neutral_mesh.obj").read_bytes()
    _replace(copy / "mouthSmile_L.obj", neutral)
    os.utime(copy / "mouthSmile_L.obj")
    after = ict.load(copy).shapes["L12"]
    assert np.abs(after).max() < np.abs(before).max()
    assert source != neutral
