"""3D MobileNets against PyTorch's answers, the paper's parameter counts, and their options."""

import importlib.util
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxfacs import models

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
WIDTH, NUM_AUS, CLIP = 0.2, 5, (2, 16, 48, 48, 3)


def _draw(name, shape):
    """The weights of tools/goldens/mobilenet3d.py, which says how they are drawn."""
    draw = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("running_var"):
        return (0.5 + np.abs(draw)).astype(np.float32)
    if len(shape) == 1:
        return (0.3 * draw + (1.0 if name.endswith("weight") else 0.0)).astype(np.float32)
    return (draw * np.sqrt(2.0 / np.prod(shape[1:]))).astype(np.float32)


def _ours(name):
    """torch's name of a tensor -> (is a parameter, our path)."""
    name = name.replace("classifier.1", "head.occurrence").replace("features", "backbone.features")
    *path, kind = name.split(".")
    if kind in ("running_mean", "running_var"):
        return False, (*path, kind.removeprefix("running_"))
    return True, (*path, kind)


def _layout(value):
    """torch's O,I,T,H,W -> T,H,W,I,O; depthwise O,1,T,H,W -> T,H,W,C; O,I -> I,O."""
    if value.ndim == 5:
        value = value.transpose(2, 3, 4, 1, 0)
        return value[..., 0, :] if value.shape[3] == 1 and value.shape[0] == 3 else value
    return value.T


def _leaf(tree, path):
    """The dict that holds the tensor at torch's `path`, and its key there."""
    *parents, leaf = path
    for key in parents:
        tree = tree[key]
    if leaf == "weight":
        leaf = "kernel" if "kernel" in tree else "scale"
    return tree, leaf


@pytest.fixture(scope="module", params=["mobilenet3d_v1", "mobilenet3d_v2"])
def parity(request):
    golden = np.load(GOLDEN / f"{request.param}.npz")
    net = models.create(request.param, rngs=nnx.Rngs(0), num_aus=NUM_AUS, width=WIDTH, dropout=0.0)
    graphdef, params, stats = models.split(net)
    shapes = [tuple(map(int, s.split())) for s in golden["state_shapes"]]
    for name, shape in zip(golden["state_names"], shapes, strict=True):
        is_param, path = _ours(str(name))
        tree, leaf = _leaf(params if is_param else stats, path)
        value = _layout(_draw(str(name), shape))
        assert tree[leaf].shape == value.shape, name
        tree[leaf] = jnp.asarray(value)
    x = np.random.default_rng(7).standard_normal(CLIP).astype(np.float32)
    return golden, graphdef, params, stats, x


def test_every_tensor_has_a_torch_name(parity):
    golden, _, params, stats, _ = parity
    assert len(golden["state_names"]) == len(jax.tree.leaves((params, stats)))


def test_inference_equals_torch(parity):
    golden, graphdef, params, stats, x = parity
    outputs, after = jax.jit(lambda p, s, x: models.apply(graphdef, p, s, x, train=False))(
        params, stats, x
    )
    np.testing.assert_allclose(outputs["occurrence"], golden["inference_BA"], atol=1e-4)
    jax.tree.map(np.testing.assert_array_equal, stats, after)


def test_training_and_gradients_equal_torch(parity):
    golden, graphdef, params, stats, x = parity
    weight = jnp.linspace(-1, 1, 2 * NUM_AUS).reshape(2, NUM_AUS)

    @jax.jit
    def run(params, stats, x):
        def loss(params):
            outputs, new = models.apply(graphdef, params, stats, x, train=True)
            return (outputs["occurrence"] * weight).sum(), (outputs, new)

        return jax.grad(loss, has_aux=True)(params)

    gradients, (outputs, new_stats) = run(params, stats, x)
    np.testing.assert_allclose(outputs["occurrence"], golden["training_BA"], atol=1e-4)
    shapes = dict(zip(golden["state_names"], golden["state_shapes"], strict=True))
    columns = ("names", "gradient_norms", "gradient_projections")
    for name, norm, projection in zip(*(golden[c].tolist() for c in columns), strict=True):
        tree, leaf = _leaf(gradients, _ours(str(name))[1])
        shape = tuple(map(int, str(shapes[name]).split()))
        draw = np.random.default_rng(zlib.crc32(f"d{name}".encode())).standard_normal(shape)
        ours = np.asarray(tree[leaf], np.float64)
        # A projection on N(0, 1) errs as the norm of the whole difference does. BatchNorm over the
        # 8 values that a channel has in the last stages makes the rest: there PyTorch's float32
        # errs by 2e-4, XLA's plain operations by 7e-4. Norms go up to 2000; some are truly 0.
        assert np.linalg.norm(ours) == pytest.approx(norm, rel=1e-3, abs=2e-3), name
        assert (ours * _layout(draw)).sum() == pytest.approx(
            projection, rel=0, abs=2e-3 * norm + 4e-3
        ), name
    moved = jax.tree.map(lambda a, b: float(abs(a - b).max()), stats, new_stats)
    assert min(jax.tree.leaves(moved)) > 0


