"""Files that hold nothing but arrays: safetensors and NumPy's .npz."""

import zipfile
from pathlib import Path

import numpy as np

from jaxfacs.convert.files import MAX_BYTES, FileError, Tensors


def read(path: Path) -> Tensors:
    """Name -> array."""
    return _safetensors(path) if path.suffix == ".safetensors" else _npz(path)


def _safetensors(path: Path) -> Tensors:
    try:
        from safetensors import safe_open
    except ImportError:
        raise FileError("reading it needs safetensors: pip install 'jaxfacs[convert]'") from None
    with safe_open(path, framework="np") as file:  # checks sizes and offsets against the file
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _npz(path: Path) -> Tensors:
    check_zip(path)
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def check_zip(path: Path) -> None:
    """Raises FileError for an archive that says it unpacks to more than `MAX_BYTES`.

    Readers unpack no more of a member than its entry says.
    """
    with zipfile.ZipFile(path) as archive:
        total = sum(entry.file_size for entry in archive.infolist())
    if total > MAX_BYTES:
        raise FileError(f"it would unpack to {total / 1e9:.0f} GB; this is no weight file")
