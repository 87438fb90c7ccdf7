"""Image CNN backbones: sizes, taps, options and the layers that only they have.

Numbers against the originals are in tests/parity/test_torchvision.py and test_keras.py.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from jaxfacs import models
from jaxfacs.errors import UserError
from jaxfacs.models.backbones.alexnet import TowerConv, local_response_norm, widened

NAMES = ("alexnet", "mobilenet_v2", "resnet18", "resnet50", "resnet101", "vgg16", "vgg_face")


def _abstract(name, shape, *, train=False, **options):
    """Shapes and types of the taps; nothing is drawn or computed."""

    def see(x):
        backbone = models.create_backbone(name, rngs=nnx.Rngs(0), **options)
        key = jax.random.key(0) if train else None
        return backbone(x, train=train, dropout_key=key)

    return nnx.eval_shape(see, jax.ShapeDtypeStruct(shape, jnp.float32))


def _made(name, **options):
    return models.create_backbone(name, rngs=nnx.Rngs(0), **options)


def _run(backbone, x, *, train=False, key=None):
    """The taps, and the statistics after it."""
    graphdef, params, stats = models.split(backbone)

    @jax.jit
    def apply(params, stats, x, key):
        return models.apply(graphdef, params, stats, x, train=train, dropout_key=key)

    taps, stats = apply(params, stats, x, key)
    return {name: np.asarray(tap) for name, tap in taps.items()}, stats


# torchvision's published counts with 1000 classes; Keras' and Caffe's files; edin.md section 3 (the
# last two); models.md section 4.6 (VGG-Face).
@pytest.mark.parametrize(
    ("name", "options", "millions"),
    [
        ("alexnet", {"form": "torchvision", "num_aus": 1000}, 61.100840),
        ("alexnet", {"form": "caffe", "num_aus": 1000}, 60.965224),
        ("vgg16", {"num_aus": 1000}, 138.357544),
        ("vgg_face", {"num_aus": 2622}, 145.002878),
        ("mobilenet_v2", {"num_aus": 1000}, 3.504872),
        ("mobilenet_v2", {"num_aus": 1000, "width_mult": 0.35}, 1.677128),
        ("mobilenet_v2", {"num_aus": 1000, "width_mult": 0.75}, 2.636424),
        ("mobilenet_v2", {"num_aus": 1000, "width_mult": 1.4}, 6.108776),
        ("resnet18", {"num_aus": 1000}, 11.689512),
        ("resnet50", {"num_aus": 1000}, 25.557032),
        ("resnet50", {"num_aus": 1000, "form": "keras"}, 25.583592),
        ("resnet50", {"num_aus": 1000, "form": "slim"}, 25.557032),
        ("resnet101", {"num_aus": 1000}, 44.549160),
        ("vgg16", {"num_aus": 7, "top": "flatten", "size": 64}, 14.729031),
        ("vgg16", {"num_aus": 11, "top": "flatten", "size": 64}, 14.737227),
    ],
)
def test_parameters_are_counted(name, options, millions):
    _, params, _ = jax.eval_shape(
        lambda: models.split(models.create(name, rngs=nnx.Rngs(0), **options))
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == round(millions * 1e6)


@pytest.mark.parametrize(
    ("name", "options", "size", "grid"),
    [
        ("alexnet", {}, 227, 6),
        ("alexnet", {}, 224, 6),  # pooling windows stick out of a map of 54
        ("alexnet", {"form": "torchvision"}, 224, 6),
        ("vgg16", {}, 224, 7),
        ("vgg16", {"top": "pool"}, 64, 2),
        ("mobilenet_v2", {"width_mult": 0.5}, 224, 7),
        ("resnet18", {}, 224, 7),
        ("resnet50", {"form": "slim"}, 256, 8),
        ("resnet50", {"form": "scc"}, 96, 3),
        ("resnet50", {"form": "keras"}, 97, 4),
    ],
)
def test_taps_have_the_channels_they_say(name, options, size, grid):
    backbone = nnx.eval_shape(lambda: _made(name, **options))
    taps = _abstract(name, (2, size, size, 3), train=True, **options)
    assert {tap: array.shape[-1] for tap, array in taps.items()} == dict(backbone.taps)
    assert taps["map"].shape[:3] == (2, grid, grid)
    assert taps["features"].shape == (2, backbone.taps["features"])


@pytest.mark.parametrize("name", NAMES)
def test_smallest_size_leaves_one_place(name):
    least = nnx.eval_shape(lambda: _made(name)).min_size
    assert _abstract(name, (1, least, least, 3))["map"].shape[1:3] == (1, 1)
    with pytest.raises(UserError, match=f"--data.size {least}"):
        nnx.eval_shape(
            lambda x: models.create(name, rngs=nnx.Rngs(0), num_aus=1)(x, train=False),
            jax.ShapeDtypeStruct((1, 1, least - 1, least, 3), jnp.float32),
        )


def test_smallest_size_of_the_other_alexnet():
    least = nnx.eval_shape(lambda: _made("alexnet", form="torchvision")).min_size
    shape = (1, least, least, 3)
    assert _abstract("alexnet", shape, form="torchvision")["map"].shape[1:3] == (1, 1)


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("alexnet", {"form": "keras"}, r"form 'keras'.*caffe, torchvision"),
        ("alexnet", {"channels": 0}, "channels 0"),
        ("alexnet", {"fc7": 0}, "fc7 0"),
        ("alexnet", {"fc_dropout": 1.0}, r"fc_dropout 1\.0"),
        ("vgg16", {"top": "gap"}, r"top 'gap'.*fc, pool, flatten"),
        ("vgg16", {"top": "flatten"}, "size, 32 or more, not 0"),
        ("vgg_face", {"fc_dropout": -0.1}, r"fc_dropout -0\.1"),
        ("mobilenet_v2", {"width_mult": 0.0}, r"width_mult 0\.0"),
        ("resnet50", {"form": "caffe"}, r"form 'caffe'.*torchvision, keras, slim, scc"),
        ("resnet101", {"bn_eps": -1e-5}, "bn_eps -1e-05 is negative"),
        ("resnet18", {"form": "keras"}, "no option 'form'"),
    ],
)
def test_impossible_options_are_refused(name, options, match):
    with pytest.raises(UserError, match=match):
        _made(name, **options)


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "vgg16", "alexnet"])
def test_computes_in_bfloat16_and_keeps_float32_parameters(name):
    options = {"top": "pool"} if name == "vgg16" else {}
    backbone = nnx.eval_shape(lambda: _made(name, dtype="bfloat16", **options))
    params = nnx.state(backbone, (nnx.Param, nnx.BatchStat))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    taps = _abstract(name, (1, 64, 64, 3), train=True, dtype="bfloat16", **options)
    assert taps["map"].dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("name", "options"), [("mobilenet_v2", {"width_mult": 0.25}), ("resnet18", {})]
)
def test_frozen_statistics_stay_in_training(name, options):
    backbone = _made(name, frozen_bn=True, **options)
    x = np.random.default_rng(0).standard_normal((2, 32, 32, 3), np.float32)
    trained, after = _run(backbone, x, train=True)
    calm = _run(backbone, x)[0]
    np.testing.assert_allclose(trained["features"], calm["features"], rtol=1e-5, atol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, models.split(backbone)[2], after)


def test_scc_is_torchvision_with_another_eps():
    shapes = {}
    for form in ("torchvision", "scc", "slim"):
        taps = _abstract("resnet50", (1, 96, 96, 3), form=form)
        shapes[form] = [taps[f"layer{n}"].shape[1] for n in (1, 2, 3, 4)]
    assert shapes["torchvision"] == shapes["scc"] == [24, 12, 6, 3]
    assert shapes["slim"] == [12, 6, 3, 3]
    norms = [
        nnx.eval_shape(lambda form=form, eps=eps: _made("resnet50", form=form, bn_eps=eps)).bn1
        for form, eps in (("scc", 0.0), ("scc", 1e-5), ("torchvision", 0.0), ("slim", 0.0))
    ]
    assert [n.eps for n in norms] == [1e-9, 1e-5, 1e-5, 1e-5]
    assert [n.momentum for n in norms] == [0.99, 0.99, 0.9, 0.997]


@pytest.fixture(scope="module")
def alexnet():
    return _made("alexnet", channels=10, fc7=16)


def test_alexnet_reads_flow_and_drops_its_dense_layers(alexnet):
    x = np.random.default_rng(0).standard_normal((2, 63, 63, 10), np.float32)
    calm = _run(alexnet, x)[0]
    assert calm["features"].shape == (2, 16)
    first, other = (_run(alexnet, x, train=True, key=jax.random.key(n))[0] for n in (1, 2))
    alive = calm["fc6"] > 0
    kept = first["fc6"][alive] > 0
    assert 0.45 < kept.mean() < 0.55
    # What is kept is scaled up, so that the mean stays.
    np.testing.assert_allclose(first["fc6"][alive][kept], 2 * calm["fc6"][alive][kept], rtol=1e-4)
    assert (first["fc6"] != other["fc6"]).any()
    np.testing.assert_allclose(first["map"], calm["map"], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="dropout_key"):
        _run(alexnet, x, train=True)


def test_torchvisions_alexnet_drops_before_its_dense_layers():
    net = _made("alexnet", form="torchvision", fc7=16, fc_dropout=0.9)
    x = np.random.default_rng(0).standard_normal((1, 63, 63, 3), np.float32)
    calm = _run(net, x)[0]
    first = _run(net, x, train=True, key=jax.random.key(1))[0]
    np.testing.assert_allclose(
        first["map"], calm["map"], rtol=1e-4, atol=1e-5
    )  # the tap itself is whole
    assert (first["fc6"] > 0).mean() < 0.15  # about half of them, of which a tenth is kept
    assert (first["fc7"] > 0).mean() > 0.2  # nothing is dropped after fc7


def test_widened_layer_answers_flat_pictures_as_before():
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((11, 11, 3, 4), np.float32)
    wide = widened(kernel, 10)
    assert wide.shape == (11, 11, 10, 4) and wide.dtype == np.float32
    grey = rng.standard_normal((11, 11, 1), np.float32)
    before = np.einsum("hwi,hwio->o", np.repeat(grey, 3, 2), kernel)
    after = np.einsum("hwi,hwio->o", np.repeat(grey, 10, 2), wide)
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(wide, np.repeat(wide[:, :, :1], 10, axis=2))


def test_tower_convolution_is_a_grouped_one():
    rng = np.random.default_rng(0)
    conv = TowerConv(6, 8, 5, groups=2, bias=True, rngs=nnx.Rngs(0))
    assert conv.kernel.shape == (5, 5, 3, 8)
    x = jnp.asarray(rng.standard_normal((2, 9, 7, 6), np.float32))

    def grouped(x, kernel):
        return lax.conv_general_dilated(
            x,
            kernel,
            (1, 1),
            ((2, 2), (2, 2)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=2,
        )

    np.testing.assert_allclose(conv(x), grouped(x, conv.kernel[...]), rtol=1e-4, atol=1e-5)


def test_local_response_norm_follows_its_formula():
    x = 30 * np.random.default_rng(0).standard_normal((2, 3, 2, 9)).astype(np.float32)
    expected = np.empty_like(x, np.float64)
    for c in range(9):
        near = x[..., max(0, c - 2) : c + 3].astype(np.float64)
        expected[..., c] = x[..., c] / (1 + 1e-4 / 5 * (near**2).sum(-1)) ** 0.75
    np.testing.assert_allclose(local_response_norm(jnp.asarray(x)), expected, rtol=1e-5)
    assert local_response_norm(jnp.asarray(x, jnp.bfloat16)).dtype == jnp.bfloat16


def test_vgg_tops_are_views_of_one_map():
    x = np.random.default_rng(0).standard_normal((1, 64, 64, 3), np.float32)
    taps = {top: _run(_made("vgg16", top=top, size=64), x)[0] for top in ("pool", "flatten")}
    grid = taps["pool"]["map"]
    assert grid.shape == (1, 2, 2, 512)
    np.testing.assert_allclose(taps["pool"]["features"], grid.mean((1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(taps["flatten"]["features"], grid.reshape(1, -1))
    with pytest.raises(UserError, match=r"96 x 64.*made with top=flatten for size 64"):
        _abstract("vgg16", (1, 96, 64, 3), top="flatten", size=64)
