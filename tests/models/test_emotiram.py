"""EmotiRAM-FAU: the thesis' sizes, its encoder's answers kept, and encoders put in by one rule."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxfacs import models
from jaxfacs.errors import UserError
from jaxfacs.models import heatmaps
from jaxfacs.models.emotiram import EmotiRAMHead
from jaxfacs.train.paths import paths

SMALL = {"num_aus": 2, "aus": ("6", "12"), "backbone": "resnet18"}
RULE = (r"^head/", "head/encoder/")


def _shapes(name, **options):
    """Path -> shape of the parameters and statistics of a network."""
    _, *trees = jax.eval_shape(
        lambda: models.split(models.create(name, rngs=nnx.Rngs(0), **options))
    )
    return {path: leaf.shape for tree in trees for path, leaf in paths(tree).items()}


def test_bottleneck_is_the_thesis():
    shapes = _shapes("emotiram", num_aus=5, aus=heatmaps.BP4D, num_emotions=7)
    layers = {p: s for p, s in shapes.items() if p.startswith("head/bottleneck/")}
    widths = (5760, 2048, 1024, 512, 256, 7)
    assert [layers[f"head/bottleneck/{n}/kernel"] for n in range(5)] == [
        (i, o) for i, o in itertools.pairwise(widths)
    ]
    assert sum(int(np.prod(s)) for s in layers.values()) == 14_554_631
    graph = _shapes("emotiram", num_aus=5, aus=heatmaps.BP4D, num_emotions=7, encoder="me_graphau")
    assert graph["head/bottleneck/0/kernel"] == (5, 7)
    assert not any(p.startswith("head/bottleneck/1") for p in graph)


@pytest.mark.parametrize(
    ("encoder", "options"), [("scc", {"size": 96}), ("me_graphau", {"stage": 2})]
)
def test_a_trained_encoder_goes_in_by_one_rule(encoder, options):
    own = _shapes(encoder, **SMALL, **options)
    whole = _shapes("emotiram", **SMALL, **options, num_emotions=7, encoder=encoder)
    renamed = {re.sub(*RULE, path): shape for path, shape in own.items()}
    new = {path: shape for path, shape in whole.items() if path not in renamed}
    assert renamed == {path: whole[path] for path in renamed}
    assert new and all(path.startswith("head/bottleneck/") for path in new)


class _Encoder(nnx.Module):
    """Answers what it is given."""

    reads = ("map",)

    def __init__(self, name):
        self.name = name

    def __call__(self, taps, *, train, dropout_key):
        return {self.name: taps["map"]}


def _head(name, inputs, *, dropout=0.0, widths=(6, 5)):
    return EmotiRAMHead(
        _Encoder(name),
        inputs=inputs,
        widths=widths,
        num_emotions=3,
        dropout=dropout,
        rngs=nnx.Rngs(0),
    )


def test_heatmaps_are_read_in_units_of_intensity_and_kept():
    maps = np.random.default_rng(0).uniform(0, 1000, (2, 4, 4, 3)).astype(np.float32)
    head = _head("heatmap", 48)
    outputs = head({"map": maps}, train=False)
    x = (maps / 255.0).reshape(2, 48)
    for n, hidden in (("0", True), ("1", True), ("2", False)):
        layer = head.bottleneck[n]
        x = x @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])
        x = np.maximum(x, 0) if hidden else x
    np.testing.assert_allclose(outputs["emotion"], x, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(outputs["heatmap"], maps)


def test_a_clip_has_one_emotion():
    probability = np.random.default_rng(0).random((2, 5, 4), np.float32)
    outputs = _head("probability", 4, widths=())({"map": probability}, train=False)
    assert outputs["emotion"].shape == (2, 3) and outputs["probability"].shape == (2, 5, 4)
    mean = _head("probability", 4, widths=())({"map": probability.mean(1)}, train=False)
    np.testing.assert_allclose(outputs["emotion"], mean["emotion"], rtol=1e-5, atol=1e-6)


def test_dropout_is_between_the_layers_and_wants_a_key():
    probability = jnp.ones((2, 4))
    head = _head("probability", 4, dropout=0.5)
    still = head({"map": probability}, train=False)["emotion"]
    one, two = (
        head({"map": probability}, train=True, dropout_key=jax.random.key(n))["emotion"]
        for n in (0, 1)
    )
    assert not np.allclose(one, two) and not np.allclose(one, still)
    with pytest.raises(ValueError, match="dropout_key"):
        head({"map": probability}, train=True)
    single = _head("probability", 4, dropout=0.5, widths=())
    plain = single({"map": probability}, train=True)["emotion"]  # one layer: nothing between
    np.testing.assert_array_equal(plain, single({"map": probability}, train=False)["emotion"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"num_emotions": 0}, "num_emotions is 0; give records with 2 emotions or more"),
        ({"encoder": "vgg"}, "no encoder 'vgg'; give scc or me_graphau"),
        ({"aus": ("6",)}, "1 AUs (6) for num_aus 2"),
        ({"aus": ("6", "7")}, "no place on the face is known for AU 7"),
        ({"dropout": 1.0}, "dropout 1.0"),
    ],
)
def test_what_cannot_be_made_is_told(options, told):
    given = {**SMALL, "num_emotions": 3, **options}
    with pytest.raises(UserError) as raised:
        jax.eval_shape(lambda: models.split(models.create("emotiram", rngs=nnx.Rngs(0), **given)))
    assert told in str(raised.value)
