"""ME-GraphAU and OpenGraphAU: counts, the lean edges against the plain ones, graphs, errors.

Numbers against the original code: tests/parity/test_graph_au_parity.py.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxfacs import facs, models
from jaxfacs.errors import UserError
from jaxfacs.models import graph_au
from jaxfacs.models.heads import graph_layers, open_graph
from jaxfacs.models.heads.graph_edges import EdgeFeatures

# backbone -> millions of parameters with 12 AUs, in stage 1 and 2; tensors; millions with 8 AUs;
# all names of the state dict. The published networks: shapes of the original code's state dicts.
COUNTS = {
    "resnet18": ((11.478, 11.693), (119, 149), None, None),
    "resnet50": ((28.254, 31.666), (218, 248), (27.197, 30.609), (419, 461)),
    "resnet101": ((47.246, 50.658), (371, 401), None, None),
    "swin_t": ((29.899, 31.820), (230, 260), None, None),
    "swin_s": ((51.217, 53.137), (386, 416), None, None),
    "swin_b": ((90.965, 94.377), (386, 416), (89.908, 93.320), (463, 505)),
}
# Names in a Swin-B's state dict that hold no weights: index tables of 24 blocks, 11 masks.
SWIN_BUFFERS = 24 + 11
NODES, CHANNELS, PLACES, BATCH = 4, 8, 9, 3


def _sizes(name, **options):
    """(millions of parameters, tensors, statistics)."""
    net = nnx.eval_shape(lambda: models.create(name, rngs=nnx.Rngs(0), **options))
    _, params, stats = models.split(net)
    leaves = jax.tree.leaves(params)
    millions = round(sum(leaf.size for leaf in leaves) / 1e6, 3)
    return millions, len(leaves), len(jax.tree.leaves(stats))


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("backbone", COUNTS)
def test_parameters_and_tensors_are_the_originals(backbone, stage):
    millions, tensors, fewer, names = COUNTS[backbone]
    options = {"backbone": backbone, "stage": stage}
    *found, statistics = _sizes("me_graphau", num_aus=12, **options)
    assert found == [millions[stage - 1], tensors[stage - 1]]
    if fewer is not None:
        assert _sizes("me_graphau", num_aus=8, **options)[0] == fewer[stage - 1]
    if names is not None:
        counters = statistics // 2  # num_batches_tracked, one a BatchNorm
        buffers = SWIN_BUFFERS if backbone == "swin_b" else 0
        assert tensors[stage - 1] + statistics + counters + buffers == names[stage - 1]


def _edge_inputs():
    rng = np.random.default_rng(1)
    shapes = ((BATCH, NODES, PLACES, CHANNELS), (BATCH, PLACES, CHANNELS))
    return tuple(rng.standard_normal(shape, np.float32) for shape in shapes)


def _loss(edges_BEC):
    weight = np.random.default_rng(2).standard_normal((BATCH, NODES**2, CHANNELS))
    return (edges_BEC * weight).sum()


def _step(params, inputs, *, lean):
    """Edges, batch mean and variance, and gradients of parameters and inputs, in training."""
    module = EdgeFeatures(NODES, CHANNELS, lean=lean, rngs=nnx.Rngs(0))
    graphdef, _, stats = models.split(module)

    def loss(params, inputs):
        module = nnx.merge(graphdef, params, stats, copy=True)
        module.bn.momentum = 0.0
        edges = module(*inputs, train=True)
        return _loss(edges), (edges, module.bn.mean[...], module.bn.var[...])

    gradients, found = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(params, inputs)
    return *found, gradients


def _truth(params, inputs):
    """As `_step`, in float64 and as the paper writes it, edge by edge."""

    def linear(x, layer):
        return x @ layer["kernel"] + layer["bias"]

    def attend(layers, x, y):
        q, k = linear(x, layers["linear_q"]), linear(y, layers["linear_k"])
        weights = jax.nn.softmax(q @ jnp.swapaxes(k, -1, -2) * (CHANNELS // 2) ** -0.5)
        return weights @ linear(y, layers["linear_v"])

    def loss(params, inputs):
        nodes, face = inputs
        seen = [attend(params["FAM"], nodes[:, n], face) for n in range(NODES)]
        pairs = [(i, j) for i in range(NODES) for j in range(NODES)]
        z = jnp.stack([attend(params["ARM"], seen[j], seen[i]) for i, j in pairs], axis=1)
        z = linear(z, params["edge_proj"])
        mean, var = z.mean((0, 2, 3)), z.var((0, 2, 3))
        shape = (1, NODES**2, 1, 1)
        scale, bias = (params["bn"][k].reshape(shape) for k in ("scale", "bias"))
        normal = (z - mean.reshape(shape)) / jnp.sqrt(var.reshape(shape) + 1e-5)
        edges = (normal * scale + bias).mean(2)
        return _loss(edges), (edges, mean, var)

    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(np.asarray(a), jnp.float64), (params, inputs))
        gradients, found = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(*wide)
        assert found[0].dtype == jnp.float64
        return jax.tree.map(np.asarray, (*found, gradients))


@pytest.fixture(scope="module", params=[0.0, 30.0], ids=["centred", "far"])
def edges(request):
    """The lean form, the plain one, and the truth; "far" has values that are far from 0.

    There a variance that is the difference of two large numbers would lose its digits.
    """
    module = EdgeFeatures(NODES, CHANNELS, lean=True, rngs=nnx.Rngs(0))
    _, params, _ = models.split(module)
    rng = np.random.default_rng(3)
    params = jax.tree.map(lambda a: a + 0.1 * rng.standard_normal(a.shape, np.float32), params)
    bias = params["edge_proj"]["bias"]
    params["edge_proj"]["bias"] = bias + request.param
    inputs = _edge_inputs()
    forms = [_step(params, inputs, lean=lean) for lean in (True, False)]
    return *forms, _truth(params, inputs)


def test_lean_edges_equal_the_plain_ones(edges):
    lean, plain, truth = edges
    for form in (lean, plain):
        found = jax.tree_util.tree_leaves_with_path(form)
        expected = jax.tree.leaves(truth)
        overall = max(np.linalg.norm(value) for value in expected[3:])
        for (path, value), true in zip(found, expected, strict=True):
            # A bias of all keys of an attention has no gradient but rounding.
            floor = overall if "linear_k" in str(path) and "bias" in str(path) else 0.0
            away = np.linalg.norm(np.asarray(value, np.float64) - true)
            assert away <= 1e-5 * max(np.linalg.norm(true), floor), jax.tree_util.keystr(path)


@pytest.mark.parametrize("places", [1, PLACES])
def test_lean_edges_equal_the_plain_ones_at_any_size(places):
    forms = [EdgeFeatures(NODES, CHANNELS, lean=lean, rngs=nnx.Rngs(0)) for lean in (True, False)]
    nodes, face = (x[..., :places, :] for x in _edge_inputs())
    for module in forms:
        module.bn.mean[...] = jnp.linspace(-1.0, 1.0, NODES**2)
        module.bn.var[...] = jnp.linspace(0.5, 2.0, NODES**2)
    for train in (False, True):  # in training one place has no spread around its mean
        lean, plain = (_answers(module, nodes, face, train=train) for module in forms)
        np.testing.assert_allclose(lean, plain, rtol=1e-5, atol=1e-5)


def _answers(module, *inputs, train):
    graphdef, state = nnx.split(module)
    return jax.jit(lambda s, *x: nnx.merge(graphdef, s, copy=True)(*x, train=train))(state, *inputs)


def test_blocks_of_all_nodes_are_one_product():
    """As N separate layers, in both modes, with the same running statistics."""
    one, many = (graph_layers.blocks(NODES, CHANNELS, rngs=nnx.Rngs(0)) for _ in range(2))
    x_BDC = _edge_inputs()[1]
    for train in (True, False):
        together = graph_layers.node_features(one, x_BDC, train=train)
        apart = [many[str(n)](x_BDC, train=train) for n in range(NODES)]
        np.testing.assert_allclose(together, jnp.stack(apart, axis=1), rtol=1e-5, atol=1e-6)
    for a, b in zip(
        *(jax.tree.leaves(nnx.state(m, nnx.BatchStat)) for m in (one, many)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        assert not np.allclose(a, 0.0) and not np.allclose(a, 1.0)


def test_node_norm_is_over_everything_but_the_node():
    x_BNC = 3.0 + 2.0 * np.random.default_rng(0).standard_normal(
        (BATCH, NODES, CHANNELS), np.float32
    )
    norm = graph_layers.NodeNorm(NODES)
    norm.momentum = 0.0
    y = norm(x_BNC, train=True)
    np.testing.assert_allclose(norm.mean[...], x_BNC.mean((0, 2)), rtol=1e-5)
    np.testing.assert_allclose(norm.var[...], x_BNC.var((0, 2)), rtol=1e-5)
    np.testing.assert_allclose(jnp.mean(y, (0, 2)), 0.0, atol=1e-5)


def test_neighbours_are_directed_and_ties_all_enter():
    nearness = jnp.asarray(
        [[[9.0, 2.0, 2.0, 1.0], [5.0, 1.0, 0.0, 4.0], [0.0] * 4, [4.0, 3.0, 2.0, 1.0]]]
    )
    graph = graph_layers.neighbours(nearness, 2)
    expected = np.array([[1, 1, 1, 0], [1, 0, 0, 1], [1, 1, 1, 1], [1, 1, 0, 0]])
    np.testing.assert_array_equal(graph[0], expected)
    degree = expected.sum(1)
    np.testing.assert_allclose(
        graph_layers.normalised(graph)[0], expected / np.sqrt(np.outer(degree, degree)), rtol=1e-6
    )


def test_metrics_bear_the_originals_names():
    nodes = np.abs(np.random.default_rng(0).standard_normal((1, 3, 5), np.float32))
    apart = nodes[:, :, None] - nodes[:, None]
    manhattan, euclid = -np.abs(apart).sum(-1), -np.sqrt(np.square(apart).sum(-1))
    length = np.linalg.norm(nodes, axis=-1)
    dots = np.einsum("bic,bjc->bij", nodes, nodes)
    expected = {
        (False, "dots"): dots,
        (False, "cosine"): dots / (length[:, :, None] * length[:, None]),
        (False, "l1"): manhattan,
        (True, "l1"): euclid,  # OpenGraphAU's names are swapped
        (True, "l2"): manhattan,
    }
    for (is_open, name), value in expected.items():
        table = graph_layers.OPEN_METRICS if is_open else graph_layers.METRICS
        np.testing.assert_allclose(table[name](nodes), value, rtol=1e-5, atol=1e-5)


def test_a_dead_node_has_probability_and_gradient_zero():
    nodes = jnp.zeros((1, 2, 3)).at[0, 1].set(jnp.asarray([1.0, 2.0, 2.0]))
    weights = jnp.asarray([[1.0, -1.0, 2.0], [3.0, -5.0, 4.0]])
    cosine, gradient = jax.value_and_grad(lambda w: graph_layers.cosine(nodes, w).sum())(weights)
    assert cosine == pytest.approx((3 + 8) / (3 * 5))
    assert np.isfinite(gradient).all()


def test_sided_aus_read_the_nodes_of_the_published_weights():
    main = dict(
        zip(
            open_graph.SIDED[::2],
            np.array(open_graph.MAIN)[list(open_graph.SIDED_NODES)],
            strict=True,
        )
    )
    assert main.pop("L12") == "11"  # the slip
    assert all(label == f"L{au}" for label, au in main.items())
    assert facs.DATASET_AUS["opengraphau"] == open_graph.AUS and len(open_graph.AUS) == 41


@pytest.mark.parametrize(
    ("name", "stage"), [("me_graphau", 1), ("me_graphau", 2), ("open_graphau", 2)]
)
def test_answers_per_frame(name, stage):
    own = {"num_aus": 5} if name == "me_graphau" else {}
    net = models.create(name, rngs=nnx.Rngs(0), backbone="resnet18", stage=stage, **own)
    graphdef, state = nnx.split(net.head)
    run = jax.jit(lambda x: nnx.merge(graphdef, state, copy=True)({"map": x}, train=False))
    map_BTHWC = np.random.default_rng(0).standard_normal((2, 3, 2, 3, 512), np.float32)
    outputs = run(map_BTHWC)
    aus = own.get("num_aus", 41)
    shapes = {"probability": (2, 3, aus)}
    if (name, stage) == ("me_graphau", 2):
        shapes["edge"] = (2, 3, aus**2, 4)
    assert {k: v.shape for k, v in outputs.items()} == shapes
    assert outputs["probability"].min() >= 0.0 and outputs["probability"].max() <= 1.0 + 1e-6
    one = run(np.broadcast_to(map_BTHWC[1:, 2:], map_BTHWC.shape))  # one program for both
    np.testing.assert_allclose(one["probability"][0, 0], outputs["probability"][1, 2], atol=1e-5)
    by_clip = run(map_BTHWC[:, 0])  # what a network that answers per clip gives its head
    np.testing.assert_allclose(by_clip["probability"], outputs["probability"][:, 0], atol=1e-5)


def test_other_backbones_have_a_rule():
    assert [graph_au.node_width(b, c) for b, c in (("swin_t", 768), ("vgg16", 512))] == [384, 128]
    net = nnx.eval_shape(
        lambda: models.create("me_graphau", rngs=nnx.Rngs(0), num_aus=3, backbone="mobilenet3d_v2")
    )
    assert net.head.sc.shape == (3, 320)


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("me_graphau", {"num_aus": 3, "aus": ("1", "2")}, "2 AUs 1 2 for num_aus 3"),
        ("me_graphau", {"num_aus": 0}, "num_aus 0"),
        ("me_graphau", {"num_aus": 3, "stage": 3}, "stage 3 is neither 1 nor 2"),
        ("me_graphau", {"num_aus": 3, "stage": 1}, "4 neighbors among 3 nodes"),
        ("me_graphau", {"num_aus": 5, "metric": "dot"}, "no metric 'dot'; did you mean: dots"),
        ("me_graphau", {"num_aus": 5, "metric": "l2"}, "no metric 'l2'"),
        ("me_graphau", {"num_aus": 3, "backbone": "resnet52"}, "did you mean: resnet50"),
        ("open_graphau", {"num_aus": 27}, "expected 1 2 4 .* R14, found 27 AUs"),
        ("open_graphau", {"aus": open_graph.AUS[::-1]}, "expected 1 2 4 .*, found R14 L14"),
    ],
)
def test_what_cannot_be_made_is_refused(name, options, match):
    with pytest.raises(UserError, match=match):
        nnx.eval_shape(lambda: models.create(name, rngs=nnx.Rngs(0), **options))


def test_a_backbone_without_a_map_is_refused(monkeypatch):
    class Flat(nnx.Module):
        def __init__(self):
            self.taps = {"features": 8}

    monkeypatch.setattr(graph_au, "create_backbone", lambda *_, **__: Flat())
    with pytest.raises(UserError, match="reads a backbone's map, which flat does not have"):
        models.create("me_graphau", rngs=nnx.Rngs(0), num_aus=3, backbone="flat")
