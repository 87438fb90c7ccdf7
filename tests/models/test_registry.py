"""The registry names what it knows and refuses the rest."""

import subprocess
import sys

import pytest
from flax import nnx

from jaxfacs import models
from jaxfacs.errors import UserError
from jaxfacs.models import registry


def test_names_and_cards():
    assert {"mobilenet3d_v1", "mobilenet3d_v2"} <= set(models.names())
    card = models.card("mobilenet3d_v2")
    assert (card.frames, card.size, card.mean[0]) == (16, 112, 114.77)


def test_unknown_name_lists_near_ones():
    with pytest.raises(UserError, match="mobilenet3d_v2"):
        models.create("mobilnet3d_v2", rngs=nnx.Rngs(0), num_aus=1)


def test_unknown_option_lists_valid_ones():
    with pytest.raises(UserError, match=r"widht.*width"):
        models.create("mobilenet3d_v2", rngs=nnx.Rngs(0), num_aus=1, widht=2.0)


def test_missing_option_is_named():
    with pytest.raises(UserError, match="num_aus"):
        models.create("mobilenet3d_v2", rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"num_aus": 0}, "asked for nothing"),
        ({"num_aus": -1}, "num_aus -1"),
        ({"num_aus": 1, "dropout": 1.0}, "dropout"),
        ({"num_aus": 1, "width": 0.01}, "width"),
        ({"num_aus": 1, "dtype": "int8"}, "dtype"),
    ],
)
def test_impossible_options_are_refused(options, match):
    with pytest.raises(UserError, match=match):
        models.create("mobilenet3d_v2", rngs=nnx.Rngs(0), **options)


def test_a_name_is_given_once():
    with pytest.raises(ValueError, match="twice"):
        registry.register("mobilenet3d_v2", models.card("mobilenet3d_v2"))


def test_state_of_other_kinds_is_refused():
    class WithRng(nnx.Module):
        def __init__(self):
            self.dropout = nnx.Dropout(0.5, rngs=nnx.Rngs(0))

    with pytest.raises(ValueError, match="neither Param nor BatchStat"):
        models.split(WithRng())


TREE_MODE = """
import jax, jax.numpy as jnp
from flax import nnx
from jaxfacs import models
net = models.create("mobilenet3d_v2", rngs=nnx.Rngs(0), num_aus=2, width=0.1)
graphdef, params, stats = models.split(net)
outputs, new = jax.eval_shape(
    lambda x, key: models.apply(graphdef, params, stats, x, train=True, dropout_key=key),
    jnp.ones((1, 2, 16, 16, 3)),
    jax.random.key(0),
)
assert jax.tree.structure(new) == jax.tree.structure(stats)
print(outputs["occurrence"].shape)
"""


def test_works_in_flax_tree_mode(monkeypatch):
    monkeypatch.setenv("NNX_GRAPH_MODE", "false")
    monkeypatch.setenv("NNX_GRAPH_UPDATES", "false")
    done = subprocess.run(
        [sys.executable, "-c", TREE_MODE], capture_output=True, text=True, timeout=300
    )
    assert done.stdout.strip() == "(1, 2)", done.stderr
