"""ME-GraphAU and OpenGraphAU: any image backbone under a graph of AUs, in both stages."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx

from jaxfacs.errors import UserError
from jaxfacs.models.heads import open_graph
from jaxfacs.models.heads.graph_layers import METRICS, OPEN_METRICS, Nearness
from jaxfacs.models.heads.me_graph import MeGraphHead
from jaxfacs.models.heads.open_graph import OpenGraphHead
from jaxfacs.models.network import Network, create_backbone
from jaxfacs.models.normalisation import NORMALISATIONS
from jaxfacs.models.registry import Card, register

STAGES = (1, 2)

_MEAN, _STD = NORMALISATIONS["imagenet"]
_ME_GRAPHAU = Card(
    frames=1,
    size=224,
    mean=_MEAN,
    std=_STD,
    paper="Luo et al., Learning Multi-dimensional Edge Feature-based AU Relation Graph for Facial "
    "Action Unit Recognition, IJCAI 2022",
    source="https://github.com/CVI-SZU/ME-GraphAU",
    licence="MIT (code); weights carry the research-only terms of BP4D and DISFA",
)
_OPEN_GRAPHAU = Card(
    frames=1,
    size=224,
    mean=_MEAN,
    std=_STD,
    paper=_ME_GRAPHAU.paper,
    source="https://github.com/lingjivoo/OpenGraphAU",
    licence="Apache-2.0 (code); weights carry the research-only terms of six datasets",
)


def node_width(backbone: str, channels: int) -> int:
    """C, channels of nodes and edges: half of a transformer's, a quarter of others', made even."""
    share = 2 if backbone.startswith(("swin", "vit")) else 4
    return max(2, channels // share // 2 * 2)


@register("me_graphau", _ME_GRAPHAU)
def me_graphau(
    *,
    rngs: nnx.Rngs,
    num_aus: int,
    aus: Sequence[str] = (),
    backbone: str = "resnet50",
    stage: int = 2,
    neighbors: int = 4,
    metric: str = "dots",
    lean: bool = True,
    drop_path: float = -1.0,
    per_frame: bool = False,
    frozen: bool = False,
    frozen_bn: bool = False,
    dtype: Any = jnp.float32,
) -> Network:
    """Makes ME-GraphAU.

    Args:
      num_aus: nodes, one an AU; 12 in the BP4D weights, 8 in DISFA's.
      aus: their labels, if they are to be checked against `num_aus`.
      backbone: resnet18, resnet50, resnet101, swin_t, swin_s and swin_b are the paper's, vit_b is
        OpenGraphAU's masked autoencoder; any other with a `map` works.
      stage: 1 (ANFL) answers `probability`; 2 (MEFL) also `edge`, and starts from stage 1's
        weights.
      neighbors: K of stage 1's graph; 4 for BP4D, 3 for DISFA.
      metric: of stage 1's graph: dots, cosine or l1.
      drop_path: of a Swin; -1 is the size's own.
      lean: edges without the tensor (B, N^2, D, C); False is the form of the paper.
      per_frame: one answer a frame; else the map is averaged over time first.
      frozen, frozen_bn: of the backbone.
      dtype: of the backbone's computation; the graph computes in float32.
    """
    if aus and len(aus) != num_aus:
        raise UserError(f"me_graphau: {len(aus)} AUs {' '.join(aus)} for num_aus {num_aus}")
    if num_aus < 1:
        raise UserError(f"me_graphau: num_aus {num_aus} must be 1 or more")
    body = _body("me_graphau", backbone, drop_path, dtype, frozen_bn, per_frame, rngs)
    channels = body.taps["map"]
    head = MeGraphHead(
        channels,
        node_width(backbone, channels),
        num_aus=num_aus,
        stage=_stage("me_graphau", stage),
        neighbors=_neighbors("me_graphau", neighbors, num_aus, stage),
        metric=_metric("me_graphau", metric, METRICS),
        lean=lean,
        rngs=rngs,
    )
    return Network(body, head, per_frame=per_frame, frozen=frozen)


@register("open_graphau", _OPEN_GRAPHAU)
def open_graphau(
    *,
    rngs: nnx.Rngs,
    num_aus: int = len(open_graph.AUS),
    aus: Sequence[str] = (),
    backbone: str = "resnet50",
    stage: int = 2,
    neighbors: int = 4,
    metric: str = "dots",
    lean: bool = True,
    drop_path: float = -1.0,
    per_frame: bool = False,
    frozen: bool = False,
    frozen_bn: bool = False,
    dtype: Any = jnp.float32,
) -> Network:
    """Makes OpenGraphAU: 27 AUs and 14 one-sided ones, in the order of `open_graph.AUS`.

    Options as in `me_graphau`, but `num_aus` and `aus` can only be its own, and `metric` "l1" is
    the Euclidean distance here, and "l2" the sum of absolute differences, as in the code.
    """
    if num_aus != len(open_graph.AUS) or tuple(aus) not in ((), open_graph.AUS):
        found = " ".join(aus) or f"{num_aus} AUs"
        raise UserError(
            f"open_graphau answers for its own AUs: expected {' '.join(open_graph.AUS)}, found "
            f"{found}; set data.aus to them"
        )
    body = _body("open_graphau", backbone, drop_path, dtype, frozen_bn, per_frame, rngs)
    channels = body.taps["map"]
    head = OpenGraphHead(
        channels,
        node_width(backbone, channels),
        stage=_stage("open_graphau", stage),
        neighbors=_neighbors("open_graphau", neighbors, len(open_graph.MAIN), stage),
        metric=_metric("open_graphau", metric, OPEN_METRICS),
        lean=lean,
        rngs=rngs,
    )
    return Network(body, head, per_frame=per_frame, frozen=frozen)


def _body(
    name: str,
    backbone: str,
    drop_path: float,
    dtype: Any,
    frozen_bn: bool,
    per_frame: bool,
    rngs: nnx.Rngs,
) -> Any:
    own = {"drop_path": drop_path} if drop_path >= 0 else {}
    body = create_backbone(
        backbone, dtype=dtype, frozen_bn=frozen_bn, per_frame=per_frame, rngs=rngs, **own
    )
    if "map" not in body.taps:
        raise UserError(
            f"{name} reads a backbone's map, which {backbone} does not have; it has "
            f"{', '.join(body.taps)}"
        )
    return body


def _stage(name: str, stage: int) -> int:
    if stage not in STAGES:
        raise UserError(f"{name}: stage {stage} is neither 1 nor 2")
    return stage


def _neighbors(name: str, neighbors: int, nodes: int, stage: int) -> int:
    if stage == 1 and not 1 <= neighbors <= nodes:
        raise UserError(f"{name}: {neighbors} neighbors among {nodes} nodes; give 1 to {nodes}")
    return neighbors


def _metric(name: str, metric: str, known: Mapping[str, Nearness]) -> Nearness:
    if metric not in known:
        near = difflib.get_close_matches(metric, known, n=1) or list(known)
        raise UserError(f"{name}: no metric '{metric}'; did you mean: {', '.join(near)}?")
    return known[metric]
