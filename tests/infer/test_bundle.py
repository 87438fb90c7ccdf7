"""Bundles: what is written is what is read, and nothing damaged passes."""

import zipfile

import numpy as np
import pytest
from tiny_bundle import AUS, FRAMES, SIZE, THRESHOLDS, rewritten, write_tiny

from jaxfacs.errors import UserError
from jaxfacs.infer import bundle


def test_round_trip(bundles):
    read = bundle.read(bundles["full"])
    assert read.aus == AUS and read.emotions == ("happy", "sad")
    assert read.input == bundle.InputSpec(frames=FRAMES, size=SIZE, answers=tuple(range(FRAMES)))
    np.testing.assert_array_equal(read.thresholds_A, list(THRESHOLDS.values()))
    assert read.manifest["about"] == {"note": "a test"}
    assert read.weights["kernel"].shape == (3, 4) and read.weights["kernel"].dtype == np.float32


def test_the_same_network_gives_the_same_bytes(tmp_path, bundles):
    again = write_tiny(tmp_path / "again.jaxfacs")
    assert again.read_bytes() == bundles["clip"].read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["again.jaxfacs"]


def test_every_flipped_byte_is_noticed(tmp_path, bundles):
    """A sample of positions over the whole file, each flipped by itself."""
    raw = bytearray(bundles["clip"].read_bytes())
    reference = bundle.read(bundles["clip"])
    broken, rng = tmp_path / "broken.jaxfacs", np.random.default_rng(0)
    silent = []
    for position in rng.choice(len(raw), 150, replace=False):
        raw[position] ^= 0x10
        broken.write_bytes(raw)
        raw[position] ^= 0x10
        try:
            read = bundle.read(broken)
        except UserError as error:
            assert "broken.jaxfacs" in str(error)
            continue
        # What ZIP repeats of sizes, dates and attributes is never used: all else must be the same.
        assert read.function == reference.function and read.manifest == reference.manifest
        silent.append(position)
    assert len(silent) < 10


@pytest.mark.parametrize("part", ["manifest.json", "network.stablehlo", "weights.npz"])
def test_a_changed_part_is_named(tmp_path, bundles, part):
    with zipfile.ZipFile(bundles["clip"]) as file:
        members = {name: bytearray(file.read(name)) for name in file.namelist()}
    members[part][len(members[part]) // 2] ^= 1  # with a right CRC: only the digest can tell
    changed = tmp_path / "changed.jaxfacs"
    with zipfile.ZipFile(changed, "w") as file:
        for name, content in members.items():
            file.writestr(name, bytes(content))
    with pytest.raises(UserError, match=part):
        bundle.read(changed)


def test_newer_formats_and_wrong_files_are_refused(tmp_path, bundles):
    newer = rewritten(bundles["clip"], tmp_path / "newer.jaxfacs", lambda m: m.update(format=99))
    with pytest.raises(UserError, match="bundle format 99"):
        bundle.read(newer)
    wrong = rewritten(
        bundles["clip"], tmp_path / "wrong.jaxfacs", lambda m: m["input"].update(answers=[77])
    )
    with pytest.raises(UserError, match="outside a clip"):
        bundle.read(wrong)
    with pytest.raises(UserError, match="no model file"):
        bundle.read(tmp_path / "gone.jaxfacs")
    (tmp_path / "text.jaxfacs").write_text("not a zip")
    with pytest.raises(UserError, match=r"text\.jaxfacs is damaged or no jaxfacs model"):
        bundle.read(tmp_path / "text.jaxfacs")
    half = tmp_path / "half.jaxfacs"
    half.write_bytes(bundles["clip"].read_bytes()[:1000])
    with pytest.raises(UserError, match=r"half\.jaxfacs"):
        bundle.read(half)
    with zipfile.ZipFile(tmp_path / "other.jaxfacs", "w") as file:
        file.writestr("readme", "x")
    with pytest.raises(UserError, match=r"no manifest\.json"):
        bundle.read(tmp_path / "other.jaxfacs")


def test_compressed_members_are_refused_unread(tmp_path, bundles):
    """A ZIP bomb would only open at reading."""
    with zipfile.ZipFile(bundles["clip"]) as file:
        members = {name: file.read(name) for name in file.namelist()}
    bomb = tmp_path / "bomb.jaxfacs"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    with pytest.raises(UserError, match=r"manifest\.json"):
        bundle.read(bomb)


def test_pickles_are_not_read(tmp_path, bundles):
    with zipfile.ZipFile(bundles["clip"]) as file:
        function = file.read(bundle.NETWORK)
    with pytest.raises(ValueError, match=r"[Oo]bject"):
        bundle.write(
            tmp_path / "pickled.jaxfacs",
            function=function,
            weights={"w": np.array([{}], object)},
            input=bundle.InputSpec(frames=1, size=8),
            aus=("1",),
        )
    assert not list(tmp_path.iterdir())


def test_thresholds_stay_inside_the_printed_range(tmp_path, bundles):
    function = bundle.read(bundles["clip"]).function
    path = bundle.write(
        tmp_path / "edge.jaxfacs",
        function=function,
        weights={"w": np.zeros(1, np.float32)},
        input=bundle.InputSpec(frames=1, size=8),
        aus=("1", "2", "4"),
        thresholds={"1": 0.0, "2": 1.0},
    )
    assert bundle.read(path).thresholds_A.tolist() == [0.0001, 0.9999, 0.5]
