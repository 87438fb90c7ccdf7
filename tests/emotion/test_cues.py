"""Events have the times they were planted at, and each cue is told on its own side only."""

import numpy as np
import pytest

from jaxfacs.emotion.cues import cues, events, not_judged
from jaxfacs.emotion.frames import Frames

FPS = 100.0


def face(seconds=4.0, fps=FPS, intensity=True, **traces):
    """Frames of one face; a trace is a list of (onset, apex, fall, offset, level)."""
    time_s = np.arange(round(seconds * fps)) / fps
    aus = tuple(name.removeprefix("au") for name in traces)
    levels = np.zeros((len(time_s), len(aus)))
    for a, moves in enumerate(traces.values()):
        for onset, apex, fall, offset, level in moves:
            shape = np.interp(time_s, [onset, apex, fall, offset], [0, 1, 1, 0])
            levels[:, a] = np.maximum(levels[:, a], level * shape)
    probability = np.clip(levels / 2, 0, 1)  # present from level 1 on
    return Frames(
        aus,
        probability,
        levels if intensity else np.full(levels.shape, np.nan),
        np.arange(len(time_s)),
        time_s,
        np.full(len(time_s), "0"),
        np.zeros(len(time_s), int),
        ("",) * len(time_s),
        ("",) * len(time_s),
    )


SMILE = (1.0, 1.4, 2.0, 3.0, 4.0)  # at level 1 after a quarter of its rise


def of_kind(rows, kind):
    return [row for row in rows if row.cue == kind]


def test_onset_apex_and_offset_are_where_they_were_planted():
    (event,) = events(face(au12=[SMILE]))
    assert event.onset_s == pytest.approx(1.1, abs=0.011)
    assert event.apex_s == pytest.approx(1.4, abs=0.011)
    assert event.offset_s == pytest.approx(2.75, abs=0.011)
    assert event.speed == pytest.approx(4 / 0.4, rel=0.05)  # levels a second, from rest
    assert (event.level, event.begins, event.ends) == (4.0, True, True)


def test_a_faster_onset_has_the_higher_speed():
    fast, slow = (1.0, 1.1, 2.0, 3.0, 4.0), (1.0, 1.8, 2.0, 3.0, 4.0)
    _, rows = cues(face(au12=[fast], au4=[slow]))
    speed = {row.aus: row.value for row in of_kind(rows, "onset")}
    assert speed["12",] == pytest.approx(40, rel=0.05)
    assert speed["4",] == pytest.approx(5, rel=0.05)
    assert {row.points_to for row in of_kind(rows, "onset")} == {""}


def test_an_onset_begins_where_the_level_begins_to_rise():
    frames = face(au12=[])
    frames.intensity_NA[:, 0] = np.interp(frames.time_s_N, [1.0, 1.5, 1.6, 2, 3], [0, 0.9, 4, 4, 0])
    frames.probability_NA[:, 0] = np.clip(frames.intensity_NA[:, 0] / 2, 0, 1)
    (event,) = events(frames)
    assert event.onset_s == pytest.approx(1.51, abs=0.011)
    assert event.speed == pytest.approx(4 / 0.6, rel=0.05)  # not 31, of the last tenth alone


def test_what_began_before_the_film_or_was_lost_has_no_onset_and_is_no_micro_expression():
    frames = face(au12=[(-1, -0.5, 0.1, 0.3, 4.0)], au4=[(3.8, 3.9, 5, 6, 4.0)])
    first, last = events(frames)
    assert (first.begins, first.ends, last.begins, last.ends) == (False, True, True, False)
    assert np.isnan(first.speed)
    _, rows = cues(frames)
    assert not of_kind(rows, "micro")
    lost = face(au12=[(1.0, 1.02, 1.1, 1.12, 4.0)])
    assert of_kind(cues(lost)[1], "micro")
    lost.probability_NA[108:] = np.nan  # the face turns away
    assert not of_kind(cues(lost)[1], "micro")


def test_duchenne_smiles_have_6_for_most_of_12():
    for six, points_to in ((SMILE, "spontaneous"), ((1.0, 1.1, 1.2, 1.4, 4.0), "posed")):
        (row,) = of_kind(cues(face(au12=[SMILE], au6=[six]))[1], "duchenne")
        assert row.points_to == points_to
        assert (row.value >= 0.5) == (points_to == "spontaneous")
    assert not of_kind(cues(face(au12=[SMILE]))[1], "duchenne")  # 6 unknown: nothing is said
    assert any("duchenne" in line for line in not_judged(face(au12=[SMILE])))
    assert not of_kind(cues(face(au6=[SMILE], au12=[]))[1], "duchenne")  # no smile at all


