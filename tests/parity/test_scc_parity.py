"""SCC against EvelynFan/FAU in TensorFlow, whole network and parts.

Golden arrays: tools/goldens/scc.py, which says how weights are drawn and what is run.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from original import drawn, golden

from jaxfacs import convert, models
from jaxfacs.models import heatmaps
from jaxfacs.models.heads import scc

SIZE, MAP, STEP, K = 256, 64, 5, 7
LANDMARKED = ("1", "10", "12")  # AUs whose places are one landmark each


@pytest.fixture(scope="module")
def arrays():
    return golden("scc")


def _state(arrays):
    """Tensors in TensorFlow's layout, drawn in torch's, where their fan-in is read."""
    state, draw = {}, drawn().draw
    shapes = drawn().unpack_shapes(arrays)
    for (name, shape), scale in zip(shapes.items(), arrays["scales"], strict=True):
        if len(shape) == 4:
            h, w, i, o = shape
            state[name] = scale * draw(name, (o, i, h, w)).transpose(2, 3, 1, 0)
        else:
            state[name] = scale * draw(name, shape)
    return state


@pytest.mark.slow  # 67 million weights are drawn
def test_network_equals_the_original(arrays):
    module = convert.from_torch("scc", _state(arrays))
    assert module.head.aus == heatmaps.BP4D and module.head.size == SIZE
    graphdef, params, stats = models.split(module)

    @jax.jit
    def network(params, stats, x_BTHWC):
        outputs, _ = models.apply(graphdef, params, stats, x_BTHWC, train=False)
        return outputs["heatmap"]

    @jax.jit
    def head(params, stats, map_NHWC):
        net = nnx.merge(graphdef, params, stats)
        return net.head({"map": map_NHWC}, train=False)["heatmap"]

    # The original reads B, G, R; conversion turns the first layer to R, G, B.
    x = drawn().draw_input((1, SIZE, SIZE, 3))[..., ::-1]
    ours = network(params, stats, x[:, None])[:, ::STEP, ::STEP]
    np.testing.assert_allclose(ours, arrays["network_NhwP"], rtol=0, atol=1e-4)

    seen = np.maximum(drawn().draw_input((2, 8, 8, 2048), seed=8), 0.0)
    ours = head(params, stats, seen)[:, ::STEP, ::STEP]
    theirs = np.concatenate([arrays["head_0_NhwP"], arrays["head_1_NhwP"]])
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_graph_convolution_equals_plain_numpy(arrays, mode):
    expected = arrays[f"scc_{mode}_Nnd"]
    dim = expected.shape[-1]
    module = scc.SCC(dim, k=K, frozen_bn=False, dtype=jnp.float32, rngs=nnx.Rngs(0))
    draw = drawn().draw
    module.kernel[...] = jnp.asarray(draw("scc/kernel", (dim, 2 * dim)).T)
    module.norm.scale[...] = jnp.asarray(draw("scc/gamma", (dim,)))
    module.norm.bias[...] = jnp.asarray(draw("scc/beta", (dim,)))
    module.norm.mean[...] = jnp.asarray(draw("scc/moving_mean", (dim,)))
    module.norm.var[...] = jnp.asarray(draw("scc/moving_variance", (dim,)))
    nodes = jnp.asarray(drawn().draw_input(expected.shape, seed=9))
    ours = module(nodes, train=mode == "training")
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)


def test_targets_equal_the_original(arrays):
    landmarks = np.random.default_rng(10).uniform(20, 236, (2, 68, 2)).astype(np.float32)
    intensity = np.float32([[3, 0, 5], [1.5, 2, 4]])
    ours = heatmaps.targets(landmarks, intensity, aus=LANDMARKED, frame_size=SIZE, map_size=MAP)
    np.testing.assert_allclose(ours[:, ::STEP, ::STEP], arrays["targets_NhwP"], rtol=0, atol=1e-3)


def test_reading_equals_the_original(arrays):
    maps = drawn().draw_input((4, MAP, MAP, 10), seed=11) * np.float32(heatmaps.SCALE)
    maps[0, 0, 5, 0] = maps[0, 63, 40, 1] = maps[0, 1, 30, 2] = 2000.0
    maps[0, 62, 30, 3] = maps[0, 30, 62, 4] = maps[0, 2, 2, 5] = 2000.0
    intensity_NA, location_NP2 = jax.jit(lambda m: heatmaps.read(m, aus=heatmaps.BP4D))(maps)
    theirs = arrays["read_NP3"]  # rounded to three decimals, intensities not bounded
    np.testing.assert_allclose(location_NP2 * (SIZE / MAP), theirs[..., :2], rtol=0, atol=1e-3)
    merged = theirs[..., 2].reshape(4, 5, 2).mean(axis=2).clip(0, 5)
    np.testing.assert_allclose(intensity_NA, merged, rtol=0, atol=1e-3)
