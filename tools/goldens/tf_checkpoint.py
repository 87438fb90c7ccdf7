"""Writes the TensorFlow checkpoint that the tests read: python tools/goldens/tf_checkpoint.py.

Needs TensorFlow. Variables of every kind that the reader tells apart, 2.5 kB in all.
"""

from pathlib import Path

import numpy as np
import tensorflow.compat.v1 as tf

OUT = Path(__file__).parents[2] / "tests" / "golden" / "tf_checkpoint"


def variables() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    return {
        "up1/weights": draw.standard_normal((4, 4, 5, 7)).astype(np.float32),
        "up1/BatchNorm/gamma": np.arange(5, dtype=np.float32),
        "half": np.arange(6, dtype=np.float16).reshape(2, 3),
        "scalar": np.float32(3.5),
        "global_step": np.int64(77),
    }


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    with tf.Graph().as_default(), tf.Session() as session:
        for name, value in variables().items():
            tf.get_variable(name, initializer=value)
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, str(OUT / "small.ckpt"), write_meta_graph=False)
    (OUT / "checkpoint").unlink()  # says where it was written


if __name__ == "__main__":
    main()
