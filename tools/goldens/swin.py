"""Makes tests/golden/swin_{t,s,b}.npz and swin_b_graphau.npz with PyTorch.

    python tools/goldens/swin.py ME_GRAPHAU

ME_GRAPHAU is a copy of https://github.com/CVI-SZU/ME-GraphAU, whose Swin is Microsoft's; it needs
timm. The others are torchvision's, at 224 px and at a size where windows, merging and shifts all
need padding. Everything is in inference, in float64, with weights drawn by name.
A file holds names and shapes of the state dict, logits, and the mean of the third stage's map; the
one of ME-GraphAU, which has no classifier, the mean of its tokens and a projection of each.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from drawn import draw, draw_input, draw_state, pack_shapes

FOLDER = Path(__file__).parents[2] / "tests" / "golden"
BATCH = 2
SIZES = dict.fromkeys(("swin_t", "swin_s", "swin_b"), ((224, 224), (199, 90)))
CLASSES = 10
BUFFERS = ("relative_position_index", "attn_mask")


def fill(net: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    """Draws the weights of a network; returns their shapes."""
    shapes = {k: tuple(v.shape) for k, v in net.state_dict().items() if not k.endswith(BUFFERS)}
    drawn = {k: torch.from_numpy(v) for k, v in draw_state(shapes).items()}
    left = net.load_state_dict(drawn, strict=False)
    if left.unexpected_keys or not all(k.endswith(BUFFERS) for k in left.missing_keys):
        raise ValueError(f"{left.missing_keys} {left.unexpected_keys}")
    return shapes


def pictures(size: tuple[int, int]) -> torch.Tensor:
    x_NHWC = draw_input((BATCH, *size, 3))
    return torch.from_numpy(x_NHWC.transpose(0, 3, 1, 2).copy()).double()


def save(name: str, **arrays: np.ndarray) -> None:
    path = FOLDER / f"{name}.npz"
    np.savez_compressed(path, **arrays)
    print(path.name, path.stat().st_size, {k: v.std() for k, v in arrays.items() if v.ndim > 1})


def torchvision_nets() -> None:
    for name, sizes in SIZES.items():
        net: Any = getattr(torchvision.models, name)(num_classes=CLASSES).double().eval()
        shapes = fill(net)
        stages: list[torch.Tensor] = []
        net.features[5].register_forward_hook(lambda *call, stages=stages: stages.append(call[2]))
        arrays = {}
        for height, width in sizes:
            label = f"{height}x{width}"
            arrays[f"logits_{label}_BA"] = net(pictures((height, width))).numpy()
            arrays[f"layer3_{label}_BC"] = stages[-1].mean((1, 2)).numpy()
        save(name, **pack_shapes(shapes), **{k: v.astype(np.float32) for k, v in arrays.items()})


def graphau(repository: Path) -> None:
    sys.path.insert(0, str(repository))
    from model.swin_transformer import swin_transformer_base

    net = swin_transformer_base(pretrained=False)
    net.head = None
    net = net.double().eval()
    shapes = fill(net)
    tokens_BTC = net(pictures((224, 224))).numpy()
    direction_C = draw("direction", (1, tokens_BTC.shape[-1]))[0]
    save(
        "swin_b_graphau",
        **pack_shapes(shapes),
        mean_BC=tokens_BTC.mean(1).astype(np.float32),
        projected_BT=(tokens_BTC @ direction_C).astype(np.float32),
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with torch.no_grad():
        torchvision_nets()
        graphau(Path(sys.argv[1]))
