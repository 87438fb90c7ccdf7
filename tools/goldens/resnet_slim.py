"""Makes tests/golden/resnet50_slim.npz with TensorFlow and TF-slim.

    python tools/goldens/resnet_slim.py

tf_slim's own resnet_v1_50 (arg scope with its defaults) with weights drawn by name, in inference:
the logits at 224 px and at an odd size. Names are TensorFlow's, "resnet_v1_50/conv1/weights";
weights and scales as in keras_nets.py.
"""

import re
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_slim as slim
from drawn import draw, draw_input, pack_shapes
from tf_keras.src.legacy_tf_layers import normalization
from tf_slim.nets import resnet_v1

# TensorFlow looks for it where older tf_keras had it.
sys.modules["tf_keras.legacy_tf_layers.normalization"] = normalization

FOLDER = Path(__file__).parents[2] / "tests" / "golden"
SIZES = (224, 183)
BATCH = 2
QUARTERED = r".*/conv3/BatchNorm/gamma"  # the last norm of a residual branch


def main() -> None:
    """Writes the file."""
    arrays = {}
    for size in SIZES:
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            x = tf.compat.v1.placeholder(tf.float32, (BATCH, size, size, 3))
            with slim.arg_scope(resnet_v1.resnet_arg_scope()):
                logits, _ = resnet_v1.resnet_v1_50(x, 1000, is_training=False)
            weights = tf.compat.v1.global_variables()
            shapes = {w.op.name: tuple(w.shape.as_list()) for w in weights}
            for weight in weights:
                name, shape = weight.op.name, shapes[weight.op.name]
                scale = 0.25 if re.fullmatch(QUARTERED, name) else 1.0
                value = (
                    draw(name, (shape[3], shape[2], *shape[:2])).transpose(2, 3, 1, 0)
                    if len(shape) == 4
                    else draw(name, shape)
                )
                weight.load(scale * value, session)
            answer = session.run(logits, {x: draw_input((BATCH, size, size, 3))})
            arrays[f"logits_{size}_BA"] = answer.reshape(BATCH, -1).astype(np.float32)
    path = FOLDER / "resnet50_slim.npz"
    scales = np.float32([0.25 if re.fullmatch(QUARTERED, k) else 1.0 for k in shapes])
    np.savez_compressed(path, **pack_shapes(shapes), scales=scales, **arrays)
    print(path.name, path.stat().st_size, *(a.std() for a in arrays.values()))


if __name__ == "__main__":
    main()
