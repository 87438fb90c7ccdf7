from dataclasses import replace

import numpy as np
import plain_sets as plain
import pytest

from jaxfacs.data import records
from jaxfacs.data.config import NO_AUGMENT, Augment, DataConfig
from jaxfacs.data.pipeline import evaluation_batches, experiment_aus, train_batches
from jaxfacs.errors import UserError

STEPS = 6  # of 4 clips: 11 clips are two epochs and a bit


@pytest.fixture(scope="module")
def config(small_set) -> DataConfig:
    return DataConfig(source=str(small_set), frames=4, size=24, batch_size=4, threads=2, seed=3)


def take(config, steps=STEPS, **options):
    return plain.batches(config, steps, **options)


@pytest.fixture(scope="module")
def straight(config):
    return take(config)


def test_shapes_and_types(straight):
    kinds = {key: (value.shape, value.dtype.name) for key, value in straight[0].items()}
    assert kinds == {
        "frames_BTHWC": ((4, 4, 24, 24, 3), "uint8"),
        "occurrence_BTA": ((4, 4, 3), "int8"),
        "intensity_BTA": ((4, 4, 3), "float32"),
        "landmarks_BT682": ((4, 4, 68, 2), "float32"),
        "visible_BT68": ((4, 4, 68), "int8"),
        "valence_arousal_BT2": ((4, 4, 2), "float32"),
        "emotion_B": ((4,), "int32"),
        "weight_B": ((4,), "float32"),
        "set_B": ((4,), "int32"),
        "index_B": ((4,), "int64"),
        "subject_B": ((4,), "int32"),
        "start_B": ((4,), "int32"),
    }


def test_each_epoch_shows_every_record_once_in_another_order(config):
    seen = np.concatenate([b["index_B"] for b in take(config, 6)])
    first, second = seen[:11].tolist(), seen[11:22].tolist()
    assert sorted(first) == sorted(second) == list(range(11))
    assert first != second


def test_an_epoch_later_the_same_clip_is_augmented_anew(config):
    batches = take(config, 6)
    rows = [(b["index_B"][i], b["frames_BTHWC"][i]) for b in batches for i in range(4)]
    record, first = rows[0]
    again = next(frames for index, frames in rows[11:] if index == record)
    assert (first != again).any()


@pytest.mark.parametrize("start", [1, 2, 3, 5])
def test_resuming_at_a_step_continues_the_straight_run(config, straight, start):
    plain.same(take(config, STEPS - start, start_step=start), straight[start:])


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_the_same_batches(config, straight, processes):
    shares = [take(config, process_index=p, process_count=processes) for p in range(processes)]
    joined = [
        {key: np.concatenate([s[i][key] for s in shares]) for key in whole}
        for i, whole in enumerate(straight)
    ]
    plain.same(joined, straight)


def test_threads_change_nothing(config, straight):
    plain.same(take(replace(config, threads=1)), straight)
    plain.same(take(replace(config, threads=5)), straight)


@pytest.mark.slow
def test_worker_processes_change_nothing(config, straight):
    workers = replace(config, workers=2)
    plain.same(take(workers, 4), straight[:4])
    plain.same(take(workers, 2, start_step=3, process_index=1, process_count=2),
         take(config, 2, start_step=3, process_index=1, process_count=2))  # fmt: skip


def test_another_seed_is_another_order(config, straight):
    other = take(replace(config, seed=4), 1)[0]
    assert (other["index_B"] != straight[0]["index_B"]).any()


def test_rows_carry_their_own_labels(config, small_set):
    opened = records.open_set(small_set)
    for batch in take(replace(config, augment=NO_AUGMENT, size=32), 3):
        for i in range(4):
            record, start = int(batch["index_B"][i]), int(batch["start_B"][i])
            clip = opened.clip("train", record)
            assert opened.subject_names[batch["subject_B"][i]] == clip.subject
            assert batch["emotion_B"][i] == clip.emotion
            np.testing.assert_array_equal(
                batch["intensity_BTA"][i], clip.intensity_TA[start : start + 4, :3]
            )
            red_green = batch["frames_BTHWC"][i].mean((1, 2))
            wanted = [plain.picture(record, t).mean((0, 1)) for t in range(start, start + 4)]
            np.testing.assert_allclose(red_green, wanted, atol=6)  # JPEG


