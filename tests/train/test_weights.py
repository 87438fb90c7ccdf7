"""What the training labels say as a whole: weights as published, pairs as counted by hand."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jaxfacs import cli
from jaxfacs.data.records import Statistics, open_set
from jaxfacs.train.config import LossConfig
from jaxfacs.train.trained import load_for_inference
from jaxfacs.train.weights import conditional, correlation, fill_prior, has_prior, label_weights

# The weights that ME-GraphAU's authors publish for fold 1, data/BP4D/list and data/DISFA/list.
PUBLISHED = {
    "BP4D": "1.343 1.690 1.248 .561 .433 .436 .457 .541 1.408 .723 1.493 1.667",
    "DISFA": "1.422 2.348 .400 .795 1.878 .440 .196 .521",
}


def statistics(positive, known=1_000_000) -> Statistics:
    positive = np.asarray(positive, np.int64)
    known_A = np.broadcast_to(np.asarray(known, np.int64), positive.shape)
    aus = tuple(str(n) for n in range(len(positive)))
    return Statistics(aus, known_A, positive, frames=int(known_A.max()), clips=1)


@pytest.mark.parametrize("name", PUBLISHED)
def test_inverse_rates_are_weighed_as_published(name):
    """Rates in the ratios that the published weights imply give these weights back.

    The rarest AU of DISFA then comes in 2 % of frames: 1 / rate is over every bound of weights,
    which is why the bound is on the normalised weights.
    """
    published = np.array(PUBLISHED[name].split(), float)
    assert published.sum() == pytest.approx(len(published), abs=5e-3)
    positive = np.round(1_000_000 * 0.28 * published.min() / published)
    config = LossConfig(label_weights="inverse_rate")
    found = label_weights(config, statistics(positive))
    np.testing.assert_allclose(found, published, atol=1.5e-3)


def test_rates_are_among_known_labels():
    config = LossConfig(label_weights="inverse_rate")
    found = label_weights(config, statistics([50, 50, 0], [100, 200, 300]))
    np.testing.assert_allclose(found, [2 / 3, 4 / 3, 1.0], rtol=1e-6)


def test_positive_weights_are_absent_over_present_within_bounds():
    config = LossConfig(label_weights="positive", max_label_weight=10.0)
    found = label_weights(config, statistics([25, 1, 99, 0], 100))
    np.testing.assert_allclose(found, [3.0, 10.0, 0.1, 1.0], rtol=1e-6)
    assert label_weights(LossConfig(label_weights="none"), statistics([1])) is None


# AU a is coded everywhere, b not in the last frame, c never with b.
LABELS = np.array([[1, 1, -1], [1, 1, -1], [1, 0, -1], [0, 0, -1], [0, 1, -1], [1, -1, 1]], np.int8)


def test_conditional_shares_are_of_frames_that_tell():
    expected = [[1, 2 / 3, 1], [2 / 3, 1, 0], [1, 0, 1]]
    np.testing.assert_allclose(conditional(LABELS), expected, rtol=1e-6)


def test_correlation_is_pearsons_where_both_are_coded():
    found = correlation(LABELS)
    both = LABELS[:5, :2].astype(float)
    assert found[0, 1] == found[1, 0] == pytest.approx(np.corrcoef(both.T)[0, 1], rel=1e-5)
    assert found[1, 2] == 0 and found[0, 2] == 0  # never together; always present together
    assert found[0, 0] == 1


def test_prior_is_filled_wherever_it_is_and_nowhere_else():
    stats = {"head": {"prior": jnp.eye(3), "norm": {"mean": jnp.zeros(3)}}}
    state = {"params": {}, "stats": stats, "ema": {"params": {}, "stats": stats}}
    assert has_prior(state) and not has_prior({"stats": {"norm": {"prior_mean": jnp.zeros(1)}}})
    filled = fill_prior(state, conditional(LABELS))
    for tree in (filled["stats"], filled["ema"]["stats"]):
        np.testing.assert_array_equal(tree["head"]["prior"], conditional(LABELS))
        np.testing.assert_array_equal(tree["head"]["norm"]["mean"], 0)


PRIOR_CONFIG = """
from jaxfacs.data.config import DataConfig
from jaxfacs.train.config import *


def get_config():
    return Experiment(
        data=DataConfig(source="RECORDS", frames=1, size=16, batch_size=4, threads=1),
        model=ModelConfig(
            name="tiny_graph", module="tiny_model", head="cooccurrence_graph", intensity=True
        ),
        loss=LossConfig(cooccurrence_scale=0.1),
        checkpoint=CheckpointConfig(every=1),
        evaluation=EvaluationConfig(every=0),
        steps=2, ema=0.5, log_every=1,
    )
"""


def test_training_starts_from_the_prior_of_its_labels_and_keeps_it(records, tmp_path):
    (tmp_path / "config.py").write_text(PRIOR_CONFIG.replace("RECORDS", str(records)))
    words = ["train", str(tmp_path / "config.py"), "--workdir", str(tmp_path / "run")]
    assert cli.main(words) == 0
    opened = open_set(records)
    expected = conditional(opened.occurrence("train", aus=tiny.AUS))
    assert not np.allclose(expected, np.eye(len(tiny.AUS)))
    trained = load_for_inference(tmp_path / "run")
    np.testing.assert_allclose(trained.stats["head"]["prior"], expected, rtol=1e-6)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    steps = [row for row in map(json.loads, lines) if row["kind"] == "train"]
    assert steps and all(row["loss_cooccurrence"] > 0 for row in steps)
