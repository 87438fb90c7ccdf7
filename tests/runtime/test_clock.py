"""The clock of a run: its phases add up to the time lived, over restarts too."""

import pytest

from jaxfacs.runtime.clock import Clock, Interval


class Hands:
    """A clock that goes when it is told."""

    def __init__(self):
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def test_phases_and_what_is_between_them_are_the_time_lived():
    hands, told = Hands(), []
    clock = Clock(on_phase=told.append, now=hands)
    hands.at += 3
    clock.add("start", clock.unmeasured())
    for _ in range(2):
        with clock("data"):
            hands.at += 1
        with clock("step"):
            hands.at += 4
        hands.at += 0.5
    assert clock.seconds == {"start": 3, "data": 2, "step": 8, "other": 1}
    assert sum(clock.seconds.values()) == hands.at - 100
    assert clock.told()["goodput"] == pytest.approx(8 / 14)
    assert told == ["data", "step", "data", "step"]


def test_the_next_process_goes_on_with_them():
    hands = Hands()
    clock = Clock({"step": 8.0, "other": 1.0}, now=hands)
    clock.carry({"lost": 6.0})
    hands.at += 5
    with clock("step"):
        hands.at += 2
    assert clock.seconds == {"step": 10, "other": 6, "lost": 6}
    assert clock.told()["goodput"] == pytest.approx(10 / 22)


def test_a_phase_that_fails_is_counted_too():
    hands = Hands()
    clock = Clock(now=hands)
    with pytest.raises(OSError), clock("data"):
        hands.at += 7
        raise OSError
    assert clock.seconds == {"data": 7, "other": 0}


def test_the_phase_that_is_going_on_counts():
    hands = Hands()
    clock = Clock(now=hands)
    hands.at += 1
    with clock("step"):
        hands.at += 4
        assert clock.seconds == {"step": 4, "other": 1}
        hands.at += 2
    assert clock.seconds == {"step": 6, "other": 1}


def test_a_process_may_be_older_than_its_clock():
    hands = Hands()
    clock = Clock(born=40.0, now=hands)
    clock.add("start", clock.unmeasured())
    hands.at += 2
    assert clock.seconds == {"start": 60, "other": 2}


def test_an_interval_passes_and_begins_again():
    hands = Hands()
    interval, never = Interval(60, now=hands), Interval(0, now=hands)
    assert not interval.passed()
    hands.at += 60
    assert interval.passed() and interval.passed() and not never.passed()
    interval.restart()
    hands.at += 59
    assert not interval.passed()
