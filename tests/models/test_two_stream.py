"""Two streams and their fusion; flow stacks against OpenCV's flow."""

import importlib
import itertools

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export
from tiny_backbone import create_tiny

from jaxfacs import models
from jaxfacs.errors import UserError
from jaxfacs.models.flow_input import FARNEBACK, FlowStack, flow_stack, grey

MEAN, STD = models.NORMALISATIONS["imagenet"]
B, T, SIZE, A = 2, 4, 40, 3


@pytest.fixture(scope="module")
def frames():
    """Clips (B, T, H, W, 3) uint8 of a texture that drifts and turns."""
    rng = np.random.default_rng(0)
    clips = []
    for c in range(B):
        large = cv2.GaussianBlur(rng.uniform(0, 255, (80, 80, 3)).astype(np.float32), (0, 0), 2.0)
        large = np.clip((large - 127.5) * 5 + 127.5, 0, 255)
        for t in range(T):
            turn = cv2.getRotationMatrix2D((40, 40), 2.0 * t * (c + 1), 1.0)
            turn[:, 2] += (0.8 * t, -0.5 * t)
            clips.append(cv2.warpAffine(large, turn, (80, 80))[20:60, 20:60])
    return np.round(clips).astype(np.uint8).reshape(B, T, SIZE, SIZE, 3)


@pytest.fixture(scope="module")
def x_BTHWC(frames):
    return (frames.astype(np.float32) - np.float32(MEAN)) / np.float32(STD)


@pytest.fixture(scope="module", autouse=True)
def tiny_backbones():
    """AlexNet's 60 million parameters are made in test_every_model."""
    with pytest.MonkeyPatch.context() as patch:
        module = importlib.import_module("jaxfacs.models.two_stream")
        patch.setattr(module, "create_backbone", create_tiny)
        yield


def made(seed: int = 0, **options):
    options = {"num_aus": A, "normalisation": "imagenet", **options}
    return models.split(models.create("two_stream", rngs=nnx.Rngs(seed), **options))


def answer(split, x, *, params=None, train=False):
    graphdef, own, stats = split
    key = jax.random.key(0) if train else None
    return jax.jit(
        lambda p, s, x: models.apply(graphdef, p, s, x, train=train, dropout_key=key)[0]
    )(own if params is None else params, stats, x)


def test_grey_is_opencvs(frames, x_BTHWC):
    noise = np.random.default_rng(1).integers(0, 256, frames.shape, np.uint8)
    for pictures in (frames, noise):
        x = (pictures.astype(np.float32) - np.float32(MEAN)) / np.float32(STD)
        expected = [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for clip in pictures for f in clip]
        found = np.asarray(grey(x, mean=MEAN, std=STD))
        np.testing.assert_array_equal(found.reshape(-1, SIZE, SIZE), expected)


@pytest.fixture(scope="module")
def opencv_flow(frames):
    """(B, T-1, H, W, 2) pixels."""
    order = ("pyr_scale", "levels", "winsize", "iterations", "poly_n", "poly_sigma")
    options = [FARNEBACK[name] for name in order]
    flows = []
    for clip in frames:
        levels = [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in clip]
        flows.append(
            [
                cv2.calcOpticalFlowFarneback(a, b, None, *options, 0)
                for a, b in itertools.pairwise(levels)
            ]
        )
    return np.array(flows)


@pytest.mark.parametrize("borders", ["zero", "repeat"])
@pytest.mark.parametrize("components", ["x", "y", "magnitude", "xy"])
def test_stack_holds_the_flows_around_each_frame(x_BTHWC, opencv_flow, components, borders):
    stack = FlowStack(components, preceding=2, succeeding=3, borders=borders, limit=4.0)
    found = flow_stack(x_BTHWC, stack, mean=MEAN, std=STD)
    assert found.shape == (B, T, SIZE, SIZE, stack.channels)
    parts = {
        "x": [opencv_flow[..., 0]],
        "y": [opencv_flow[..., 1]],
        "xy": [opencv_flow[..., 0], opencv_flow[..., 1]],
        "magnitude": [np.hypot(opencv_flow[..., 0], opencv_flow[..., 1])],
    }[components]
    for t in range(T):
        channels = []
        for part in parts:
            for i in range(t - 2, t + 3):
                known = 0 <= i < T - 1
                zero = borders == "zero" and not known
                flow = part[:, min(max(i, 0), T - 2)] / 4.0
                channels.append(0 * flow if zero else np.clip(flow, -1, 1))
        expected = np.stack(channels, -1)
        np.testing.assert_allclose(found[:, t], expected, atol=2e-3)
        assert np.median(np.abs(found[:, t] - expected)) < 1e-5
    alone = flow_stack(x_BTHWC, stack, mean=MEAN, std=STD, frame=1)
    np.testing.assert_allclose(alone[:, 0], found[:, 1], atol=1e-5)


def test_default_stack_is_the_papers():
    assert FlowStack().channels == 10 and FlowStack().flows == 10
    assert FlowStack("xy", preceding=2, succeeding=3).channels == 10
    assert FlowStack("xy").channels == 20


