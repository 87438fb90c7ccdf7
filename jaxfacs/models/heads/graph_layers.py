"""The layers of ME-GraphAU and OpenGraphAU: N nodes, one an AU, and N x N directed edges.

Luo et al., "Learning Multi-dimensional Edge Feature-based AU Relation Graph for Facial Action Unit
Recognition", IJCAI 2022, and its code, CVI-SZU/ME-GraphAU. Axes: B pictures, D places of the
feature map in rows, N nodes, E = N x N edges, C channels. Edge i * N + j ends at node i (the
receiver) and starts at node j (the sender). All of it computes in float32.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxfacs import ops
from jaxfacs.models.layers import BatchNorm, normal
from jaxfacs.models.layers2d import Linear

TINY = 1e-12  # the least length that a vector is divided by, torch's

# What is small but decides (a threshold, a variance) is not for the fast modes of accelerators,
# which keep 10 bits of a float32's mantissa.
EXACT = lax.Precision.HIGHEST


def uniform(bound: float) -> Callable[..., jax.Array]:
    """Returns an initialiser (key, shape) -> U(-bound, bound): erf makes U(-1, 1) of N(0, 1/2)."""

    def initialise(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return bound * lax.erf(normal(math.sqrt(0.5))(key, shape))

    return initialise


def xavier(fan_in: int, fan_out: int) -> Callable[..., jax.Array]:
    return uniform(math.sqrt(6.0 / (fan_in + fan_out)))


def linear(i: int, o: int, *, bias: bool = True, rngs: nnx.Rngs) -> Linear:
    """A layer that starts as the original's: weights N(0, sqrt(2 / o)), biases torch's default."""
    layer = Linear(i, o, bias=bias, rngs=rngs)
    if layer.bias is not None:
        layer.bias[...] = uniform(1.0 / math.sqrt(i))(rngs.params(), (o,))
    return layer


def unit(x: jax.Array) -> jax.Array:
    """`x` divided by its length along the last axis; the gradient at 0 is finite, as torch's."""
    squared = jnp.sum(jnp.square(x), -1, keepdims=True)
    return x / jnp.sqrt(jnp.maximum(squared, TINY**2))


def cosine(nodes_BNC: jax.Array, weights_NC: jax.Array) -> jax.Array:
    """Probability (B, N) of each node's AU: the cosine to a vector of its own, both without minus.

    In [0, 1] as it is: no sigmoid, no temperature; present from 0.5 on.
    """
    return jnp.sum(unit(nodes_BNC) * unit(jax.nn.relu(weights_NC))[None], -1)


def pictures(x: jax.Array) -> jax.Array:
    """Maps (B, T, h, w, C) or (B, h, w, C) as pictures (N, h, w, C)."""
    return x.reshape(-1, *x.shape[-3:])


def tokens(map_BHWC: jax.Array) -> jax.Array:
    """The places of a map, row by row: (B, D, C), float32."""
    batch, height, width, channels = map_BHWC.shape
    return map_BHWC.astype(jnp.float32).reshape(batch, height * width, channels)


class NodeNorm(BatchNorm):
    """BatchNorm over nodes or edges: each has its own mean and variance over all other axes."""

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Normalises (B, N, ...): axis 1 is what others call channels."""
        return jnp.moveaxis(super().__call__(jnp.moveaxis(x, 1, -1), train=train), -1, 1)


class LinearBlock(nnx.Module):
    """Linear, BatchNorm over channels, ReLU."""

    def __init__(self, i: int, o: int, *, rngs: nnx.Rngs):
        self.fc = linear(i, o, rngs=rngs)
        self.bn = BatchNorm(o, activation="relu")

    def __call__(self, x_BDC: jax.Array, *, train: bool) -> jax.Array:
        return self.bn(self.fc(x_BDC), train=train)


def blocks(count: int, channels: int, *, rngs: nnx.Rngs) -> nnx.Dict:
    """One `LinearBlock` a node, under the names "0", "1", ..."""
    return nnx.Dict({str(n): LinearBlock(channels, channels, rngs=rngs) for n in range(count)})


def node_features(blocks: Mapping[str, LinearBlock], x_BDC: jax.Array, *, train: bool) -> jax.Array:
    """AFG: every node's own `LinearBlock` on the same tokens, (B, N, D, C).

    The N layers are one matrix product and one BatchNorm of N x C channels: one operation in the
    program whatever N is, and one that fills an accelerator.
    """
    each = [blocks[str(n)] for n in range(len(blocks))]

    def beside(read: Callable[[Any], Any]) -> jax.Array:
        return jnp.concatenate([read(block)[...] for block in each], axis=-1)

    scale, shift = beside(lambda b: b.bn.scale), beside(lambda b: b.bn.bias)
    y = x_BDC @ beside(lambda b: b.fc.kernel)
    y = y + beside(lambda b: b.fc.bias)[None, None]
    if train:
        y, mean, var = ops.batch_norm_train(y, scale, shift, "relu")
        parts = (jnp.split(statistic, len(each)) for statistic in (mean, var))
        for block, mean_C, var_C in zip(each, *parts, strict=True):
            block.bn.update(mean_C, var_C)
    else:
        mean, var = beside(lambda b: b.bn.mean), beside(lambda b: b.bn.var)
        y = ops.batch_norm_inference(y, scale, shift, mean, var, "relu")
    return jnp.moveaxis(y.reshape(*x_BDC.shape[:2], len(each), -1), 2, 1)


def _dots(nodes_BNC: jax.Array) -> jax.Array:
    return jnp.einsum("bic,bjc->bij", nodes_BNC, nodes_BNC, precision=EXACT)


def _manhattan(nodes_BNC: jax.Array) -> jax.Array:
    return -jnp.sum(jnp.abs(nodes_BNC[:, :, None] - nodes_BNC[:, None]), -1)


def _euclid(nodes_BNC: jax.Array) -> jax.Array:
    return -jnp.sqrt(jnp.sum(jnp.square(nodes_BNC[:, :, None] - nodes_BNC[:, None]), -1))


Nearness = Callable[[jax.Array], jax.Array]

# Name of a metric -> nearness (B, N, N) of nodes (B, N, C); a distance is nearness with a minus.
METRICS: dict[str, Nearness] = {
    "dots": _dots,
    "cosine": lambda nodes_BNC: _dots(unit(nodes_BNC)),
    "l1": _manhattan,
}
# OpenGraphAU's code calls the Euclidean distance l1, and the sum of absolute differences l2.
OPEN_METRICS: dict[str, Nearness] = {**METRICS, "l1": _euclid, "l2": _manhattan}


def neighbours(nearness_BNN: jax.Array, count: int) -> jax.Array:
    """Row i of A (B, N, N): 1 for every j at least as near to i as its `count`-th nearest.

    A is directed, nobody is excluded (i is usually its own nearest), and ties all enter.
    """
    threshold = lax.top_k(nearness_BNN, count)[0][..., -1:]
    return (nearness_BNN >= threshold).astype(jnp.float32)


def normalised(adjacency_BNN: jax.Array) -> jax.Array:
    """D^-1/2 A D^-1/2, where D holds the sums of rows."""
    scale = lax.rsqrt(adjacency_BNN.sum(-1))
    return adjacency_BNN * scale[:, :, None] * scale[:, None, :]


class KnnLayer(nnx.Module):
    """FGG: one graph convolution over each node's nearest nodes, found anew for each picture.

    v' = ReLU(v + BN(A V(v) + U(v))). The choice of neighbours has no gradient.
    """

    def __init__(
        self, nodes: int, channels: int, *, neighbors: int, metric: Nearness, rngs: nnx.Rngs
    ):
        self.U = linear(channels, channels, rngs=rngs)
        self.V = linear(channels, channels, rngs=rngs)
        self.bnv = NodeNorm(nodes)
        self.neighbors, self.metric = neighbors, metric

    def __call__(self, nodes_BNC: jax.Array, *, train: bool) -> jax.Array:
        nearness = self.metric(lax.stop_gradient(nodes_BNC))
        graph = normalised(neighbours(nearness, self.neighbors))
        gathered = jnp.einsum("bij,bjc->bic", graph, self.V(nodes_BNC))
        return jax.nn.relu(nodes_BNC + self.bnv(gathered + self.U(nodes_BNC), train=train))
