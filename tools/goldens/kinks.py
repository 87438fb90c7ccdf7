"""Which drawn input keeps every ReLU of a PyTorch network farthest from its kink.

At a kink rounding turns a slope of 1 into 0, and a gradient that is a sum over N places then
differs by about 1 / sqrt(N): 1e-3 to 1e-2 in these networks, whoever is right. Golden gradients are
therefore taken at inputs where float32 cannot land on the other side.
"""

from collections.abc import Callable

import drawn
import numpy as np
import torch

SEEDS = 20


def seed_of_input(net: torch.nn.Module, shape: tuple[int, ...], run: Callable) -> int:
    """The seed of the best of SEEDS inputs of `drawn.draw_input`; `run(x)` calls `net` on one.

    ReLUs must be modules. Running statistics are put back as they were.
    """
    before = {k: v.clone() for k, v in net.state_dict().items()}
    least: list[float] = []
    hooks = [
        module.register_forward_pre_hook(lambda relu, z: least.append(_distance(relu, z[0])))
        for module in net.modules()
        if isinstance(module, (torch.nn.ReLU, torch.nn.ReLU6))
    ]
    margins = []
    for seed in range(SEEDS):
        least.clear()
        with torch.no_grad():
            run(drawn.draw_input(shape, seed=seed))
        margins.append(min(least))
    for hook in hooks:
        hook.remove()
    net.load_state_dict(before)
    best = int(np.argmax(margins))
    print(
        f"seed {best} keeps {margins[best]:.1e} standard deviations away; others from "
        f"{min(margins):.1e}"
    )
    return best


def _distance(relu: torch.nn.Module, z: torch.Tensor) -> float:
    """The least distance to a kink, in standard deviations of this layer's inputs."""
    away = z.abs()
    if isinstance(relu, torch.nn.ReLU6):
        away = torch.minimum(away, (z - 6.0).abs())
    return float(away.min() / z.std())
