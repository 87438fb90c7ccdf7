"""What processes tell each other: who is slow, when to save; that nobody waits is seen in a run."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from jaxfacs.runtime.clock import Clock, Interval
from jaxfacs.runtime.exchange import Exchange, Rounds, Straggler, slowest


class Hands:
    at = 0.0

    def __call__(self) -> float:
        return self.at


class Told:
    """Stands in for the exchange of several processes: each answers as it was told to."""

    def __init__(self, *others):
        self.others, self.given = others, []

    def give(self, row):
        self.given.append(row)
        return row

    def read(self, answer):
        return np.asarray([answer, *self.others], np.float32)


def test_the_one_who_waits_for_data_is_named_and_only_where_the_others_do_not():
    found = slowest([0.1, 0.1, 6.0, 0.2], [9.9, 9.9, 4.0, 9.8])
    assert found == Straggler(2, pytest.approx(0.6), pytest.approx(0.01)) and found.is_slow
    assert found.ratio == pytest.approx(60)
    assert not slowest([5.0, 6.0], [5.0, 4.0]).is_slow  # all read slowly
    assert not slowest([0.0, 0.05], [1.0, 0.95]).is_slow  # many times more, but of nothing
    assert slowest([0.0, 0.5], [1.0, 0.5]).is_slow
    assert slowest([0.7], [0.3]) is None
    assert slowest([0.0, 0.0], [0.0, 0.0]).ratio == 1


def rounds(exchange, every=4, minutes=1.0):
    hands = Hands()
    clock = Clock(now=hands)
    save = Interval(60 * minutes, now=hands)
    return hands, clock, Rounds(exchange, clock, every=every, save=save)


def walk(hands, clock, found, steps, *, wait=1.0, work=3.0):
    """Step -> what was heard after it."""
    heard = {}
    for step in steps:
        with clock("data"):
            hands.at += wait
        with clock("step"):
            hands.at += work
        if (told := found.after(step)) is not None:
            heard[step] = told
    return heard


def test_a_round_ends_at_each_multiple_and_tells_of_the_steps_before_it():
    exchange = Told((0.0, 0.4, 15.6))
    heard = walk(*rounds(exchange), range(1, 13))
    assert list(heard) == [4, 8, 12]
    # Three steps, then four a round: what was measured until one step before the multiple.
    assert exchange.given == [(False, 3, 9), (False, 4, 12), (False, 4, 12)]
    assert heard[8].slowest == Straggler(0, pytest.approx(0.25), pytest.approx(0.025))
    assert not any(told.save for told in heard.values())


def test_the_first_process_alone_says_when_to_save():
    others = (1.0, 0.0, 1.0), (1.0, 0.0, 1.0)  # to whom it seems time in every round
    hands, clock, found = rounds(Told(*others))
    heard = walk(hands, clock, found, range(1, 33))
    assert [step for step, told in heard.items() if told.save] == [16, 20, 24, 28, 32]
    found.saved()
    heard = walk(hands, clock, found, range(33, 65))
    assert [step for step, told in heard.items() if told.save] == [48, 52, 56, 60, 64]


def test_a_save_meets_a_wish_that_is_under_way():
    hands, clock, found = rounds(Told(), every=1)
    assert not any(told.save for told in walk(hands, clock, found, range(1, 16)).values())
    found.saved()  # after step 15, whose question said that a minute had passed
    assert not any(told.save for told in walk(hands, clock, found, range(16, 31)).values())
    assert found.after(31).save


def test_a_process_alone_asks_no_device():
    mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))
    exchange = Exchange(mesh)
    answer = exchange.give((True, 0.5, 2.0))
    assert isinstance(answer, np.ndarray)
    np.testing.assert_array_equal(exchange.read(answer), [[1, 0.5, 2]])
