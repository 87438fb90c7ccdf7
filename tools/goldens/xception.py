"""Makes tests/golden/xception.npz with Keras (any backend).

    KERAS_BACKEND=torch python tools/goldens/xception.py

keras.applications' own Xception in inference, in float64, at 96 px and at an odd size: what a
classifier on it answers (its own takes one size) and the spatial mean in the middle flow. Names are
Keras' paths, "block2_sepconv1/depthwise_kernel". Weights are drawn in torch's layout and turned,
because `drawn.draw` reads the fan-in there. `scales` multiplies them so that activations stay near
1: depthwise kernels, whose fan-in is 9, by half the root of their channels, and the last norm of a
residual branch by a quarter.
"""

import re
from pathlib import Path

import keras
import numpy as np
from drawn import draw, draw_input, pack_shapes

FOLDER = Path(__file__).parents[2] / "tests" / "golden"
SIZES = (96, 107)
BATCH, CLASSES = 2, 10
QUARTERED = r"block([5-9]|1[0-2])_sepconv3_bn/gamma"
MIDDLE = "block8_sepconv1_act"  # reads the sum that block 7 answers, before its ReLU


def scale(name: str, shape: tuple[int, ...]) -> float:
    if name.endswith("depthwise_kernel"):
        return 0.5 * float(np.sqrt(shape[2]))
    return 0.25 if re.fullmatch(QUARTERED, name) else 1.0


def kernel(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor in Keras' layout: H,W,I,O and I,O, drawn as O,I,H,W and O,I."""
    if len(shape) == 4:
        return draw(name, (shape[3], shape[2], *shape[:2])).transpose(2, 3, 1, 0)
    return draw(name, shape[::-1]).T


def main() -> None:
    """Writes the file."""
    keras.config.set_floatx("float64")  # the truth: float32 errs by itself
    body = keras.applications.Xception(
        weights=None, include_top=False, pooling="avg", input_shape=(None, None, 3)
    )
    logits = keras.layers.Dense(CLASSES, name="predictions")(body.output)
    net = keras.Model(body.input, [body.get_layer(MIDDLE).input, logits])
    shapes = {w.path: tuple(w.shape) for w in net.weights}
    scales = {name: scale(name, shape) for name, shape in shapes.items()}
    for weight in net.weights:
        weight.assign(scales[weight.path] * kernel(weight.path, shapes[weight.path]))
    arrays = {}
    for size in SIZES:
        x = draw_input((BATCH, size, size, 3)).astype(np.float64)
        middle, logits = map(keras.ops.convert_to_numpy, net(x, training=False))
        arrays[f"logits_{size}_BA"] = logits.astype(np.float32)
        arrays[f"middle_{size}_BC"] = middle.mean((1, 2)).astype(np.float32)
    path = FOLDER / "xception.npz"
    np.savez_compressed(
        path, **pack_shapes(shapes), scales=np.float32(list(scales.values())), **arrays
    )
    print(path.name, path.stat().st_size, {k: v.std() for k, v in arrays.items()})


if __name__ == "__main__":
    main()
