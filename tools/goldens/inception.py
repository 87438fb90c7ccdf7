"""Makes tests/golden/inception_{v3,v3_keras,v2}.npz with PyTorch, Keras and TF-slim.

    python tools/goldens/inception.py torchvision
    KERAS_BACKEND=torch python tools/goldens/inception.py keras
    python tools/goldens/inception.py slim

torchvision's own Inception V3 at 299 px and at a size that is odd and not square, that of
keras.applications at 139 px, and tf_slim's own Inception V2, with the arg scope that it comes with,
at 224 px and at an odd size; all in inference, the first two in float64. A file holds names and
shapes of the weights, the logits, and the spatial mean of a map from the middle. Weights are drawn
by name: TensorFlow's in torch's layout and turned, because `drawn.draw` reads the fan-in there.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from drawn import draw, draw_input, draw_state, pack_shapes

FOLDER = Path(__file__).parents[2] / "tests" / "golden"
BATCH, CLASSES = 2, 10


def save(name: str, shapes: dict[str, tuple[int, ...]], arrays: dict[str, np.ndarray]) -> None:
    path = FOLDER / f"{name}.npz"
    arrays = {key: value.astype(np.float32) for key, value in arrays.items()}
    np.savez_compressed(path, **pack_shapes(shapes), **arrays)
    print(path.name, path.stat().st_size, {k: v.std() for k, v in arrays.items()})


def turned(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor in TensorFlow's layout: H,W,I,O and I,O, drawn as O,I,H,W and O,I."""
    if len(shape) == 4:
        return draw(name, (shape[3], shape[2], *shape[:2])).transpose(2, 3, 1, 0)
    return draw(name, shape[::-1]).T


def torchvision() -> None:
    import torch
    import torchvision

    torch.set_grad_enabled(False)
    net: Any = torchvision.models.inception_v3(
        num_classes=CLASSES, aux_logits=False, init_weights=False
    )
    shapes = {k: tuple(v.shape) for k, v in net.state_dict().items() if "num_batches" not in k}
    state = {k: torch.from_numpy(v) for k, v in draw_state(shapes).items()}
    net.load_state_dict(state, strict=False)
    net = net.double().eval()
    seen: list[torch.Tensor] = []
    net.Mixed_6e.register_forward_hook(lambda _, __, y: seen.append(y))
    arrays = {}
    for height, width in ((299, 299), (187, 140)):
        x = draw_input((BATCH, height, width, 3)).transpose(0, 3, 1, 2)
        logits = net(torch.from_numpy(x.copy()).double())
        arrays[f"logits_{height}x{width}_BA"] = logits.numpy()
        arrays[f"middle_{height}x{width}_BC"] = seen[-1].mean((2, 3)).numpy()
    save("inception_v3", shapes, arrays)


def keras() -> None:
    import keras

    keras.config.set_floatx("float64")  # the truth: float32 errs by itself
    size = 139
    net = keras.applications.InceptionV3(
        weights=None,
        classes=CLASSES,
        classifier_activation=None,
        input_shape=(size, size, 3),
    )
    shapes = {w.path: tuple(w.shape) for w in net.weights}
    for weight in net.weights:
        weight.assign(turned(weight.path, shapes[weight.path]))
    both = keras.Model(net.input, [net.get_layer("mixed7").output, net.output])
    x = draw_input((BATCH, size, size, 3)).astype(np.float64)
    middle, logits = map(keras.ops.convert_to_numpy, both(x, training=False))
    save(
        "inception_v3_keras",
        shapes,
        {f"logits_{size}x{size}_BA": logits, f"middle_{size}x{size}_BC": middle.mean((1, 2))},
    )


def slim() -> None:
    import tensorflow as tf
    import tf_slim
    from tf_keras.src.legacy_tf_layers import normalization

    # TensorFlow looks for it where older tf_keras had it.
    sys.modules["tf_keras.legacy_tf_layers.normalization"] = normalization
    from tf_slim.nets import inception_v2

    arrays, shapes = {}, {}
    for height, width in ((224, 224), (131, 90)):
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            x = tf.compat.v1.placeholder(tf.float32, (BATCH, height, width, 3))
            with tf_slim.arg_scope(inception_v2.inception_v2_arg_scope()):
                logits, ends = inception_v2.inception_v2(x, CLASSES, is_training=False)
            weights = tf.compat.v1.global_variables()
            shapes = {w.op.name: tuple(w.shape.as_list()) for w in weights}
            for weight in weights:
                weight.load(turned(weight.op.name, shapes[weight.op.name]), session)
            pictures = draw_input((BATCH, height, width, 3))
            answer, middle = session.run([logits, ends["Mixed_4e"]], {x: pictures})
        label = f"{height}x{width}"
        arrays[f"logits_{label}_BA"] = answer
        arrays[f"middle_{label}_BC"] = middle.mean((1, 2))
    save("inception_v2", shapes, arrays)


if __name__ == "__main__":
    makers = {"torchvision": torchvision, "keras": keras, "slim": slim}
    if len(sys.argv) != 2 or sys.argv[1] not in makers:
        sys.exit(__doc__)
    makers[sys.argv[1]]()