def test_average_is_of_the_probabilities_of_single_streams(x_BTHWC):
    options = {"intensity": True, "num_emotions": 4, "valence_arousal": True}
    both = made(**options)
    outputs = answer(both, x_BTHWC)
    single = [
        answer(made(streams=streams, **options), x_BTHWC, params={name: both[1][name]})
        for streams, name in (("rgb", "spatial"), ("flow", "temporal"))
    ]
    assert outputs["occurrence"].shape == (B, A)
    assert np.abs(single[0]["occurrence"] - single[1]["occurrence"]).max() > 1e-3
    of = {
        "occurrence": jax.nn.sigmoid,
        "emotion": jax.nn.softmax,
        "intensity": lambda v: v,
        "valence_arousal": lambda v: v,
    }
    assert outputs.keys() == of.keys()
    for name, scale in of.items():
        mean = (scale(single[0][name]) + scale(single[1][name])) / 2
        np.testing.assert_allclose(scale(outputs[name]), mean, atol=1e-6)


def test_learned_weights_begin_even_and_can_choose_a_stream(x_BTHWC):
    weighted = made(fusion="weights")
    graphdef, params, stats = weighted
    even = answer(made(), x_BTHWC, params={k: v for k, v in params.items() if k != "fusion"})
    np.testing.assert_allclose(answer(weighted, x_BTHWC)["occurrence"], even["occurrence"], 1e-5)
    chosen = {**params, "fusion": {"weight": jnp.array([[30.0, 0.0, -30.0], [0.0, 0.0, 0.0]])}}
    found = answer(weighted, x_BTHWC, params=chosen)["occurrence"]
    rgb = answer(made(streams="rgb"), x_BTHWC, params={"spatial": params["spatial"]})["occurrence"]
    flow = answer(made(streams="flow"), x_BTHWC, params={"temporal": params["temporal"]})
    np.testing.assert_allclose(found[:, 0], rgb[:, 0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[:, 2], flow["occurrence"][:, 2], rtol=1e-4, atol=1e-6)

    def loss(params):
        return models.apply(graphdef, params, stats, x_BTHWC, train=False)[0]["occurrence"].sum()

    assert np.abs(jax.jit(jax.grad(loss))(params)["fusion"]["weight"]).min() > 0


@pytest.mark.parametrize("fusion", ["average", "fc"])
def test_per_frame_answers_are_those_of_each_frame(x_BTHWC, fusion):
    split = made(fusion=fusion, per_frame=True)
    found = answer(split, x_BTHWC)["occurrence"]
    assert found.shape == (B, T, A)
    centre = answer(made(fusion=fusion), x_BTHWC, params=split[1])["occurrence"]
    np.testing.assert_allclose(centre, found[:, T // 2], atol=1e-5)


def test_stored_flow_is_taken_as_it_is(x_BTHWC):
    split = made(per_frame=True)
    flow = flow_stack(x_BTHWC, FlowStack(), mean=MEAN, std=STD)
    with_flow = np.concatenate([x_BTHWC, flow], -1)
    expected = answer(split, x_BTHWC)["occurrence"]
    np.testing.assert_allclose(answer(split, with_flow)["occurrence"], expected, atol=1e-5)


def test_frozen_keeps_the_spatial_backbone_alone(x_BTHWC):
    graphdef, params, stats = made(fusion="fc", frozen=True)

    def loss(params):
        outputs, new = models.apply(graphdef, params, stats, x_BTHWC, train=True)
        return jnp.square(outputs["occurrence"]).sum(), new

    gradient, new = jax.jit(jax.grad(loss, has_aux=True))(params)
    largest = jax.tree.map(lambda g: float(jnp.abs(g).max()), gradient)
    assert not any(jax.tree.leaves(largest["spatial"]["backbone"]))
    assert all(jax.tree.leaves(largest["temporal"])) and all(jax.tree.leaves(largest["fusion"]))
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), new, stats)
    assert not any(jax.tree.leaves(moved["spatial"])) and all(jax.tree.leaves(moved["temporal"]))


@pytest.mark.parametrize("fusion", ["average", "weights", "fc"])
def test_exports_for_any_batch_size(x_BTHWC, fusion):
    graphdef, params, stats = split = made(fusion=fusion)
    (batch,) = export.symbolic_shape("b")
    form = jax.ShapeDtypeStruct((batch, *x_BTHWC.shape[1:]), jnp.float32)
    exported = export.export(
        jax.jit(lambda x: models.apply(graphdef, params, stats, x, train=False)[0])
    )(form)
    found = exported.call(x_BTHWC)["occurrence"]
    np.testing.assert_allclose(found, answer(split, x_BTHWC)["occurrence"], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"streams": "sound"}, "streams 'sound'"),
        ({"fusion": "early"}, "fusion 'early'"),
        ({"streams": "rgb", "fusion": "fc"}, "nothing to fuse"),
        ({"fusion": "fc", "fusion_width": 0}, "fusion_width 0"),
        ({"components": "z"}, "components 'z'"),
        ({"borders": "mirror"}, "borders 'mirror'"),
        ({"preceding": 0, "succeeding": 0}, "no channel"),
        ({"flow_limit": 0.0}, "limit 0.0"),
        ({"normalisation": "none"}, "no normalisation 'none'"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_wrong_options_are_refused(options, words):
    with pytest.raises(UserError, match=words):
        made(**options)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 1, 16, 16, 3), "2 frames or more"),
        ((1, 2, 16, 16, 4), "13 channels"),
        ((1, 2, 6, 6, 3), "too small"),
    ],
)
def test_wrong_clips_are_refused(shape, words):
    with pytest.raises(UserError, match=words):
        answer(made(), np.zeros(shape, np.float32))
