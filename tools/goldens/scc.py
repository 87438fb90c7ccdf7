"""Makes tests/golden/scc.npz with TensorFlow, TF-slim and EvelynFan/FAU.

    python tools/goldens/scc.py PATH/OF/FAU

Runs the original's own functions with weights drawn by name, in inference, at the one size that
they are written for (256 px): the whole network, and its head on a drawn map (TensorFlow's
convolutions, the graphs in the "reshaped" layout); its drawing of target heatmaps; and its reading
of maps. The layout of the paper, whose nodes are channels, is not in that code: a plain numpy form
of the graph convolution, written from the paper's text, stands for it.

The original is TensorFlow 1.14: `stand_in` makes the modules it wants out of today's.
"""

import sys
import types
from pathlib import Path

import numpy as np
import tensorflow
import tf_slim
from drawn import draw, draw_input, pack_shapes
from tf_keras.src.legacy_tf_layers import normalization

# TensorFlow looks for it where older tf_keras had it.
sys.modules["tf_keras.legacy_tf_layers.normalization"] = normalization
tf = tensorflow.compat.v1
tf.disable_v2_tensorshape()  # the code asks dimensions for their `value`

PATH = Path(__file__).parents[2] / "tests" / "golden" / "scc.npz"
SIZE, MAP, MAPS = 256, 64, 10
STEP = 5  # every fifth row and column of the heatmaps is kept
# Places that are one landmark each: AU 1, 10, 12.
LANDMARKS = (21, 22, 49, 53, 48, 54)
NODES, DIM, K = 24, 36, 7  # of the graph convolution on its own


def main(repository: Path) -> None:
    """Writes the file."""
    stand_in(repository)
    import basemodel
    import model_graph

    arrays, shapes = {}, {}
    graph = model_graph.Model_graph.__new__(model_graph.Model_graph)
    with tf.Graph().as_default(), tf.Session() as session:
        image = tf.placeholder(tf.float32, (1, SIZE, SIZE, 3))
        seen = basemodel.resnet50(image, False, bn_trainable=True)
        maps = graph.head_net(seen, False)
        for weight in tf.global_variables():
            name, shape = weight.op.name, tuple(weight.shape.as_list())
            shapes[name] = shape
            weight.load(turned(name, shape), session)
        answer = session.run(maps, {image: draw_input((1, SIZE, SIZE, 3))})
        arrays["network_NhwP"] = answer[:, ::STEP, ::STEP]
        x = np.maximum(draw_input((2, 8, 8, 2048), seed=8), 0.0)
        for n in range(2):  # the code's batch size is the placeholder's
            arrays[f"head_{n}_NhwP"] = session.run(maps, {seen[-1]: x[n : n + 1]})[
                :, ::STEP, ::STEP
            ]
    arrays |= graphs() | drawing(graph) | reading()
    scales = np.float32([scale(name) for name in shapes])
    np.savez_compressed(PATH, **pack_shapes(shapes), scales=scales, **arrays)
    print(PATH.name, PATH.stat().st_size, {k: (v.shape, v.std()) for k, v in arrays.items()})


