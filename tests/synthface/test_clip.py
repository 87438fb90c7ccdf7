"""Clips: the same bytes from the same seed, and labels that the picture bears out."""

import csv
import hashlib
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from jaxfacs.errors import UserError
from jaxfacs.facs import EMOTION_SETS, parse_label
from jaxfacs.synthface import clip as synthface
from jaxfacs.synthface import heads, truth
from jaxfacs.synthface.heads import PAIRED

SIZE = 64
BARE = synthface.Variation.without("occlusion", "wear")  # nothing hides an action


def _clip(seed, **options):
    return synthface.clip(seed, **({"frames": 5, "size": SIZE, "fps": 10.0} | options))


@pytest.fixture(scope="module")
def clips():
    return [_clip(seed) for seed in range(12)]


def _of(made, label):
    return made.intensity_TA[:, made.labels.index(label)]


def test_a_clip_is_what_it_says(clips):
    for made in clips:
        assert made.frames_THWC.shape == (5, SIZE, SIZE, 3) and made.frames_THWC.dtype == np.uint8
        assert made.frames_THWC.std() > 5
        assert made.intensity_TA.shape == made.occurrence_TA.shape == (5, len(made.labels))
        assert made.intensity_TA.dtype == np.float32 and made.occurrence_TA.dtype == np.int8
        assert made.landmarks_T68x2.shape == (5, 68, 2) and made.box_T4.shape == (5, 4)
        assert made.pose_T3.shape == (5, 3) and made.gaze_T2.shape == (5, 2)
        assert made.emotion in (*synthface.EMOTIONS, "")
        assert made.head == "builtin" and made.subject.startswith("builtin-")


def test_one_seed_gives_the_same_bytes():
    first = _clip(3)
    synthface.load_head.cache_clear()  # nothing may hang on what was rendered before
    _clip(4)
    second = _clip(3)
    assert first.frames_THWC.tobytes() == second.frames_THWC.tobytes()
    assert first.intensity_TA.tobytes() == second.intensity_TA.tobytes()
    assert first.landmarks_T68x2.tobytes() == second.landmarks_T68x2.tobytes()
    assert first.emotion == second.emotion and first.events == second.events
    assert first.frames_THWC.tobytes() != _clip(5).frames_THWC.tobytes()


def test_another_process_gives_the_same_bytes():
    """Whatever the order of its hashes."""
    code = (
        "import hashlib; from jaxfacs.synthface.clip import clip;"
        "print(hashlib.sha256(clip(3, frames=5, size=64, fps=10.0).frames_THWC).hexdigest())"
    )
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == hashlib.sha256(_clip(3).frames_THWC).hexdigest()


def test_a_person_depends_on_the_subject_alone():
    head = synthface.load_head()
    one, same, other = (synthface.sample_person(n, head=head) for n in (7, 7, 8))
    np.testing.assert_array_equal(one.neutral_V3, same.neutral_V3)
    assert one.look == same.look or vars(one.look) == vars(same.look)
    assert np.abs(one.neutral_V3 - other.neutral_V3).max() > 0.2
    assert vars(one.look) != vars(other.look)
    first, second = _clip(1, subject=7, frames=1), _clip(2, subject=7, frames=1)
    assert first.subject == second.subject == one.name != _clip(1, subject=8, frames=1).subject
    assert first.events != second.events


def test_occurrence_is_decided_beyond_a_trace(clips):
    lips = [label == "25" for label in synthface.LABELS]  # a gap is seen or not
    for made in clips:
        value, coded = made.intensity_TA, made.occurrence_TA
        assert value.max() <= 5 and value[value < 0].max(initial=-1) == -1
        assert (coded[value < 0] == -1).all()
        assert (coded[value >= 1.5] == 1).all()
        assert (coded[(value >= 0) & (value < 0.5)] == 0).all()
        trace = (value >= 0.5) & (value < 1.5)
        assert (coded[trace & ~np.array(lips)] == -1).all()
        assert (coded[trace & lips] != -1).all()