def test_one_sided_contempt_is_no_posed_smile():
    weak = (1.0, 1.4, 2.0, 3.0, 0.5)
    same = {"auL12": [SMILE], "auR12": [weak], "au6": []}
    for dimple, points_to in ((("L", "R"), ""), (("R", "L"), "posed")):
        sides = {f"au{dimple[0]}14": [SMILE], f"au{dimple[1]}14": [weak]}
        rows = cues(face(**same, **sides))[1]
        (smile,) = of_kind(rows, "duchenne")
        told = {row.aus: row.points_to for row in of_kind(rows, "asymmetry")}
        assert (smile.points_to, told["L12", "R12"]) == (points_to, points_to)


@pytest.mark.parametrize("graded", [True, False])
def test_sides_that_differ_are_told_with_the_stronger_one(graded):
    weak = (1.0, 1.4, 2.0, 3.0, 0.5)
    frames = face(intensity=graded, auL12=[SMILE], auR12=[weak])
    (row,) = of_kind(cues(frames)[1], "asymmetry")
    assert row.aus == ("L12", "R12") and row.points_to == "posed" and "left" in row.note
    assert row.value == pytest.approx(3.5 if graded else 0.875, abs=0.1)
    (mirrored,) = of_kind(cues(face(auL12=[weak], auR12=[SMILE]))[1], "asymmetry")
    assert "right" in mirrored.note and mirrored.value < 0
    assert not of_kind(cues(face(auL12=[SMILE], auR12=[SMILE]))[1], "asymmetry")
    # One-sided 14 is contempt itself: told, but no sign of posing.
    (dimple,) = of_kind(cues(face(auL14=[SMILE], auR14=[weak]))[1], "asymmetry")
    assert dimple.points_to == ""


@pytest.mark.parametrize(
    ("duration_s", "half_second", "published"),
    [
        (0.03, True, False),
        (0.04, True, True),
        (0.2, True, True),
        (0.21, True, False),
        (0.49, True, False),
        (0.5, False, False),
        (0.6, False, False),
    ],
)
def test_micro_expressions_by_either_limit(duration_s, half_second, published):
    frames = face(au4=[], au12=[SMILE])
    count = round(duration_s * FPS)
    frames.probability_NA[120 : 120 + count, 0] = 1.0
    for micro, expected in (("half-second", half_second), ("published", published)):
        rows = of_kind(cues(frames, micro=micro)[1], "micro")
        assert [row.aus for row in rows] == ([("4",)] if expected else [])
        for row in rows:
            assert row.value == pytest.approx(duration_s) and row.start_s == pytest.approx(1.2)
            assert "among 12" in row.note and row.points_to == "held back"


def test_blinks_gaze_and_twice_coded_sides_are_no_micro_expressions():
    short = (1.0, 1.02, 1.1, 1.12, 4.0)
    frames = face(au45=[short], au43=[short], au61=[short], au12=[short], auL12=[short])
    rows = of_kind(cues(frames)[1], "micro")
    assert [row.aus for row in rows] == [("12",)]


def test_a_wavering_probability_is_one_event():
    frames = face(au12=[])
    frames.probability_NA[100:200, 0] = np.where(np.arange(100) % 2, 0.45, 0.6)
    assert len(events(frames)) == 1
    frames.probability_NA[150, 0] = 0.2
    assert len(events(frames)) == 2


def test_what_the_film_cannot_show_is_said():
    slow = face(fps=10.0, au12=[SMILE])
    assert any("10.0 frames a second" in line for line in not_judged(slow))
    assert any("side" in line for line in not_judged(slow))
    assert not any("side" in line for line in not_judged(face(auL12=[SMILE], auR12=[SMILE])))
    assert any("intensities" in line for line in not_judged(face(intensity=False, au12=[SMILE])))
    with pytest.raises(ValueError, match="times"):
        frames = face(au12=[SMILE])
        frames.time_s_N[5] = frames.time_s_N[4]
        events(frames)
