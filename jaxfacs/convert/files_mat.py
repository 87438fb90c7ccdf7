"""MatConvNet networks in MATLAB 5 files, as vgg_face.mat is published.

Names come out as "LAYER/kernel" and "LAYER/bias" ("conv1_1/kernel"), kernels as (H, W, I, O).
"""

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from jaxfacs.convert.files import MAX_BYTES, FileError, Tensors

COMPRESSED = 15  # miCOMPRESSED: a zlib stream that holds one variable


def read(path: Path) -> Tensors:
    """ "layer/role" -> array, of the variable `layers` or `net.layers`."""
    try:
        from scipy.io import loadmat
    except ImportError:
        raise FileError("reading it needs SciPy: pip install 'jaxfacs[convert]'") from None
    _check_size(path)
    variables = loadmat(path, squeeze_me=False, struct_as_record=False)
    layers = variables.get("layers")
    if layers is None and "net" in variables:
        layers = getattr(variables["net"].flat[0], "layers", None)
    if not isinstance(layers, np.ndarray) or layers.dtype != object:
        raise FileError("it has no `layers`; give a MatConvNet network")
    tensors: Tensors = {}
    for cell in layers.flat:
        layer = cell.flat[0] if isinstance(cell, np.ndarray) and cell.size else cell
        name, (kernel, bias) = _field(layer, "name"), _weights(layer)
        if kernel is None:
            continue
        tensors[f"{name.flat[0]}/kernel"] = kernel.reshape(kernel.shape + (1,) * (4 - kernel.ndim))
        if bias is not None:
            tensors[f"{name.flat[0]}/bias"] = bias.reshape(-1)
    return tensors


def _weights(layer: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
    """(kernel, bias): a cell `weights`, or fields `filters` and `biases` in older files."""
    weights = _field(layer, "weights")
    if weights is not None and weights.size >= 2:
        return weights.flat[0], weights.flat[1]
    return _field(layer, "filters"), _field(layer, "biases")


def _field(struct: Any, name: str) -> Any:
    return getattr(struct, name, None)


def _check_size(path: Path) -> None:
    """Refuses variables that unpack to more than `MAX_BYTES`, counting without keeping them."""
    total = 0
    with path.open("rb") as file:
        file.seek(128)
        while len(tag := file.read(8)) == 8:
            kind, size = np.frombuffer(tag, "<u4").tolist()
            if kind != COMPRESSED:
                total += size
                file.seek(size, 1)
            else:
                total += _unpacked(file, size, limit=MAX_BYTES - total)
            if total > MAX_BYTES:
                raise FileError("it would unpack to more than any network has")


def _unpacked(file: Any, size: int, *, limit: int) -> int:
    stream, total = zlib.decompressobj(), 0
    while size > 0 and total <= limit:
        chunk = file.read(min(size, 1 << 16))
        if not chunk:
            raise FileError("it ends too early")
        size -= len(chunk)
        while chunk and total <= limit:
            total += len(stream.decompress(chunk, 1 << 20))
            chunk = stream.unconsumed_tail
    return total
