"""jaxfacs adapt: statistics, thresholds and a rest from films without labels."""

import dataclasses
import sys
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_trained import tiny_trained

sys.path.insert(0, str(Path(__file__).parents[1] / "infer"))
from drawn_film import film_frames
from tiny_bundle import write_tiny

from jaxfacs import cli
from jaxfacs.convert.command import export_trained
from jaxfacs.convert.statistics import statistics_of
from jaxfacs.emotion import person
from jaxfacs.errors import UserError
from jaxfacs.infer import adapt, bundle, compiled
from jaxfacs.infer.predictor import load


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.jaxfacs"
    return export_trained(
        tiny_trained(), path, emotion_mapper=None, adaptable=True, confidence_threshold=0.404
    )


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return written(tmp_path_factory.mktemp("film") / "drawn.avi", film_frames())


@pytest.fixture(scope="module")
def meadow(tmp_path_factory):
    grey = np.full((240, 240, 3), 90, np.uint8)
    return written(tmp_path_factory.mktemp("film") / "meadow.avi", [grey] * 12)


def written(path, frames):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20.0, (240, 240))
    for frame in frames:
        writer.write(frame[..., ::-1])
    writer.release()
    return path


def run(*words):
    return cli.main(["adapt", *map(str, words)])


def clips(count, *, seed=0, low=0, high=256):
    return np.random.default_rng(seed).integers(low, high, (count, 4, 16, 16, 3), np.uint8)


def test_the_program_answers_what_the_layer_saw(model):
    made, x = bundle.read(model), clips(6)
    found = compiled.statistics(made)(made.weights, x)
    w = made.weights
    pooled = ((x.astype(np.float64) - 127.5) / 64).reshape(6, 4, 4, 4, 4, 4, 3).mean((3, 5))
    y = pooled.reshape(24, 48) @ w["params/stem/kernel"] + w["params/stem/bias"]
    np.testing.assert_allclose(found["stats/norm/mean"], y.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["stats/norm/var"], y.var(0), rtol=1e-3)


def test_a_network_without_statistics_has_no_program():
    trained = tiny_trained()
    assert statistics_of(dataclasses.replace(trained, stats={}), "float32") is None


def test_frozen_layers_answer_what_they_have():
    from jaxfacs.convert.statistics import _of_batch

    kept = np.array([3.0, 4.0], np.float32)
    np.testing.assert_array_equal(_of_batch(np.zeros(2), np.ones(2), kept), kept)
    of_two = _of_batch(np.array([0.2, 0.02]), np.array([0.2, 0.02]) + 0.9, kept)
    np.testing.assert_allclose(of_two, [2.0, 0.2], rtol=1e-4)


def test_batches_together_have_the_statistics_of_all(model):
    made = bundle.read(model)
    dark, light = clips(32, low=0, high=60), clips(32, low=190, high=256)
    both = np.concatenate([dark, light])
    program = compiled.statistics(made)
    found = adapt.statistics(program, made, list(both))
    whole = program(made.weights, both)
    for name in ("stats/norm/mean", "stats/norm/var"):
        np.testing.assert_allclose(found[name], whole[name], rtol=1e-3, atol=1e-3)
    with pytest.raises(UserError, match="only 7 clips"):
        adapt.statistics(program, made, list(both[:7]))


def test_statistics_move_to_those_of_the_film(model, film, tmp_path, capsys):
    out = tmp_path / "mine.jaxfacs"
    assert run(film, "--model", model, "--statistics", "--keep", 0.25, "--out", out) == 0
    old, new = bundle.read(model), bundle.read(out)
    seen = adapt.clips_of(load(model), one(film), 1000).clips
    wanted = adapt.statistics(compiled.statistics(old), old, seen)
    for name, value in wanted.items():
        expected = 0.25 * old.weights[name] + 0.75 * value
        np.testing.assert_allclose(new.weights[name], expected, rtol=1e-5, atol=1e-6)
        assert np.abs(new.weights[name] - old.weights[name]).max() > 0.05
    same = [name for name in old.weights if name not in wanted]
    assert same and all(np.array_equal(old.weights[n], new.weights[n]) for n in same)
    (told,) = new.manifest["about"]["adapted"]
    assert told["from"] == old.digest
    assert told["films"] == [{"file": "drawn.avi", "sha256": sha256(film.read_bytes()).hexdigest()}]
    assert told["statistics"]["clips"] == len(seen) and told["statistics"]["keep"] == 0.25
    assert "0.25 of the old ones kept" in capsys.readouterr().out
    assert cli.main(["inspect", str(out)]) == 0
    assert "statistics (0.25 of the old ones kept); to drawn.avi" in capsys.readouterr().out


def test_keeping_all_changes_nothing(model, film, tmp_path):
    out = tmp_path / "same.jaxfacs"
    assert run(film, "--model", model, "--statistics", "--keep", 1, "--out", out) == 0
    old, new = bundle.read(model), bundle.read(out)
    assert old.manifest["parts"] == new.manifest["parts"]
    assert new.confidence_threshold == 0.4
    untold = {"about", "sha256"}
    assert {k: v for k, v in old.manifest.items() if k not in untold} == {
        k: v for k, v in new.manifest.items() if k not in untold
    }


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_thresholds_match_the_rate(model, film, tmp_path, rate):
    out = tmp_path / "t.jaxfacs"
    assert run(film, "--model", model, "--thresholds", f"1={rate}", "--out", out) == 0
    called = [f.present_A[0] for r in load(out).video(film) for f in r.faces]
    assert len(called) == 30 and np.mean(called) == pytest.approx(rate, abs=0.5 / 30 + 1e-9)
    old, new = bundle.read(model), bundle.read(out)
    assert new.thresholds_A[1:].tolist() == old.thresholds_A[1:].tolist()
    (told,) = new.manifest["about"]["adapted"]
    assert told["thresholds"]["1"]["rate"] == rate and told["films"][0]["faces"] == 30


