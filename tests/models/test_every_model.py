"""Every registered network: made, run forward and backward, and exported for any batch size.

At the smallest size each architecture allows, because what is tested is that nothing is missing;
numbers are tested in tests/parity.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export

from jaxfacs import models

BATCH, NUM_AUS = 2, 3
FRAMES, SIZE = 1, 32
# Each program runs once: not optimising them halves the time of this file.
QUICKLY = {"xla_backend_optimization_level": 0}
# Networks that see more, or answer for AUs of their own: (frames, size, options).
SPECIAL: dict[str, tuple[int, int, dict]] = {
    "alexnet": (1, 63, {"fc7": 16}),
    "inception_v3": (1, 75, {}),
    "vgg16": (1, 32, {"top": "pool"}),
    "vgg_face": (1, 32, {"top": "pool"}),
    "vit_b": (1, 32, {"depth": 2}),
    "xception": (1, 71, {}),
    "me_graphau": (1, 64, {"backbone": "resnet18"}),  # a map of one place has no attention
    "open_graphau": (1, 64, {"backbone": "resnet18", "num_aus": 41}),
    "two_stream": (2, 55, {"fc7": 16}),
    "one_vs_all": (1, 32, {"backbone": "resnet18"}),
    "face_resnet": (1, 32, {"size": 32}),
    "scc": (1, 32, {"aus": ("6", "12"), "size": 32, "backbone": "resnet18"}),
    "emotiram": (
        1,
        32,
        {"aus": ("6", "12"), "size": 32, "num_emotions": 3, "backbone": "resnet18"},
    ),
}


def _made(name: str):
    """(graphdef, params, stats, normalised clips) of a small form of the network."""
    frames, size, options = SPECIAL.get(name, (FRAMES, SIZE, {}))
    given = {"num_aus": NUM_AUS, **options}
    if "aus" in given:
        given["num_aus"] = len(given["aus"])
    if "dropout" in models.options(name):
        given.setdefault("dropout", 0.0)
    graphdef, params, stats = models.split(models.create(name, rngs=nnx.Rngs(0), **given))
    rng = np.random.default_rng(0)
    x_BTHWC = rng.standard_normal((BATCH, frames, size, size, 3), np.float32)
    return graphdef, params, stats, x_BTHWC, given["num_aus"]


# Only longer than their smaller forms, which run the same code, or compared with their originals in
# tests/parity as well: in `make test-long`.
LONGER = (
    "resnet101",
    "swin_b",
    "swin_s",
    "xception",
    "inception_v2",
    "mobilenet_v2",
    "mobilenet3d_v1",
)
NAMES = [pytest.param(n, marks=pytest.mark.long) if n in LONGER else n for n in models.names()]


@pytest.mark.parametrize("name", NAMES)
def test_forward_backward_export(name):
    graphdef, params, stats, x_BTHWC, num_aus = _made(name)

    def loss(params, stats, x):
        outputs, new = models.apply(
            graphdef, params, stats, x, train=True, dropout_key=jax.random.key(0)
        )
        return sum(jnp.square(v.astype(jnp.float32)).mean() for v in outputs.values()), new

    (value, new_stats), gradients = jax.jit(
        jax.value_and_grad(loss, has_aux=True), compiler_options=QUICKLY
    )(params, stats, x_BTHWC)
    assert np.isfinite(value)
    assert jax.tree.structure(new_stats) == jax.tree.structure(stats)
    norms = [float(jnp.abs(g).max()) for g in jax.tree.leaves(gradients)]
    assert np.isfinite(norms).all()
    # A parameter that nothing depends on would never learn. (A bias before a BatchNorm has only
    # rounding errors for a gradient, but those it has.)
    assert np.count_nonzero(norms) >= 0.9 * len(norms)

    def answer(params, stats, x):
        return models.apply(graphdef, params, stats, x, train=False)[0]

    direct = jax.jit(answer, compiler_options=QUICKLY)(params, stats, x_BTHWC)
    answered = direct.get("occurrence", direct.get("probability"))
    assert answered.shape[0] == BATCH and answered.shape[-1] == num_aus
    (batch,) = export.symbolic_shape("b")
    form = jax.ShapeDtypeStruct((batch, *x_BTHWC.shape[1:]), jnp.float32)
    forms = jax.tree.map(lambda v: jax.ShapeDtypeStruct(v.shape, v.dtype), (params, stats))
    exported = export.export(jax.jit(answer))(*forms, form)
    once_more = exported.call(params, stats, x_BTHWC)
    for key, expected in direct.items():
        np.testing.assert_allclose(once_more[key], expected, rtol=1e-4, atol=1e-4)
