"""Reading published weight files: tensors only, whoever wrote them.

No file is trusted: nothing in it is run, what it may make us allocate is bounded by `MAX_BYTES`,
and a file that is damaged or of another kind is refused in one line that names it.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from jaxfacs.errors import UserError

MAX_BYTES = 4 << 30  # VGG16 in float64, and Swin-B with its optimiser's moments, are 1.1 GB

Tensors = dict[str, np.ndarray]

# What a file begins with -> (what it is, module whose `read(path)` gives its tensors).
MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"\x89HDF\r\n\x1a\n", "Keras HDF5", "files_keras"),
    (b"MATLAB 5.0 MAT-file", "MATLAB 5", "files_mat"),
    (b"PK\x03\x04", "PyTorch", "files_torch"),  # or .npz, which has another suffix
    (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "PyTorch (before 1.6)", "files_torch"),
)
SUFFIXES: dict[str, tuple[str, str]] = {
    ".safetensors": ("safetensors", "files_plain"),
    ".npz": ("NumPy", "files_plain"),
    ".t7": ("Torch7", "files_t7"),
    ".index": ("TensorFlow checkpoint", "files_tf"),
    ".pth": ("PyTorch", "files_torch"),
    ".pt": ("PyTorch", "files_torch"),
    ".tar": ("PyTorch", "files_torch"),
    ".pkl": ("PyTorch", "files_torch"),
    ".bin": ("PyTorch", "files_torch"),
    ".h5": ("Keras HDF5", "files_keras"),
    ".hdf5": ("Keras HDF5", "files_keras"),
    ".mat": ("MATLAB 5", "files_mat"),
}


class FileError(Exception):
    """What is wrong with a weight file; `read` puts the file's name before it."""


@dataclass(frozen=True)
class Weights:
    """The tensors of one file, in its own names and layouts.

    Attributes:
      tensors: float tensors as float32, integers as they are.
      format: what kind of file it is, in words.
      sha256: of the file (of a TensorFlow checkpoint: of its index and data files, in order).
      name: of the file, without its folder.
    """

    tensors: Tensors
    format: str
    sha256: str
    name: str


def read(path: str | Path) -> Weights:
    """The tensors of a weight file, whatever its kind.

    Raises UserError if it is missing, empty, damaged, too large, of another kind, or holds code or
    values that are not finite.
    """
    path = _file(Path(path))
    kind, module = _kind(path)
    parts = files_of(path)
    size = sum(part.stat().st_size for part in parts)
    try:
        if size > MAX_BYTES:
            raise FileError(f"{size / 1e9:.1f} GB are more than any published network has")
        reader: Callable[[Path], Mapping[str, np.ndarray]] = import_module(
            f"jaxfacs.convert.{module}"
        ).read
        tensors = {key: _plain(key, value) for key, value in reader(path).items()}
        _require_finite(tensors)
    except FileError as error:
        raise UserError(f"{path}: {error}") from error
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(f"{path}: needs more memory than there is") from error
    except Exception as error:  # each format's library has errors of its own
        first = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise UserError(f"{path} cannot be read as {kind} ({first}); is it whole?") from error
    if not tensors:
        raise UserError(f"{path} holds no tensors; give a file of weights")
    return Weights(tensors=tensors, format=kind, sha256=_sha256(parts), name=path.name)


def files_of(path: Path) -> list[Path]:
    """The files that make up the weights at `path`: one, or a TensorFlow checkpoint's."""
    if path.suffix != ".index":
        return [path]
    return [path, *sorted(path.parent.glob(f"{path.stem}.data-*"))]


def _file(path: Path) -> Path:
    """The file itself; for a TensorFlow checkpoint, by its prefix or any file of it, its index."""
    prefix = path.name.partition(".data-")[0]
    index = path.with_name(f"{prefix}.index")
    if index.is_file():
        return index
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the weight file in it")
    if not path.is_file():
        raise UserError(f"{path} does not exist; give a weight file (jaxfacs convert list)")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty; fetch it again")
    return path


def _kind(path: Path) -> tuple[str, str]:
    with path.open("rb") as file:
        head = file.read(520)
    if path.suffix == ".keras":
        raise UserError(
            f"{path} is a whole Keras model with code; load it in Keras and save its weights: "
            "model.save_weights('x.weights.h5')"
        )
    if path.suffix in (".npz", ".safetensors", ".index"):
        return SUFFIXES[path.suffix]
    for magic, kind, module in MAGIC:
        if head.startswith(magic):
            return kind, module
    if head[512:].startswith(MAGIC[0][0]):
        raise UserError(f"{path} is a MATLAB 7.3 file; save it in MATLAB with save(..., '-v7')")
    if path.suffix in SUFFIXES:
        return SUFFIXES[path.suffix]
    known = ", ".join(SUFFIXES)
    raise UserError(f"{path} is of no known kind; give one of {known}, or a checkpoint's prefix")


def _plain(key: str, value: np.ndarray) -> np.ndarray:
    value = np.asarray(value)
    if value.dtype.kind in "iub":
        return value
    if value.dtype.kind == "f" or value.dtype.name == "bfloat16":
        return np.asarray(value, np.float32)
    raise FileError(f"{key} is of type {value.dtype}; weights are floating-point numbers")


def _require_finite(tensors: Tensors) -> None:
    bad = [k for k, v in tensors.items() if v.dtype == np.float32 and not np.isfinite(v).all()]
    if bad:
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise FileError(f"not finite: {', '.join(bad[:5])}{more}; these weights are damaged")


def _sha256(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