def test_an_unsided_label_is_the_stronger_side(clips):
    for made in clips:
        for au in PAIRED:
            whole, sides = _of(made, au), np.stack([_of(made, "L" + au), _of(made, "R" + au)])
            stronger = sides.max(axis=0)
            # Where a side is unknown and the other absent, the whole may be either.
            sure = (sides.min(axis=0) >= 0) | (stronger >= 1)
            np.testing.assert_array_equal(whole[sure], stronger[sure])
            assert (whole[~sure] < 1).all()


def test_labels_are_codes_that_facs_knows():
    assert len(set(synthface.LABELS)) == len(synthface.LABELS)
    assert all(parse_label(label) == label for label in synthface.LABELS)
    assert set(EMOTION_SETS["basic7_neutral"]) == set(synthface.EMOTIONS)


def test_the_box_holds_the_landmarks(clips):
    for made in clips:
        low, high = made.box_T4[:, None, :2], made.box_T4[:, None, :2] + made.box_T4[:, None, 2:]
        assert (made.landmarks_T68x2 >= low - 0.01).all()
        assert (made.landmarks_T68x2 <= high + 0.01).all()


def test_landmarks_lie_on_the_face():
    """The subject's right eye is on the left of the picture, the chin below the nose."""
    marks = _clip(0, near_frontal=True, frames=1).landmarks_T68x2[0]
    assert marks[36, 0] < marks[45, 0] and marks[8, 1] > marks[30, 1] > marks[27, 1]
    assert marks.min() > 0 and marks.max() < SIZE


@pytest.mark.parametrize("emotion", synthface.EMOTIONS)
def test_a_still_shows_the_emotion_it_is_asked_for(emotion):
    shown = 0
    for seed in range(4):
        made = _clip(seed, frames=1, emotion=emotion)
        assert made.emotion in (emotion, "")
        shown += made.emotion == emotion
    assert shown >= 3


def test_happiness_is_called_so_only_where_the_smile_is_there():
    for seed in range(6):
        made = _clip(seed, emotion="happiness")
        if made.emotion:
            assert made.occurrence_TA[:, made.labels.index("12")].max() == 1


def test_nobody_smiles_in_a_neutral_clip():
    for seed in range(4):
        made = _clip(seed, emotion="neutral", variation=BARE)
        assert made.emotion == "neutral"
        lids = [made.labels.index(x) for x in ("43", "45", "L43", "R43")]
        assert (made.occurrence_TA[:, [truth.column(x) for x in heads.OPTIONAL]] == -1).all()
        assert np.delete(made.occurrence_TA, lids, axis=1).max() == 0


def test_a_feeling_has_a_place_as_far_as_it_is_shown():
    happy = _clip(1, emotion="happiness", frames=1, variation=BARE)
    valence, arousal = happy.valence_arousal_T2[0]
    assert happy.emotion == "happiness" and 0.15 < valence <= 0.81 and 0 < arousal < valence
    assert not _clip(0, emotion="neutral", variation=BARE).valence_arousal_T2.any()
    assert np.isnan(_clip(2, emotion="contempt", frames=1, variation=BARE).valence_arousal_T2).all()


def test_facts_are_those_of_the_clip():
    made, known = _clip(5, frames=3), synthface.facts(5, frames=3, fps=10.0)
    assert made.facts == known and made.subject == f"builtin-{known.subject:06d}"
    np.testing.assert_allclose(known.pose_3, np.median(made.pose_T3, axis=0), rtol=1e-6)
    person = synthface.sample_person(known.subject, head=synthface.load_head())
    assert known.person.melanin == person.look.melanin and known.person.years == person.years


