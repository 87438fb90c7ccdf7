"""3D MobileNets: the paper's parameter counts, and their options. Numbers: tests/parity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxfacs import models


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