def test_golden_script_draws_the_same_weights():
    torch = pytest.importorskip("torch")
    del torch
    path = ROOT / "tools" / "goldens" / "mobilenet3d.py"
    spec = importlib.util.spec_from_file_location("golden_mobilenet3d", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for name, shape in (("a.weight", (4, 3, 3, 3, 3)), ("b.running_var", (7,)), ("c.bias", (7,))):
        np.testing.assert_array_equal(script.weights(name, shape), _draw(name, shape))


@pytest.mark.parametrize(
    ("name", "width", "millions"),
    [
        ("mobilenet3d_v2", 0.2, "0.964"),
        ("mobilenet3d_v2", 0.45, "1.400"),
        ("mobilenet3d_v2", 0.7, "2.050"),
        ("mobilenet3d_v2", 1.0, "3.123"),
        ("mobilenet3d_v1", 1.0, "3.913"),
        ("mobilenet3d_v1", 2.0, "14.105"),
    ],
)
def test_parameter_count_is_the_papers(name, width, millions):
    net = nnx.eval_shape(lambda: models.create(name, rngs=nnx.Rngs(0), num_aus=600, width=width))
    _, params, _ = models.split(net)
    assert f"{sum(p.size for p in jax.tree.leaves(params)) / 1e6:.3f}" == millions


@pytest.fixture(scope="module")
def per_frame():
    net = models.create(
        "mobilenet3d_v2",
        rngs=nnx.Rngs(0),
        num_aus=3,
        num_emotions=7,
        intensity=True,
        per_frame=True,
        width=0.1,
        dtype="bfloat16",
    )
    return models.split(net)


def test_per_frame_bfloat16_outputs(per_frame):
    graphdef, params, stats = per_frame
    x = jax.random.normal(jax.random.key(0), (2, 5, 24, 20, 3))
    apply = jax.jit(
        lambda p, s, x, key: models.apply(graphdef, p, s, x, train=True, dropout_key=key)
    )
    outputs, new_stats = apply(params, stats, x, jax.random.key(1))
    again, _ = apply(params, stats, x, jax.random.key(1))
    other, _ = apply(params, stats, x, jax.random.key(2))
    assert {k: v.shape for k, v in outputs.items()} == {
        "occurrence": (2, 5, 3),
        "intensity": (2, 5, 3),
        "emotion": (2, 7),
    }
    assert outputs["intensity"].min() >= 0 and outputs["intensity"].max() <= 5
    leaves = jax.tree.leaves((params, new_stats, outputs))
    assert {a.dtype for a in leaves} == {jnp.dtype("float32")}
    np.testing.assert_array_equal(outputs["occurrence"], again["occurrence"])
    assert not np.array_equal(outputs["occurrence"], other["occurrence"])  # dropout follows its key


def test_per_frame_takes_the_weights_of_the_clip_net():
    clip, frame = (
        models.split(
            models.create(
                "mobilenet3d_v2", rngs=nnx.Rngs(0), num_aus=3, width=0.1, per_frame=per_frame
            )
        )[1]
        for per_frame in (False, True)
    )
    jax.tree.map(np.testing.assert_array_equal, clip, frame)


def test_dropout_without_a_key_is_refused(per_frame):
    graphdef, params, stats = per_frame
    with pytest.raises(ValueError, match="dropout_key"):
        jax.eval_shape(
            lambda x: models.apply(graphdef, params, stats, x, train=True),
            jnp.zeros((1, 2, 16, 16, 3)),
        )


@pytest.mark.parametrize("shape", [(16, 32, 32, 3), (2, 16, 32, 32, 1)])
def test_wrong_shape_is_refused(per_frame, shape):
    graphdef, params, stats = per_frame
    with pytest.raises(ValueError, match=r"\(B, T, H, W, 3\)"):
        models.apply(graphdef, params, stats, jnp.zeros(shape), train=False)
