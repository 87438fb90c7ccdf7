"""What rows carry beside the plain clip: stored flow, blends, strides, frames without a face."""

from dataclasses import fields, replace

import cv2
import numpy as np
import plain_sets as plain
import pytest

from jaxfacs.cli import main
from jaxfacs.data import augment_sheet, flow, records, rows
from jaxfacs.data.config import NO_AUGMENT, Augment, DataConfig
from jaxfacs.data.pipeline import evaluation_batches
from jaxfacs.errors import UserError

FRAMES, SIZE, LONG = 4, 32, 12
FOUND_T = np.array([True, False, True, True, False, True, True, True, True, True, True, True])


def flowing(number: int, *, with_flow: bool = True):
    """A texture that drifts by (1.5, −1) a frame; AU 1 present in odd clips, AU 2 not coded."""
    rng = np.random.default_rng(number)
    wide = cv2.GaussianBlur(rng.uniform(0, 255, (80, 80, 3)).astype(np.float32), (0, 0), 2.0)
    wide = np.clip((wide - 127.5) * 5 + 127.5, 0, 255)
    frames = []
    for t in range(LONG):
        shift = np.array([[1, 0, 1.5 * t - 20], [0, 1, -1.0 * t - 10]])
        frames.append(cv2.warpAffine(wide, shift, (SIZE, SIZE)).astype(np.uint8))
    pngs, scale_F = flow.of_clip(list(flow.fields(frames)), 0, LONG)
    present = number % 2
    return records.clip_from_arrays(
        np.stack(frames),
        clip_id=str(number),
        subject=f"s{number}",
        intensity_TA=np.tile(np.array([[4.0 * present, -1]], np.float32), (LONG, 1)),
        valence_arousal_T2=np.full((LONG, 2), present - 0.5, np.float32),
        landmarks_T68x2=np.full((LONG, 68, 2), 9, np.float32),
        emotion=0 if number < 3 else 1,
        found_T=FOUND_T,
        **({"flow": pngs, "flow_scale_F": scale_F} if with_flow else {}),
    )


@pytest.fixture(scope="module")
def flow_set(tmp_path_factory):
    made = {"train": [flowing(i) for i in range(5)], "validation": [flowing(9)]}
    path = tmp_path_factory.mktemp("sets") / "flowing"
    return records.write_set(path, made, aus=("1", "2"), emotions=("a", "b"), flow=True)


@pytest.fixture(scope="module")
def config(flow_set) -> DataConfig:
    return DataConfig(
        source=str(flow_set), frames=FRAMES, size=SIZE, batch_size=5, threads=1, augment=NO_AUGMENT
    )


def take(config, steps=2, **options):
    return plain.batches(config, steps, **options)


@pytest.mark.parametrize("components", flow.COMPONENTS)
def test_batches_carry_the_stored_stacks(config, flow_set, components):
    (batch,) = take(replace(config, flow=components, flow_limit=4.0), 1)
    stacks = batch["flow_BTHWF"]
    assert stacks.dtype == np.float16
    assert stacks.shape == (5, FRAMES, SIZE, SIZE, flow.channels(components))
    opened = records.open_set(flow_set)
    for row in range(5):
        clip = opened.clip("train", int(batch["index_B"][row]))
        pairs = zip(clip.flow, clip.flow_scale_F, strict=True)
        fields = np.stack([flow.unpack(*pair) for pair in pairs])
        places_T = batch["start_B"][row] + np.arange(FRAMES)
        expected = flow.stacks(fields, places_T, components=components, limit=4.0)
        np.testing.assert_array_equal(stacks[row], expected)
    plain.same(take(config, 1), [{k: v for k, v in batch.items() if k != "flow_BTHWF"}])


def test_flow_is_the_motion_of_the_picture_shown(config):
    """Enlarged twice, a drift of (1.5, −1) is one of (3, −2) pixels a frame; mirrored (−3, −2)."""
    for flip, sign in ((0, 1), (1, -1)):
        wanted = replace(
            config,
            flow="xy",
            flow_limit=10.0,
            size=2 * SIZE,
            augment=replace(NO_AUGMENT, flip=flip),
        )
        (batch,) = take(wanted, 1)
        row = int(np.argmax(batch["start_B"]))
        inner = batch["flow_BTHWF"][row, 0, 16:-16, 16:-16].astype(float) * 10
        known = min(int(batch["start_B"][row]), 5)
        x, y = inner[..., 5 - known : 10], inner[..., 15 - known : 20]
        assert np.median(x) == pytest.approx(3 * sign, abs=0.35)
        assert np.median(y) == pytest.approx(-2, abs=0.35)