def test_flipped_rows_have_their_sides_swapped(config):
    sided = replace(
        config, aus=("L12", "R12", "12"), augment=replace(NO_AUGMENT, flip=0.5), size=32
    )
    flips = 0
    for batch in take(sided, 6):
        for frames, intensity in zip(batch["frames_BTHWC"], batch["intensity_BTA"], strict=True):
            left_bright = frames[:, :, :16, 2].mean() > frames[:, :, 16:, 2].mean()
            stronger = 0 if left_bright else 1  # the subject's left AU is on picture's left here
            assert intensity[-1, stronger] > 0 and (intensity[:, 1 - stronger] == 0).all()
            np.testing.assert_array_equal(intensity[:, 2], intensity[:, stronger])
            flips += not left_bright
    assert 4 <= flips <= 20


def test_landmarks_and_affect_come_with_their_frames(tmp_path):
    landmarks = np.full((6, 68, 2), 16.0, np.float32)
    landmarks[:, 0] = [[2.0 + t, 8.0] for t in range(6)]
    affect = np.stack([np.linspace(-1, 1, 6), np.full(6, np.nan)], axis=1).astype(np.float32)
    clip = replace(plain.clip(0, subject="a"), landmarks_T68x2=landmarks, valence_arousal_T2=affect)
    path = records.write_set(
        tmp_path / "s", {"train": [clip]}, aus=plain.AUS, emotions=plain.EMOTIONS
    )
    config = DataConfig(
        source=str(path), frames=8, size=64, batch_size=2, augment=replace(NO_AUGMENT, flip=0.5)
    )
    flips = set()
    for batch in take(config, 4):
        for frames, points, said in zip(
            batch["frames_BTHWC"], batch["landmarks_BT682"], batch["valence_arousal_BT2"],
            strict=True,
        ):  # fmt: skip
            flipped = bool(frames[:6, :, 32:, 2].mean() > frames[:6, :, :32, 2].mean())
            flips.add(flipped)
            x = 2 * landmarks[:, 0, 0]  # frames are shown at twice the size
            np.testing.assert_allclose(
                points[:6, 16 if flipped else 0, 0], 64 - x if flipped else x
            )
            np.testing.assert_allclose(points[:6, 0, 1], 32 if flipped else 16)
            np.testing.assert_array_equal(said[:6], affect)
            assert np.isnan(points[6:]).all() and np.isnan(said[6:]).all()  # beyond the record
    assert flips == {False, True}


def test_unknown_aus_stay_unknown(config):
    batch = take(replace(config, aus=("1", "9", "AU12_r")), 1)[0]
    assert (batch["occurrence_BTA"][..., :2] == -1).all()
    assert (batch["intensity_BTA"][..., :2] == -1).all()
    assert (batch["occurrence_BTA"][..., 2] >= 0).all()


def test_default_labels_are_the_sets_with_sides_joined(config, small_set):
    assert experiment_aus(config, records.open_set(small_set)) == ("1", "12", "25")


def test_stride_and_jitter_stay_in_the_record_and_in_order(config):
    strided = replace(config, frames=3, stride=2, augment=NO_AUGMENT, size=32, aus=("L12",))
    for batch in take(strided, 3):
        np.testing.assert_array_equal(np.diff(batch["intensity_BTA"][..., 0], axis=1), 2)
    moved = take(replace(strided, temporal_jitter=2), 6)
    steps = np.concatenate([np.diff(b["intensity_BTA"][..., 0], axis=1) for b in moved])
    assert (steps >= 0).all() and len(np.unique(steps)) > 2


def test_a_record_shorter_than_the_clip_is_padded_with_unknown(tmp_path):
    clips = {"train": [plain.clip(i, subject="a", frames=2) for i in range(3)]}
    path = records.write_set(tmp_path / "s", clips, aus=plain.AUS, emotions=plain.EMOTIONS)
    config = DataConfig(source=str(path), frames=5, size=32, batch_size=3, temporal_jitter=1)
    batch = take(config, 1)[0]
    assert (batch["occurrence_BTA"][:, :2, 1] >= 0).all()
    assert (batch["occurrence_BTA"][:, 2:] == -1).all()
    assert (batch["intensity_BTA"][:, 2:] == -1).all()
    assert (batch["weight_B"] == 1).all()


