"""TFRecord files in and out; TensorFlow, where it is installed, is the judge."""

import json
import struct
from pathlib import Path

import cv2
import deliveries
import hypothesis.strategies as st
import numpy as np
import plain_sets
import pytest
from hypothesis import given, settings

from jaxfacs.cli import main
from jaxfacs.data import records, tfrecord


def jpeg(number: int) -> bytes:
    return cv2.imencode(".png", deliveries.picture(number))[1].tobytes()


def still(number: int, **features) -> bytes:
    return tfrecord.example({"image/encoded": [jpeg(number)], **features})


lists = st.one_of(
    st.lists(st.binary(max_size=20), max_size=4),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5).map(lambda v: np.array(v, np.int64)),
    st.lists(st.floats(width=32, allow_nan=False), max_size=5).map(
        lambda v: np.array(v, np.float32)
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=8), lists, max_size=4))
def test_examples_come_back(named):
    found = tfrecord.features(tfrecord.example(named))
    assert found.keys() == named.keys()
    for name, value in named.items():
        if len(value):
            np.testing.assert_array_equal(found[name], value)
            assert type(found[name]) is type(value)


def test_an_unpacked_list_is_read_too():
    # Old writers put each number into a field of its own: [5, −1] and [0.5].
    minus = b"\xff" * 9 + b"\x01"
    ints = b"\x1a" + bytes([13]) + b"\x08\x05\x08" + minus
    floats = b"\x12" + bytes([5]) + b"\x0d" + struct.pack("<f", 0.5)
    raw = tfrecord._field(1, b"".join(
        tfrecord._field(1, tfrecord._field(1, name) + tfrecord._field(2, value))
        for name, value in ((b"i", ints), (b"f", floats))
    ))  # fmt: skip
    found = tfrecord.features(raw)
    assert found["i"].tolist() == [5, -1] and found["f"].tolist() == [0.5]


def test_a_record_is_as_tensorflow_writes_it(tmp_path):
    tfrecord.write(tmp_path / "x", [b"abc"])
    raw = (tmp_path / "x").read_bytes()
    assert raw[:8] == struct.pack("<Q", 3) and raw[12:15] == b"abc" and len(raw) == 19
    tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        writer.write(b"abc")
    assert (tmp_path / "theirs").read_bytes() == raw


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:-2],
        lambda raw: raw[:9] + b"\x7f" + raw[10:],
        lambda raw: raw[:40] + bytes([raw[40] ^ 1]) + raw[41:],
    ],
    ids=["cut short", "length", "content"],
)
def test_damage_is_noticed(tmp_path, damage):
    path = tmp_path / "x"
    tfrecord.write(path, [still(1), still(2)])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="byte"):
        list(tfrecord.records(path))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_what_is_no_example_is_a_value_error_or_an_example(raw):
    try:
        tfrecord.features(raw)
    except ValueError:
        return


# Into records


def source(tmp_path: Path) -> Path:
    """Two files of stills with labels in a vector, and one of clips."""
    root = tmp_path / "source"
    root.mkdir()
    for split, numbers in (("train", (1, 2, 3)), ("validation", (4, 5))):
        examples = [
            still(
                n,
                labels=np.array([n % 2, 999 if n == 3 else 1], np.int64),
                smile=np.array([n / 2], np.float32),
                who=[f"{split}-{n % 2}".encode()],
                feeling=np.array([n % 3], np.int64),
            )
            for n in numbers
        ]
        tfrecord.write(root / f"{split}.tfrecord-00000-of-00001", examples)
    return root


WORDS = (
    "--aus", "1", "4", "--occurrence", "labels", "--subject", "who", "--emotion", "feeling",
    "--emotions", "angry", "happy", "--validation", "0",
)  # fmt: skip


def test_examples_become_records_with_their_labels(tmp_path):
    opened = deliveries.build("tfrecord", source(tmp_path), tmp_path / "out", *WORDS)
    found = {
        (split, clip.subject, *deliveries.shown(clip)): (
            deliveries.labels(opened, clip, "1"), deliveries.labels(opened, clip, "4"), clip.emotion
        )
        for split in opened.splits
        for clip in deliveries.clips(opened, split).values()
    }  # fmt: skip
    grey = deliveries.grey
    assert found == {
        ("train", "train-1", grey(1)): ([1], [1], 1),
        ("train", "train-0", grey(2)): ([0], [1], -1),
        ("train", "train-1", grey(3)): ([1], [-1], 0),
        ("validation", "validation-0", grey(4)): ([0], [1], 1),
        ("validation", "validation-1", grey(5)): ([1], [1], -1),
    }
    assert opened.emotions == ("anger", "happiness")


