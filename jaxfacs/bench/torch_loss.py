"""The losses of `jax_step.loss` in PyTorch."""

from typing import Any

import torch
from torch.nn import functional as F

from jaxfacs.bench.jax_step import EDGE_SCALE

TINY = 1e-8


def targets(outputs: Any) -> dict[str, torch.Tensor]:
    """Drawn labels of the forms of a twin's outputs: a tensor of logits, or a dict as ours."""
    outputs = _named(outputs)
    wanted = {}
    for name in ("occurrence", "probability"):
        if name in outputs:
            wanted["present"] = (torch.rand(outputs[name].shape) > 0.5).float()
    if "heatmap" in outputs:
        wanted["heatmap"] = torch.rand(outputs["heatmap"].shape)
    return wanted


def loss(outputs: Any, wanted: dict[str, torch.Tensor]) -> torch.Tensor:
    """The loss that a network with such outputs is trained with; see `jax_step.loss`."""
    outputs = _named(outputs)
    if "heatmap" in outputs:
        return F.mse_loss(outputs["heatmap"], wanted["heatmap"])
    present = wanted["present"]
    if "probability" not in outputs:
        return F.binary_cross_entropy_with_logits(outputs["occurrence"], present)
    p = outputs["probability"]
    absent = (1 - present) * p.detach() * torch.log((1 - p).clamp(min=TINY))
    total = -(present * torch.log(p.clamp(min=TINY)) + absent).mean()
    if "edge" in outputs:
        kind = (2 * present[:, :, None] + present[:, None, :]).flatten().long()
        total = total + EDGE_SCALE * F.cross_entropy(outputs["edge"].flatten(0, 1), kind)
    return total


def _named(outputs: Any) -> dict[str, torch.Tensor]:
    return outputs if isinstance(outputs, dict) else {"occurrence": outputs}
