import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import plain_sets as plain
import pytest

from jaxfacs.data import example, records, schema, writer
from jaxfacs.data.config import DataConfig
from jaxfacs.data.pipeline import train_batches
from jaxfacs.errors import UserError


def shard(folder: Path, split: str = "train") -> Path:
    (path,) = folder.glob(f"*-{split}.array_record-*")
    return path


@pytest.fixture
def copy(small_set, tmp_path) -> Path:
    return Path(shutil.copytree(small_set, tmp_path / "copy"))


def test_a_set_says_what_is_in_it(small_set):
    opened = records.open_set(small_set, verify=True)
    assert opened.aus == plain.AUS
    assert opened.splits == {"train": 11, "validation": 5}
    assert list(opened.splits) == ["train", "validation"]
    assert opened.subjects == {"train": ("t0", "t1", "t2"), "validation": ("v0", "v1")}
    assert opened.subject_names == ("t0", "t1", "t2", "v0", "v1")
    assert (opened.size, opened.frames) == (plain.SIZE, plain.FRAMES)


def test_a_clip_comes_back_as_it_went_in(small_set):
    wanted = plain.clip(4, subject="t1")
    got = records.open_set(small_set).clip("train", 4)
    assert (got.clip_id, got.subject, got.emotion) == (
        wanted.clip_id,
        wanted.subject,
        wanted.emotion,
    )
    assert list(got.frames) == list(wanted.frames)
    for name in ("occurrence_TA", "intensity_TA", "timestamps_T", "box_T4", "found_T"):
        np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name))
    assert got.landmarks_T68x2 is None


def test_landmarks_come_back(tmp_path):
    points = np.random.default_rng(0).uniform(0, 32, (plain.FRAMES, 68, 2)).astype(np.float32)
    clip = replace(plain.clip(0, subject="a"), landmarks_T68x2=points)
    records.write_set(tmp_path / "s", {"train": [clip]}, aus=plain.AUS, emotions=plain.EMOTIONS)
    got = records.open_set(tmp_path / "s").clip("train", 0).landmarks_T68x2
    np.testing.assert_array_equal(got, points)


def affect_clip(**fields):
    return records.clip_from_arrays(
        np.zeros((2, plain.SIZE, plain.SIZE, 3), np.uint8),
        clip_id="a",
        subject="a",
        occurrence_TA=np.zeros((2, 1), np.int8),
        **fields,
    )


def test_affect_comes_back_and_may_be_unknown(tmp_path):
    affect = np.array([[0.5, -1.0], [np.nan, 0.25]], np.float32)
    clips = {"train": [affect_clip(valence_arousal_T2=affect), affect_clip()]}
    opened = records.open_set(records.write_set(tmp_path / "s", clips, aus=("12",)))
    np.testing.assert_array_equal(opened.clip("train", 0).valence_arousal_T2, affect)
    assert opened.clip("train", 1).valence_arousal_T2 is None
    with pytest.raises(ValueError, match=r"valence and arousal must be NaN or in \[-1, 1\]"):
        schema.check(affect_clip(valence_arousal_T2=affect + 1), num_aus=1, num_emotions=0)


def test_records_of_an_earlier_version_are_read(monkeypatch):
    """They lack the fields that came later."""
    clip = affect_clip()
    real = example.encode
    monkeypatch.setattr(
        example, "encode", lambda f: real({k: v for k, v in f.items() if k not in schema.LATER})
    )
    raw = schema.encode(clip)
    assert schema.LATER and not any(name.encode() in raw for name in schema.LATER)
    again = schema.decode(raw, num_aus=1)
    assert again.valence_arousal_T2 is None and again.clip_id == "a"
    broken = raw.replace(b"face_found", b"f_ce_found")
    with pytest.raises(ValueError, match="face_found"):
        schema.decode(broken, num_aus=1)


def test_a_set_without_aus_is_a_set(tmp_path):
    clip = records.clip_from_arrays(
        np.zeros((1, plain.SIZE, plain.SIZE, 3), np.uint8),
        clip_id="a",
        subject="a",
        occurrence_TA=np.zeros((1, 0), np.int8),
        emotion=1,
        valence_arousal_T2=np.zeros((1, 2), np.float32),
    )
    path = records.write_set(tmp_path / "s", {"train": [clip]}, aus=(), emotions=("a", "b"))
    opened = records.open_set(path, verify=True)
    assert opened.aus == () and opened.clip("train", 0).emotion == 1
    tfds = pytest.importorskip("tensorflow_datasets")
    row = tfds.builder_from_directory(str(path)).as_data_source(split="train")[0]
    assert row["emotion"] == 1 and row["valence_arousal"].shape == (1, 2)