def turned(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor in TensorFlow's layout, drawn in torch's, where `draw` reads the fan-in."""
    if len(shape) < 4:
        return scale(name) * draw(name, shape)
    h, w, i, o = shape
    return scale(name) * draw(name, (o, i, h, w)).transpose(2, 3, 1, 0)


def scale(name: str) -> np.float32:
    """A residual branch ends at a quarter: sixteen sums of whole ones would grow without end."""
    return np.float32(0.25 if name.endswith("bottleneck_v1/conv3/BatchNorm/gamma") else 1.0)


def graphs() -> dict[str, np.ndarray]:
    """One graph convolution in numpy, float64, with BatchNorm's statistics given or its own."""
    nodes = draw_input((2, NODES, DIM), seed=9).astype(np.float64)
    kernel = draw("scc/kernel", (DIM, 2 * DIM)).T.astype(np.float64)
    gain, bias, mean, var = (
        draw(f"scc/{part}", (DIM,)).astype(np.float64)
        for part in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    distance = np.square(nodes[:, :, None] - nodes[:, None]).sum(-1)
    near = np.argsort(distance, axis=-1, kind="stable")[..., :K]
    neighbours = np.stack([rows[at] for rows, at in zip(nodes, near, strict=True)])
    central = np.broadcast_to(nodes[:, :, None], neighbours.shape)
    edges = np.concatenate([central, neighbours - central], -1) @ kernel

    def answer(mean, var):
        normal = (edges - mean) / np.sqrt(var + 1e-9) * gain + bias
        return np.maximum(normal, 0.0).max(axis=2).astype(np.float32)

    own = edges.mean((0, 1, 2)), edges.var((0, 1, 2))
    return {"scc_inference_Nnd": answer(mean, var), "scc_training_Nnd": answer(*own)}


def drawing(graph) -> dict[str, np.ndarray]:
    """Target heatmaps of the original for six places."""
    landmarks = np.random.default_rng(10).uniform(20, 236, (2, 68, 2)).astype(np.float32)
    intensity = np.float32([[3, 0, 5], [1.5, 2, 4]])  # of AU 1, 10, 12
    import model_graph

    model_graph.cfg.num_AU_points = len(LANDMARKS)
    with tf.Graph().as_default(), tf.Session() as session:
        coord = tf.constant(landmarks[:, LANDMARKS])
        maps = session.run(graph.render_gaussian_heatmap(coord, (MAP, MAP), 2))
    model_graph.cfg.num_AU_points = MAPS
    maps = maps * np.repeat(intensity, 2, axis=1)[:, None, None]
    return {"targets_NhwP": maps[:, ::STEP, ::STEP].astype(np.float32)}


def reading() -> dict[str, np.ndarray]:
    """Intensity and place of every map by the original's `test_net`."""
    import test as original

    maps = draw_input((4, MAP, MAP, MAPS), seed=11) * np.float32(255.0)
    maps[0, 0, 5, 0] = maps[0, 63, 40, 1] = maps[0, 1, 30, 2] = 2000.0  # at and near the border
    maps[0, 62, 30, 3] = maps[0, 30, 62, 4] = maps[0, 2, 2, 5] = 2000.0
    tester = types.SimpleNamespace(predict_one=lambda _, i: [maps[i : i + 1]])
    rows = original.test_net(tester, [{}] * len(maps))[-len(maps) :]  # it tells all each time
    table = np.array([row["AUs"] for row in rows], np.float32)
    return {"read_NP3": table}


def stand_in(repository: Path) -> None:
    """Puts modules in the places where the original looks for them."""
    cfg = types.SimpleNamespace(
        num_AU_points=MAPS,
        input_shape=(SIZE, SIZE),
        output_shape=(MAP, MAP),
        weight_decay=1e-5,
        bn_train=True,
        test_batch_size=1,
        batch_size=1,
        sigma=2,
        backbone="resnet50",
    )
    contrib = types.SimpleNamespace(slim=tf_slim, layers=tf_slim)
    tf.contrib = contrib
    tf_slim.batch_norm = tf_slim.layers.batch_norm
    whole = [0, 0, SIZE, SIZE]
    made = {
        "config": {"cfg": cfg},
        "base": {"ModelDesc": object, "Tester": object},
        "logger": {"colorlogger": None},
        "functions": {"generate_batch": lambda *_, **__: (np.zeros(1), np.array(whole))},
        "datasets": {"DISFA": None, "BP4D": None},
        "matplotlib": {},
        "matplotlib.pyplot": {},
        "tensorflow.contrib": {"slim": tf_slim, "layers": tf_slim, "framework": tf_slim},
        "tensorflow.contrib.slim": vars(tf_slim),
        "tensorflow.contrib.framework": {},
        "tensorflow.contrib.framework.python": {},
        "tensorflow.contrib.framework.python.ops": {
            "arg_scope": tf_slim.arg_scope,
            "add_arg_scope": tf_slim.add_arg_scope,
        },
        "tensorflow.contrib.layers": {},
        "tensorflow.contrib.layers.python": {},
        "tensorflow.contrib.layers.python.layers": {
            "layers": tf_slim.layers,
            "utils": tf_slim.utils,
            "regularizers": tf_slim.regularizers,
            "initializers": tf_slim.initializers,
        },
    }
    sys.modules["tensorflow"] = tf
    for name, parts in made.items():
        module = types.ModuleType(name)
        module.__dict__.update({k: v for k, v in parts.items() if not k.startswith("__")})
        sys.modules[name] = module
    sys.path[:0] = [str(repository), str(repository / "lib")]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
