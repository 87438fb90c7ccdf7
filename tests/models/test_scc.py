"""SCC: graphs computed on nodes, maps of AUs drawn and read, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxfacs import models
from jaxfacs.errors import UserError
from jaxfacs.models import heatmaps
from jaxfacs.models.heads import scc
from jaxfacs.synthface import heads

N, NODES, DIM, K = 2, 64, 256, 7


def _plain(module, nodes, *, train):
    """The graph convolution as the paper writes it: one product for every edge."""
    near = scc.nearest(nodes, module.k)
    neighbours = jax.vmap(lambda rows, at: rows[at])(nodes, near)
    central = jnp.broadcast_to(nodes[:, :, None], neighbours.shape)
    edges = jnp.concatenate([central, neighbours - central], axis=-1) @ module.kernel[...]
    return module.norm(edges, train=train).max(axis=2)


def _lean(module, nodes, *, train):
    return module(nodes, train=train)


def _step(form, graphdef):
    """(params, nodes) -> (loss, (output, statistics)) with gradients of the loss in both."""
    direction = jnp.asarray(np.random.default_rng(1).standard_normal((N, NODES, DIM), np.float32))

    def loss(params, nodes, stats):
        module = nnx.merge(graphdef, params, stats, copy=True)
        y = form(module, nodes, train=True)
        return (y * direction).mean(), (y, nnx.state(module, nnx.BatchStat))

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))


@pytest.fixture(scope="module")
def graph():
    module = scc.SCC(DIM, k=K, frozen_bn=False, dtype=jnp.float32, rngs=nnx.Rngs(0))
    nodes = np.random.default_rng(0).standard_normal((N, NODES, DIM), np.float32)
    return (*nnx.split(module, nnx.Param, nnx.BatchStat), jnp.asarray(nodes))


def test_lean_equals_plain_with_its_gradients_and_costs_less(graph):
    graphdef, params, stats, nodes = graph
    compiled = {
        form: _step(form, graphdef).lower(params, nodes, stats).compile()
        for form in (_lean, _plain)
    }
    answers = {form: step(params, nodes, stats) for form, step in compiled.items()}
    for ours, plain in zip(*map(jax.tree.leaves, answers.values()), strict=True):
        scale = float(jnp.abs(plain).max())
        np.testing.assert_allclose(ours, plain, rtol=0, atol=1e-5 * max(scale, 1.0))
        assert scale > 0
    flops = {form: step.cost_analysis()["flops"] for form, step in compiled.items()}
    memory = {form: step.memory_analysis().temp_size_in_bytes for form, step in compiled.items()}
    assert flops[_lean] < flops[_plain] / 5
    assert memory[_lean] < 0.75 * memory[_plain]


def test_doubling_equals_xlas_transposed_convolution_with_its_gradients():
    rng = np.random.default_rng(0)
    x, kernel, direction = (
        jnp.asarray(rng.standard_normal(shape, np.float32))
        for shape in ((2, 3, 4, 5), (4, 4, 6, 5), (2, 6, 8, 6))
    )

    def xla(x, kernel):
        axes = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_transpose(
            x, kernel, (2, 2), "SAME", dimension_numbers=axes, transpose_kernel=True
        )

    @jax.jit
    def answers(x, kernel):
        found = (jax.vjp(form, x, kernel) for form in (scc.double, xla))
        return [(y, *back(direction)) for y, back in found]

    for ours, expected in zip(*answers(x, kernel), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-5)


def test_a_node_sees_its_nearest_first_of_which_it_is_one():
    nodes = jnp.asarray([[[0.0], [1.0], [10.0], [12.0], [1.5]]])
    np.testing.assert_array_equal(
        scc.nearest(nodes, 2)[0], [[0, 1], [1, 4], [2, 3], [3, 2], [4, 1]]
    )


def test_layouts_go_and_return():
    x = jnp.arange(2 * 4 * 4 * 6.0).reshape(2, 4, 4, 6)
    for layout in scc.LAYOUTS:
        nodes = scc.to_nodes(x, layout)
        assert nodes.shape == (2, 6, 16)
        np.testing.assert_array_equal(scc.from_nodes(nodes, x.shape, layout), x)
    np.testing.assert_array_equal(scc.to_nodes(x, "channels")[0, 3], x[0, :, :, 3].ravel())
    np.testing.assert_array_equal(scc.to_nodes(x, "reshaped")[0].ravel(), x[0].ravel())


def _form(**options):
    """Abstract parameters of a network, and its outputs for one clip."""

    def make():
        return models.split(models.create("scc", rngs=nnx.Rngs(0), **options))

    graphdef, params, stats = jax.eval_shape(make)
    size = options.get("size", 256)
    x = jax.ShapeDtypeStruct((2, options.pop("frames", 1), size, size, 3), jnp.float32)
    outputs, _ = jax.eval_shape(
        lambda p, s, x: models.apply(graphdef, p, s, x, train=False), params, stats, x
    )
    return params, {k: v.shape for k, v in outputs.items()}


@pytest.mark.parametrize(
    ("aus", "size", "maps"), [(heatmaps.BP4D, 256, 10), (heatmaps.DISFA, 96, 24)]
)
def test_sizes_are_the_papers(aus, size, maps):
    params, outputs = _form(num_aus=len(aus), aus=aus, size=size)
    side = size // 4
    assert outputs == {
        "occurrence": (2, len(aus)),
        "intensity": (2, len(aus)),
        "heatmap": (2, side, side, maps),
    }
    head = params["head"]
    assert head["conv1"]["kernel"].shape == (2 * (size // 16) ** 2, (size // 16) ** 2)
    assert head["conv3"]["kernel"].shape == (2 * side**2, side**2)  # 33.6 M at 256 px
    assert head["up1"]["kernel"].shape == (4, 4, 256, 2048)


def _head():
    """A head at 32 px on a map of 5 channels."""
    return scc.SCCHead(
        5,
        aus=("6", "9"),
        size=32,
        k=3,
        layout="channels",
        present_from=1.0,
        merge="max",
        frozen_bn=False,
        dtype=jnp.float32,
        rngs=nnx.Rngs(0),
    )


@pytest.fixture(scope="module")
def small():
    """That head as a function, three clips of two maps, and its answers for them."""
    maps = jax.random.normal(jax.random.key(0), (3, 2, 1, 1, 5))
    graphdef, state = nnx.split(_head())

    @jax.jit
    def answer(state, maps):
        return nnx.merge(graphdef, state)({"map": maps}, train=False)

    drawn = answer(state, maps)["heatmap"].reshape(6, 8, 8, 5)
    peaks = heatmaps.peaks(drawn, aus=("6", "9"), merge="max")
    state["out"]["kernel"][...] /= peaks.mean()  # so that about half of the AUs are present
    return lambda maps: answer(state, maps), maps, answer(state, maps)


def test_intensity_and_occurrence_never_contradict(small):
    _, _, outputs = small
    assert outputs["heatmap"].shape == (3, 2, 8, 8, 5)
    level, present = outputs["intensity"], outputs["occurrence"] > 0
    assert level.shape == (3, 2, 2) and level.min() >= 0 and level.max() <= 5
    assert present.any() and not present.all()
    np.testing.assert_array_equal(present, level > 1.0)
    highest = outputs["heatmap"].max(axis=(2, 3)) / heatmaps.SCALE
    expected = jnp.stack([highest[..., :2].max(-1), highest[..., 2:].max(-1)], -1).clip(0, 5)
    np.testing.assert_allclose(level, expected, rtol=1e-6)


def test_frames_are_answered_each_for_itself(small):
    head, maps, outputs = small
    alone = head(maps[:, 1])
    for name, value in alone.items():
        np.testing.assert_allclose(value, outputs[name][:, 1], rtol=1e-5, atol=1e-4)


def test_training_moves_the_statistics_of_every_norm(small):
    graphdef, state, maps = *nnx.split(_head()), small[1].reshape(6, 1, 1, 5)

    @jax.jit
    def train(state, maps):
        head = nnx.merge(graphdef, state)
        head({"map": maps}, train=True)
        return nnx.state(head, nnx.BatchStat)

    before = nnx.state(_head(), nnx.BatchStat)
    moved = jax.tree.map(lambda a, b: float(abs(a - b).max()), before, train(state, maps))
    assert len(jax.tree.leaves(moved)) == 12 and min(jax.tree.leaves(moved)) > 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"aus": ("6", "7", "43")}, "no place on the face is known for AU 7, 43; heatmaps can be"),
        ({"aus": ()}, "heatmaps need data.aus"),
        ({"aus": ("6",), "num_aus": 2}, "1 AUs (6) for num_aus 2"),
        ({"size": 100}, "size 100 is not a multiple of 32"),
        ({"k": 65}, "k 65 is not in 1 to 64"),
        ({"layout": "rows"}, "no layout 'rows' of nodes; give one of channels, reshaped"),
        ({"present_from": 0.0}, "present_from 0.0"),
        ({"merge": "sum"}, "merge 'sum'"),
        ({"backbone": "swin_t", "form": "scc"}, "no option 'form'"),
    ],
)
def test_what_cannot_be_made_is_told(options, told):
    given = {"aus": ("6", "12"), "size": 32, **options}
    given.setdefault("num_aus", len(given["aus"]))
    with pytest.raises(UserError) as raised:
        jax.eval_shape(lambda: models.split(models.create("scc", rngs=nnx.Rngs(0), **given)))
    assert told in str(raised.value)


def test_frames_of_another_size_are_refused(small):
    with pytest.raises(UserError, match=r"made for frames of 32 x 32, a map of 1 x 1.* 2 x 2"):
        small[0](jnp.zeros((1, 2, 2, 5)))


def _face(**intensities):
    """Landmarks (68, 2) of the built-in head with AUs, frontal, y downwards, in centimetres."""
    head = heads.load()
    vertices = head.vertices_V3.copy()
    for au, level in intensities.items():
        names = [n for n in (au[2:], f"L{au[2:]}", f"R{au[2:]}") if n in head.shapes]
        vertices += sum(head.shapes[name] for name in names) * level / 5
    at = vertices[head.landmarks_68]
    return np.stack([at[:, 0], -at[:, 1]], axis=1)


def test_places_are_near_the_published_example():
    """FAU's examples/train_example.json, first row: x and y at 256 px, intensities 3 4 2 4 2."""
    x = [55, 198.5, 102, 158, 84, 174, 61, 192.5, 131, 130.5]
    y = [105.5, 104.5, 166, 165, 164, 164, 156.5, 155, 191, 210.5]
    example = np.stack([x, y], axis=1)
    face = _face(AU6=3, AU10=4, AU12=2, AU14=4, AU17=2)
    # How that face was registered is unknown: the corners of the mouth, the lower lip and the chin,
    # which AU 12 and AU 17 give, tell it. So the test is of the other three AUs.
    marks = np.concatenate([face[[48, 54, 57, 8]], np.ones((4, 1))], axis=1)
    seen = np.concatenate([example[[4, 5, 8]], [2 * example[9] - example[8]]])
    affine = np.linalg.lstsq(marks, seen, rcond=None)[0]
    face = np.concatenate([face, np.ones((68, 1))], axis=1) @ affine
    places = np.array([face[list(p)].mean(axis=0) for p in heatmaps.places(heatmaps.BP4D)])
    away = np.linalg.norm(places - example, axis=1)
    assert (away < 16).all(), away.round(1)  # of 256 pixels; half the way to the next AU's place


