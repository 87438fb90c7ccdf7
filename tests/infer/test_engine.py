"""Many films in one call: each film's numbers are its own, whatever else fills the batches."""

import threading
import time

import cv2
import numpy as np
import pytest
from tiny_bundle import THRESHOLDS, write_tiny

import jaxfacs
from jaxfacs.errors import UserError
from jaxfacs.infer import engine
from jaxfacs.infer.sources import source as sources
from jaxfacs.infer.sources.source import Source, Timed


class Memory(Source):
    """A film that is in memory, and may break."""

    def __init__(self, name, pictures, *, breaks_at=None, error=UserError, wait_s=0.0, live=False):
        super().__init__(name, None, fps=25.0, total=len(pictures))
        self.live = live
        self.held, self.closed = 0, False
        self._pictures, self._breaks_at, self._error = pictures, breaks_at, error
        self._wait_s = wait_s

    def frames(self, first=0):
        try:
            for number, picture in enumerate(self._pictures, 1):
                if number == self._breaks_at:
                    raise self._error(f"{self.name} vanished")
                time.sleep(self._wait_s)
                self.held = number
                if number > first:
                    yield Timed(number, (number - 1) / 25, picture)
        finally:
            self.closed = True


@pytest.fixture(scope="module")
def films(frames):
    """Several films of different lengths, one of them of two people, one of nobody."""
    fair, dark = frames[0], np.uint8(frames[0] * 0.6)
    two = [
        np.concatenate([np.roll(fair, t // 2, 1), np.roll(dark, -t // 2, 1)], 1) for t in range(20)
    ]
    return [frames, two, frames[5:9], [np.full_like(fair, 150)] * 6, frames[18:34], frames[:1]]


def read_all(predictor, films, **options):
    found = [Memory(str(i), film) for i, film in enumerate(films)]
    results = [[] for _ in films]
    for index, result in predictor.read_many(found, **options):
        results[index].append(result)
    return results


def assert_same(one, other, *, exact=False):
    assert [r.frame for r in one] == [r.frame for r in other]
    for a, b in zip(one, other, strict=True):
        assert (a.timestamp, a.readable) == (b.timestamp, b.readable)
        assert [f.face_id for f in a.faces] == [f.face_id for f in b.faces]
        for face_a, face_b in zip(a.faces, b.faces, strict=True):
            np.testing.assert_array_equal(face_a.box_4, face_b.box_4)
            np.testing.assert_array_equal(face_a.present_A, face_b.present_A)
            # 1e-5, and the last of the four decimals that are shown may turn.
            np.testing.assert_allclose(
                face_a.probability_A, face_b.probability_A, rtol=0, atol=0 if exact else 1.1e-4
            )


def test_batches_and_company_change_no_number(bundles, films, kind="clip"):
    alone = [read_all(jaxfacs.load(bundles[kind], batch=1), [film])[0] for film in films]
    assert [len(results) for results in alone] == [40, 20, 4, 6, 16, 1]
    assert {len(r.faces) for r in alone[1]} == {2}
    assert alone[0][15].faces[0].probability_A.tolist() != [0.5] * len(THRESHOLDS)
    for batch, at_once in ((7, 6), (64, 2)):
        together = read_all(jaxfacs.load(bundles[kind], batch=batch), films, at_once=at_once)
        for one, other in zip(alone, together, strict=True):
            assert_same(one, other)


def test_the_network_answers_the_same_bits_in_any_batch(bundles, films):
    predictor = jaxfacs.load(bundles["full"], batch=7)
    together = read_all(predictor, films, at_once=4)
    for film, results in zip(films[:3], together, strict=False):
        assert_same(read_all(predictor, [film])[0], results, exact=True)


def test_raw_numbers_agree_to_five_decimals(bundles, films, monkeypatch):
    """Before they are rounded for the table."""
    from jaxfacs.infer.answers import Reading

    raw = {}
    told = Reading.results

    def results(self, seen):
        for face in seen:
            raw.setdefault(current, []).append(face.values_V)
        return told(self, seen)

    monkeypatch.setattr(Reading, "results", results)
    for current in ((1, 1), (7, 1), (64, 6)):
        batch, at_once = current
        read_all(jaxfacs.load(bundles["clip"], batch=batch), films[:1], at_once=at_once)
    first = np.stack(raw[1, 1])
    assert len(first) == 30 and np.ptp(first, axis=0).max() > 1e-3
    for values in raw.values():
        np.testing.assert_allclose(np.stack(values), first, rtol=0, atol=1e-5)


def test_batches_are_full_while_there_is_enough(bundles, films, monkeypatch):
    predictor = jaxfacs.load(bundles["frame"], batch=4)
    counts, submit = [], predictor._submit

    def counted(clips, **options):
        counts.append(len(clips))
        return submit(clips, **options)

    monkeypatch.setattr(predictor, "_submit", counted)
    monkeypatch.setattr(engine, "_IDLE_S", 60.0)  # a busy machine is not an idle network
    read_all(predictor, films, at_once=3)
    assert sum(counts) > 20 and np.mean(counts) > 3


@pytest.mark.parametrize("error", [UserError, OSError, cv2.error])
def test_one_that_breaks_does_not_end_the_others(bundles, frames, error):
    predictor = jaxfacs.load(bundles["frame"], batch=4)
    found = [
        Memory("good", frames),
        Memory("bad", frames, breaks_at=9, error=error),
        Memory("gone", frames, breaks_at=1, error=error),
        Memory("other", frames[:20]),
    ]
    failed, counts = {}, [0] * 4
    for index, _ in predictor.read_many(found, on_error=failed.__setitem__):
        counts[index] += 1
    assert counts == [40, 8, 0, 20]
    assert failed.keys() == {1, 2} and "bad vanished" in str(failed[1])
    with pytest.raises(error, match="bad vanished"):
        list(predictor.read_many(found[:2]))


def test_a_mistake_of_ours_is_not_hidden(bundles, frames):
    predictor = jaxfacs.load(bundles["frame"])
    found = [Memory("good", frames), Memory("bad", frames, breaks_at=3, error=ZeroDivisionError)]
    with pytest.raises(ZeroDivisionError):
        list(predictor.read_many(found, on_error=lambda *_: None))


def test_reading_runs_a_few_frames_ahead_and_no_more(bundles, frames):
    source = Memory("long", frames * 20)
    results = jaxfacs.load(bundles["frame"], batch=1).read(source)
    for count, _ in zip(range(1, 100), results, strict=False):
        waits = 2 * 1 * 4 + 8  # of the stream, for its clips and a batch
        assert source.held <= count + waits + engine.AHEAD + 2
    threads = threading.active_count()
    results.close()  # the caller has seen enough
    assert source.closed and threading.active_count() == threads - 1


def test_a_slow_film_does_not_hold_up_the_others(bundles, frames):
    predictor = jaxfacs.load(bundles["frame"])
    list(predictor.read(Memory("first", frames)))  # compiles
    slow, fast = Memory("slow", frames[:10], wait_s=0.2), Memory("fast", frames)
    order = [i for i, _ in predictor.read_many([slow, fast])]
    assert order.index(0) > 20 and order.count(0) == 10 and order.count(1) == 40


def events(predictor, found, stop_live=None, **options):
    batches = predictor.batches(found)
    films = (predictor.film(i, s, batches, **options) for i, s in enumerate(found))
    return engine.read(films, batches, at_once=3, stop_live=stop_live)


def test_cameras_end_when_told_and_films_go_on(bundles, frames):
    camera, stop = Memory("camera", frames * 100, wait_s=0.002, live=True), threading.Event()
    film, counts = Memory("film", frames), [0, 0]
    for event in events(jaxfacs.load(bundles["frame"]), [camera, film], stop):
        if isinstance(event, engine.Result):
            counts[event.film.index] += 1
        if counts[0] > 5:
            stop.set()
    assert 5 < counts[0] < 200 and counts[1] == 40 and camera.closed


def test_a_cancelled_film_ends(bundles, frames):
    found = [Memory("long", frames * 100), Memory("short", frames)]
    counts, done = [0, 0], []
    for event in events(jaxfacs.load(bundles["frame"]), found):
        if isinstance(event, engine.Done):
            done.append(event.film.index)
            continue
        counts[event.film.index] += 1
        if counts[0] == 7:
            event.film.cancelled = event.film.index == 0
    assert counts[0] < 200 and counts[1] == 40 and sorted(done) == [0, 1] and found[0].closed


@pytest.mark.parametrize("kind", ["clip", "full"])
def test_it_goes_on_from_every_mark_as_if_nothing_had_been(bundles, films, kind):
    predictor = jaxfacs.load(bundles[kind], batch=3)
    for film in (films[0], films[1]):
        whole, marks = [], []
        for event in events(predictor, [Memory("a", film)], mark_every=7):
            if isinstance(event, engine.Result):
                whole.append(event.result)
            elif isinstance(event, engine.Mark):
                marks.append((len(whole), event.state))
        assert len(marks) == len(film) // 7 and len(whole) == len(film)
        for given, state in marks:
            assert state["frames"] % 7 == 0
            rest = [
                event.result
                for event in events(predictor, [Memory("b", film)], mark_every=7, state=state)
                if isinstance(event, engine.Result)
            ]
            assert_same(rest, whole[given:], exact=True)


def test_pictures_among_films(bundles, frames, film, tmp_path):
    path = tmp_path / "face.png"
    cv2.imwrite(str(path), frames[0][..., ::-1])
    found = sources.find([str(path), str(film), str(path)])
    results = list(jaxfacs.load(bundles["frame"]).read_many(found))
    assert [i for i, _ in results].count(1) == 40
    pictures = [r for i, r in results if i != 1]
    assert len(pictures) == 2
    assert_same([pictures[0]], [pictures[1]], exact=True)


def test_bundles_with_a_tracker_of_their_own_for_each_film(tmp_path, films):
    predictor = jaxfacs.load(write_tiny(tmp_path / "m.jaxfacs", per_frame=True))
    for results in read_all(predictor, [films[0], films[0], films[4]], at_once=3):
        assert {f.face_id for r in results for f in r.faces} == {0}
