"""Damaged records: what batches say of them, and how storage that fails is told from them."""

import itertools
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import plain_sets as plain
import pytest

from jaxfacs import files
from jaxfacs.data import records
from jaxfacs.data.config import NO_AUGMENT, DataConfig, Part
from jaxfacs.data.mixture import open_data
from jaxfacs.data.pipeline import evaluation_batches, train_batches
from jaxfacs.errors import UserError

BAD = (2, 7)  # of eleven training clips
STEPS = 6  # of 4 clips: two epochs and a bit


def unreadable(folder):
    source, found = records.open_set(folder).source("train"), []
    for record in range(len(source)):
        try:
            source[record]
        except records.DamagedError:
            found.append(record)
    return found


def flip(folder, record):
    """One bit of one record, wherever in the shard that is."""
    (path,) = folder.glob("*-train.array_record-*")
    whole = path.read_bytes()
    for at in range(1000, len(whole), 4000):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        if unreadable(folder) == [record]:
            return
    raise AssertionError("no bit of the shard is of that record alone")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    clips = {
        "train": [plain.noisy(i, subject=f"t{i % 3}") for i in range(11)],
        "validation": [plain.noisy(100 + i, subject="v") for i in range(3)],
    }
    return records.write_set(tmp_path_factory.mktemp("whole") / "s", clips, aus=plain.AUS)


@pytest.fixture(scope="module")
def damaged(whole, tmp_path_factory):
    """One record has a flipped bit, and another a picture that is none."""
    clips = [plain.noisy(i, subject=f"t{i % 3}") for i in range(11)]
    clips[2] = replace(clips[2], frames=[b"no picture", *clips[2].frames[1:]])
    held_out = [plain.noisy(100 + i, subject="v") for i in range(3)]
    held_out[0] = replace(held_out[0], frames=[*held_out[0].frames[:5], b""])
    folder = tmp_path_factory.mktemp("damaged") / "s"
    splits = {"train": clips, "validation": held_out}
    records.write_set(folder, splits, aus=plain.AUS)
    flip(folder, 7)
    return folder


def configured(folder, **options):
    config = DataConfig(
        source=str(folder), frames=6, size=32, batch_size=4, threads=2, seed=3, max_damaged=2,
        augment=NO_AUGMENT,
    )  # fmt: skip
    return replace(config, **options)


def take(config, steps=STEPS, **options):
    return plain.batches(config, steps, **options)


def test_a_damaged_clip_keeps_its_place_and_counts_for_nothing(whole, damaged, capsys):
    good, got = take(configured(whole)), take(configured(damaged))
    shown = {int(i): f for b in good for i, f in zip(b["index_B"], b["frames_BTHWC"], strict=True)}
    met = []
    for straight, batch in zip(good, got, strict=True):
        assert straight.keys() == batch.keys()
        bad = np.isin(batch["index_B"], BAD)
        met += batch["index_B"][bad].tolist()
        for key in ("index_B", "subject_B", "set_B"):
            np.testing.assert_array_equal(batch[key], straight[key])
        for key in batch:
            assert (
                batch[key].dtype == straight[key].dtype and batch[key].shape == straight[key].shape
            )
            np.testing.assert_array_equal(batch[key][~bad], straight[key][~bad], err_msg=key)
        np.testing.assert_array_equal(batch["weight_B"], np.where(bad, 0, 1))
        for key in ("occurrence_BTA", "intensity_BTA", "emotion_B"):
            assert (batch[key][bad] == -1).all()
        assert np.isnan(batch["landmarks_BT682"][bad]).all()
        for number, frames in zip(batch["index_B"][bad], batch["frames_BTHWC"][bad], strict=True):
            np.testing.assert_array_equal(frames, shown[int(number) + 1])
    assert sorted(set(met)) == list(BAD) and len(met) > len(BAD)  # more than once
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and any("record 2 (t2-2), frame 0: the JPEG" in line for line in said)
    assert any("record 7, cannot be read (Corrupted" in line for line in said)
    assert said[1].endswith("goes on without it, damaged record 2 of at most 2")


