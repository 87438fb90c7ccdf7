"""The generic heads: what they answer, what holds by construction, and that they learn."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import export

from jaxfacs import models
from jaxfacs.errors import UserError
from jaxfacs.models.heads import HEADS
from jaxfacs.models.heads.attention import AttentionHead, positions
from jaxfacs.models.heads.graph import CooccurrenceGraphHead, KnnGraphHead
from jaxfacs.models.heads.joint import intensity_of
from jaxfacs.models.heads.ordinal import OrdinalHead
from jaxfacs.models.network import Network, create_head

GENERIC = ("attention", "cooccurrence_graph", "joint", "knn_graph", "linear", "mlp", "ordinal")
TAPS = {"map": 12, "features": 10}
A, E = 5, 3
RNG = np.random.default_rng(0)


def taps(*leading: int, size: int = 4) -> dict[str, jax.Array]:
    return {
        "map": jnp.asarray(RNG.normal(0, 1, (*leading, size, size, 12)), jnp.float32),
        "features": jnp.asarray(RNG.normal(0, 1, (*leading, 10)), jnp.float32),
    }


def make(name: str, **options):
    given = {"num_aus": A, "num_emotions": E, "intensity": True, "valence_arousal": True}
    return HEADS[name](TAPS, rngs=nnx.Rngs(0), **{**given, "dropout": 0.0, **options})


def answer(head, seen, *, train=False, form=False):
    """What the head says, or (`form`) only the shapes of it: nothing is compiled then."""
    graphdef, state = nnx.split(head)

    def run(state, seen):
        return nnx.merge(graphdef, state, copy=True)(seen, train=train, dropout_key=None)

    return jax.eval_shape(run, state, seen) if form else jax.jit(run)(state, seen)


def shapes(outputs) -> dict:
    return {name: tuple(value.shape) for name, value in outputs.items() if name != "ordinal"}


@pytest.mark.parametrize("name", GENERIC)
@pytest.mark.parametrize("leading", [(2,), (2, 3)])
def test_answers_have_their_shapes_and_ranges(name, leading):
    outputs = answer(make(name), taps(*leading))
    assert shapes(outputs) == {
        "occurrence": (*leading, A),
        "intensity": (*leading, A),
        "valence_arousal": (*leading, 2),
        "emotion": (2, E),
    }
    assert {value.dtype for value in outputs.values()} == {jnp.dtype("float32")}
    assert outputs["intensity"].min() >= 0 and outputs["intensity"].max() <= 5
    assert jnp.abs(outputs["valence_arousal"]).max() <= 1


@pytest.mark.parametrize("name", GENERIC)
def test_networks_without_aus_answer_emotion_and_affect_alone(name):
    head = make(name, num_aus=0, intensity=False)
    outputs = answer(head, taps(2, 3), train=True, form=True)
    assert shapes(outputs) == {"emotion": (2, E), "valence_arousal": (2, 3, 2)}
    with pytest.raises(UserError, match="asked for nothing"):
        make(name, num_aus=0, num_emotions=0, valence_arousal=False)


@pytest.mark.parametrize("name", GENERIC)
def test_only_what_is_asked_for_is_answered(name):
    intensity = name in ("joint", "ordinal")  # these learn AUs from it
    head = make(name, num_emotions=0, valence_arousal=False, intensity=intensity)
    outputs = answer(head, taps(2), form=True)
    assert shapes(outputs).keys() == {"occurrence"} | ({"intensity"} if intensity else set())
    if intensity:
        with pytest.raises(UserError, match=r"--model\.intensity True"):
            make(name, intensity=False)


class Body(nnx.Module):
    """A backbone that costs nothing: its map is the picture, in bfloat16."""

    images = True
    channels, min_size = 12, 1
    taps = TAPS

    def __call__(self, x_NHWC, *, train, dropout_key):
        map_NHWC = x_NHWC.astype(jnp.bfloat16)
        return {"map": map_NHWC, "features": map_NHWC.mean((1, 2))[:, :10]}


@pytest.mark.parametrize("name", GENERIC)
def test_every_head_makes_a_network_that_trains_and_exports(name):
    """On a bfloat16 backbone with an answer a frame: every parameter has a gradient."""
    network = Network(Body(), make(name, dropout=0.2), per_frame=True)
    graphdef, params, stats = models.split(network)
    x_BTHWC = RNG.normal(0, 1, (2, 2, 4, 4, 12)).astype(np.float32)

    def loss(params, x):
        outputs, new = models.apply(
            graphdef, params, stats, x, train=True, dropout_key=jax.random.key(0)
        )
        waves = (jnp.cos(v + jnp.arange(v.size).reshape(v.shape)).sum() for v in outputs.values())
        return sum(waves), new

    gradients, new = jax.jit(jax.grad(loss, has_aux=True))(params, x_BTHWC)
    norms = jax.tree.map(lambda g: float(jnp.abs(g).max()), gradients)
    assert all(0 < n < np.inf for n in jax.tree.leaves(norms)), norms
    assert jax.tree.structure(new) == jax.tree.structure(stats)

    def answer(params, stats, x):
        return models.apply(graphdef, params, stats, x, train=False)[0]

    direct = jax.jit(answer)(params, stats, x_BTHWC)
    assert {v.dtype for v in direct.values()} == {jnp.dtype("float32")}
    (batch,) = export.symbolic_shape("b")
    form = jax.ShapeDtypeStruct((batch, *x_BTHWC.shape[1:]), jnp.float32)
    forms = jax.tree.map(lambda v: jax.ShapeDtypeStruct(v.shape, v.dtype), (params, stats))
    once_more = export.export(jax.jit(answer))(*forms, form).call(params, stats, x_BTHWC)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), once_more, direct)


def signal(rng, count: int = 64):
    """Maps where AU a shows as channel a at a place of its own, and that channel elsewhere not."""
    present = rng.integers(0, 2, (count, A))
    map_BHWC = rng.normal(0, 1, (count, 4, 4, 12)).astype(np.float32)
    for a in range(A):
        map_BHWC[:, a % 4, a // 4, a] += 4.0 * present[:, a]
    features = rng.normal(0, 0.5, (count, 10)).astype(np.float32)
    features[:, :A] += 2.0 * present
    return {"map": jnp.asarray(map_BHWC), "features": jnp.asarray(features)}, jnp.asarray(present)


@pytest.mark.parametrize("name", GENERIC)
def test_every_head_learns_what_is_there(name):
    seen, present = signal(np.random.default_rng(1))
    head = make(name, num_emotions=0, valence_arousal=False)
    graphdef, params, stats = nnx.split(head, nnx.Param, ...)
    optimiser = optax.adam(1e-2)

    @jax.jit
    def fit(params):
        def loss(params):
            outputs = nnx.merge(graphdef, params, stats, copy=True)(
                seen, train=True, dropout_key=None
            )
            wrong = optax.sigmoid_binary_cross_entropy(outputs["occurrence"], present)
            return wrong.mean() + 0.1 * jnp.square(outputs["intensity"] - 3 * present).mean()

        def step(carry, _):
            params, state = carry
            value, gradient = jax.value_and_grad(loss)(params)
            updates, state = optimiser.update(gradient, state)
            return (optax.apply_updates(params, updates), state), value

        return jax.lax.scan(step, (params, optimiser.init(params)), length=150)[1]

    values = fit(params)
    assert np.isfinite(values).all() and values[-1] < 0.5 * values[0]


# Ordinal


def test_thresholds_rise_whatever_the_parameters_are():
    head = make("ordinal")
    head.gaps[...] = jnp.asarray(RNG.normal(0, 20, head.gaps.shape), jnp.float32)
    outputs = answer(head, taps(4))
    assert outputs["ordinal"].shape == (4, A, 5)
    assert (jnp.diff(outputs["ordinal"], axis=-1) <= 0).all()
    expected = (1 / (1 + np.exp(-np.asarray(outputs["ordinal"], np.float64)))).sum(-1)
    np.testing.assert_allclose(outputs["intensity"], expected, rtol=1e-5)
    np.testing.assert_array_equal(outputs["occurrence"], outputs["ordinal"][..., 0])


def test_ordinal_starts_with_a_logit_between_letters():
    head = make("ordinal")
    assert isinstance(head, OrdinalHead)
    np.testing.assert_allclose(head.thresholds()[0], [0, 1, 2, 3, 4], atol=1e-6)


# Joint

# Powers of two, which float32 has: far away, and so near 0 that everything rounds.
LATENTS = st.one_of(st.floats(-64, 64, width=32), st.floats(-(2**-20), 2**-20, width=32))
RATES = st.floats(2**-10, 64, width=32)


@given(z=st.lists(LATENTS, min_size=2, max_size=2), above=RATES, below=RATES)
@settings(max_examples=300, deadline=None)
def test_joint_answers_never_contradict(z, above, below):
    """Present exactly where the intensity is at least A; a higher latent never means less."""
    z = jnp.asarray(sorted(z), jnp.float32)
    p = np.asarray(jax.nn.sigmoid(z))
    intensity = np.asarray(intensity_of(z, above=jnp.float32(above), below=jnp.float32(below)))
    assert ((p >= 0.5) == (intensity >= 1.0)).all()
    assert p[0] <= p[1] and intensity[0] <= intensity[1]
    assert (intensity >= 0).all() and (intensity <= 5).all()


def test_joint_intensity_has_a_gradient_everywhere():
    rate = jnp.float32(0.4)
    slope = jax.vmap(jax.grad(lambda z: intensity_of(z, above=rate, below=rate)))
    found = slope(jnp.asarray([-100.0, -3.0, -0.5, 0.5, 3.0, 100.0]))
    assert np.isfinite(found).all() and (found[1:5] > 0).all() and (found >= 0).all()


# Graphs


def test_static_graph_hears_along_the_prior_alone():
    head = make("cooccurrence_graph")
    assert isinstance(head, CooccurrenceGraphHead)
    nodes = jnp.asarray(RNG.normal(0, 1, (1, A, 64)), jnp.float32)
    moved = nodes.at[0, 2].add(1.0)

    def changed(prior):
        head.prior[...] = jnp.asarray(prior, jnp.float32)
        before, after = (head.related(n, train=False) for n in (nodes, moved))
        return np.flatnonzero(np.abs(np.asarray(after - before)).max((0, 2)) > 1e-6).tolist()

    assert changed(np.eye(A)) == [2]
    linked = np.eye(A)
    linked[4, 2] = 0.7  # when AU 4 of the list is there, so often is AU 2
    assert changed(linked) == [2, 4]


def test_prior_is_kept_with_the_statistics_and_not_trained():
    _, params, stats = models.split(Network(Body(), make("cooccurrence_graph")))
    assert stats["head"]["prior"].shape == (A, A) and "prior" not in params["head"]


def test_a_head_that_cannot_answer_affect_says_so(monkeypatch):
    class Plain(nnx.Module):
        def __init__(self, taps, *, num_aus):
            pass

    monkeypatch.setitem(HEADS, "plain", Plain)
    create_head("plain", TAPS, num_aus=1, valence_arousal=False)
    with pytest.raises(UserError, match="head plain answers no valence and arousal"):
        create_head("plain", TAPS, num_aus=1, valence_arousal=True)


def test_knn_graph_takes_fewer_aus_than_neighbours():
    head = make("knn_graph", num_aus=2)
    assert isinstance(head, KnnGraphHead)
    assert answer(head, taps(3), train=True, form=True)["occurrence"].shape == (3, 2)


# Attention


def test_attention_takes_maps_of_any_size_and_looks_at_all_of_it():
    head = make("attention")
    assert isinstance(head, AttentionHead)
    for size in (1, 7):
        weight, seen = jax.jit(head.look)(taps(2, size=size)["map"])
        assert weight.shape == (2, A + 1, 4, size, size) and seen.shape == (2, A + 1, 128)
        np.testing.assert_allclose(weight.sum((-2, -1)), 1.0, rtol=1e-5)


def test_positions_are_distinct_and_those_of_the_same_place_at_any_size():
    small, large = positions(3, 5), positions(9, 15)
    gaps = [np.abs(a - b).max() for a, b in itertools.combinations(small, 2)]
    assert min(gaps) > 0.1
    middle = large.reshape(9, 15, -1)[1::3, 1::3].reshape(small.shape)
    np.testing.assert_allclose(middle, small, atol=1e-6)


def test_attention_can_tell_places_apart_where_pooling_cannot():
    """The same picture part at another place: only position tells."""
    rng = np.random.default_rng(3)
    present = rng.integers(0, 2, (64, 1))
    map_BHWC = np.zeros((64, 4, 4, 12), np.float32)
    where = np.where(present[:, 0] == 1, 0, 3)
    map_BHWC[np.arange(64), where, where] = rng.normal(1, 0.1, (64, 12))
    head = make("attention", num_aus=1, num_emotions=0, valence_arousal=False, intensity=False)
    graphdef, params = nnx.split(head)
    optimiser = optax.adam(1e-2)

    def loss(params):
        seen = {"map": jnp.asarray(map_BHWC)}
        outputs = nnx.merge(graphdef, params)(seen, train=False, dropout_key=None)
        return optax.sigmoid_binary_cross_entropy(outputs["occurrence"], present).mean()

    @jax.jit
    def fit(params):
        def step(carry, _):
            params, state = carry
            value, gradient = jax.value_and_grad(loss)(params)
            updates, state = optimiser.update(gradient, state)
            return (optax.apply_updates(params, updates), state), value

        return jax.lax.scan(step, (params, optimiser.init(params)), length=200)[1]

    assert fit(params)[-1] < 0.05


def test_an_au_is_as_high_as_the_higher_of_its_sides():
    aus = ("12", "L12", "25", "R12", "L4")  # L4 has no other side: it stands for itself
    head = HEADS["joint"](TAPS, num_aus=A, aus=aus, intensity=True, dropout=0.0, rngs=nnx.Rngs(0))
    outputs = answer(head, taps(8))
    for name in ("occurrence", "intensity"):
        values = np.asarray(outputs[name])
        np.testing.assert_allclose(values[:, 0], values[:, [1, 3]].max(axis=1), rtol=1e-6)
    assert (
        np.asarray(outputs["occurrence"])[:, 1] != np.asarray(outputs["occurrence"])[:, 3]
    ).all()


def test_landmarks_and_confidence_are_answered_by_heads_that_can():
    outputs = answer(make("joint", landmarks=True, confidence=True), taps(2, 3))
    assert outputs["landmarks"].shape == (2, 3, 68, 2) and outputs["confidence"].shape == (2, 3, 1)
    for wanted in ("landmarks", "confidence"):
        with pytest.raises(UserError, match=f"linear answers no {wanted}"):
            create_head("linear", TAPS, num_aus=A, rngs=nnx.Rngs(0), **{wanted: True})
