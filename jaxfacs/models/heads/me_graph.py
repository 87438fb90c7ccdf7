"""The head of ME-GraphAU (Luo et al., IJCAI 2022): a graph of AUs over a backbone's last map."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxfacs.models.heads import graph_edges, graph_layers
from jaxfacs.models.heads.graph_layers import LinearBlock, Nearness

EDGE_CLASSES = 4  # 2 y_i + y_j


class GatedGcn(nnx.Module):
    """Two gated layers; the original numbers their parts U1, U2, V1, ..."""

    def __init__(self, nodes: int, channels: int, *, rngs: nnx.Rngs):
        for layer in ("1", "2"):
            parts = graph_edges.gated_parts(nodes, channels, residual="inside", rngs=rngs)
            for name, part in parts.items():
                setattr(self, name + layer, part)
        self.parts = tuple(parts)

    def __call__(
        self, nodes_BNC: jax.Array, edges_BEC: jax.Array, *, train: bool
    ) -> tuple[jax.Array, jax.Array]:
        for layer in ("1", "2"):
            part = {name: getattr(self, name + layer) for name in self.parts}
            nodes_BNC, edges_BEC = graph_edges.gated_layer(
                part, nodes_BNC, edges_BEC, residual="inside", train=train
            )
        return nodes_BNC, edges_BEC


class MeGraphHead(nnx.Module):
    """Stage 1 (ANFL): nodes and their nearest neighbours. Stage 2 (MEFL): edges with features.

    Args:
      channels: of the map.
      width: C, channels of nodes and edges; even.
      neighbors, metric: of stage 1's graph.
      lean: of stage 2's edges (`graph_edges.EdgeFeatures`).
    """

    reads = ("map",)

    def __init__(
        self,
        channels: int,
        width: int,
        *,
        num_aus: int,
        stage: int,
        neighbors: int,
        metric: Nearness,
        lean: bool,
        rngs: nnx.Rngs,
    ):
        self.global_linear = LinearBlock(channels, width, rngs=rngs)
        self.class_linears = graph_layers.blocks(num_aus, width, rngs=rngs)
        self.sc = nnx.Param(graph_layers.xavier(width, num_aus)(rngs.params(), (num_aus, width)))
        # Module or None, said once for each: NNX wants to know at the first assignment.
        edges = stage == 2
        self.edge_extractor = (
            graph_edges.EdgeFeatures(num_aus, width, lean=lean, rngs=rngs) if edges else None
        )
        self.gnn: Any = (
            GatedGcn(num_aus, width, rngs=rngs)
            if edges
            else graph_layers.KnnLayer(
                num_aus, width, neighbors=neighbors, metric=metric, rngs=rngs
            )
        )
        self.edge_fc = graph_layers.linear(width, EDGE_CLASSES, rngs=rngs) if edges else None
        if self.edge_fc is not None:
            start = graph_layers.xavier(width, EDGE_CLASSES)(rngs.params(), (width, EDGE_CLASSES))
            self.edge_fc.kernel[...] = start

    def encode(self, map_NHWC: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array | None]:
        """Maps feature maps to nodes (N, num_aus, C), and in stage 2 edges (N, num_aus^2, C)."""
        face = graph_layers.tokens(map_NHWC)
        face = self.global_linear(face, train=train)
        places_BNDC = graph_layers.node_features(self.class_linears, face, train=train)
        nodes = jnp.mean(places_BNDC, axis=2)
        if self.edge_extractor is None:
            return self.gnn(nodes, train=train), None
        return self.gnn(nodes, self.edge_extractor(places_BNDC, face, train=train), train=train)

    def __call__(
        self,
        taps: Mapping[str, jax.Array],
        *,
        train: bool,
        dropout_key: jax.Array | None = None,
    ) -> dict[str, jax.Array]:
        """Maps `map` (..., h, w, channels) to `probability` (..., num_aus), and in stage 2 `edge`
        logits (..., num_aus^2, 4) of class 2 y_i + y_j at i * num_aus + j. There is no dropout.
        """
        del dropout_key
        leading = taps["map"].shape[:-3]
        nodes, edges = self.encode(graph_layers.pictures(taps["map"]), train=train)
        outputs = {"probability": graph_layers.cosine(nodes, self.sc[...])}
        if self.edge_fc is not None and edges is not None:
            outputs["edge"] = self.edge_fc(edges)
        return {k: v.reshape(*leading, *v.shape[1:]) for k, v in outputs.items()}