@pytest.mark.parametrize("mixup", [0.0, 0.8])
def test_damage_leaves_batches_a_function_of_seed_and_step(damaged, mixup):
    augment = replace(DataConfig().augment, mixup=mixup)
    config = configured(damaged, augment=augment)
    straight = take(config)
    assert 0 < sum((b["weight_B"] == 0).sum() for b in straight) < 12
    plain.same(take(config, 3, start_step=3), straight[3:])
    plain.same(take(replace(config, threads=1)), straight)
    shares = [take(config, process_index=p, process_count=2) for p in range(2)]
    joined = [
        {key: np.concatenate([share[i][key] for share in shares]) for key in batch}
        for i, batch in enumerate(straight)
    ]
    plain.same(joined, straight)


def test_a_blend_with_a_damaged_clip_counts_for_nothing(whole, damaged):
    augment = replace(NO_AUGMENT, mixup=0.8)
    good = take(configured(whole, augment=augment), 10)
    got = take(configured(damaged, augment=augment), 10)
    own = partners = 0
    for straight, batch in zip(good, got, strict=True):
        silent = batch["weight_B"] == 0
        assert silent[np.isin(batch["index_B"], BAD)].all()
        own += np.isin(batch["index_B"], BAD).sum()
        partners += (silent & ~np.isin(batch["index_B"], BAD)).sum()
        assert (batch["occurrence_BTA"][silent] == -1).all()
        for key in batch:
            np.testing.assert_array_equal(batch[key][~silent], straight[key][~silent], key)
    assert own and partners


@pytest.mark.parametrize("most", [0, 1])
def test_too_many_are_refused_at_the_batch_that_has_one_more(damaged, most):
    good = take(configured(damaged))
    numbers = [[n for n in b["index_B"].tolist() if n in BAD] for b in good]
    met = [(step, n) for step, found in enumerate(numbers) for n in found]
    distinct = list(dict.fromkeys(n for _, n in met))
    at = next(step for step, n in met if n == distinct[most])
    stream = train_batches(configured(damaged, max_damaged=most))
    assert len(list(itertools.islice(stream, at))) == at
    with pytest.raises(UserError, match=f"record {distinct[most]}[ ,].*(again|data.max_damaged 1)"):
        next(stream)


def test_more_side_by_side_than_allowed(tmp_path):
    clips = [plain.noisy(i, subject="a") for i in range(5)]
    clips[1:] = [replace(c, frames=[*c.frames[:3], b"none", *c.frames[4:]]) for c in clips[1:]]
    folder = records.write_set(tmp_path / "s", {"train": clips}, aus=plain.AUS)
    with pytest.raises(UserError, match="frame 3: the JPEG does not decode"):
        take(configured(folder, max_damaged=2), 2)


def test_evaluation_leaves_its_windows_out_and_says_how_many(whole, damaged, capsys):
    def rows(folder):
        config = configured(folder, frames=4)
        batches = list(evaluation_batches(config, "validation", batch_size=4))
        joined = {key: np.concatenate([b[key] for b in batches]) for key in batches[0]}
        return {key: value[joined["weight_B"] > 0] for key, value in joined.items()}, len(batches)

    (good, count), (got, same_count) = rows(whole), rows(damaged)
    assert count == same_count
    kept = ~((good["index_B"] == 0) & (good["start_B"] == 4))  # the damaged picture is the last
    assert kept.sum() == len(kept) - 1
    plain.same([got], [{key: value[kept] for key, value in good.items()}])
    said = capsys.readouterr().err.splitlines()
    assert "record 0 (v-100), frame 5: the JPEG does not decode" in said[0]
    assert (
        said[1] == "1 windows that show damaged records are left out of the measures on validation"
    )


def test_padding_where_the_first_record_is_damaged(damaged, capsys):
    config = configured(damaged, frames=6)
    last = list(evaluation_batches(config, "validation", batch_size=4))[-1]
    assert (last["weight_B"] == 0).sum() == 2  # the damaged one and the padding
    assert "1 windows" in capsys.readouterr().err


