"""Networks fitted in Flax are the same when numpy applies them, and learn what was planted."""

import json

import numpy as np
import pytest

from jaxfacs.cli import main
from jaxfacs.emotion import RecurrentMapper, from_json, save
from jaxfacs.emotion.frames import Frames, map_frames
from jaxfacs.errors import UserError
from jaxfacs.train import emotion_networks

AUS = ("1", "2", "4", "12")
EMOTIONS = ("fear", "happiness")
LENGTH = 8


def films(count, seed):
    """AU 1 before 2 is one emotion, 2 before 1 the other; in the last frame the face is at rest."""
    rng = np.random.default_rng(seed)
    emotion = rng.integers(2, size=count)
    probability = rng.uniform(0, 0.2, (count, LENGTH, len(AUS)))
    for n, e in enumerate(emotion):
        probability[n, 1:3, e] = 0.9
        probability[n, 4:6, 1 - e] = 0.9
    labels = np.full((count, LENGTH), -1)
    labels[:, -1] = emotion
    rows = np.arange(count * LENGTH).reshape(count, LENGTH)
    return probability.reshape(-1, len(AUS)), labels.ravel(), list(rows)


def right(mapper, seed):
    probability, labels, rows = films(60, seed)
    answer = np.concatenate([mapper.apply(AUS, probability[r]).probability_TE for r in rows])
    known = labels >= 0
    return (answer.argmax(1) == labels)[known].mean()


@pytest.fixture(scope="module")
def lstm():
    probability, labels, rows = films(200, 0)
    return emotion_networks.fit(
        probability,
        labels,
        aus=AUS,
        emotions=EMOTIONS,
        trained_as="lstm",
        sequences=rows,
        hidden=(8,),
        steps=250,
    )


def test_an_lstm_learns_the_order_that_no_single_frame_shows(lstm):
    assert right(lstm, 1) > 0.95


def test_numpy_applies_what_flax_fitted(lstm):
    import jax
    from flax import nnx

    network = emotion_networks.LSTM(len(AUS), len(EMOTIONS), (8,), nnx.Rngs(0))
    w = lstm.weights
    network.cell.dense_i.kernel[...] = w["input"]
    network.cell.dense_h.kernel[...] = w["recurrent"]
    network.cell.dense_h.bias[...] = w["bias"]
    network.out.kernel[...] = w["out"]
    network.out.bias[...] = w["out_bias"]
    probability, _, rows = films(5, 2)
    x = np.stack([probability[r] for r in rows]).astype(np.float32)
    theirs = np.asarray(jax.nn.softmax(network(x)))
    ours = np.stack([lstm.apply(AUS, probability[r]).probability_TE for r in rows])
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_an_lstm_says_which_aus_decided_and_what_it_missed(lstm):
    probability, labels, rows = films(1, 3)
    reading = lstm.apply(AUS, probability[rows[0]])
    why = reading.explain(LENGTH - 1)
    assert why.emotion == EMOTIONS[labels[-1]]
    assert {reason.au for reason in why.speaks_for[:2]} == {"1", "2"}
    # Leaving the AU out is what the weight says it is.
    average = probability[rows[0]].copy()
    average[:, 0] = lstm.mean_A[0]
    without = np.log(lstm.apply(AUS, average).probability_TE[-1])
    change = np.log(reading.probability_TE[-1]) - without
    np.testing.assert_allclose(
        reading.weight_TEA[-1, :, 0], change - change.mean(), rtol=1e-3, atol=1e-4
    )
    blind = lstm.apply(("1", "2", "4"), probability[rows[0]][:, :3])
    assert blind.unjudged["fear"] == ("12",)
    lost = lstm.apply(AUS, np.full((3, 4), np.nan))
    assert np.isnan(lost.probability_TE).all()


def test_each_face_of_each_film_is_read_by_itself(lstm):
    probability, _, rows = films(2, 4)
    order = np.stack(rows, axis=1).ravel()  # frame by frame, two faces in each
    count = len(order)
    frames = Frames(
        AUS,
        probability[order],
        np.full((count, 4), np.nan),
        np.arange(count),
        np.arange(count) / 25,
        np.tile(["0", "1"], LENGTH),
        np.tile([0, 1], LENGTH),
        ("",) * count,
        ("",) * count,
    )
    reading = map_frames(lstm, frames)
    for face, own in enumerate(rows):
        alone = lstm.apply(AUS, probability[own])
        np.testing.assert_allclose(reading.probability_TE[face::2], alone.probability_TE)
        np.testing.assert_allclose(reading.weight_TEA[face::2], alone.weight_TEA)


def test_an_lstm_comes_back_from_json_and_damage_is_refused(lstm):
    content = json.loads(json.dumps(lstm.to_json()))
    again = from_json(content)
    assert isinstance(again, RecurrentMapper)
    probability, _, rows = films(1, 5)
    np.testing.assert_array_equal(
        again.apply(AUS, probability[rows[0]]).probability_TE,
        lstm.apply(AUS, probability[rows[0]]).probability_TE,
    )
    for part in content["weights"]:
        for value in (None, "x", [], 1e308, [[1.0]]):
            damaged = json.loads(json.dumps(content))
            damaged["weights"][part] = value
            with pytest.raises(UserError):
                from_json(damaged)


def planted(count, seed):
    rng = np.random.default_rng(seed)
    emotion = rng.integers(2, size=count)
    chance = np.where(emotion[:, None] == 1, [0.1, 0.1, 0.1, 0.9], [0.9, 0.8, 0.5, 0.1])
    return (rng.random((count, 4)) < chance).astype(float), emotion


@pytest.mark.parametrize("kind", ["mlp", pytest.param("emotiram", marks=pytest.mark.long)])
def test_frame_networks_learn_the_planted_faces(kind):
    probability, emotion = planted(400, 0)
    unknown = probability.copy()
    unknown[np.random.default_rng(1).random(unknown.shape) < 0.1] = -1
    mapper = emotion_networks.fit(
        unknown, emotion, aus=AUS, emotions=EMOTIONS, trained_as=kind, steps=150
    )
    widths = [weight.shape[1] for weight, _ in mapper.layers]
    assert widths == [*emotion_networks.WIDTHS[kind], 2]
    other, truth = planted(400, 2)
    assert (mapper.apply(AUS, other).probability_TE.argmax(1) == truth).mean() > 0.9
    why = mapper.apply(AUS, [[0, 0, 0, 1.0]]).explain(0)
    assert (why.emotion, why.speaks_for[0].au) == ("happiness", "12")


def test_widths_that_make_no_network_are_refused():
    probability, emotion = planted(20, 0)
    for kind, hidden in (("lstm", (8, 8)), ("mlp", (0,))):
        with pytest.raises(UserError, match="hidden"):
            emotion_networks.fit(
                probability, emotion, aus=AUS, emotions=EMOTIONS, trained_as=kind, hidden=hidden
            )
    with pytest.raises(UserError, match="no labelled frame"):
        emotion_networks.fit(probability, 0 * emotion, aus=AUS, emotions=EMOTIONS, trained_as="mlp")


def test_an_lstm_goes_into_no_bundle(lstm, tmp_path, capsys):
    save(lstm, tmp_path / "lstm.json")
    words = ["export", "--workdir", str(tmp_path), "--out", str(tmp_path / "net.jaxfacs")]
    assert main([*words, "--emotions", str(tmp_path / "lstm.json")]) == 2
    assert "remembers earlier frames" in capsys.readouterr().err