def test_statistics_count_known_and_present_frames(small_set):
    opened = records.open_set(small_set)
    stats = opened.statistics("train")
    assert stats.frames == 11 * plain.FRAMES
    by_au = dict(zip(stats.aus, zip(stats.known_A, stats.positive_A, strict=True), strict=True))
    assert by_au["1"] == (0, 0)
    assert by_au["12"] == by_au["L12"] == (66, 55)  # intensity 0, then 1 to 5
    assert by_au["R12"] == (66, 0)
    assert by_au["25"] == (66, 6)
    assert opened.statistics("train", aus=("25", "9")).known_A.tolist() == [66, 0]


def test_the_same_clips_are_the_same_bytes(small_set, tmp_path):
    assert plain.tree_digest(plain.write(tmp_path / "again")) == plain.tree_digest(small_set)


def test_tfds_reads_the_folder(small_set):
    tfds = pytest.importorskip("tensorflow_datasets")
    source = tfds.builder_from_directory(small_set).as_data_source("train")
    assert len(source) == 11
    item, ours = source[3], records.open_set(small_set).clip("train", 3)
    assert item["clip_id"] == ours.clip_id.encode()
    np.testing.assert_array_equal(item["occurrence"], ours.occurrence_TA)
    np.testing.assert_array_equal(item["intensity"], ours.intensity_TA)
    assert int(item["emotion"]) == ours.emotion
    assert len(item["frames"]) == plain.FRAMES and item["frames"][0].shape == (32, 32, 3)


def test_many_shards_read_as_one(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "SHARD_BYTES", 20_000)
    folder = plain.write(tmp_path / "s")
    assert len(list(folder.glob("*-train.array_record-*"))) > 1
    opened = records.open_set(folder, verify=True)
    ids = [opened.clip("train", i).clip_id for i in range(11)]
    assert ids == [f"t{i % 3}-{i}" for i in range(11)]
    with pytest.raises(IndexError):
        opened.source("train")[11]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"occurrence_TA": np.zeros((6, 4), np.int8)}, "occurrence is"),
        ({"occurrence_TA": np.full((6, 5), 2, np.int8)}, "-1, 0 or 1"),
        ({"intensity_TA": np.full((6, 5), 6, np.float32)}, "0 to 5"),
        ({"intensity_TA": np.full((6, 5), np.nan, np.float32)}, "0 to 5"),
        ({"emotion": 7}, "emotion 7"),
        ({"frames": []}, "occurrence is"),
    ],
)
def test_a_clip_that_contradicts_the_schema_is_refused(change, message):
    clip = replace(plain.clip(0, subject="a"), **change)
    with pytest.raises(ValueError, match=message):
        schema.check(clip, num_aus=5, num_emotions=2)


# Damage


def test_a_folder_without_a_set(tmp_path):
    with pytest.raises(UserError, match="not a record folder"):
        records.open_set(tmp_path)


def test_a_split_that_is_not_there(small_set):
    with pytest.raises(UserError, match=r"no split 'test'.*train, validation"):
        records.open_set(small_set).statistics("test")


def test_a_missing_shard_is_named(copy):
    path = shard(copy)
    path.unlink()
    with pytest.raises(UserError, match=f"{path.name} is missing"):
        records.open_set(copy)


def test_a_truncated_shard_is_named_at_once(copy):
    path = shard(copy)
    os.truncate(path, path.stat().st_size - 100)
    with pytest.raises(UserError, match=f"{path.name} has .* bytes instead of"):
        records.open_set(copy)


def damaged(folder: Path) -> dict[int, str]:
    """Record -> message, of those that cannot be read."""
    opened, messages = records.open_set(folder), {}
    for record in range(opened.splits["train"]):
        try:
            opened.clip("train", record)
        except UserError as error:
            messages[record] = str(error)
    return messages


def test_a_flipped_bit_is_found_and_its_record_named(tmp_path):
    clips = [plain.noisy(i, subject="a") for i in range(5)]
    folder = records.write_set(tmp_path / "s", {"train": clips}, aus=plain.AUS)
    path = shard(folder)
    data = bytearray(path.read_bytes())
    data[30_000] ^= 0x10  # within the payload: five records of 11 kB each
    path.write_bytes(data)
    with pytest.raises(UserError, match=f"{path.name} is damaged"):
        records.open_set(folder, verify=True)
    messages = damaged(folder)  # sizes alone do not show it: open_set without verify goes on
    ((record, message),) = messages.items()
    assert f"{path}, record {record}, cannot be read" in message
    config = DataConfig(source=str(folder), frames=4, size=32, batch_size=5)
    with pytest.raises(UserError, match=f"{path.name}, record {record}"):
        next(train_batches(config))