def test_one_count_for_all_batches_of_a_run(damaged, capsys):
    config = configured(damaged)
    opened = open_data(config)
    stream = train_batches(config, records=opened)
    for _ in range(STEPS):
        next(stream)
    with pytest.raises(UserError, match=r"frame 5.*data\.max_damaged allows for 2 damaged"):
        list(evaluation_batches(config, "validation", records=opened))
    capsys.readouterr()


def test_in_a_mixture_the_others_are_as_ever(whole, damaged, capsys):
    def config(second):
        parts = (Part(str(whole), name="a"), Part(str(second), name="b", loss_weight=2.0))
        return configured("", mixture=parts, allow_overlap=True)

    for straight, batch in zip(take(config(whole)), take(config(damaged)), strict=True):
        bad = np.isin(batch["index_B"], [11 + n for n in BAD])
        np.testing.assert_array_equal(batch["weight_B"], np.where(bad, 0, straight["weight_B"]))
        for key in batch:
            np.testing.assert_array_equal(batch[key][~bad], straight[key][~bad], err_msg=key)
    assert "damaged record 2 of at most 2" in capsys.readouterr().err


def test_a_shard_that_is_cut_under_the_reader(whole, tmp_path, capsys):
    folder = Path(shutil.copytree(whole, tmp_path / "s"))
    (path,) = folder.glob("*-train.array_record-*")
    config = configured(folder, max_damaged=10)
    opened = open_data(config)
    stream, straight = train_batches(config, records=opened), take(configured(whole))
    plain.same([next(stream)], straight[:1])
    os.truncate(path, 70_000)
    rest = list(itertools.islice(stream, STEPS - 1))
    bad = [batch["weight_B"] == 0 for batch in rest]
    assert 0 < np.concatenate(bad).sum() < 20  # what lies before the cut is as it was
    for mask, batch, wanted in zip(bad, rest, straight[1:], strict=True):
        for key in batch:
            np.testing.assert_array_equal(batch[key][~mask], wanted[key][~mask], err_msg=key)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(opened.damaged) and all(f"{path}, record " in line for line in said)


class Flaky:
    """A reader whose storage fails the first times, in array_record's words."""

    def __init__(self, reader, words, times):
        self.reader, self.words, self.left = reader, words, times

    def read(self, rows):
        self.left -= 1
        if self.left >= 0:
            raise RuntimeError(f"pread() failed: {self.words}; reading x; at byte 9")
        return self.reader.read(rows)


def flaky(folder, monkeypatch, words, times):
    waits = []
    monkeypatch.setattr(files.time, "sleep", waits.append)
    source = records.open_set(folder).source("train")
    one = Flaky(source._reader(0), words, times)
    monkeypatch.setattr(source, "_reader", lambda shard: one)
    return source, waits


def test_storage_that_fails_for_a_while_is_read_again(whole, monkeypatch, capsys):
    source, waits = flaky(whole, monkeypatch, "Stale file handle", 2)
    assert source[3] == records.open_set(whole).source("train")[3]
    assert len(waits) == 2 and "record 3: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Input/output error", records.DamagedError),  # a bad sector
        ("Stale file handle", UserError),
        ("Permission denied", UserError),
    ],
)
def test_storage_that_is_away_damages_no_record(whole, monkeypatch, words, kind):
    source, waits = flaky(whole, monkeypatch, words, 99)
    with pytest.raises(UserError, match=f"record 3, cannot be read .*{words}") as caught:
        source[3]
    assert type(caught.value) is kind
    assert bool(waits) == (words != "Permission denied")


def test_a_shard_that_could_not_be_opened_is_opened_again(whole, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "s")
    (path,) = folder.glob("*-train.array_record-*")
    source = records.open_set(folder).source("train")
    path.rename(tmp_path / "away")
    with pytest.raises(UserError, match=r"record 0, cannot be read .*No such file") as caught:
        source[0]
    assert not isinstance(caught.value, records.DamagedError)
    (tmp_path / "away").rename(path)
    assert source[0]
