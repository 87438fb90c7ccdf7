"""The head of OpenGraphAU: ME-GraphAU's graph over 27 AUs, and 14 one-sided AUs read from it."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxfacs.facs import DATASET_AUS
from jaxfacs.models.heads import graph_edges, graph_layers
from jaxfacs.models.heads.graph_layers import LinearBlock, Nearness

AUS = DATASET_AUS["opengraphau"]
MAIN, SIDED = DATASET_AUS["opengraphau_27"], AUS[27:]
# The node that each left-right pair reads. The sixth pair, L12 and R12, reads that of AU 11, not of
# AU 12: a slip of the published code, which every published weight has learned with.
SIDED_NODES = (0, 1, 2, 4, 7, 8, 11)


class GatedGcn(nnx.Module):
    """Two gated layers, with the residual outside the ReLU."""

    def __init__(self, nodes: int, channels: int, *, rngs: nnx.Rngs):
        def layer() -> nnx.Dict:
            return nnx.Dict(graph_edges.gated_parts(nodes, channels, residual="outside", rngs=rngs))

        self.graph_layers = nnx.Dict({"0": layer(), "1": layer()})

    def __call__(self, nodes_BNC: jax.Array, edges_BEC: jax.Array, *, train: bool) -> jax.Array:
        for layer in ("0", "1"):
            nodes_BNC, edges_BEC = graph_edges.gated_layer(
                self.graph_layers[layer], nodes_BNC, edges_BEC, residual="outside", train=train
            )
        return nodes_BNC


class OpenGraphHead(nnx.Module):
    """Both stages, as `MeGraphHead`'s; the answers are those of `AUS`, and edges have none.

    The code declares a dropout of 0.1 in its graph layers and never applies it; here is none.
    """

    reads = ("map",)

    def __init__(
        self,
        channels: int,
        width: int,
        *,
        stage: int,
        neighbors: int,
        metric: Nearness,
        lean: bool,
        rngs: nnx.Rngs,
    ):
        nodes, sided = len(MAIN), len(SIDED)
        self.global_linear = LinearBlock(channels, width, rngs=rngs)
        self.main_class_linears = graph_layers.blocks(nodes, width, rngs=rngs)
        xavier = graph_layers.xavier
        self.main_sc = nnx.Param(xavier(width, nodes)(rngs.params(), (nodes, width)))
        self.sub_sc = nnx.Param(xavier(width, sided)(rngs.params(), (sided, width)))
        self.edge_extractor = (
            graph_edges.EdgeFeatures(nodes, width, lean=lean, rngs=rngs) if stage == 2 else None
        )
        self.gnn: Any = (
            GatedGcn(nodes, width, rngs=rngs)
            if stage == 2
            else graph_layers.KnnLayer(nodes, width, neighbors=neighbors, metric=metric, rngs=rngs)
        )

    def encode(self, map_NHWC: jax.Array, *, train: bool) -> jax.Array:
        """Maps feature maps to nodes (N, 27, C)."""
        face = self.global_linear(graph_layers.tokens(map_NHWC), train=train)
        places_BNDC = graph_layers.node_features(self.main_class_linears, face, train=train)
        nodes = jnp.mean(places_BNDC, axis=2)
        if self.edge_extractor is None:
            return self.gnn(nodes, train=train)
        return self.gnn(nodes, self.edge_extractor(places_BNDC, face, train=train), train=train)

    def __call__(
        self,
        taps: Mapping[str, jax.Array],
        *,
        train: bool,
        dropout_key: jax.Array | None = None,
    ) -> dict[str, jax.Array]:
        """Maps `map` (..., h, w, channels) to `probability` (..., 41) in the order of `AUS`."""
        del dropout_key
        leading = taps["map"].shape[:-3]
        nodes = self.encode(graph_layers.pictures(taps["map"]), train=train)
        main = graph_layers.cosine(nodes, self.main_sc[...])
        seen = nodes[:, np.repeat(SIDED_NODES, 2)]
        sided = graph_layers.cosine(seen, self.sub_sc[...])
        probability = jnp.concatenate([main, sided], axis=-1)
        return {"probability": probability.reshape(*leading, len(AUS))}