# Evaluation


def all_rows(batches):
    return [
        (int(i), int(s))
        for b in batches
        for i, s, w in zip(b["index_B"], b["start_B"], b["weight_B"], strict=True)
        if w > 0
    ]


@pytest.mark.parametrize("batch_size", [1, 2, 4, 7, 64])
def test_every_window_is_evaluated_exactly_once(config, batch_size):
    batches = list(evaluation_batches(config, "validation", batch_size=batch_size))
    assert all(len(b["index_B"]) == batch_size for b in batches)
    assert all_rows(batches) == [(r, s) for r in range(5) for s in (0, 4)]
    assert sum(b["weight_B"].sum() for b in batches) == 10


def test_padding_rows_say_nothing(config):
    last = list(evaluation_batches(config, "validation", batch_size=8))[-1]
    padding = last["weight_B"] == 0
    assert padding.sum() == 6
    for key in ("occurrence_BTA", "intensity_BTA", "emotion_B"):
        assert (last[key][padding] == -1).all()
    for key in ("landmarks_BT682", "valence_arousal_BT2"):
        assert np.isnan(last[key][padding]).all()


def test_frames_beyond_the_end_are_unknown(config):
    for batch in evaluation_batches(config, "validation", batch_size=5):
        tail = batch["start_B"] == 4  # 6 frames: the second window has 2
        assert (batch["occurrence_BTA"][tail][:, 2:] == -1).all()
        assert (batch["occurrence_BTA"][tail][:, :2, 1] >= 0).all()


def test_processes_share_the_evaluation(config):
    whole = all_rows(evaluation_batches(config, "validation", batch_size=4))
    shares = [
        list(
            evaluation_batches(config, "validation", batch_size=4, process_index=p, process_count=2)
        )
        for p in range(2)
    ]
    assert len(shares[0]) == len(shares[1])
    assert sorted(all_rows(shares[0]) + all_rows(shares[1])) == whole


def test_evaluation_is_not_augmented(config):
    a = next(evaluation_batches(config, "validation"))
    b = next(evaluation_batches(replace(config, seed=9, augment=Augment(flip=1)), "validation"))
    plain.same([a], [b])


# Balance


def test_balance_shows_the_rare_au_more_often_and_stays_a_function_of_the_step(config):
    plainly = take(replace(config, augment=NO_AUGMENT), 40)
    balanced = replace(config, augment=NO_AUGMENT, balance=1.0)
    often = take(balanced, 40)
    rare = [(b["index_B"] == 0).mean() for b in plainly]  # AU 25 is in record 0 alone
    assert np.mean(rare) < 0.15
    assert 0.35 < np.mean([(b["index_B"] == 0).mean() for b in often]) < 0.65
    plain.same(take(balanced, 3, start_step=7), often[7:10])
    shares = [take(balanced, 4, process_index=p, process_count=2) for p in range(2)]
    for i in range(4):
        joined = np.concatenate([shares[0][i]["index_B"], shares[1][i]["index_B"]])
        np.testing.assert_array_equal(joined, often[i]["index_B"])


# Bad input


def test_a_batch_that_does_not_divide(config):
    with pytest.raises(UserError, match="4 does not divide over 3 processes; take 6"):
        train_batches(config, process_count=3)
    with pytest.raises(UserError, match="does not divide"):
        next(evaluation_batches(config, "validation", process_count=3))


def test_an_au_that_does_not_exist(config):
    with pytest.raises(UserError, match="99"):
        train_batches(replace(config, aus=("12", "AU99")))


def test_a_split_that_does_not_exist(config):
    with pytest.raises(UserError, match="no split 'trian'"):
        train_batches(replace(config, train_split="trian"))


@pytest.mark.parametrize(
    "options",
    [{"frames": 0}, {"batch_size": 0}, {"threads": 0}, {"balance": 2.0}, {"temporal_jitter": -1}],
)
def test_impossible_options(options):
    with pytest.raises(UserError, match=next(iter(options))):
        DataConfig(**options)


def test_batches_of_one_clip(tmp_path):
    config = DataConfig(source=str(plain.write(tmp_path / "s")), batch_size=1, frames=2)
    assert next(train_batches(config))["frames_BTHWC"].shape[:2] == (1, 2)