def test_matching_among_ties_takes_the_nearest_share():
    p = np.array([0.9, 0.5, 0.5, 0.5, 0.1])
    assert (p >= adapt.matched(p, 0.5)).mean() in (0.2, 0.8)
    assert (p >= adapt.matched(p, 0.25)).mean() == 0.2
    assert (np.ones(4) >= adapt.matched(np.ones(4), 0.0)).mean() == 1  # nothing else can be


def test_thresholds_as_often_as_the_card_says(film, tmp_path, capsys):
    trained = tiny_trained()
    reports = {"validation": {"per_au": [{"au": "12", "occurrence": 0.4}, {"au": "1"}]}}
    path = export_trained(trained, tmp_path / "m.jaxfacs", emotion_mapper=None, reports=reports)
    out = tmp_path / "t.jaxfacs"
    assert run(film, "--model", path, "--thresholds", "card", "--out", out) == 0
    called = [f.present_A[1] for r in load(out).video(film) for f in r.faces]
    assert np.mean(called) == pytest.approx(0.4, abs=0.02)
    assert set(bundle.read(out).manifest["about"]["adapted"][0]["thresholds"]) == {"12"}


def test_a_rest_is_a_profile_that_predict_takes(model, film, tmp_path):
    out = tmp_path / "ana.jaxfacs"
    assert run(film, "--model", model, "--rest", "--out", out) == 0
    profile = person.load(tmp_path / "ana.rest.json")
    p_NA = np.stack([f.probability_A for r in load(model).video(film) for f in r.faces])
    expected = np.percentile(p_NA, 20, axis=0)
    assert list(profile.probability.values()) == pytest.approx(expected.tolist(), abs=1e-4)
    words = ["--baseline", f"profile:{tmp_path / 'ana.rest.json'}", "--out", str(tmp_path / "o")]
    assert cli.main(["predict", str(film), "--model", str(out), *words]) == 0


def test_adapting_twice_tells_both(model, film, tmp_path):
    first, second = tmp_path / "a.jaxfacs", tmp_path / "b.jaxfacs"
    assert run(film, "--model", model, "--statistics", "--out", first) == 0
    assert run(film, "--model", first, "--thresholds", "1=0.5", "--out", second) == 0
    told = bundle.read(second).manifest["about"]["adapted"]
    assert [sorted({"statistics", "thresholds"} & set(t)) for t in told] == [
        ["statistics"],
        ["thresholds"],
    ]
    assert told[1]["from"] == bundle.read(first).digest


@pytest.mark.parametrize(
    "words, told",
    [
        ([], "nothing to adapt"),
        (["--statistics", "--keep", "1.5"], "--keep is 1.5"),
        (["--thresholds", "12"], "no AU=RATE"),
        (["--thresholds", "12=2"], "no rate"),
        (["--thresholds", "99=0.5"], "answers no AU 99"),
        (["--thresholds", "card"], "does not say how often"),
    ],
)
def test_options_that_make_no_sense_are_one_line(model, film, tmp_path, capsys, words, told):
    out = tmp_path / "x.jaxfacs"
    assert run(film, "--model", model, "--out", out, *words) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert told in said[-1] and not out.exists()


@pytest.mark.parametrize(
    "kind, what",
    [
        ("faceless", "statistics"),
        ("faceless", "thresholds"),
        ("faceless", "rest"),
        ("damaged", "statistics"),
        ("empty", "thresholds"),
        ("none", "rest"),
    ],
)
def test_films_that_teach_nothing_leave_nothing(model, film, meadow, tmp_path, capsys, kind, what):
    path = {"faceless": meadow, "none": tmp_path / "no.avi"}.get(kind, tmp_path / "bad.avi")
    if kind in ("damaged", "empty"):
        path.write_bytes(film.read_bytes()[:300] if kind == "damaged" else b"")
    words = {"thresholds": ["--thresholds", "1=0.5"]}.get(what, [f"--{what}"])
    folder = tmp_path / "out"
    folder.mkdir()
    assert run(path, "--model", model, *words, "--out", folder / "x.jaxfacs") == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("jaxfacs")]
    assert len(said) == 1 and "Traceback" not in said[0]
    assert not list(folder.iterdir())


def test_bundles_without_the_program_say_so(film, tmp_path, capsys):
    old = write_tiny(tmp_path / "old.jaxfacs", per_frame=True)
    out = tmp_path / "x.jaxfacs"
    assert run(film, "--model", old, "--statistics", "--out", out) == 2
    assert "export it again" in capsys.readouterr().err and not out.exists()
    assert run(film, "--model", old, "--thresholds", "1=0.5", "--out", out) == 0


def test_a_damaged_program_is_named(model, tmp_path):
    content = bytearray(model.read_bytes())
    program = bundle.read(model).statistics
    content[content.find(program) + len(program) // 2] ^= 1
    (tmp_path / "d.jaxfacs").write_bytes(content)
    with pytest.raises(UserError, match="statistics"):
        bundle.read(tmp_path / "d.jaxfacs")


def test_long_films_are_thinned_evenly():
    gathered = adapt.Gathered(10)
    for n in range(100):
        gathered.add(np.full((1, 1, 1, 1, 1), n, np.uint8))
    kept = [int(clip.ravel()[0]) for clip in gathered.clips]
    assert 5 <= len(kept) <= 10 and kept[0] == 0 and kept[-1] >= 90
    assert len(set(np.diff(kept).tolist())) == 1


def one(film):
    from jaxfacs.infer.sources import source

    (found,) = source.find([str(film)])
    return found
