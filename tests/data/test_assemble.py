"""From a delivery to shards: the same bytes however the work is cut, interrupted or spread."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import deliveries
import numpy as np
import pytest
from plain_sets import tree_digest

from jaxfacs.data import assemble, build, known_counts, records, writer
from jaxfacs.data.cutting import CutSettings, Cutter
from jaxfacs.data.delivery import (
    Builder,
    Delivery,
    Film,
    Known,
    LeftOut,
    Pictures,
    Pixels,
    Recording,
    with_aus,
)
from jaxfacs.errors import UserError
from jaxfacs.faces.prepare import FaceSteps

PEOPLE = ("F001", "F002", "M001", "M004", "F007", "M006")  # four train in fold 1, two are its test


@dataclasses.dataclass(frozen=True)
class Options:
    """No options.

    Attributes:
      loud: of no effect.
    """

    loud: bool = False


def recording(name: str = "a/1", subject: str = "a", frames: int = 6, **fields) -> Recording:
    """Grey pictures in memory, AU 12 present from frame 2 on."""
    pixels = Pixels(tuple(deliveries.picture(t) for t in range(frames)))
    occurrence_TA = (np.arange(frames)[:, None] >= 2).astype(np.int8)
    return Recording(name, subject, pixels, **{"occurrence_TA": occurrence_TA, **fields})


def made(tmp_path: Path, *recordings: Recording, options: dict | None = None, **delivery):
    """The set that a builder of these recordings gives, as the command would build it."""
    told = Delivery(recordings, **{"aus": ("12",), **delivery})
    builder = Builder(
        "tiny", "Tiny", "nothing", "AU 12", 0, "", "", "", lambda *_: told, Options, "nothing"
    )
    builder = dataclasses.replace(builder, **(options or {}).pop("builder", {}))
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir(exist_ok=True, parents=True)
    chosen = {"faces": ("whole",), "size": 32, "validation": 0.0, "test": 0.0, **(options or {})}
    build.build(builder, build.BuildOptions(source, out, **chosen), Options())
    return records.open_set(out, verify=True)


def cutter(source: Path, *, num_aus: int) -> Cutter:
    settings = CutSettings(FaceSteps.parse(("whole",), size=32), 6, 95, False)
    return Cutter(source, settings, num_aus, 0, phases=False)


# Clips


def test_clips_end_at_gaps_at_their_length_and_where_the_emotion_changes(tmp_path):
    opened = made(
        tmp_path,
        recording(
            frames=9,
            place_T=np.array([3, 4, 5, 6, 7, 10, 11, 12, 13]),
            emotion_T=np.array([0, 0, 0, 0, 0, 0, 1, 1, -1]),
        ),
        emotions=("anger", "fear"),
        options={"frames": 3},
    )
    found = {
        key: (deliveries.shown(clip), clip.emotion)
        for key, clip in deliveries.clips(opened).items()
    }
    grey = deliveries.grey
    assert found == {
        "a/1:3": ([grey(0), grey(1), grey(2)], 0),
        "a/1:6": ([grey(3), grey(4)], 0),
        "a/1:10": ([grey(5)], 0),
        "a/1:11": ([grey(6), grey(7)], 1),
        "a/1:13": ([grey(8)], -1),
    }
    times = deliveries.clips(opened)["a/1:11"].timestamps_T
    np.testing.assert_allclose(times, [8 / 25, 9 / 25])


def test_stills_are_clips_by_themselves(tmp_path):
    opened = made(tmp_path, recording(frames=3, stills=True))
    clips = deliveries.clips(opened)
    assert sorted(clips) == ["a/1:0", "a/1:1", "a/1:2"]
    assert [deliveries.labels(opened, c, "12") for c in clips.values()] == [[0], [0], [1]]


def test_occurrence_follows_from_intensity_alone(tmp_path):
    graded = np.array([[0], [0.5], [1], [5], [-1]], np.float32)
    opened = made(tmp_path, recording(frames=5, occurrence_TA=None, intensity_TA=graded))
    clip = deliveries.clips(opened)["a/1:0"]
    assert deliveries.labels(opened, clip, "12") == [0, 0, 1, 1, -1]
    assert deliveries.grades(opened, clip, "12") == [0, 0.5, 1, 5, -1]


def test_labels_move_with_their_frames_and_bad_pictures_are_listed(tmp_path):
    source = tmp_path / "source"
    for t in (0, 1, 3, 4):
        deliveries.write_picture(source / f"{t}.png", t)
    (source / "1.png").write_bytes((source / "1.png").read_bytes()[:40])  # cut short
    frames = Pictures(tuple(f"{t}.png" for t in range(5)))
    whole = dataclasses.replace(
        recording(frames=5),
        frames=frames,
        valence_arousal_T2=np.stack([np.arange(5) / 5, np.full(5, np.nan)], 1),
        attributes_TK=np.arange(5.0)[:, None],
        phase_TA=np.array([[0], [1], [2], [2], [3]], np.int8),
    )
    opened = made(tmp_path, whole, attributes=("age",), options={"may_lack": True})
    clips = deliveries.clips(opened)
    assert sorted(clips) == ["a/1:0", "a/1:3"]
    clip = clips["a/1:3"]
    assert deliveries.shown(clip) == [deliveries.grey(3), deliveries.grey(4)]
    assert deliveries.labels(opened, clip, "12") == [1, 1]
    np.testing.assert_allclose(clip.valence_arousal_T2[:, 0], [0.6, 0.8], rtol=1e-6)
    assert clip.attributes_TK.tolist() == [[3], [4]] and clip.phase_TA.tolist() == [[2], [3]]
    assert opened.attributes == ("age",)
    assert (tmp_path / "out" / "skipped.csv").read_text().splitlines() == [
        "file,line,path,frame,reason",
        ",,1.png,1,unreadable",
        ",,2.png,2,missing",
    ]


def test_frames_of_a_film_are_those_that_the_labels_name(tmp_path):
    deliveries.write_film(tmp_path / "source" / "film.avi", list(range(8)))
    film = Film("film.avi", (1, 2, 6, 7, 8, 9))
    places = np.array([2, 3, 7, 8, 9, 10])
    opened = made(tmp_path, dataclasses.replace(recording(), frames=film, place_T=places))
    found = {key: deliveries.shown(clip) for key, clip in deliveries.clips(opened).items()}
    assert found == {
        "a/1:2": [deliveries.grey(1), deliveries.grey(2)],
        "a/1:7": [deliveries.grey(6), deliveries.grey(7)],
    }
    rows = (tmp_path / "out" / "skipped.csv").read_text().splitlines()[1:]
    assert rows == [",,film.avi,9,not in film", ",,film.avi,10,not in film"]


def test_films_are_turned_upright(tmp_path):
    film = cv2.VideoWriter(str(tmp_path / "f.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (48, 48))
    frame = np.zeros((48, 48, 3), np.uint8)
    frame[:24] = 200  # the upper half is bright
    film.write(frame)
    film.release()
    turned = Recording("a", "a", Film("f.avi", (0,), quarter_turns=1))
    jpeg = cutter(tmp_path, num_aus=0)(turned).clips[0].frames[0]
    upright = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert upright[:, :12].mean() < 20 and upright[:, 20:].mean() > 180  # clockwise: now right


def test_one_bad_recording_is_listed_and_the_rest_built(tmp_path):
    broken = dataclasses.replace(
        recording("b/1", "b"), frames=Pixels((np.zeros((4, 4, 7), np.uint8),) * 6)
    )
    opened = made(tmp_path, recording(), broken)
    assert sorted(deliveries.clips(opened)) == ["a/1:0"]
    rows = (tmp_path / "out" / "skipped.csv").read_text().splitlines()
    assert rows[1].startswith(",,b/1,,") and "failed" in rows[1]


def test_flow_at_the_border_of_a_clip_is_that_of_the_recording(tmp_path):
    rng = np.random.default_rng(0)
    scene = cv2.GaussianBlur(rng.integers(0, 256, (60, 80, 3), np.uint8), (0, 0), 2)
    moving = Pixels(tuple(scene[10:42, 10 + t : 42 + t] for t in range(6)))
    whole = dataclasses.replace(recording(), frames=moving)
    opened = made(tmp_path, whole, options={"frames": 3, "flow": True})
    clips = deliveries.clips(opened)
    first, second = clips["a/1:0"], clips["a/1:3"]
    assert len(first.flow) == len(second.flow) == 3 + 9
    assert (first.flow_scale_F[:5] == 0).all() and (first.flow_scale_F[5:10] > 0.5).all()
    # Fields 0 … 4 lead on from frames 0 … 4: the second clip begins with those before its frames.
    assert first.flow[5:10] == second.flow[2:7]


# Splits


def split_of(recordings, **options) -> dict[str, str]:
    chosen = build.BuildOptions(Path(), Path(), **options)
    return build.split_recordings(recordings, chosen)


def test_the_protocol_s_splits_stay_and_validation_comes_from_its_training_people():
    given = [recording(f"{s}/1", s, split="train") for s in "abcdefgh"]
    given += [recording("x/1", "x", split="test")]
    found = split_of(given, validation=0.25)
    assert found["x/1"] == "test"
    assert sorted(found.values()).count("validation") == 2
    assert split_of(given, validation=0.0) == {r.name: r.split for r in given}
    own = [*given, recording("y/1", "y", split="validation")]
    assert split_of(own, validation=0.25) == {r.name: r.split for r in own}


def test_people_whom_nobody_knows_are_dealt_out_one_by_one():
    found = split_of([recording(f"batch/{i}", "") for i in range(20)], validation=0.2, test=0.2)
    assert {"train", "validation", "test"} == set(found.values())


def test_half_a_protocol_is_a_mistake_of_the_builder():
    with pytest.raises(ValueError, match="all recordings or to none"):
        split_of([recording("a", split="train"), recording("b")])


# Refused


def test_a_half_copied_delivery_is_refused(tmp_path):
    frames = Pictures(tuple(f"{t}.png" for t in range(4)))
    for t in (0, 1, 2):
        deliveries.write_picture(tmp_path / "source" / f"{t}.png", t)
    lacking = dataclasses.replace(recording(frames=4), frames=frames)
    with pytest.raises(UserError, match=r"1 of 4 .*the first: 3.png.*--may-lack"):
        made(tmp_path, lacking)
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.incomplete").exists()
    made(tmp_path, lacking, options={"may_lack": True})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"occurrence_TA": np.zeros((5, 1), np.int8)}, "occurrence_TA"),
        ({"place_T": np.array([0, 1, 1, 2, 3, 4])}, "ascend"),
        ({"box_T4": np.zeros((6, 3))}, "box_T4"),
    ],
)
def test_arrays_that_do_not_fit_are_a_mistake_of_the_builder(tmp_path, fields, message):
    with pytest.raises(ValueError, match=message):
        made(tmp_path, recording(**fields))


def test_two_recordings_of_one_name_are_a_mistake_of_the_builder(tmp_path):
    with pytest.raises(ValueError, match="called a/1"):
        made(tmp_path, recording(), recording())


def test_no_frame_left_is_an_error_that_counts_the_reasons(tmp_path):
    broken = dataclasses.replace(recording(), frames=Pixels((np.zeros((4, 4, 7), np.uint8),) * 6))
    with pytest.raises(UserError, match=r"no frame could be used: 1 × failed"):
        made(tmp_path, broken)


# Shards, and going on


def test_shards_come_near_the_size_that_is_asked_for(tmp_path):
    whole = cutter(tmp_path, num_aus=1)
    many = [recording(f"{i:02d}", f"{i:02d}") for i in range(20)]
    frame = len(whole(many[0]).clips[0].frames[0])
    train = dict.fromkeys((r.name for r in many), "train")
    measured = assemble.frame_bytes(many, whole)
    assert abs(measured - frame) < frame / 10
    shards = assemble.plan(train, many, frame_bytes=measured, shard_bytes=30 * frame)
    assert [len(shard.recordings) for shard in shards] == [5, 5, 5, 5]
    assert [r.name for shard in shards for r in shard.recordings] == [r.name for r in many]
    assert [shard.name for shard in shards][:2] == ["train-00000", "train-00001"]


def noisy_delivery(root: Path) -> Path:
    """A BP4D of six people whose 60 noisy pictures each fill a shard of 1 MB."""
    rng = np.random.default_rng(0)
    for subject in PEOPLE:
        rows = ["0,1,12"]
        for n in range(1, 61):
            path = root / subject / "T1" / f"{n}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), rng.integers(0, 256, (96, 96, 3), np.uint8))
            rows.append(f"{n},{n % 2},{n % 3 == 0:d}")
        deliveries.write_text(root / "AUCoding" / "AU_OCC" / f"{subject}_T1.csv", *rows)
    return root


def command(source: Path, out: Path, *options: str) -> list[str]:
    words = ["data", "build", "bp4d", "--source", str(source), "--out", str(out)]
    words += ["--faces", "whole", "--size", "96", "--quality", "100", "--shard-mb", "1"]
    return [sys.executable, "-m", "jaxfacs", *words, "--workers", "1", *options]


@pytest.mark.slow
def test_a_killed_build_goes_on_and_gives_the_bytes_of_the_straight_one(tmp_path):
    source = noisy_delivery(tmp_path / "source")
    straight = tmp_path / "straight"
    done = subprocess.run(command(source, straight), check=True, capture_output=True, text=True)
    assert "going on" not in done.stdout
    shards = sorted(straight.glob("*.array_record*"))
    assert len(shards) >= 5
    killed = tmp_path / "killed"
    process = subprocess.Popen(command(source, killed), stderr=subprocess.DEVNULL)
    partial = tmp_path / "killed.incomplete"
    deadline = time.monotonic() + 60
    while len(list(partial.glob("train-*.npz"))) < 1 and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = sorted(path.stem for path in partial.glob("*.npz"))
    assert finished and not killed.exists()
    # A shard that was cut short after it was finished is noticed, and built again.
    if len(finished) > 1:
        part = partial / f"{finished[1]}.part"
        part.write_bytes(part.read_bytes()[:-100])
    again = subprocess.run(command(source, killed), check=True, capture_output=True, text=True)
    assert "going on" in again.stdout
    assert tree_digest(killed) == tree_digest(straight)
    assert not partial.exists()


def test_what_another_build_left_is_cleared_away(tmp_path):
    source = noisy_delivery(tmp_path / "source")
    partial = tmp_path / "out.incomplete"
    partial.mkdir()
    (partial / assemble.PLAN).write_text("of other options")
    (partial / "train-00000.npz").write_bytes(b"x")
    (partial / "train-00099.part").write_bytes(b"x")
    opened = deliveries.build("bp4d", source, tmp_path / "out", "--limit", "1")
    assert not partial.exists()
    assert not list(opened.path.glob("*.part")) and not list(opened.path.glob("train-*.npz"))


def test_a_full_disk_keeps_the_finished_shards(tmp_path, monkeypatch):
    two = [recording("a/1", "a", split="train"), recording("b/1", "b", split="test")]
    whole = assemble.build_shard

    def full(folder, shard, *rest):
        if shard.split == "test":
            raise OSError(28, os.strerror(28))
        whole(folder, shard, *rest)

    monkeypatch.setattr(assemble, "build_shard", full)
    with pytest.raises(UserError, match=r"disk .* is full.*same command again"):
        made(tmp_path, *two)
    assert (tmp_path / "out.incomplete" / "train-00000.npz").exists()
    monkeypatch.setattr(assemble, "build_shard", whole)
    assert made(tmp_path, *two).splits == {"train": 1, "test": 1}


def test_processes_give_the_bytes_of_one(tmp_path, monkeypatch):
    several = [recording(f"{s}/1", s, frames=5) for s in "abcd"]
    made(tmp_path / "one", *several)
    monkeypatch.setattr(assemble, "FEW_FRAMES", 0)
    made(tmp_path / "many", *several, options={"workers": 2})
    assert tree_digest(tmp_path / "one" / "out") == tree_digest(tmp_path / "many" / "out")


def test_a_second_build_into_the_same_folder_waits_for_nobody(tmp_path):
    lock = writer.claim(tmp_path / "out.incomplete")
    try:
        with pytest.raises(UserError, match="another build is writing"):
            made(tmp_path, recording())
    finally:
        lock.close()
        shutil.rmtree(tmp_path / "out.incomplete")


def test_beam_gives_the_same_bytes(tmp_path):
    pytest.importorskip("apache_beam", reason="Apache Beam is not installed")
    several = [recording(f"{s}/1", s, frames=5) for s in "abcd"]
    made(tmp_path / "plain", *several)
    direct = {"beam": True, "beam_options": ("runner=DirectRunner",)}
    made(tmp_path / "beam", *several, options=direct)
    assert tree_digest(tmp_path / "plain" / "out") == tree_digest(tmp_path / "beam" / "out")


# What is told


def test_published_counts_are_compared_and_never_fail_a_build(tmp_path, capsys):
    known = (
        Known("a paper", {"frames": 12, "subjects": 2, "AU12": 7, "frames/train": 12}),
        Known("not this one", {"frames": 1}, when={"loud": True}),
    )
    made(tmp_path, recording(), recording("b/1", "b"), options={"builder": {"known": known}})
    told = capsys.readouterr().out
    assert "3 of 4 published counts agree (a paper); built, and the difference: AU12 8 (+1)" in told
    assert "not this one" not in told
    assert told.count("published counts") == 1
    card = (tmp_path / "out" / "dataset_card.md").read_text()
    assert "AU12 8 (+1)" in card and "| 12 | 8 of 12 |" in card


def test_an_unknown_count_is_a_mistake():
    with pytest.raises(ValueError, match="skin wrinkles"):
        known_counts.count("skin wrinkles", Path(), {"splits": {"train": {}}, "aus": []})


def test_mean_and_deviation_are_those_of_the_training_pixels(tmp_path):
    opened = made(tmp_path, recording(split="train"), recording("b/1", "b", split="test", frames=9))
    values = np.concatenate(
        [
            cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB).reshape(-1, 3)
            for jpeg in deliveries.clips(opened, "train")["a/1:0"].frames
        ]
    )
    np.testing.assert_allclose(opened.card["pixel_mean"], values.mean(0), atol=0.5)
    np.testing.assert_allclose(opened.card["pixel_std"], values.std(0), atol=0.5)


def test_narrowing_the_aus_takes_all_their_labels(tmp_path):
    two = np.array([[0, 1], [1, 0]], np.int8)
    delivery = Delivery([recording(frames=2, occurrence_TA=two, phase_TA=two)], aus=("1", "2"))
    narrowed = with_aus(delivery, ("2", "4"))
    assert narrowed.aus == ("2",)
    assert narrowed.recordings[0].occurrence_TA.tolist() == [[1], [0]]
    assert narrowed.recordings[0].phase_TA.tolist() == [[1], [0]]
    assert with_aus(delivery, ()) is delivery


def test_rows_that_point_to_nothing_come_with_their_file_and_line(tmp_path):
    row = LeftOut("gone.png", 3, "missing", "labels.csv", 7)
    made(tmp_path, recording(), left_out=[row], notes=["found a thing"])
    table = (tmp_path / "out" / "skipped.csv").read_text().splitlines()
    assert table[1] == "labels.csv,7,gone.png,3,missing"


def test_tfds_reads_phases_attributes_and_flow(tmp_path):
    import tensorflow_datasets as tfds

    rich = recording(
        phase_TA=np.full((6, 1), 2, np.int8), attributes_TK=np.arange(12.0).reshape(6, 2)
    )
    opened = made(tmp_path, rich, attributes=("age", "pain"), options={"flow": True})
    row = tfds.builder_from_directory(opened.path).as_data_source("train")[0]
    assert row["phase"].tolist() == [[2]] * 6
    assert row["attributes"].tolist() == np.arange(12.0).reshape(6, 2).tolist()
    assert np.shape(row["flow"]) == (15, 32, 64, 1) and row["flow_scale"].shape == (15,)
