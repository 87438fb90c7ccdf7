"""Makes tests/golden/{vgg16,resnet50}_keras.npz with Keras (any backend).

    KERAS_BACKEND=torch python tools/goldens/keras_nets.py

keras.applications' own VGG16 and ResNet50 with weights drawn by name, in inference: the logits at
224 px, and at an odd size the spatial mean of the last map (Keras' VGG16 has no logits at another
size than its dense layers were made for). Names are Keras' paths, "conv1_conv/kernel". Weights are
drawn in torch's layout and turned, because `drawn.draw` reads the fan-in there; `scales` as in
torchvision_nets.py. Keras reads B, G, R: the test turns the input round.
"""

import re
from pathlib import Path

import keras
import numpy as np
from drawn import draw, draw_input, pack_shapes

FOLDER = Path(__file__).parents[2] / "tests" / "golden"
SIZE, ODD = 224, 183
BATCH = 2
QUARTERED = r"conv\d_block\d_3_bn/gamma"  # the last norm of a residual branch


def kernel(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor in Keras' layout: H,W,I,O and I,O, drawn as O,I,H,W and O,I."""
    if len(shape) == 4:
        return draw(name, (shape[3], shape[2], *shape[:2])).transpose(2, 3, 1, 0)
    return draw(name, shape[::-1]).T


def fill(net: keras.Model) -> dict[str, tuple[int, ...]]:
    shapes = {w.path: tuple(w.shape) for w in net.weights}
    for weight in net.weights:
        scale = 0.25 if re.fullmatch(QUARTERED, weight.path) else 1.0
        weight.assign(scale * kernel(weight.path, tuple(weight.shape)))
    return shapes


def main() -> None:
    """Writes both files."""
    keras.config.set_floatx("float64")  # the truth: float32 errs by itself
    for name, make in (
        ("vgg16", keras.applications.VGG16),
        ("resnet50", keras.applications.ResNet50),
    ):
        net = make(weights=None, classifier_activation=None, input_shape=(SIZE, SIZE, 3))
        shapes = fill(net)
        logits = keras.ops.convert_to_numpy(
            net(draw_input((BATCH, SIZE, SIZE, 3)).astype(np.float64), training=False)
        )
        body = make(weights=None, include_top=False, pooling="avg", input_shape=(ODD, ODD, 3))
        fill(body)
        pooled = keras.ops.convert_to_numpy(
            body(draw_input((BATCH, ODD, ODD, 3)).astype(np.float64), training=False)
        )
        path = FOLDER / f"{name}_keras.npz"
        np.savez_compressed(
            path,
            **pack_shapes(shapes),
            scales=np.float32([0.25 if re.fullmatch(QUARTERED, k) else 1.0 for k in shapes]),
            logits_BA=logits.astype(np.float32),
            pooled_BC=pooled.astype(np.float32),
        )
        print(path.name, path.stat().st_size, logits.std(), pooled.std(), pooled.mean())


if __name__ == "__main__":
    main()
