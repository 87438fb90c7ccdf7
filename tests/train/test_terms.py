"""The table of loss terms: which there are, what they are asked about, and their scales."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxfacs.data.config import DataConfig
from jaxfacs.models import heatmaps
from jaxfacs.train import losses, terms
from jaxfacs.train.config import LossConfig
from jaxfacs.train.labels import answered_frames, labels_for, network_aus
from jaxfacs.train.terms import Facts, loss_terms, scaled

B, T, SIZE, GRID = 3, 4, 64, 16
AUS = ("6", "12")
A, P = 2, 4  # both have two places
RNG = np.random.default_rng(0)
ALL = LossConfig(cooccurrence_scale=1.0)
FACTS = Facts(AUS, SIZE, None, jnp.asarray([[1.0, 0.4], [0.4, 1.0]]))


@pytest.fixture(scope="module")
def batch():
    occurrence = RNG.integers(-1, 2, (B, T, A)).astype(np.int8)
    landmarks = RNG.uniform(8, 56, (B, T, 68, 2)).astype(np.float32)
    landmarks[0] = np.nan
    affect = RNG.uniform(-1, 1, (B, T, 2)).astype(np.float32)
    affect[1, :, 0] = np.nan
    return {
        "occurrence_BTA": jnp.asarray(occurrence),
        "intensity_BTA": jnp.asarray(np.where(occurrence < 0, -1, 3.0 * occurrence), jnp.float32),
        "landmarks_BT682": jnp.asarray(landmarks),
        "valence_arousal_BT2": jnp.asarray(affect),
        "emotion_B": jnp.asarray([0, -1, 1]),
        "weight_B": jnp.ones(B),
    }


def answers(*leading: int) -> dict[str, jax.Array]:
    def normal(*shape):
        return jnp.asarray(np.random.default_rng(1).normal(0, 1, shape), jnp.float32)

    return {
        "occurrence": normal(*leading, A),
        "intensity": normal(*leading, A),
        "valence_arousal": jnp.tanh(normal(*leading, 2)),
        "ordinal": normal(*leading, A, 5),
        "edge": normal(*leading, A * A, 4),
        "heatmap": normal(*leading, GRID, GRID, P),
        "landmarks": normal(*leading, 68, 2),
        "confidence": normal(*leading, 1),
        "emotion": normal(B, 2),
    }


@pytest.mark.parametrize("leading", [(B,), (B, T), (B, 2)])
def test_each_answer_has_its_term_and_its_labels(batch, leading):
    outputs = answers(*leading)
    found = jax.jit(lambda o, b: loss_terms(ALL, o, b, FACTS))(outputs, batch)
    assert found.keys() == terms.TERMS.keys()
    labels = labels_for(ALL, outputs, batch)
    y = labels["occurrence"]
    known = np.asarray(y) >= 0
    frames = int(np.prod(leading))
    both = (known[..., :, None] & known[..., None, :]).sum()
    seen = ~np.isnan(np.asarray(labels["landmarks"])[..., 0, 0])
    weights = {
        "occurrence": known.sum(),
        "intensity": known.sum(),
        "emotion": 2,
        "valence_arousal": (~np.isnan(np.asarray(labels["valence_arousal"])))
        .any(tuple(range(len(leading))))
        .sum(),
        "edge": both,
        "heatmap": (known & seen[..., None]).sum() * 2 * GRID * GRID,
        "landmarks": seen.sum() * 2 * 68,
        "confidence": known.any(-1).sum(),
        "cooccurrence": frames,
    }
    assert {name: float(weight) for name, (_, weight) in found.items()} == weights
    assert all(np.isfinite(total) and total > 0 for total, _ in found.values())


def test_the_target_maps_themselves_cost_nothing(batch):
    """So landmarks, intensities, AU list and sizes reach the targets as they are."""
    labels = labels_for(ALL, {"heatmap": jnp.zeros((B, GRID, GRID, P))}, batch)
    target = heatmaps.targets(
        labels["landmarks"], labels["intensity"], aus=AUS, frame_size=SIZE, map_size=GRID, sigma=1.5
    )
    assert target.shape == (B, GRID, GRID, P)
    config = dataclasses.replace(ALL, heatmap_sigma=1.5)
    total, weight = loss_terms(config, {"heatmap": target}, batch, FACTS)["heatmap"]
    assert float(total) == 0 and float(weight) > 0
    other = loss_terms(ALL, {"heatmap": target}, batch, FACTS)["heatmap"]
    assert float(other[0]) > 0


def test_landmarks_count_in_half_sides_of_the_frame(batch):
    found = labels_for(ALL, answers(B), batch)["landmarks"]
    exact = jnp.nan_to_num(found * 2 / SIZE - 1)
    total, _ = loss_terms(ALL, {"landmarks": exact}, batch, FACTS)["landmarks"]
    np.testing.assert_allclose(total, 0, atol=1e-9)
    total, weight = loss_terms(ALL, {"landmarks": exact + 0.5}, batch, FACTS)["landmarks"]
    np.testing.assert_allclose(total / weight, 0.25, rtol=1e-5)


def test_confidence_learns_the_share_of_answers_that_are_right(batch):
    """1 where nothing is there and nothing is said; unknown labels count for neither."""
    y = np.full((B, T, A), -1, np.int8)
    y[0], y[1] = [1, 0], [0, -1]
    said = jnp.asarray([[9.0, 9.0], [-9.0, 9.0], [9.0, -9.0]])
    outputs = {"occurrence": said, "confidence": jnp.zeros((B, 1))}
    labelled = {**batch, "occurrence_BTA": jnp.asarray(y)}
    wanted = np.array([[0.5], [1.0], [-1.0]])

    def total(logit):
        found = loss_terms(ALL, {**outputs, "confidence": logit}, labelled, FACTS)
        return found["confidence"][0]

    # The gradient of BCE at logit 0 is 0.5 - target, and 0 where nothing is known.
    slope = jax.grad(total)(outputs["confidence"])
    np.testing.assert_allclose(slope, np.where(wanted < 0, 0, 0.5 - wanted), atol=1e-6)


def test_thresholds_stand_for_the_intensity_read_off_them(batch):
    outputs = answers(B)
    found = loss_terms(ALL, outputs, batch, FACTS)["intensity"]
    target = labels_for(ALL, outputs, batch)["intensity"]
    expected = losses.ordinal(outputs["ordinal"], target, weight_B=batch["weight_B"])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("name", terms.TERMS)
def test_a_term_of_scale_0_is_not_there(batch, name):
    config = dataclasses.replace(ALL, **{terms.TERMS[name][0]: 0.0})
    assert name not in loss_terms(config, answers(B), batch, FACTS)


def test_the_total_is_each_mean_times_its_scale(batch):
    config = dataclasses.replace(ALL, edge_scale=0.25, heatmap_scale=3.0, emotion_scale=0.5)
    means = {"edge": jnp.float32(2.0), "heatmap": jnp.float32(1.0), "emotion": jnp.float32(4.0)}
    assert float(scaled(config, means)) == pytest.approx(0.5 + 3.0 + 2.0)


def test_regulariser_is_off_unless_asked_for_and_told(batch):
    outputs = answers(B)
    assert "cooccurrence" not in loss_terms(LossConfig(), outputs, batch, FACTS)
    assert "cooccurrence" not in loss_terms(ALL, outputs, batch, Facts(AUS, SIZE))


@pytest.mark.parametrize(
    ("outputs", "frames"),
    [
        ({"heatmap": (B, 8, 8, P)}, None),
        ({"heatmap": (B, T, 8, 8, P)}, T),
        ({"edge": (B, 4, 4)}, None),
        ({"edge": (B, T, 4, 4)}, T),
        ({"emotion": (B, 2)}, None),
        ({"emotion": (B, 2), "valence_arousal": (B, T, 2)}, T),
        ({"ordinal": (B, A, 5)}, None),
    ],
)
def test_how_many_frames_are_answered(outputs, frames):
    forms = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in outputs.items()}
    assert answered_frames(forms) == frames


def test_a_network_of_emotions_has_no_aus(tmp_path):
    from jaxfacs.data.records import clip_from_arrays, open_set, write_set
    from jaxfacs.train.config import Experiment, ModelConfig

    clip = clip_from_arrays(
        np.zeros((1, 16, 16, 3), np.uint8),
        clip_id="a",
        subject="a",
        occurrence_TA=np.zeros((1, 2), np.int8),
    )
    records = open_set(write_set(tmp_path / "set", {"train": [clip]}, aus=("L12", "R12")))
    experiment = Experiment(data=DataConfig())
    assert network_aus(experiment, records) == ("12",)
    alone = dataclasses.replace(experiment, model=ModelConfig(occurrence=False))
    assert network_aus(alone, records) == ()