@pytest.fixture(scope="module")
def landmarks():
    face = _face()
    spread = np.ptp(face, axis=0).max()
    return ((face - face.mean(axis=0)) / spread * 160 + 128).astype(np.float32)


def test_reading_gives_what_was_drawn(landmarks):
    intensity = np.float32([[0, 1, 2, 3, 4, 5, 0.5, 1.5, 2.5, 3.5, 4.5, 5]])

    @jax.jit
    def there_and_back(landmarks, intensity):
        options = {"frame_size": 256, "map_size": 64}
        maps = heatmaps.targets(landmarks[None], intensity, aus=heatmaps.DISFA, **options)
        return maps.shape, heatmaps.read(maps, aus=heatmaps.DISFA)

    shape, (level, location) = there_and_back(landmarks, intensity)
    np.testing.assert_allclose(level, intensity, atol=1e-6)
    places = np.array([landmarks[list(p)].mean(axis=0) for p in heatmaps.places(heatmaps.DISFA)])
    shown = np.repeat(intensity[0], [len(heatmaps.CENTRES[au]) for au in heatmaps.DISFA]) > 0
    assert np.abs(location[0] - places / 4)[shown].max() <= 0.5 + 1e-4  # half a cell of rounding
    assert shape == (1, 64, 64, 24) and shown.sum() == 22