def test_a_clip_is_one_example_and_an_au_may_have_its_own_feature(tmp_path):
    root = tmp_path / "source"
    root.mkdir()
    clip = tfrecord.example(
        {"v": [jpeg(1), jpeg(2), b"broken", jpeg(4)], "au": np.array([0, 1, 1, -1], np.int64)}
    )
    tfrecord.write(root / "x.tfrecord", [clip])
    words = ("--image", "v", "--au", "12=au", "--validation", "0", "--test", "0")
    opened = deliveries.build("tfrecord", root, tmp_path / "out", *words)
    found = {
        tuple(deliveries.shown(c)): deliveries.labels(opened, c, "12")
        for c in deliveries.clips(opened).values()
    }
    grey = deliveries.grey
    assert found == {(grey(1), grey(2)): [0, 1], (grey(4),): [-1]}
    rows = (tmp_path / "out" / "skipped.csv").read_text().splitlines()[1:]
    assert rows == [",,x.tfrecord@0,2,unreadable"]


def test_a_file_that_is_cut_short_gives_what_is_whole_and_is_listed(tmp_path):
    root = source(tmp_path)
    path = root / "train.tfrecord-00000-of-00001"
    path.write_bytes(path.read_bytes()[:-9])
    opened = deliveries.build("tfrecord", root, tmp_path / "out", *WORDS)
    assert opened.splits["train"] == 2
    assert "the rest is damaged" in (tmp_path / "out" / "skipped.csv").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--occurrence", "labels"), "--aus"),
        (("--aus", "1", "--occurrence", "labels"), "2 numbers for 1 × 1"),
        (("--au", "12=none"), "no numbers under 'none'"),
        (("--au", "12"), "LABEL=FEATURE"),
        ((), "no label was named"),
        (("--au", "12=smile", "--image", "img"), "no pictures under 'img'; it has: feeling"),
    ],
)
def test_a_wrong_mapping_is_told_with_the_features_there_are(tmp_path, capsys, words, message):
    root = source(tmp_path)
    assert message in deliveries.refused(capsys, "tfrecord", root, tmp_path / "out", *words)


# Out of records


def test_records_out_and_in_again_are_the_same(tmp_path):
    first = records.open_set(plain_sets.write(tmp_path / "first"))
    words = ["data", "tfrecord", str(first.path), "--out", str(tmp_path / "tf")]
    assert main(words) == 0
    told = json.loads((tmp_path / "tf" / "features.json").read_text())
    assert told["aus"] == list(first.aus) and told["records"] == dict(first.splits)
    back = deliveries.build(
        "tfrecord", tmp_path / "tf", tmp_path / "back", "--image", "frames", "--aus", *first.aus,
        "--occurrence", "occurrence", "--intensity", "intensity", "--subject", "subject",
        "--emotion", "emotion", "--emotions", *first.emotions, "--validation", "0",
    )  # fmt: skip
    assert back.splits == first.splits
    for split, count in first.splits.items():
        for i in range(count):
            a, b = first.clip(split, i), back.clip(split, i)
            np.testing.assert_array_equal(a.occurrence_TA, b.occurrence_TA)
            np.testing.assert_array_equal(a.intensity_TA, b.intensity_TA)
            assert (a.subject, a.emotion, len(a.frames)) == (b.subject, b.emotion, len(b.frames))
    assert main(words) == 2  # the folder is taken


def test_tensorflow_reads_what_is_written(tmp_path):
    tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    first = records.open_set(plain_sets.write(tmp_path / "first"))
    assert main(["data", "tfrecord", str(first.path), "--out", str(tmp_path / "tf")]) == 0
    raw = next(iter(tf.data.TFRecordDataset([str(next((tmp_path / "tf").glob("*train*")))])))
    example = tf.train.Example.FromString(raw.numpy())
    clip = first.clip("train", 0)
    assert list(example.features.feature["frames"].bytes_list.value) == list(clip.frames)
    occurrence = example.features.feature["occurrence"].int64_list.value
    assert list(occurrence) == clip.occurrence_TA.ravel().tolist()
