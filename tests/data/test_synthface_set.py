import json

import cv2
import numpy as np
import pytest
from plain_sets import tree_digest

from jaxfacs.data import records
from jaxfacs.data.builders import synthface
from jaxfacs.data.config import Augment, DataConfig
from jaxfacs.data.delivery import Recording
from jaxfacs.data.mixture import open_data
from jaxfacs.data.pipeline import train_batches
from jaxfacs.data.transforms import MIRRORED_68
from jaxfacs.errors import UserError
from jaxfacs.faces.steps import FaceSteps
from jaxfacs.synthface.variation import Variation

TINY = {"clips": 4, "frames": 2, "size": 32, "subjects": 4, "seed": 5, "quality": 95,
        "without": "camera"}  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("synthface") / "one"
    synthface.build(out, workers=1, **TINY)
    return out


def test_people_are_in_one_split_each(built):
    opened = records.open_set(built, verify=True)
    assert sum(opened.splits.values()) == 4
    assert list(opened.splits) == ["train", "validation", "test"]
    people = [s for names in opened.subjects.values() for s in names]
    assert len(people) == len(set(people)) == 4
    assert "12" in opened.aus and "L12" in opened.aus


def test_again_with_more_processes_gives_the_same_bytes(built, tmp_path):
    synthface.build(tmp_path / "two", workers=2, **TINY)
    assert tree_digest(tmp_path / "two") == tree_digest(built)


def test_another_seed_is_other_people(built, tmp_path):
    synthface.build(tmp_path / "s", workers=1, **(TINY | {"seed": 6, "clips": 3, "subjects": 3}))
    ours = set(records.open_set(built).subject_names)
    assert not ours & set(records.open_set(tmp_path / "s").subject_names)


def test_nothing_of_this_machine_is_in_the_metadata(built):
    text = "".join(p.read_text() for p in built.glob("*.json"))
    assert str(built.parent) not in text and "/tmp" not in text
    settings = json.loads((built / "labels.json").read_text())["settings"]
    assert settings["head"] == "builtin" and settings["without"] == ["camera"]


def test_landmarks_lie_on_the_face_of_the_crop(built):
    opened = records.open_set(built)
    for split, clips in opened.splits.items():
        for i in range(clips):
            clip = opened.clip(split, i)
            assert clip.landmarks_T68x2 is not None
            middle = clip.landmarks_T68x2[:, 27:36].mean((0, 1))  # the nose
            assert (np.abs(middle - opened.size / 2) < opened.size / 4).all()
            # Eyes and mouth of the stored landmarks are inside the picture.
            assert clip.landmarks_T68x2[:, 36:].min() > 0
            assert clip.landmarks_T68x2[:, 36:].max() < opened.size
            frame = cv2.imdecode(np.frombuffer(clip.frames[0], np.uint8), cv2.IMREAD_COLOR)
            assert frame is not None and frame.shape == (32, 32, 3) and frame.std() > 5


def test_labels_are_the_renderers(built):
    from jaxfacs.synthface.clip import clip, load_head

    opened = records.open_set(built)
    stored = {opened.clip(s, i).clip_id: (s, i) for s, n in opened.splits.items() for i in range(n)}
    split, record = stored["5-000002"]
    kept = opened.clip(split, record)
    made = clip(
        synthface._mixed(5, 0, 2), frames=2, size=64, subject=synthface._mixed(5, 1, 2),
        head=load_head(None), variation=Variation.without("camera"),
    )  # fmt: skip
    np.testing.assert_array_equal(kept.intensity_TA, made.intensity_TA)
    np.testing.assert_array_equal(kept.occurrence_TA, made.occurrence_TA)
    assert kept.subject == made.subject
    known = dict(zip(opened.attributes, kept.attributes_TK.T, strict=True))
    who = made.facts.person
    np.testing.assert_allclose(known["yaw"], made.pose_T3[:, 0])
    for name, value in (("years", who.years), ("male", who.male), ("melanin", who.melanin)):
        np.testing.assert_array_equal(known[name], np.float32(value))


def test_what_the_picture_does_not_show_reaches_the_batch(built):
    """The far side of turned heads, mirrored with them; unknown where sets do not say."""
    opened = records.open_set(built)
    for split, clips in opened.splits.items():
        for i in range(clips):
            clip = opened.clip(split, i)
            visible_T68 = clip.visible_T68
            assert visible_T68 is not None and visible_T68.shape == (2, 68)
            assert visible_T68.max() == 1 and visible_T68.min() == 0  # some of a jaw is behind
    config = DataConfig(
        source=str(built), batch_size=2, frames=2, size=32, seed=1, workers=0,
        validation_split="", augment=Augment(flip=1.0),
    )  # fmt: skip
    mixture = open_data(config)
    batch = next(train_batches(config, records=mixture))
    for row, index in enumerate(batch["index_B"]):
        stored = opened.clip("train", int(index)).visible_T68
        np.testing.assert_array_equal(batch["visible_BT68"][row], stored[:, MIRRORED_68])
        assert (stored != stored[:, MIRRORED_68]).any()