def _truth(intensity, *, blink=0.0, frames=3, gaze=(0, 0), speech=None, optional=()):
    head = synthface.load_head()
    table = {k: np.full(frames, v, np.float32) for k, v in intensity.items()}
    posed = dict(table)
    spoken = {k: np.full(frames, v, np.float32) for k, v in (speech or {}).items()}
    posed |= {k: np.maximum(v, posed.get(k, 0)) for k, v in spoken.items()}
    if blink:
        posed |= {side + "43": np.full(frames, blink, np.float32) for side in "LR"}
    marks = heads.landmarks_of(
        head,
        heads.deform_clip(
            head,
            head.vertices_V3,
            tuple(posed),
            np.stack(list(posed.values()), axis=1) if posed else np.zeros((frames, 0), np.float32),
            np.tile(np.float32(gaze), (frames, 1)),
        ),
    )
    value_TA, present_TA = truth.true_labels(
        table,
        blink_T=np.full(frames, blink, np.float32),
        landmarks_T68x3=marks,
        rest_68x3=heads.landmarks_of(head, head.vertices_V3),
        speech=spoken,
        optional=optional,
    )
    at = truth.column
    return {x: (value_TA[0, at(x)], present_TA[0, at(x)]) for x in truth.LABELS}


@pytest.mark.parametrize("parting", ["10", "16", "22", "25", "26", "27"])
def test_lips_part_whatever_parts_them(parting):
    sides = {"L" + parting: 5.0, "R" + parting: 5.0} if parting in PAIRED else {parting: 5.0}
    assert _truth(sides)["25"][1] == 1


def test_closed_lips_are_not_parted():
    for still in ({}, {"L12": 4.0, "R12": 4.0}, {"24": 5.0}, {"18": 4.0}, {"28": 5.0}):
        assert _truth(still)["25"] == (0, 0) or _truth(still)["25"][0] < 1


def test_lips_that_hardly_part_are_undecided():
    found = {_truth({"26": float(i)})["25"][1] for i in np.linspace(0, 3, 40)}
    assert found == {-1, 0, 1}


def test_pressed_lips_cannot_be_told_while_they_are_parted():
    assert _truth({"24": 3.0})["24"] == (3, 1)
    assert _truth({"24": 3.0, "27": 5.0})["24"] == (-1, -1)
    assert _truth({"28": 3.0, "27": 5.0})["28"] == (-1, -1)
    assert _truth({"24": 0.4, "27": 5.0})["24"][1] == 0


def test_a_still_half_way_through_a_blink_is_undecided():
    half = _truth({}, blink=2.5, frames=1)
    assert half["43"] == half["L43"] == half["45"] == (-1, -1)
    assert _truth({"L43": 4.5, "R43": 4.5}, blink=2.5, frames=1)["43"] == (4.5, 1)


def test_eyes_that_squinting_has_all_but_shut_are_not_called_open():
    squint = {f"{side}{au}": 5.0 for au in ("6", "7") for side in "LR"} | {"L43": 0.9, "R43": 0.9}
    assert _truth(squint | {"L43": 0.0})["43"][1] in (-1, 0)
    assert _truth({"L43": 0.0})["43"] == (0, 0)


def test_a_stretched_mouth_holds_a_dropped_jaw():
    assert _truth({"27": 4.0})["26"] == (5, 1) and _truth({"27": 4.0})["27"] == (4, 1)
    assert _truth({"27": 1.5})["27"] == (-1, -1) and _truth({"27": 1.5})["26"][1] == 1
    assert _truth({"19": 4.0})["26"] == (-1, -1)
    assert _truth({"26": 4.0})["26"] == (4, 1)


def test_talking_is_no_action_but_parts_the_lips_and_drops_the_jaw():
    talk = _truth({}, speech={"26": 3.0, "22": 2.0, "L12": 0.4, "R12": 0.4})
    assert talk["25"][1] == 1 and talk["26"] == (3, 1)
    assert talk["22"] == (-1, -1)  # strong enough to be taken for the action
    assert talk["12"] == (0, 0) and talk["4"] == (0, 0)
    assert _truth({"22": 3.0}, speech={"22": 2.0})["22"] == (3, 1)


