"""PyTorch files (.pth, .pt, .pth.tar, .pkl), by `torch.load(weights_only=True)`.

A PyTorch file is a pickle, and a pickle is a program. `weights_only` interprets the few
instructions that build tensors, and stops at any other.
"""

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxfacs.convert.files import FileError, Tensors
from jaxfacs.convert.files_plain import check_zip

# Under these a training script puts the weights, beside its optimiser and counters.
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights")
MAX_DEPTH = 4


def read(path: Path) -> Tensors:
    """Name -> array of the state dict, which may lie in a dict beside other things."""
    if zipfile.is_zipfile(path):
        check_zip(path)
    try:
        import torch
    except ImportError:
        raise FileError(
            "reading it needs PyTorch (the CPU build will do: pip install torch); or save its "
            "tensors where PyTorch is, with safetensors.torch.save_file(state_dict, "
            "'weights.safetensors')"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise FileError(_refusal(str(error))) from error
    state = _state(loaded)
    return {name: _array(name, tensor, torch) for name, tensor in state.items()}


def _refusal(text: str) -> str:
    """What `weights_only` stopped at, out of its long message."""
    named = re.search(r"(?:GLOBAL|global) ([\w.]+) was not an allowed", text) or re.search(
        r"Unsupported (?:global|class|operand)[^\w]*(?:GLOBAL )?([\w.]+)", text
    )
    if named:
        return (
            f"it holds code ({named.group(1)}), which is never run; ask for a state dict, or save "
            "one as safetensors from a machine that trusts the file"
        )
    return f"it is not a PyTorch file of tensors ({text.strip().splitlines()[0][:120]})"


def _state(loaded: Any) -> dict[str, Any]:
    """The names that have tensors, out of a state dict or the first dict in it that is one."""
    for _ in range(MAX_DEPTH):
        if not isinstance(loaded, Mapping):
            break
        tensors = {str(k): v for k, v in loaded.items() if hasattr(v, "detach")}
        inner = next((loaded[k] for k in WRAPPERS if isinstance(loaded.get(k), Mapping)), None)
        if tensors or inner is None:
            return tensors
        loaded = inner
    raise FileError(
        f"it holds a {type(loaded).__name__}, not a dict of tensors; save model.state_dict()"
    )


def _array(name: str, tensor: Any, torch: Any) -> Any:
    if tensor.is_sparse or tensor.is_quantized or tensor.is_complex():
        raise FileError(f"{name} is sparse, quantised or complex; save plain float tensors")
    tensor = tensor.detach()
    if tensor.is_floating_point():
        tensor = tensor.to(torch.float32)
    return tensor.contiguous().numpy()
