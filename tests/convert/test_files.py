"""Readers of weight files: what is whole is read, what is not is one line, and nothing is run."""

import json
import pickle
import struct
import sys
import zipfile
from pathlib import Path

import h5py
import lua
import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy.io import savemat

from jaxfacs.convert import files, files_keras, files_mat, files_plain
from jaxfacs.data.crc32c import crc32c
from jaxfacs.errors import UserError

GOLDEN = Path(__file__).parents[1] / "golden" / "tf_checkpoint"
WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        files.read(path)
    text = str(caught.value)
    assert "\n" not in text and path.name.partition(".")[0] in text
    return text


def every_start_is_refused(path: Path, tmp_path: Path, *, parts: int = 23) -> None:
    """A file cut anywhere is refused, not read in part."""
    whole = path.read_bytes()
    cut = tmp_path / f"cut{''.join(path.suffixes)}"
    for size in sorted({1, 7, *(len(whole) * i // parts for i in range(1, parts)), len(whole) - 1}):
        cut.write_bytes(whole[:size])
        refusal(cut)


# --- any file -------------------------------------------------------------------------------------


def test_what_is_no_file_of_weights_is_named(tmp_path):
    empty, text = tmp_path / "empty.pth", tmp_path / "notes.txt"
    empty.touch()
    text.write_text("no weights")
    keras = tmp_path / "model.keras"
    keras.write_bytes(b"PK\x03\x04")
    assert "is a folder" in refusal(tmp_path)
    assert "does not exist" in refusal(tmp_path / "missing.pth")
    assert "is empty" in refusal(empty)
    assert "of no known kind" in refusal(text)
    assert "save_weights" in refusal(keras)
    matlab = tmp_path / "net.mat"
    matlab.write_bytes(b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n")
    assert "-v7" in refusal(matlab)


def test_types_are_made_float32_and_bad_numbers_refused(tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, half=WEIGHT.astype(np.float16), double=WEIGHT.astype(np.float64), n=np.int64(3))
    read = files.read(path)
    assert {k: v.dtype.name for k, v in read.tensors.items()} == {
        "half": "float32",
        "double": "float32",
        "n": "int64",
    }
    assert read.format == "NumPy" and read.name == "weights.npz" and len(read.sha256) == 64
    np.savez(path, good=WEIGHT, bad=np.float32([1, np.nan]), worse=np.float64([1e300]))
    with np.errstate(over="ignore"):
        assert "not finite: bad, worse" in refusal(path)
    np.savez(path, text=np.array(["a"]))
    assert "text is of type" in refusal(path)
    np.savez(path)
    assert "no tensors" in refusal(path)


def test_size_is_bounded(tmp_path, monkeypatch):
    path = tmp_path / "weights.npz"
    np.savez_compressed(path, zeros=np.zeros(1 << 20, np.float32))
    monkeypatch.setattr(files_plain, "MAX_BYTES", 1 << 20)
    assert "would unpack" in refusal(path)
    monkeypatch.setattr(files, "MAX_BYTES", 100)
    assert "more than any published" in refusal(path)


def test_a_numpy_file_with_objects_is_not_unpickled(tmp_path):
    path, mark = tmp_path / "evil.npz", tmp_path / "mark"
    np.savez(path, evil=np.array([Evil(mark)], dtype=object))
    refusal(path)
    assert not mark.exists()


# --- safetensors ----------------------------------------------------------------------------------


def test_safetensors(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"a.weight": WEIGHT, "b": np.int64([1])}, path)
    read = files.read(path)
    np.testing.assert_array_equal(read.tensors["a.weight"], WEIGHT)
    every_start_is_refused(path, tmp_path)
    header = json.dumps({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}})
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode())
    refusal(path)


# --- PyTorch --------------------------------------------------------------------------------------


class Evil:
    """A pickle of it makes a file when it is loaded without care."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return open, (str(self.mark), "w")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrap", [None, "state_dict", "model", "net"])
def test_torch_state_dicts_are_found(tmp_path, zipped, wrap):
    torch = pytest.importorskip("torch")
    path = tmp_path / "weights.pth.tar"
    state = {"a.weight": torch.tensor(WEIGHT).half(), "n": torch.tensor(3)}
    saved = {wrap: state, "epoch": 3, "optimizer": {"lr": 0.1}} if wrap else state
    torch.save(saved, path, _use_new_zipfile_serialization=zipped)
    tensors = files.read(path).tensors
    assert tensors.keys() == {"a.weight", "n"}
    np.testing.assert_array_equal(tensors["a.weight"], WEIGHT)
    every_start_is_refused(path, tmp_path, parts=5)


def test_torch_files_with_code_are_refused_and_not_run(tmp_path):
    torch = pytest.importorskip("torch")
    path, mark = tmp_path / "evil.pth", tmp_path / "mark"
    torch.save({"state_dict": {"a": torch.ones(2)}, "extra": Evil(mark)}, path)
    assert "holds code (" in refusal(path) and "never run" in refusal(path)
    path.write_bytes(pickle.dumps(Evil(mark)))
    refusal(path)
    torch.save(torch.nn.Linear(2, 2), path)
    assert "holds code (torch.nn.modules.linear.Linear)" in refusal(path)
    assert not mark.exists()


def test_torch_files_without_plain_tensors(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "weights.pth"
    for saved, told in (
        ([torch.ones(2)], "holds a list"),
        ({"state_dict": {"epoch": 3}}, "no tensors"),
        ({"a": torch.ones(2, dtype=torch.complex64)}, "complex"),
        ({"a": torch.eye(2).to_sparse()}, "sparse"),
    ):
        torch.save(saved, path)
        assert told in refusal(path)


def test_without_torch_the_remedy_is_told(tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/data.pkl", b"")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "pip install torch" in refusal(path) and "safetensors" in refusal(path)


# --- Keras ----------------------------------------------------------------------------------------


def write_legacy(root, layers: dict[str, dict[str, np.ndarray]]) -> None:
    root.attrs["layer_names"] = [name.encode() for name in layers]
    for layer, arrays in layers.items():
        group = root.create_group(layer)
        group.attrs["weight_names"] = [name.encode() for name in arrays]
        for name, array in arrays.items():
            group[name] = array


@pytest.mark.parametrize("inside", ["", "model_weights"])
def test_keras_1_and_2(tmp_path, inside):
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        layers = {
            "conv": {"conv/kernel:0": WEIGHT, "conv/bias:0": WEIGHT[0]},
            "old": {"old_W:0": WEIGHT, "old_b:0": WEIGHT[0]},
            "norm": {"norm_gamma:0": WEIGHT[0], "norm_running_std:0": WEIGHT[1]},
            "pool": {},
        }
        write_legacy(file.create_group(inside) if inside else file, layers)
    tensors = files.read(path).tensors
    assert tensors.keys() == {
        *("conv/kernel", "conv/bias", "old/kernel", "old/bias"),
        *("norm/gamma", "norm/moving_variance"),
    }
    np.testing.assert_array_equal(tensors["old/kernel"], WEIGHT)
    every_start_is_refused(path, tmp_path, parts=5)


def test_keras_3(tmp_path):
    path = tmp_path / "net.weights.h5"
    vector = WEIGHT[0]
    layers = {
        "conv2d": ("stem", [WEIGHT[None, None], vector]),
        "separable_conv2d": ("sep", [WEIGHT[None, None], WEIGHT[None, None]]),
        "batch_normalization": ("norm", [vector] * 4),
        "batch_normalization_1": ("unscaled", [vector] * 3),
        "dense": ("predictions", [WEIGHT, vector]),
        "flatten": ("flatten", []),
    }
    with h5py.File(path, "w") as file:
        for key, (name, arrays) in layers.items():
            group = file.create_group(f"layers/{key}/vars")
            group.attrs["name"] = name
            for i, array in enumerate(arrays):
                group[str(i)] = array
    assert files.read(path).tensors.keys() == {
        *("stem/kernel", "stem/bias", "sep/depthwise_kernel", "sep/pointwise_kernel"),
        *("norm/gamma", "norm/beta", "norm/moving_mean", "norm/moving_variance"),
        *("unscaled/beta", "unscaled/moving_mean", "unscaled/moving_variance"),
        *("predictions/kernel", "predictions/bias"),
    }


def test_keras_files_that_are_something_else(tmp_path, monkeypatch):
    path, other = tmp_path / "weights.h5", tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["data"] = WEIGHT
    assert "without Keras weights" in refusal(path)
    with h5py.File(other, "w") as file:
        file["kernel:0"] = WEIGHT
    with h5py.File(path, "w") as file:
        write_legacy(file, {"conv": {}})
        file["conv"].attrs["weight_names"] = [b"kernel:0"]
        file["conv/kernel:0"] = h5py.ExternalLink(str(other), "kernel:0")
    assert "points into another file" in refusal(path)
    with h5py.File(path, "w") as file:
        write_legacy(file, {"conv": {}})
        file["conv"].attrs["weight_names"] = [b"kernel:0"]
    assert "announced but not there" in refusal(path)
    with h5py.File(path, "w") as file:
        write_legacy(file, {"conv": {"kernel:0": WEIGHT}})
    monkeypatch.setattr(files_keras, "MAX_BYTES", 10)
    assert "too large" in refusal(path)


# --- Torch7 ---------------------------------------------------------------------------------------


def write_lua(path: Path, value) -> Path:
    path.write_bytes(lua.Writer().value(value))
    return path


def test_torch7(tmp_path):
    """Layers by place, a transposed view of a shared storage, gradients left out."""
    shared = np.arange(12, dtype=np.float32)
    net = lua.sequential(
        lua.Layer(
            "nn.SpatialConvolution",
            weight=lua.tensor(WEIGHT),
            gradWeight=lua.tensor(WEIGHT),
            bias=lua.Strided(shared, (3,), (1,), start=2),
            train=False,
            kW=3,
        ),
        lua.Layer("nn.ReLU", inplace=True, output=None),
        lua.sequential(lua.Layer("nn.Linear", weight=lua.Strided(shared, (4, 3), (1, 4)))),
    )
    path = write_lua(tmp_path / "net.t7", net)
    tensors = files.read(path).tensors
    assert tensors.keys() == {"0/weight", "0/bias", "2/0/weight"}
    np.testing.assert_array_equal(tensors["0/weight"], WEIGHT)
    np.testing.assert_array_equal(tensors["0/bias"], [2, 3, 4])
    np.testing.assert_array_equal(tensors["2/0/weight"], WEIGHT.T)
    every_start_is_refused(path, tmp_path, parts=60)


def test_torch7_files_that_are_bad(tmp_path):
    path = tmp_path / "net.t7"
    function = struct.pack("<iii", 6, 9, 4) + b"code"
    assert "Lua function" in refusal(write_lua(path, {"forward": function}))
    outside = lua.Strided(np.zeros(4, np.float32), (4,), (2,))
    assert "beyond its storage" in refusal(write_lua(path, {"weight": outside}))
    # Strides of 0 would make much of little.
    many = lua.Strided(np.zeros(4, np.float32), (1 << 20, 1 << 20), (0, 0))
    assert "beyond its storage" in refusal(write_lua(path, {"weight": many}))
    deep: dict = {}
    for _ in range(100):
        deep = {"a": deep}
    assert "nested deeper" in refusal(write_lua(path, deep))
    itself: dict = {}
    itself["modules"] = {1.0: itself}
    refusal(write_lua(path, itself))
    path.write_bytes(b"4\n1\n3\nV 1\n13\nnn.Sequential\n")  # the ASCII form
    assert "not a Torch7 binary file" in refusal(path)
    huge = struct.pack("<iii", 4, 1, 3) + b"V 1" + struct.pack("<i", 18)
    path.write_bytes(huge + b"torch.FloatStorage" + struct.pack("<q", 1 << 60))
    assert "ends too early" in refusal(path)


# --- MatConvNet -----------------------------------------------------------------------------------


def matconvnet(**first) -> dict:
    cells = np.empty((1, 2), object)
    cells[0, 0] = {"name": "conv1_1", "type": "conv", **first}
    cells[0, 1] = {"name": "relu1_1", "type": "relu"}
    return cells


def test_matconvnet(tmp_path):
    path = tmp_path / "net.mat"
    kernel, bias = np.random.default_rng(0).random((3, 3, 3, 5)), np.ones((1, 5), np.float32)
    pair = np.empty((1, 2), object)
    pair[0, 0], pair[0, 1] = kernel, bias
    for variables in (
        {"layers": matconvnet(weights=pair)},
        {"layers": matconvnet(filters=kernel, biases=bias)},
        {"net": {"layers": matconvnet(weights=pair)}},
    ):
        savemat(path, variables, do_compression=True)
        tensors = files.read(path).tensors
        assert tensors.keys() == {"conv1_1/kernel", "conv1_1/bias"}
        np.testing.assert_allclose(tensors["conv1_1/kernel"], kernel, rtol=1e-6)
        assert tensors["conv1_1/bias"].shape == (5,)
    every_start_is_refused(path, tmp_path, parts=7)


def test_matlab_files_that_are_something_else(tmp_path, monkeypatch):
    path = tmp_path / "net.mat"
    savemat(path, {"data": WEIGHT})
    assert "no `layers`" in refusal(path)
    savemat(path, {"layers": matconvnet(filters=np.zeros((100, 100, 3, 9)))}, do_compression=True)
    monkeypatch.setattr(files_mat, "MAX_BYTES", 1 << 20)
    assert path.stat().st_size < 1 << 16 and "would unpack" in refusal(path)


# --- TensorFlow -----------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """A copy of tests/golden/tf_checkpoint, which tools/goldens/tf_checkpoint.py wrote."""
    for path in GOLDEN.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path / "small.ckpt"


def test_tensorflow(checkpoint):
    """By its prefix, and by any of its files."""
    for suffix in ("", ".index", ".data-00000-of-00001"):
        tensors = files.read(checkpoint.with_name(checkpoint.name + suffix)).tensors
    assert {name: array.shape for name, array in tensors.items()} == {
        "up1/weights": (4, 4, 5, 7),
        "up1/BatchNorm/gamma": (5,),
        "half": (2, 3),
        "scalar": (),
        "global_step": (),
    }
    drawn = np.random.default_rng(0).standard_normal((4, 4, 5, 7)).astype(np.float32)
    np.testing.assert_array_equal(tensors["up1/weights"], drawn)
    np.testing.assert_array_equal(tensors["half"], np.arange(6).reshape(2, 3))
    assert tensors["scalar"] == 3.5 and tensors["global_step"] == 77


@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
def test_tensorflow_notices_every_flipped_bit(checkpoint, suffix):
    path = checkpoint.with_name(checkpoint.name + suffix)
    whole = path.read_bytes()
    expected = files.read(checkpoint).tensors
    unused = 0
    for at in range(0, len(whole), 1 if suffix == ".index" else 97):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            found = files.read(checkpoint).tensors
        except UserError:
            continue
        unused += 1
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)
    # Of the index, its footer is padding but for 12 bytes, and the meta index is not read.
    assert unused <= (60 if suffix == ".index" else 0)


def test_tensorflow_without_its_data_and_cut(checkpoint, tmp_path):
    data = checkpoint.with_name("small.ckpt.data-00000-of-00001")
    whole = data.read_bytes()
    data.write_bytes(whole[:-9])
    assert "beyond its file" in refusal(checkpoint)
    data.unlink()
    assert "not beside it" in refusal(checkpoint)
    data.write_bytes(whole)
    every_start_is_refused(checkpoint.with_name("small.ckpt.index"), tmp_path)


@pytest.mark.parametrize("size", [0, 9, 1 << 17, (1 << 19) + 12345])
def test_crc32c_in_lanes_is_that_of_bytes(size):
    """Against the definition, bit by bit, for short data; lanes against pieces for long."""
    assert crc32c(np.frombuffer(b"123456789", np.uint8)) == 0xE3069283  # RFC 3720, B.4
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    crc = 0xFFFFFFFF
    table = [_entry(byte) for byte in range(256)]
    for byte in data.tolist():
        crc = table[(crc ^ byte) & 255] ^ crc >> 8
    assert crc32c(data) == crc ^ 0xFFFFFFFF


def _entry(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte
