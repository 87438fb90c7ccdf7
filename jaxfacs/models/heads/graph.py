"""AUs as nodes of a graph: along a prior of the labels, or along what is alike in the picture."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxfacs.models.heads.each import Each, EachAnswers
from jaxfacs.models.heads.graph_layers import METRICS, KnnLayer
from jaxfacs.models.heads.linear import affect, check_sizes, dropout, linear
from jaxfacs.models.layers2d import LayerNorm, Linear

CHANNELS = 64  # of a node
LAYERS = 2
NEIGHBORS = 4  # ME-GraphAU's for BP4D; DISFA's is 3


class PriorLayer(nnx.Module):
    """v' = v + ReLU(LayerNorm(U v + V A v)); a row of A weighs the senders and sums to 1."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs):
        self.U = Linear(channels, channels, rngs=rngs)
        self.V = Linear(channels, channels, bias=False, rngs=rngs)
        self.norm = LayerNorm(channels)

    def __call__(self, nodes: jax.Array, adjacency_AA: jax.Array) -> jax.Array:
        """Maps nodes (..., A, C) to the same shape."""
        gathered = jnp.einsum("ij,...jc->...ic", adjacency_AA, nodes)
        return nodes + jax.nn.relu(self.norm(self.U(nodes) + self.V(gathered)))


class _GraphHead(nnx.Module):
    """Nodes of pooled features, one layer of its own for each AU; then a graph; then answers."""

    reads = ("features",)

    def __init__(
        self,
        taps: Mapping[str, int],
        *,
        num_aus: int,
        num_emotions: int = 0,
        intensity: bool = False,
        valence_arousal: bool = False,
        dropout: float = 0.2,
        rngs: nnx.Rngs,
    ):
        check_sizes(num_aus, num_emotions, dropout, valence_arousal=valence_arousal)
        self.dropout, self.num_aus = dropout, num_aus
        features = taps["features"]
        self.nodes = Each(num_aus, features, CHANNELS, rngs=rngs) if num_aus else None
        self.answers = (
            EachAnswers(num_aus, CHANNELS, intensity=intensity, rngs=rngs) if num_aus else None
        )
        self.emotion = linear(features, num_emotions, rngs=rngs)
        self.valence_arousal = linear(features, 2 if valence_arousal else 0, rngs=rngs)
        if num_aus:
            self.join(num_aus, rngs=rngs)

    def join(self, num_aus: int, *, rngs: nnx.Rngs) -> None:
        """Makes the layers of the graph."""
        raise NotImplementedError

    def __call__(
        self, taps: dict[str, jax.Array], *, train: bool, dropout_key: jax.Array | None
    ) -> dict[str, jax.Array]:
        """As `LinearHead`: features (B, F) or (B, T, F) to the answers asked for."""
        features = taps["features"].astype(jnp.float32)
        features = dropout(features, self.dropout, key=dropout_key, train=train)
        outputs = {}
        if self.nodes is not None and self.answers is not None:
            nodes = jax.nn.relu(self.nodes.of_shared(features))
            outputs = self.answers(self.related(nodes, train=train))
        return outputs | affect(self, features)

    def related(self, nodes: jax.Array, *, train: bool) -> jax.Array:
        """What nodes (..., A, C) are after they have heard of each other."""
        raise NotImplementedError


class CooccurrenceGraphHead(_GraphHead):
    """A static graph: each AU hears of the others as often as they come with it.

    `prior` (A, A) holds P(j present | i present) of the training labels, the identity until
    training fills it in (`train.weights.fill_prior`). It is no parameter: it lies among the
    statistics, and so is checkpointed and exported with the network, and never learned. As in
    ML-GCN (Chen et al., CVPR 2019), but the conditional probabilities are taken as they are and
    their rows normalised, where ML-GCN cuts them at 0.4 and weighs neighbours 0.2 in all.
    """

    def join(self, num_aus: int, *, rngs: nnx.Rngs) -> None:
        self.prior = nnx.BatchStat(jnp.asarray(np.eye(num_aus, dtype=np.float32)))
        self.layers = nnx.Dict({str(n): PriorLayer(CHANNELS, rngs=rngs) for n in range(LAYERS)})

    def related(self, nodes: jax.Array, *, train: bool) -> jax.Array:
        del train
        prior = self.prior[...]
        adjacency = prior / prior.sum(1, keepdims=True)
        for n in range(LAYERS):
            nodes = self.layers[str(n)](nodes, adjacency)
        return nodes


class KnnGraphHead(_GraphHead):
    """A learned graph: each AU hears of those whose nodes are most alike in this very picture.

    The graph layer of ME-GraphAU's first stage (FGG, Luo et al., IJCAI 2022) on nodes of pooled
    features, instead of its own nodes of the places of a map: the exact network is `me_graphau`.
    """

    def join(self, num_aus: int, *, rngs: nnx.Rngs) -> None:
        neighbors, metric = min(NEIGHBORS, num_aus), METRICS["dots"]
        self.gnn = KnnLayer(num_aus, CHANNELS, neighbors=neighbors, metric=metric, rngs=rngs)

    def related(self, nodes: jax.Array, *, train: bool) -> jax.Array:
        flat = nodes.reshape(-1, self.num_aus, CHANNELS)
        return self.gnn(flat, train=train).reshape(nodes.shape)