def test_stills_of_a_sitting_are_those_made_alone():
    """They share the person and nothing else: another order would give the same bytes."""
    job = synthface.RenderJob(
        seed=3, fps=25.0, head=None, near_frontal=False, variation=Variation(),
        steps=FaceSteps.boxed("boxes", size=32), jitter=True, quality=90,
    )  # fmt: skip
    people = {7: range(14, 16), 8: range(16, 18)}
    made = {
        who: job(Recording("r", "s", synthface.Sitting(numbers, who, 1))).clips
        for who, numbers in people.items()
    }
    assert [c.clip_id for c in made[8]] == ["3-000016", "3-000017"]
    assert made[7][0].subject == made[7][1].subject != made[8][0].subject
    assert made[7][0].frames != made[7][1].frames
    again = job(Recording("r", "s", synthface.Sitting(range(15, 16), 7, 1))).clips[0]
    assert again.frames == made[7][1].frames
    np.testing.assert_array_equal(again.intensity_TA, made[7][1].intensity_TA)


def test_people_share_the_clips_as_asked(monkeypatch, tmp_path):
    planned = {}

    def plan(split_of, sittings, **_):
        planned["numbers"] = [list(s.frames.numbers) for s in sittings]
        planned["who"] = [s.subject for s in sittings]
        raise UserError("seen")

    monkeypatch.setattr(synthface.assemble, "plan", plan)
    with pytest.raises(UserError, match="seen"):
        synthface.build(tmp_path / "s", clips=40, frames=1, per_person=19)
    # Long sittings are divided, so that no process waits for one of them.
    assert [len(n) for n in planned["numbers"]] == [14, 13, 13]
    with pytest.raises(UserError, match="seen"):
        synthface.build(tmp_path / "s", clips=40, frames=1, subjects=2, validation=0.5, test=0)
    assert [len(n) for n in planned["numbers"]] == [16, 4, 16, 4]
    assert planned["who"] == ["0", "0", "1", "1"]
    assert [n for numbers in planned["numbers"] for n in numbers] == list(range(40))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clips": 0}, "must be at least 1"),
        ({"size": 4}, "not between 16"),
        ({"subjects": 9}, "needs at least as many clips"),
        ({"per_person": 2}, "--subjects and --per-person say the same"),
        ({"without": "hair,eyebrows"}, "'eyebrows' is unknown; choose from hair"),
        ({"detector": "dlib"}, "no face detector 'dlib'"),
        ({"validation": 0.9, "test": 0.2}, "nothing to train on"),
        ({"quality": 0}, "not between 1 and 100"),
    ],
)
def test_impossible_options_are_refused_before_the_work(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        synthface.build(tmp_path / "s", workers=1, **(TINY | options))
    assert list(tmp_path.iterdir()) == []


def test_a_head_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        synthface.build(tmp_path / "s", head=tmp_path / "nowhere", **TINY)
    assert list(tmp_path.iterdir()) == []


def test_squares_spread_as_those_of_detectors_do():
    """The crop that nobody looked for lies about where Haar and YuNet put theirs, and wholly in
    the picture."""
    from jaxfacs.faces.points import AVERAGE_68x2, haar_square

    points = np.repeat(AVERAGE_68x2[None] * 100 + 50, 2, axis=0)
    exact = haar_square(points[0])
    off_N3 = []
    for seed in range(300):
        box_T4 = synthface.squares(points, (seed,))
        assert box_T4.tobytes() == synthface.squares(points, (seed,)).tobytes()
        middle = box_T4[:, :2] + box_T4[:, 2:] / 2 - (exact[:2] + exact[2:] / 2)
        off_N3.append(np.c_[middle, box_T4[:, 2] - exact[2]] / exact[2])
    off_NT3 = np.array(off_N3)
    np.testing.assert_allclose(off_NT3.mean((0, 1)), (0, 0.04, -0.03), atol=0.01)
    np.testing.assert_allclose(off_NT3[:, 0].std(0), (0.017, 0.025, 0.064), rtol=0.2)
    within_a_clip = (off_NT3[:, 0] - off_NT3[:, 1]).std(0)
    assert (within_a_clip < 0.5 * off_NT3[:, 0].std(0)).all() and (within_a_clip > 0.001).all()
    assert (synthface.squares(points)[0] == exact).all()


@pytest.mark.parametrize("frames", [1, 3])
def test_the_picture_is_laid_about_the_square(frames):
    """What is rendered is what is stored, whatever the pose; the landmarks say so."""
    from jaxfacs.synthface.clip import clip

    def about(marks_T68x2):
        low, high = marks_T68x2.min(1), marks_T68x2.max(1)
        side_T1 = (high - low).max(1, keepdims=True)
        return np.concatenate([(low + high - side_T1) / 2, side_T1, side_T1], axis=1)

    made = clip(11, frames=frames, size=40, fps=8, about=about)
    side = made.frames_THWC.shape[1]
    box_T4 = about(made.landmarks_T68x2)
    assert side == pytest.approx(40 if frames == 1 else side, abs=1) and 40 <= side < 80
    assert np.median(box_T4[:, 2]) == pytest.approx(40, rel=0.02)
    low, high = box_T4[:, :2].min(0), (box_T4[:, :2] + box_T4[:, 2:]).max(0)
    assert (low > -1).all() and (high < side + 1).all()
    assert max(high - low) == pytest.approx(side, rel=0.03)
    far = clip(11, frames=frames, size=40, fps=8)
    np.testing.assert_array_equal(far.intensity_TA, made.intensity_TA)