def test_one_side_alone_is_seen_by_the_maximum():
    maps = np.zeros((1, 8, 8, 2), np.float32)
    maps[0, 3, 3, 1] = 4 * heatmaps.SCALE
    assert heatmaps.read(maps, aus=("12",), merge="mean")[0] == 2.0
    assert heatmaps.read(maps, aus=("12",), merge="max")[0] == 4.0


def test_what_cannot_be_drawn_is_unknown(landmarks):
    marks = np.tile(landmarks, (3, 1, 1))
    marks[0, 48] = np.nan  # one side of AU 12
    marks[1, 54] = (300.0, 100.0)  # outside the frame
    intensity = np.float32([[2, 3], [2, 3], [2, -1]])

    def maps(marks, intensity):
        return heatmaps.targets(
            marks, intensity, aus=("12", "17"), frame_size=256, map_size=16, sigma=1.5
        )

    drawn = np.asarray(jax.jit(maps)(marks, intensity))
    known = np.array([[0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 0]], bool)
    np.testing.assert_array_equal((drawn >= 0).all(axis=(1, 2)), known)
    np.testing.assert_array_equal((drawn == heatmaps.UNKNOWN).all(axis=(1, 2)), ~known)
    gradient = jax.jit(jax.grad(lambda *a: maps(*a).sum(), argnums=(0, 1)))
    gradients = gradient(marks, intensity)
    assert all(np.isfinite(g).all() for g in gradients)
    assert (np.asarray(gradients[1]) > 0).all(axis=0).sum() == 1  # AU 17 of the third is unknown