def test_an_index_of_other_records_is_found(copy):
    shutil.copy(copy / "index-train.npz", copy / "index-validation.npz")
    with pytest.raises(UserError, match=r"index-validation\.npz is damaged"):
        records.open_set(copy, verify=True)


def test_a_changed_label_list_is_refused(copy):
    card = json.loads((copy / "labels.json").read_text())
    card["aus"][0] = "2"
    (copy / "labels.json").write_text(json.dumps(card))
    with pytest.raises(UserError, match="changed by hand"):
        records.open_set(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_labels_that_are_no_labels(copy, text):
    (copy / "labels.json").write_text(text)
    with pytest.raises(UserError, match="cannot be read"):
        records.open_set(copy)


def test_a_newer_format_is_refused(copy):
    card = json.loads((copy / "labels.json").read_text())
    (copy / "labels.json").write_text(json.dumps(card | {"format_version": 99}))
    with pytest.raises(UserError, match="record format 99"):
        records.open_set(copy)


# Writing


def test_a_subject_in_two_splits_is_refused_and_nothing_is_left(tmp_path):
    clips = {"train": [plain.clip(0, subject="a")], "test": [plain.clip(1, subject="a")]}
    with pytest.raises(UserError, match="'a' is in both"):
        records.write_set(tmp_path / "s", clips, aus=plain.AUS, emotions=plain.EMOTIONS)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_not_overwritten(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "precious").write_text("x")
    with pytest.raises(UserError, match="not empty"):
        plain.write(tmp_path / "s")
    assert (tmp_path / "s" / "precious").read_text() == "x"


def test_an_empty_folder_is_used(tmp_path):
    (tmp_path / "s").mkdir()
    records.open_set(plain.write(tmp_path / "s"))


def test_two_builds_into_one_place(tmp_path):
    info = writer.SetInfo(name="x", aus=plain.AUS, emotions=plain.EMOTIONS, size=32)
    with writer.writing(tmp_path / "s", info) as first:
        first.write("train", plain.clip(0, subject="a"))
        with (
            pytest.raises(UserError, match="another build"),
            writer.writing(tmp_path / "s", info),
        ):
            pass
    assert records.open_set(tmp_path / "s").splits == {"train": 1}


def run_build(out: Path, *lines: str) -> subprocess.Popen:
    """Starts a process that writes clips into `out` for ever, telling of each."""
    program = "\n".join(
        (
            "import sys, itertools",
            "import plain_sets as plain",
            "from jaxfacs.data import writer",
            "info = writer.SetInfo(name='x', aus=plain.AUS, emotions=plain.EMOTIONS, size=32)",
            *lines,
            f"with writer.writing({str(out)!r}, info) as records:",
            "    for i in itertools.count():",
            "        records.write('train', plain.noisy(i, subject='a'))",
            "        print(i, flush=True)",
        )
    )
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parent,
        text=True,
    )


def test_a_killed_build_leaves_nothing_that_looks_whole(tmp_path):
    out = tmp_path / "s"
    process = run_build(out)
    assert process.stdout is not None
    for _ in range(5):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not out.exists()
    for path in tmp_path.iterdir():
        with pytest.raises(UserError, match="not a record folder"):
            records.open_set(path)
    plain.write(out)  # what the killed one left is cleared away
    records.open_set(out, verify=True)
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_a_full_disk_is_said_and_nothing_is_left(tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))"
    process = run_build(tmp_path / "s", limit)
    start = time.monotonic()
    _, error = process.communicate(timeout=60)
    assert time.monotonic() - start < 60 and process.returncode == 1
    assert "UserError: the disk of" in error, error
    assert list(tmp_path.iterdir()) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 200_000  # the limit was the child's


def test_a_place_where_no_folder_can_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be made.*--out"):
        plain.write(tmp_path / "file" / "s")


def test_a_damaged_index_is_named(copy):
    path = copy / "index-train.npz"
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(UserError, match=r"index-train\.npz is damaged"):
        records.open_set(copy).statistics("train")


def test_no_folder_given():
    with pytest.raises(UserError, match=r"set data\.source"):
        records.open_set("")
