"""The way to ONNX: rewritten programs say the same; onnxruntime does, where it is installed."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxfacs import models
from jaxfacs.cli import run_function
from jaxfacs.convert.command import function_of
from jaxfacs.convert.export import flat, write_bundle
from jaxfacs.convert.onnx import convert, rewritten
from jaxfacs.data.config import DataConfig
from jaxfacs.errors import UserError
from jaxfacs.infer import bundle, compiled
from jaxfacs.infer.bundle import InputSpec
from jaxfacs.ops import conv3d, depthwise_conv3d
from jaxfacs.train.config import Experiment, ModelConfig, to_json
from jaxfacs.train.state import create_module

RNG = np.random.default_rng(0)


def primitives(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple) else (value,):
                if hasattr(inner, "jaxpr"):
                    yield from primitives(inner.jaxpr)


@pytest.mark.parametrize("strides", [(1, 1, 1), (2, 2, 2), (1, 2, 2), (2, 1, 1)])
@pytest.mark.parametrize("frames", [4, 5])
def test_convolutions_over_time_become_sums_of_pictures(strides, frames):
    stem = RNG.normal(size=(3, 3, 3, 3, 6)).astype(np.float32)
    depthwise = RNG.normal(size=(3, 3, 3, 6)).astype(np.float32)
    point = RNG.normal(size=(1, 1, 1, 6, 5)).astype(np.float32)

    @jax.jit
    def function(x):
        y = jax.nn.relu6(conv3d(x, stem, strides))
        return {"b": conv3d(depthwise_conv3d(y, depthwise, strides), point), "a": y.sum()}

    x = RNG.normal(size=(2, frames, 7, 8, 3)).astype(np.float32)
    plain = rewritten(function)
    expected, answered = function(x), plain(x)
    for name, value in expected.items():
        np.testing.assert_allclose(answered[name], value, rtol=1e-4, atol=1e-4)
    for equation in primitives(jax.make_jaxpr(plain)(x).jaxpr):
        assert equation.primitive.name not in ("platform_index", "cond")
        if equation.primitive.name == "conv_general_dilated":
            assert equation.invars[0].aval.ndim == 4


def test_what_is_no_float32_bundle_of_a_network_is_refused(tmp_path):
    pytest.importorskip("jax2onnx", reason="jax2onnx has an environment of its own")

    def function(weights, frames):
        return {"probability": frames.astype(jnp.float32).mean((1, 2, 3))[:, :1] * weights["w"]}

    options = {
        "function": function,
        "weights": {"w": np.ones(1, np.float32)},
        "input": InputSpec(frames=1, size=4),
        "aus": ("1",),
    }
    path = write_bundle(tmp_path / "m.jaxfacs", **options)
    with pytest.raises(UserError, match="does not say how it was made"):
        convert(path, tmp_path / "m.onnx")
    path = write_bundle(tmp_path / "m.jaxfacs", precision={"name": "int8"}, **options)
    with pytest.raises(UserError, match="--precision float32"):
        convert(path, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


def test_without_the_library_the_page_is_named(tmp_path):
    try:
        import jax2onnx  # noqa: F401
    except ImportError:
        with pytest.raises(UserError, match=r"jax2onnx is not installed; docs/bundles\.md"):
            run_function(convert, ("onnx",), [str(tmp_path / "m.jaxfacs"), str(tmp_path / "o")])
    else:
        pytest.skip("jax2onnx is installed")


def mobilenet(*, per_frame):
    """A small 3D MobileNet in whose answers the input stays visible, and its weights."""
    model = ModelConfig(
        name="mobilenet3d_v1", width=0.2, per_frame=per_frame, intensity=True, emotion=True
    )
    names = {"aus": ("1", "12"), "emotions": ("neutral", "happy", "angry")}
    net = SimpleNamespace(experiment=Experiment(data=DataConfig(source=""), model=model), **names)

    def init():
        module = create_module(model, aus=net.aus, num_emotions=3, dtype="float32", seed=0)
        return models.split(module)[1:]

    params, stats = jax.jit(init)()
    # Small variances keep the signal of random weights alive, a narrow head keeps it unsaturated.
    stats = jax.tree.map(lambda s: s * 0.02 + np.float32(0.02 * RNG.random(s.shape)), stats)
    params = jax.tree.map(lambda p: p + np.float32(0.05 * RNG.standard_normal(p.shape)), params)
    params["head"] = jax.tree.map(lambda p: p * np.float32(3e-7), params["head"])
    return net, flat(params=params, stats=stats)


@pytest.mark.parametrize("per_frame", [False, True])
def test_onnxruntime_answers_as_the_bundle(tmp_path, capsys, per_frame):
    reason = "jax2onnx and onnxruntime have an environment of their own (docs/bundles.md)"
    pytest.importorskip("jax2onnx", reason=reason)
    onnxruntime = pytest.importorskip("onnxruntime", reason=reason)
    net, weights = mobilenet(per_frame=per_frame)
    path = write_bundle(  # not by `export`, which needs what reads records
        tmp_path / "m.jaxfacs",
        function=function_of(net, "float32", keep_emotion=True),
        weights=weights,
        input=InputSpec(frames=4, size=32, answers=(0, 1, 2, 3) if per_frame else (2,)),
        aus=net.aus,
        emotions=net.emotions,
        about={"experiment": to_json(net.experiment), "emotions": list(net.emotions)},
    )
    assert convert(path, tmp_path / "m.onnx") == 0
    assert "onnxruntime differs from the bundle by" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"))
    clips = RNG.integers(0, 256, (3, 4, 32, 32, 3), np.uint8)
    expected = compiled.network(bundle.read(path))(clips)
    assert np.std(expected["probability"], axis=0).max() > 3e-4  # the input matters
    assert {o.name for o in session.get_outputs()} == set(expected)
    for name, value in expected.items():
        answered = session.run([name], {"frames": clips})[0]
        np.testing.assert_allclose(answered, value, rtol=0, atol=1e-4)
