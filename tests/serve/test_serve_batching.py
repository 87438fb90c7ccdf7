"""Batches: who goes first, what runs together, and what becomes of those who leave."""

import threading
import time
from concurrent.futures import CancelledError

import numpy as np
import pytest

from jaxfacs.serve.batching import Batcher, Full, Stopped
from jaxfacs.serve.metrics import Metrics

SHAPE = (2, 4, 4, 3)


class Network:
    """Answers with the first value of each clip, and remembers what it was asked, and when."""

    def __init__(self, *, seconds=0.0, per_clip=0.0):
        self.seconds, self.per_clip = seconds, per_clip
        self.asked: list[list[int]] = []
        self.may_run = threading.Event()
        self.may_run.set()
        self.fails = False

    def __call__(self, clips):
        self.may_run.wait(10)
        if self.fails:
            raise RuntimeError("no network")
        self.asked.append(clips[:, 0, 0, 0, 0].tolist())
        time.sleep(self.seconds + self.per_clip * len(clips))
        return {"probability": clips[:, 0, 0, 0, :1].astype(np.float32)}


@pytest.fixture
def batcher():
    made = []

    def make(network, batch=4, wait_s=0.02):
        made.append(
            Batcher(network, batch=batch, clip_shape=SHAPE, metrics=Metrics(), wait_s=wait_s)
        )
        made[-1].warm_up()
        network.asked.clear()
        return made[-1]

    yield make
    for one in made:
        one.stop()


def clips(*values):
    return np.stack([np.full(SHAPE, v, np.uint8) for v in values])


def test_clips_of_several_clients_run_as_one_batch(batcher):
    network = Network(seconds=0.02)
    made = batcher(network)
    futures = [made.ask(clips(v), client=str(v), live=True) for v in (1, 2, 3)]
    assert [f.result(5)["probability"].tolist() for f in futures] == [[[1.0]], [[2.0]], [[3.0]]]
    assert network.asked == [[1, 2, 3, 0]]


def test_only_two_shapes_are_ever_run(batcher):
    network = Network(seconds=0.005, per_clip=0.001)
    made = batcher(network, batch=5, wait_s=0.0)
    rng = np.random.default_rng(0)
    futures = [
        made.ask(clips(*range(rng.integers(1, 8))), client=str(i % 3), live=bool(i % 2))
        for i in range(40)
    ]
    for future in futures:
        values = future.result(10)["probability"][:, 0].tolist()
        assert values == list(range(len(values)))
    assert {len(asked) for asked in network.asked} <= {1, 5}


def test_few_clips_run_one_by_one_where_that_is_faster(batcher):
    network = Network(per_clip=0.01)
    made = batcher(network, batch=8)
    futures = [made.ask(clips(v), client=str(v), live=True) for v in (1, 2)]
    for future in futures:
        future.result(5)
    assert network.asked == [[1], [2]]


def test_live_goes_before_films_and_films_fill_what_is_left(batcher):
    network = Network(seconds=0.02)
    made = batcher(network)
    network.may_run.clear()
    first = made.ask(clips(9), client="first", live=True)
    time.sleep(0.1)  # its batch is under way
    film = made.ask(clips(1, 2, 3, 4), client="film", live=False)
    live = [made.ask(clips(v), client=str(v), live=True) for v in (11, 12)]
    network.may_run.set()
    for future in (first, film, *live):
        future.result(5)
    assert network.asked[1] == [11, 12, 1, 2]
    assert network.asked[2] == [3, 4, 0, 0]


def test_films_do_not_wait_for_ever_behind_live_clients(batcher):
    network = Network(per_clip=0.004)  # so slow for batches that live clips run one by one
    made = batcher(network, wait_s=0.0)
    film = made.ask(clips(1, 2, 3, 4), client="film", live=False)
    end = time.monotonic() + 5
    while not film.done() and time.monotonic() < end:
        made.ask(clips(200), client="live", live=True).result(5)
    assert film.result(0)["probability"][:, 0].tolist() == [1, 2, 3, 4]


def test_a_client_with_many_clips_does_not_keep_others_waiting(batcher):
    network = Network(seconds=0.01)
    made = batcher(network)
    network.may_run.clear()
    first = made.ask(clips(9), client="first", live=True)
    time.sleep(0.1)
    greedy = made.ask(clips(*range(100, 120)), client="greedy", live=True)
    modest = made.ask(clips(1), client="modest", live=True)
    network.may_run.set()
    modest.result(5)
    assert 1 in network.asked[1]
    assert not greedy.done()
    first.result(5), greedy.result(5)


def test_what_nobody_waits_for_is_not_run(batcher):
    network = Network(seconds=0.01)
    made = batcher(network)
    network.may_run.clear()
    first = made.ask(clips(9), client="first", live=True)
    time.sleep(0.1)
    left = made.ask(clips(1), client="left", live=True)
    stays = made.ask(clips(2), client="stays", live=True)
    assert left.cancel()
    network.may_run.set()
    first.result(5), stays.result(5)
    assert not any(1 in asked for asked in network.asked)
    with pytest.raises(CancelledError):
        left.result(0)
    assert made.waiting() == {"live": 0, "film": 0}


def test_a_failing_batch_fails_its_own_clips_only(batcher):
    network = Network(seconds=0.005)
    made = batcher(network)
    network.fails = True
    with pytest.raises(RuntimeError, match="no network"):
        made.ask(clips(1, 2), client="a", live=True).result(5)
    network.fails = False
    assert made.ask(clips(3), client="a", live=True).result(5)["probability"].tolist() == [[3.0]]


def test_the_queue_is_bounded(batcher):
    network = Network(seconds=0.001)
    made = batcher(network)
    network.may_run.clear()
    made.ask(clips(0), client="first", live=True)
    time.sleep(0.1)
    with pytest.raises(Full):
        for _ in range(3000):
            made.ask(clips(1), client="a", live=True)
    network.may_run.set()


def test_stopping_fails_what_waits_and_refuses_what_comes(batcher):
    network = Network(seconds=0.01)
    made = batcher(network)
    network.may_run.clear()
    made.ask(clips(9), client="first", live=True)
    time.sleep(0.1)
    waiting = made.ask(clips(1), client="a", live=False)
    stopper = threading.Thread(target=made.stop)
    stopper.start()
    with pytest.raises(Stopped):
        waiting.result(5)
    network.may_run.set()
    stopper.join(5)
    with pytest.raises(Stopped):
        made.ask(clips(1), client="a", live=True)


def test_clients_batched_together_get_the_numbers_that_they_get_alone(predictor):
    spec = predictor.bundle.input
    shape = (spec.frames, spec.size, spec.size, 3)
    made = Batcher(
        predictor.run, batch=predictor.batch, clip_shape=shape, metrics=Metrics(), wait_s=0.05
    )
    made.warm_up()
    made._singles = 0  # never one by one: together, or with empty places
    rng = np.random.default_rng(0)
    own = [rng.integers(0, 256, (n, *shape), dtype=np.uint8) for n in (1, 2, 3, 11)]
    try:
        alone = [made.ask(c, client="a", live=True).result(20) for c in own]
        asked = [made.ask(c, client=str(n), live=bool(n % 2)) for n, c in enumerate(own)]
        for clips_BTHWC, one, together in zip(own, alone, asked, strict=True):
            home = predictor.run(clips_BTHWC)
            for name, value in together.result(20).items():
                np.testing.assert_allclose(value, one[name], atol=1e-5)
                np.testing.assert_allclose(value, home[name], atol=1e-5)
    finally:
        made.stop()
