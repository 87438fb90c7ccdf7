"""Inception V2 and V3, Xception and Swin: counts, taps, sizes, options, and what only they have.

Their numbers are compared with the originals' in tests/parity; here nothing of full size is
compiled.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxfacs import models
from jaxfacs.errors import UserError
from jaxfacs.models.backbones import swin
from jaxfacs.models.backbones.inception_v3 import UnscaledBatchNorm
from jaxfacs.models.layers import BatchNorm

NAMES = ("inception_v2", "inception_v3", "swin_b", "swin_s", "swin_t", "xception")


def _sizes(name, **options):
    """Numbers of parameters and of statistics, without making them."""
    _, params, stats = jax.eval_shape(
        lambda: models.split(models.create_backbone(name, rngs=nnx.Rngs(0), **options))
    )
    return tuple(sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in (params, stats))


def _taps(name, height, width, **options):
    """(shapes of all taps, what the backbone says of their channels)."""
    told = {}

    def trace(x_NHWC):
        net = models.create_backbone(name, rngs=nnx.Rngs(0), **options)
        told.update(net.taps)
        return net(x_NHWC, train=False, dropout_key=None)

    x_NHWC = jax.ShapeDtypeStruct((2, height, width, 3), jnp.float32)
    return {k: v.shape for k, v in jax.eval_shape(trace, x_NHWC).items()}, told


@pytest.mark.parametrize(
    ("name", "options", "parameters", "statistics"),
    [
        # models.md 1.10, and torchvision's models less their classifiers of 1000.
        ("swin_t", {}, 28_288_354 - 769_000, 0),
        ("swin_s", {}, 49_606_258 - 769_000, 0),
        ("swin_b", {}, 87_768_224 - 1_025_000, 0),
        # torchvision's without its auxiliary classifier; Keras' less its; both less 2048 x 1000.
        ("inception_v3", {}, 23_834_568 - 2_049_000, 2 * 17_216),
        ("inception_v3", {"form": "keras"}, 23_817_352 - 2_049_000, 34_432),
        # TF-slim's own test of inception_v2_base says 10,173,112 with the statistics.
        ("inception_v2", {}, 10_173_112 - 19_776, 19_776),
        # edin.md 4: 22,855,952 with a classifier of 1000.
        ("xception", {}, 20_806_952, 22_910_480 - 22_855_952),
    ],
)
def test_counts(name, options, parameters, statistics):
    assert _sizes(name, **options) == (parameters, statistics)


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        (
            "swin_t",
            (224, 224),
            {
                "layer1": (56, 56, 96),
                "layer2": (28, 28, 192),
                "layer3": (14, 14, 384),
                "layer4": (7, 7, 768),
                "map": (7, 7, 768),
                "features": (768,),
            },
        ),
        ("swin_b", (224, 224), {"layer1": (56, 56, 128), "map": (7, 7, 1024)}),
        (
            "swin_t",
            (199, 90),
            {"layer1": (49, 22, 96), "layer2": (25, 11, 192), "map": (7, 3, 768)},
        ),
        (
            "inception_v3",
            (299, 299),
            {
                "stem": (35, 35, 192),
                "Mixed_5b": (35, 35, 256),
                "Mixed_5c": (35, 35, 288),
                "Mixed_5d": (35, 35, 288),
                "Mixed_6a": (17, 17, 768),
                "Mixed_6b": (17, 17, 768),
                "Mixed_6c": (17, 17, 768),
                "Mixed_6d": (17, 17, 768),
                "Mixed_6e": (17, 17, 768),
                "Mixed_7a": (8, 8, 1280),
                "Mixed_7b": (8, 8, 2048),
                "Mixed_7c": (8, 8, 2048),
                "map": (8, 8, 2048),
                "features": (2048,),
            },
        ),
        # edin.md 3: 96 px gives maps of 9, 4 and 1.
        (
            "inception_v3",
            (96, 96),
            {"stem": (9, 9, 192), "Mixed_6a": (4, 4, 768), "map": (1, 1, 2048)},
        ),
        (
            "inception_v2",
            (224, 224),
            {
                "stem": (28, 28, 192),
                "Mixed_3b": (28, 28, 256),
                "Mixed_3c": (28, 28, 320),
                "Mixed_4a": (14, 14, 576),
                "Mixed_4b": (14, 14, 576),
                "Mixed_4c": (14, 14, 576),
                "Mixed_4d": (14, 14, 576),
                "Mixed_4e": (14, 14, 576),
                "Mixed_5a": (7, 7, 1024),
                "Mixed_5b": (7, 7, 1024),
                "Mixed_5c": (7, 7, 1024),
                "map": (7, 7, 1024),
                "features": (1024,),
            },
        ),
        (
            "xception",
            (299, 299),
            {
                "block1": (147, 147, 64),
                "block2": (74, 74, 128),
                "block3": (37, 37, 256),
                "block4": (19, 19, 728),
                "block12": (19, 19, 728),
                "block13": (10, 10, 1024),
                "block14": (10, 10, 2048),
                "features": (2048,),
            },
        ),
        # edin.md 4: the last map of 128 and 256 px is 4 and 8.
        ("xception", (128, 256), {"map": (4, 8, 2048)}),
    ],
)
def test_taps(name, size, expected):
    shapes, told = _taps(name, *size)
    assert {tap: shape[-1] for tap, shape in shapes.items()} == told
    assert {tap: shapes[tap] for tap in expected} == {k: (2, *v) for k, v in expected.items()}


@pytest.mark.parametrize("name", NAMES)
def test_smallest_size(name):
    least = jax.eval_shape(lambda: models.create_backbone(name, rngs=nnx.Rngs(0))).min_size
    shapes, _ = _taps(name, least, least)
    assert min(shapes["map"][1:3]) >= 1

    def too_small(x_BTHWC):
        return models.create(name, rngs=nnx.Rngs(0), num_aus=1)(x_BTHWC, train=False)

    x_BTHWC = jax.ShapeDtypeStruct((1, 1, least - 1, least, 3), jnp.float32)
    with pytest.raises(UserError, match=f"{least - 1} x {least} .*{least} or more"):
        jax.eval_shape(too_small, x_BTHWC)


@pytest.mark.parametrize("name", NAMES)
def test_card(name):
    card = models.card(name)
    unit = (127.5, 127.5, 127.5)
    size, mean = {
        "inception_v2": (224, unit),
        "inception_v3": (299, unit),
        "xception": (299, unit),
    }.get(name, (224, (123.675, 116.28, 103.53)))
    assert (card.frames, card.size, card.mean) == (1, size, mean)
    assert card.paper and card.source.startswith("https://") and card.licence


@pytest.mark.parametrize(
    ("name", "options", "momentum"),
    [
        ("inception_v3", {}, 0.9),
        ("inception_v3", {"form": "keras"}, 0.99),
        ("inception_v2", {}, 0.9997),
        ("inception_v2", {"momentum": 0.99}, 0.99),
        ("xception", {}, 0.99),
    ],
)
@pytest.mark.parametrize("frozen_bn", [False, True])
def test_every_norm_is_the_original_s(name, options, momentum, frozen_bn):
    found = []

    def make():
        net = models.create_backbone(name, frozen_bn=frozen_bn, rngs=nnx.Rngs(0), **options)
        norms = [m for _, m in nnx.iter_modules(net) if isinstance(m, BatchNorm)]
        found.extend((norm.eps, norm.momentum, norm.frozen) for norm in norms)
        return models.split(net)[1:]

    jax.eval_shape(make)
    # 94 convolutions; 69 but the stem; 36 and 4 in skips. Each has its norm.
    assert len(found) == {"inception_v3": 94, "inception_v2": 68, "xception": 40}[name]
    assert set(found) == {(1e-3, momentum, frozen_bn)}


def test_unknown_form_is_refused():
    with pytest.raises(UserError, match="no form 'caffe'; give torchvision or keras"):
        models.create_backbone("inception_v3", form="caffe", rngs=nnx.Rngs(0))


def test_unscaled_norm_is_a_norm_of_scale_one():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((4, 5, 6, 3), np.float32) * 3 + 1)
    plain = BatchNorm(3, activation="relu", eps=1e-3, momentum=0.99)
    unscaled = UnscaledBatchNorm(3, eps=1e-3, momentum=0.99, frozen=False)
    for norm in (plain, unscaled):
        norm.bias[...] = jnp.asarray([0.5, -0.5, 1.0])
    for train in (True, False):
        np.testing.assert_array_equal(unscaled(x, train=train), plain(x, train=train))
    np.testing.assert_array_equal(unscaled.var[...], plain.var[...])
    _, params, stats = models.split(unscaled)
    assert set(params) == {"bias"} and set(stats) == {"mean", "var"}


# --- Swin -----------------------------------------------------------------------------------------


def _small(**options):
    """A Swin of 5 blocks, of which one shifts."""
    given = {"drop_path": 0.0, "dtype": jnp.float32, **options}
    return swin.Swin(12, (2, 1, 1, 1), (1, 2, 4, 8), rngs=nnx.Rngs(0), **given)


def _answer(net, x_NHWC, **options):
    graphdef, params, stats = models.split(net)
    return jax.jit(
        lambda params, x: models.apply(graphdef, params, stats, x, **options)[0]["features"]
    )(params, x_NHWC)


@pytest.fixture(scope="module")
def x_NHWC():
    return jnp.asarray(np.random.default_rng(0).standard_normal((2, 64, 40, 3), np.float32))


@pytest.fixture(scope="module")
def exact(x_NHWC):
    return _answer(_small(), x_NHWC, train=False)


def test_relative_positions_tell_rows_and_columns_apart():
    index = swin.relative_positions()
    places = [(row, column) for row in range(7) for column in range(7)]
    for q, k in ((0, 0), (0, 48), (48, 0), (0, 6), (8, 20), (20, 8)):
        rows, columns = (places[q][axis] - places[k][axis] for axis in (0, 1))
        assert index[q, k] == (rows + 6) * 13 + columns + 6
    assert index.shape == (49, 49) and len(np.unique(index)) == 169


@pytest.mark.parametrize("shift", [(3, 3), (3, 0), (0, 3)])
@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (3, 2), (2, 4)])
def test_mask_separates_what_was_not_near(rows, columns, shift):
    """Two patches of a rolled window see each other if the picture has them within a window."""
    mask = swin.rolled_mask(rows, columns, shift)
    where = np.stack(np.mgrid[: rows * 7, : columns * 7], -1)
    rolled = np.roll(where, (-shift[0], -shift[1]), (0, 1))
    windows = rolled.reshape(rows, 7, columns, 7, 2).transpose(0, 2, 1, 3, 4).reshape(-1, 49, 2)
    apart = np.abs(windows[:, :, None] - windows[:, None]).max(-1)
    np.testing.assert_array_equal(mask == 0.0, apart < 7)
    assert set(np.unique(mask)) == {0.0, -100.0}


def test_drop_path_changes_training_alone_and_needs_a_key(x_NHWC, exact):
    net = _small(drop_path=0.5)
    with pytest.raises(ValueError, match="drop path needs dropout_key"):
        jax.eval_shape(lambda: net(x_NHWC, train=True))
    jax.eval_shape(lambda: net(x_NHWC, train=False))
    jax.eval_shape(lambda: _small()(x_NHWC, train=True))
    dropped = _answer(net, x_NHWC, train=True, dropout_key=jax.random.key(0))
    assert np.abs(dropped - exact).max() > 1e-3


def test_drop_path_grows_by_block_and_keeps_the_mean():
    pictures, rate = 4000, 0.5
    kept = np.asarray(_small(drop_path=rate)._kept(pictures, jax.random.key(1)))
    assert kept.shape == (5, 2, pictures)
    for block, expected in enumerate(np.linspace(0.0, rate, 5)):
        scale = np.float32(1.0) / (np.float32(1.0) - np.float32(expected))
        assert set(np.unique(kept[block])) <= {np.float32(0.0), scale}
        assert abs((kept[block] == 0.0).mean() - expected) < 0.02
    assert np.abs(kept.mean((1, 2)) - 1.0).max() < 0.05
    assert (kept[-1, 0] != kept[-1, 1]).any()  # the two branches are drawn apart


def test_drop_path_of_each_size_and_its_limits():
    for name, rate in (("swin_t", 0.2), ("swin_s", 0.3), ("swin_b", 0.5)):
        net = jax.eval_shape(lambda name=name: models.create_backbone(name, rngs=nnx.Rngs(0)))
        assert net.drop_path == rate
    with pytest.raises(UserError, match=r"drop_path 1.0 is not in \[0, 1\)"):
        models.create_backbone("swin_t", drop_path=1.0, rngs=nnx.Rngs(0))


def test_bfloat16_is_near(x_NHWC, exact):
    near = _answer(_small(dtype=jnp.bfloat16), x_NHWC, train=False)
    assert near.dtype == jnp.float32
    np.testing.assert_allclose(near, exact, atol=0.05)
    assert np.abs(near - exact).max() > 0.0
