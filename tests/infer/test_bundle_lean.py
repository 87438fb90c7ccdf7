"""A bundle needs JAX, NumPy and OpenCV, and nothing of training; it is ready within a second."""

import json
import subprocess
import sys

SCRIPT = """
import json, sys, time

ALLOWED = {"jaxfacs", "jax", "jaxlib", "numpy", "cv2", "flatbuffers"}
ALLOWED |= {"ml_dtypes", "opt_einsum", "scipy"}  # JAX's own needs
refused = []

class Gate:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in ALLOWED and top not in sys.stdlib_module_names:
            refused.append(top)
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

import jax.numpy, jax.export, cv2, numpy
sys.meta_path.insert(0, Gate())
import jaxfacs

began = time.process_time()
predictor = jaxfacs.load(sys.argv[1])
load_s = time.process_time() - began
frames = numpy.load(sys.argv[2])
results = predictor.predict(frames, still=True)
print(json.dumps({"load_s": load_s, "faces": sum(len(r.faces) for r in results),
                  "refused": sorted(set(refused))}))
"""


def test_prediction_with_nothing_else_installed(bundles, frames, tmp_path):
    import numpy as np

    np.save(tmp_path / "frames.npy", np.stack(frames[:2]))
    words = [sys.executable, "-c", SCRIPT, str(bundles["full"]), str(tmp_path / "frames.npy")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["faces"] == 2
    assert found["load_s"] < 1  # of processor time: other work on the machine does not count
    training = {"flax", "optax", "orbax", "grain", "sklearn", "matplotlib", "tensorflow_datasets"}
    assert not training & set(found["refused"])