def test_what_a_head_lacks_is_unknown():
    assert _truth({})["34"] == _truth({})["19"] == (-1, -1)
    has = _truth({"34": 3.0}, optional=heads.OPTIONAL)
    assert has["34"] == (3, 1) and has["19"] == (0, 0)
    assert _truth({"19": 2.0}, optional=heads.OPTIONAL)["19"] == (-1, -1)  # behind the lips


def test_blinks_are_45_in_a_film_and_closed_eyes_in_a_still():
    film = _truth({}, blink=5.0)
    assert film["45"] == (5, 1) and film["43"] == (0, 0)
    still = _truth({}, blink=5.0, frames=1)
    assert still["45"] == (-1, -1) and still["43"] == (5, 1) and still["L43"] == (5, 1)
    assert _truth({}, frames=1)["45"] == (0, 0)


def test_one_side_is_labelled_on_that_side():
    wink = _truth({"L12": 3.0})
    assert wink["L12"] == (3, 1) and wink["R12"] == (0, 0) and wink["12"] == (3, 1)


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "shown.mp4"
    emotions = ("happiness", "surprise")
    made = synthface.film(2, subject=5, path=path, emotions=emotions, size=64, fps=8.0)
    with made.csv_path.open() as file:
        return made, list(csv.DictReader(file))


def test_a_film_decodes_to_as_many_frames_as_its_csv_has_rows(filmed):
    made, rows = filmed
    reader, frames = cv2.VideoCapture(str(made.path)), 0
    while reader.read()[0]:
        frames += 1
    assert frames == made.frames == len(rows)
    assert sorted(p.name for p in made.path.parent.iterdir()) == ["shown.csv", "shown.mp4"]


def test_a_film_shows_each_emotion_in_turn_with_rest_between(filmed):
    made, rows = filmed
    told = [row["emotion"] for row in rows]
    turns = [e for i, e in enumerate(told) if e and (i == 0 or told[i - 1] != e)]
    calm = [e for i, e in enumerate(turns) if i == 0 or turns[i - 1] != e]
    assert calm == ["neutral", "happiness", "neutral", "surprise", "neutral"]
    smiling = [row for row in rows if row["emotion"] == "happiness"]
    assert all(row["AU12_c"] == "1" and float(row["AU12_r"]) >= 1 for row in smiling)
    assert {row["subject"] for row in rows} == {made.subject}
    assert float(rows[8]["timestamp"]) == 1.0


def test_a_film_that_cannot_be_written_leaves_nothing(tmp_path):
    for path, message in (
        (tmp_path / "none" / "a.mp4", "no folder"),
        (tmp_path / "a.avi", r"\.mp4"),
    ):
        with pytest.raises(UserError, match=message):
            synthface.film(0, subject=0, path=path)
    with pytest.raises(UserError, match="hunger"):
        synthface.film(0, subject=0, path=tmp_path / "a.mp4", emotions=["hunger"])
    assert not list(tmp_path.iterdir())


def test_a_film_that_fails_half_way_leaves_nothing(tmp_path, monkeypatch):
    draw, count = synthface.render.draw, iter(range(100))

    def fails(*args, **options):
        if next(count) == 3:
            raise RuntimeError("the lamp broke")
        return draw(*args, **options)

    monkeypatch.setattr(synthface.render, "draw", fails)
    with pytest.raises(RuntimeError, match="lamp"):
        synthface.film(0, subject=0, path=tmp_path / "a.mp4", size=64, fps=4.0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options",
    [{"seed": -1}, {"subject": -1}, {"frames": 0}, {"emotion": "hunger"}, {"size": 8}],
)
def test_arguments_out_of_range_are_refused(options):
    with pytest.raises(ValueError):
        _clip(options.pop("seed", 0), **options)


def test_the_ict_head_makes_clips(ict_folder):
    head = synthface.load_head(str(ict_folder))
    made = _clip(1, head=head, frames=2)
    again = _clip(1, head=head, frames=2)
    assert made.head == "ict" and made.subject.startswith("ict-")
    assert made.frames_THWC.tobytes() == again.frames_THWC.tobytes()