def test_evaluation_has_flow_and_padding(config):
    wanted = replace(config, flow="y", frames=8)
    batches = list(evaluation_batches(wanted, "validation", batch_size=3))
    assert len(batches) == 1 and batches[0]["flow_BTHWF"].shape == (3, 8, SIZE, SIZE, 10)
    assert batches[0]["weight_B"].tolist() == [1, 1, 0]
    assert batches[0]["flow_BTHWF"][:2].any() and not batches[0]["flow_BTHWF"][2].any()


def test_a_set_without_flow_names_the_remedy(tmp_path):
    made = {"train": [flowing(i, with_flow=False) for i in range(2)]}
    path = records.write_set(tmp_path / "set", made, aus=("1", "2"), emotions=("a", "b"))
    with pytest.raises(UserError, match=r"no optical flow.*--flow"):
        take(DataConfig(source=str(path), frames=2, size=SIZE, batch_size=2, flow="y"), 1)


@pytest.mark.parametrize("options", [{"flow": "z"}, {"flow_limit": 0.0}, {"strides": (2, 0)}])
def test_impossible_options_are_refused(options):
    with pytest.raises(UserError):
        DataConfig(**options)


def test_frames_without_a_face_are_unknown(config):
    (plainly,) = take(replace(config, frames=LONG), 1)
    (masked,) = take(replace(config, frames=LONG, require_face=True), 1)
    assert (plainly["occurrence_BTA"][..., 0] >= 0).all()
    assert (masked["occurrence_BTA"][:, ~FOUND_T] == -1).all()
    assert (masked["intensity_BTA"][:, ~FOUND_T] == -1).all()
    assert np.isnan(masked["valence_arousal_BT2"][:, ~FOUND_T]).all()
    assert np.isnan(masked["landmarks_BT682"][:, ~FOUND_T]).all()
    for key in ("occurrence_BTA", "intensity_BTA", "valence_arousal_BT2", "landmarks_BT682"):
        np.testing.assert_array_equal(masked[key][:, FOUND_T], plainly[key][:, FOUND_T])
    np.testing.assert_array_equal(masked["emotion_B"], plainly["emotion_B"])


def test_a_clip_without_any_face_has_no_emotion(config):
    batches = take(replace(config, frames=1, require_face=True), 8)
    unknown = np.concatenate([b["emotion_B"] == -1 for b in batches])
    hidden = np.concatenate([~FOUND_T[b["start_B"]] for b in batches])
    np.testing.assert_array_equal(unknown, hidden)
    assert 0 < hidden.sum() < len(hidden)


def test_drawn_strides_are_those_that_fit():
    rng = np.random.default_rng(0)
    config = DataConfig(frames=4, strides=(1, 2, 5), temporal_jitter=0)
    steps, starts = set(), set()
    for _ in range(200):
        start, places_T = rows.random_places(9, config, rng)
        rng.random()
        steps |= set(np.diff(places_T).tolist())
        starts.add((int(places_T[1] - places_T[0]), start))
        assert places_T[-1] < 9
    assert steps == {1, 2} and {s for step, s in starts if step == 2} == {0, 1, 2}
    _, places_T = rows.random_places(3, config, rng)
    assert places_T.tolist() == [0, 1, 2, 3]  # nothing fits: the smallest, and padding


def test_options_switched_on_leave_the_rest_of_the_draw_alone(config):
    """Blending and drawn strides take their dice elsewhere."""
    augment = replace(Augment(), cutout=0)
    (before,) = take(replace(config, augment=augment), 1)
    plain.same(take(replace(config, augment=augment, strides=(1, 1)), 1), [before])
    (mixed,) = take(replace(config, augment=replace(augment, mixup=1e-6)), 1)
    for key in ("index_B", "start_B"):
        np.testing.assert_array_equal(before[key], mixed[key])
    # A share of all but 0 or 1: of each row either it or its partner is left.
    own_B = (before["frames_BTHWC"] == mixed["frames_BTHWC"]).all((1, 2, 3, 4))
    assert 0 < own_B.sum() < 5


