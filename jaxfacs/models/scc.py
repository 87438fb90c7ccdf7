"""SCC heatmap regression: AU intensities and where on the face they show."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx

from jaxfacs.errors import UserError
from jaxfacs.models import heatmaps
from jaxfacs.models.heads.scc import Layout, SCCHead
from jaxfacs.models.network import Network, create_backbone
from jaxfacs.models.normalisation import NORMALISATIONS
from jaxfacs.models.registry import Card, register

_CARD = Card(
    frames=1,
    size=256,
    mean=NORMALISATIONS["imagenet"][0],
    std=NORMALISATIONS["imagenet"][1],
    paper="Fan, Lam and Li, Facial Action Unit Intensity Estimation via Semantic Correspondence "
    "Learning with Dynamic Graph Convolution, AAAI 2020",
    source="https://github.com/EvelynFan/FAU",
    licence="none given (code); weights carry the research-only terms of BP4D and DISFA",
)


@register("scc", _CARD)
def scc(
    *,
    rngs: nnx.Rngs,
    num_aus: int,
    aus: Sequence[str],
    backbone: str = "resnet50",
    form: str = "",
    size: int = 256,
    k: int = 7,
    layout: Layout = "channels",
    present_from: float = 1.0,
    merge: heatmaps.Merge = "mean",
    per_frame: bool = False,
    frozen: bool = False,
    frozen_bn: bool = False,
    dtype: Any = jnp.float32,
) -> Network:
    """Makes SCC: ResNet-50, three doublings with a graph after each, a heatmap for each place.

    Answers `heatmap` (..., size/4, size/4, P), `intensity` in 0..5 and `occurrence` logits.

    Args:
      num_aus: as many as `aus`.
      aus: of `heatmaps.CENTRES`; `heatmaps.BP4D` and `heatmaps.DISFA` are the paper's.
      backbone: any with a `map` of 1/32 of the frame.
      form: of a ResNet; "" is torchvision's, whose weights are at hand, "scc" the original's.
      size: side of the frames, a multiple of 32; the widths of the graph layers follow from it.
      k: neighbours; 7 in the released code, 5 in the paper by its author's word.
      layout: of the nodes, "channels" (the paper) or "reshaped" (the released code).
      present_from: the intensity from which an AU is present. 1 is FACS's trace, so that the table
        of `predict` keeps the network's intensities as they are; DISFA's papers take 2.
      merge: how the maps of one AU are read as one intensity, "mean" or "max".
      per_frame: one answer a frame; else the backbone's map is averaged over time first.
      frozen: the backbone stays as it is.
      frozen_bn: BatchNorm keeps to its running statistics in training, in all of the network.
      dtype: of the computation; heatmaps are float32.
    """
    if len(aus) != num_aus:
        raise UserError(f"scc: {len(aus)} AUs ({' '.join(aus)}) for num_aus {num_aus}")
    body = create_backbone(
        backbone,
        dtype=dtype,
        frozen_bn=frozen_bn,
        per_frame=per_frame,
        rngs=rngs,
        **({"form": form} if form else {}),
    )
    head = SCCHead(
        body.taps["map"],
        aus=aus,
        size=size,
        k=k,
        layout=layout,
        present_from=present_from,
        merge=merge,
        frozen_bn=frozen_bn,
        dtype=jnp.dtype(dtype),
        rngs=rngs,
    )
    return Network(body, head, per_frame=per_frame, frozen=frozen)