def test_blends_are_the_shares_of_two_clips(config):
    batches = take(replace(config, augment=replace(NO_AUGMENT, mixup=1.0), flow="y"), 8)
    plainly = take(replace(config, flow="y"), 8)
    shares = []
    for mixed, own in zip(batches, plainly, strict=True):
        occurrence = mixed["occurrence_BTA"]
        assert occurrence.dtype == np.float32 and (occurrence[..., 1] == -1).all()
        share_BT = occurrence[..., 0]
        assert ((share_BT >= 0) & (share_BT <= 1)).all()
        np.testing.assert_allclose(mixed["intensity_BTA"][..., 0], 4 * share_BT, atol=1e-5)
        np.testing.assert_allclose(mixed["valence_arousal_BT2"][..., 0], share_BT - 0.5, atol=1e-5)
        assert np.isnan(mixed["landmarks_BT682"]).all()
        assert np.isin(mixed["emotion_B"], (-1, 0, 1)).all()
        known = mixed["emotion_B"] >= 0
        np.testing.assert_array_equal(mixed["emotion_B"][known], own["emotion_B"][known])
        np.testing.assert_array_equal(mixed["index_B"], own["index_B"])
        shares.append(share_BT[:, 0])
    shares = np.concatenate(shares)
    assert ((shares > 0.01) & (shares < 0.99)).mean() > 0.3
    emotions = np.concatenate([b["emotion_B"] for b in batches])
    assert (emotions == -1).any() and (emotions >= 0).any()


def test_blended_pictures_and_flow_add_up():
    rng = np.random.default_rng(0)

    def row(emotion, first):
        return {
            "frames": rng.integers(0, 256, (2, 4, 4, 3), np.uint8),
            "flow": rng.uniform(-1, 1, (2, 4, 4, 10)).astype(np.float16),
            "occurrence": np.array([[first, 1, -1], [1, 0, 0]], np.int8),
            "intensity": np.array([[5.0 * max(first, 0), 3, -1], [2, 0, 0]], np.float32),
            "valence_arousal": np.array([[0.5, np.nan], [-0.5, 0]], np.float32),
            "landmarks": np.zeros((2, 68, 2), np.float32),
            "emotion": np.int32(emotion),
            "weight": np.float32(1),
            "index": np.int64(first),
            "damage": np.array(b"", "S9"),
        }

    one, other = row(1, 1), row(1, 0)
    mixed = rows.blended(one, other, 0.25)
    expected = 0.25 * one["frames"] + 0.75 * other["frames"]
    assert mixed["frames"].dtype == np.uint8
    assert np.abs(mixed["frames"] - expected).max() <= 0.5001
    expected = 0.25 * one["flow"].astype(float) + 0.75 * other["flow"].astype(float)
    np.testing.assert_allclose(mixed["flow"], expected, atol=1e-3)
    np.testing.assert_allclose(mixed["occurrence"], [[0.25, 1, -1], [1, 0, 0]])
    np.testing.assert_allclose(mixed["intensity"], [[1.25, 3, -1], [2, 0, 0]])
    assert np.isnan(mixed["valence_arousal"][0, 1]) and mixed["valence_arousal"][0, 0] == 0.5
    assert mixed["emotion"] == 1 and mixed["index"] == 1
    assert rows.blended(one, row(0, 0), 0.25)["emotion"] == -1
    np.testing.assert_array_equal(rows.blended(one, row(1, -1), 0.5)["occurrence"][0], [-1, 1, -1])


def test_everything_on_is_still_a_function_of_seed_and_step(config):
    wanted = replace(
        config,
        flow="xy",
        strides=(1, 2),
        temporal_jitter=1,
        require_face=True,
        augment=Augment(mixup=0.4, jpeg=0.5, hue=10, crop=0.9, tilts=(-3, 0, 3)),
    )
    straight = take(wanted, 4)
    plain.same(take(replace(wanted, threads=3), 2, start_step=2), straight[2:])
    shares = [take(wanted, 4, process_index=p, process_count=5) for p in range(5)]
    for step in range(4):
        joined = np.concatenate([shares[p][step]["flow_BTHWF"] for p in range(5)])
        np.testing.assert_array_equal(joined, straight[step]["flow_BTHWF"])
    assert (straight[0]["frames_BTHWC"] != straight[1]["frames_BTHWC"]).any()


def test_the_sheet_shows_every_option(flow_set, tmp_path, capsys):
    shown = {name for option in augment_sheet.OPTIONS.values() for name in option.values}
    assert shown == {f.name for f in fields(Augment)} - {"jpeg_quality", "mixup"}
    assert main(["data", "show", str(flow_set), "--augment", "--out", str(tmp_path / "o")]) == 0
    assert str(tmp_path / "o" / "augment.png") in capsys.readouterr().out
    sheet = cv2.imread(str(tmp_path / "o" / "augment.png"))
    assert sheet is not None and sheet.shape[1] > 1500 and (sheet < 250).mean() > 0.3


def test_a_sheet_that_cannot_be_written_is_one_line(flow_set, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        augment_sheet.write(records.open_set(flow_set), tmp_path / "file" / "augment.png")


def test_plain_records_need_none_of_it(small_set):
    (batch,) = take(DataConfig(source=str(small_set), frames=2, size=24, batch_size=2), 1)
    assert "flow_BTHWF" not in batch and batch["occurrence_BTA"].dtype == np.int8
    assert plain.FRAMES == 6
