"""MEFL of ME-GraphAU and OpenGraphAU: features of edges, and the gated graph network over them.

Axes as in `graph_layers`: edge i * N + j ends at node i and starts at node j.
"""

from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from jaxfacs import ops
from jaxfacs.models.heads.graph_layers import EXACT, NodeNorm, linear
from jaxfacs.models.layers import Activation

Residual = Literal["inside", "outside"]


class CrossAttention(nnx.Module):
    """The three layers of an attention with one head and neither projection nor residual."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs):
        self.linear_q = linear(channels, channels // 2, rngs=rngs)
        self.linear_k = linear(channels, channels // 2, rngs=rngs)
        self.linear_v = linear(channels, channels, rngs=rngs)
        self.scale = (channels // 2) ** -0.5


class EdgeFeatures(nnx.Module):
    """FAM, ARM and their projection: what passes between the places of two nodes, (B, E, C).

    FAM: every node's places look at all places of the face. ARM: for each edge the places of the
    sender j look at those of the receiver i; the answer is projected, normalised for each edge over
    pictures, places and channels, and averaged over places.

    Written down like that, ARM makes tensors (B, N x N, D, C): 4.7 GB each for 27 nodes, 64
    pictures, 49 places and 512 channels. None of them is needed. With attention P_ij (D, D) and
    Y_i = projection(value(F_i)) (D, C), made once a node, the projected answer is Z_ij = P_ij Y_i,
    since the rows of P sum to 1 and so let the biases through. Then

    - the mean over places is p_ij Y_i, where p_ij is the mean of the rows of P_ij, and a BatchNorm
      of each edge, which is affine, may come after it;
    - the mean that this BatchNorm needs is the mean of those means;
    - its variance is that of those means, plus the mean square of Z_ij - 1 p_ij Y_i, which is
      trace(R G_i R') / (D C), with R = P_ij - 1 p_ij and G_i = Y_i Y_i' (D, D) once a node. Rows of
      R sum to 0, so Y_i may be centred over places first, and nothing large cancels.

    The largest tensors are (B, N x N, D, D), a tenth, and D multiplications stand where C were.
    `lean=False` computes it as written in the paper, for comparison: same numbers, gradients too.
    """

    def __init__(self, nodes: int, channels: int, *, lean: bool, rngs: nnx.Rngs):
        self.FAM = CrossAttention(channels, rngs=rngs)
        self.ARM = CrossAttention(channels, rngs=rngs)
        self.edge_proj = linear(channels, channels, rngs=rngs)
        self.bn = NodeNorm(nodes**2)
        self.lean = lean

    def __call__(self, nodes_BNDC: jax.Array, face_BDC: jax.Array, *, train: bool) -> jax.Array:
        query, key = self.FAM.linear_q(nodes_BNDC), self.FAM.linear_k(face_BDC)
        scores = jnp.einsum("bnqh,bkh->bnqk", query, key) * self.FAM.scale
        value = self.FAM.linear_v(face_BDC)
        seen = jnp.einsum("bnqk,bkc->bnqc", jax.nn.softmax(scores), value)
        query, key = self.ARM.linear_q(seen), self.ARM.linear_k(seen)
        scores = jnp.einsum("bjqh,bikh->bijqk", query, key) * self.ARM.scale
        edges = self._lean if self.lean else self._plain
        return edges(jax.nn.softmax(scores), self.ARM.linear_v(seen), train=train)

    def _plain(
        self, attention_BNNDD: jax.Array, value_BNDC: jax.Array, *, train: bool
    ) -> jax.Array:
        z = self.edge_proj(jnp.einsum("bijqk,bikc->bijqc", attention_BNNDD, value_BNDC))
        z_BEDC = z.reshape(z.shape[0], -1, *z.shape[3:])
        return jnp.mean(self.bn(z_BEDC, train=train), axis=2)

    def _lean(self, attention_BNNDD: jax.Array, value_BNDC: jax.Array, *, train: bool) -> jax.Array:
        y_BNDC = self.edge_proj(value_BNDC)
        p_BNND = jnp.mean(attention_BNNDD, axis=3)
        z = jnp.einsum("bijk,bikc->bijc", p_BNND, y_BNDC)
        z_BCE = jnp.moveaxis(z.reshape(z.shape[0], -1, z.shape[3]), 1, 2)
        bn = self.bn
        mean_E, var_E = bn.mean[...], bn.var[...]
        if train:
            mean_E = ops.shared_mean(jnp.mean(z_BCE, axis=(0, 1)))
            var_E = jnp.mean(jnp.square(z_BCE - mean_E[None, None]), axis=(0, 1))
            rest_BNNDD = attention_BNNDD - p_BNND[:, :, :, None]
            var_E = ops.shared_mean(var_E + _mean_square(rest_BNNDD, y_BNDC).reshape(-1))
            bn.update(mean_E, var_E)
        y = ops.batch_norm_inference(z_BCE, bn.scale[...], bn.bias[...], mean_E, var_E)
        return jnp.moveaxis(y, 2, 1)


def _mean_square(rest_BNNDD: jax.Array, y_BNDC: jax.Array) -> jax.Array:
    """Mean over B, D and C of (rest_ij Y_i)^2, (N, N), for `rest` whose rows sum to 0."""
    batch, _, places, channels = y_BNDC.shape
    centred = y_BNDC - jnp.mean(y_BNDC, axis=2, keepdims=True)
    gram = jnp.einsum("bikc,bilc->bikl", centred, centred, precision=EXACT)
    seen = jnp.einsum("bijqk,bikl->bijql", rest_BNNDD, gram, precision=EXACT)
    return jnp.sum(seen * rest_BNNDD, axis=(0, 3, 4)) / (batch * places * channels)


def gated_parts(
    nodes: int, channels: int, *, residual: Residual, rngs: nnx.Rngs
) -> dict[str, nnx.Module]:
    """The layers that `gated_layer` runs, by the original's names."""
    layers = {name: linear(channels, channels, bias=False, rngs=rngs) for name in "UVABE"}
    activation: Activation = "relu" if residual == "outside" else "none"
    norms = {
        "bnv": NodeNorm(nodes, activation=activation),
        "bne": NodeNorm(nodes**2, activation="relu"),
    }
    return {**layers, **norms}


def gated_layer(
    part: Mapping[str, Any],
    nodes_BNC: jax.Array,
    edges_BEC: jax.Array,
    *,
    residual: Residual,
    train: bool,
) -> tuple[jax.Array, jax.Array]:
    """One layer of a residual gated graph network (Bresson & Laurent 2017), as MEFL has it.

        e_ij <- e_ij + ReLU(BN(A v_i + B v_j + E e_ij))
        v_i  <- ReLU(v_i + BN(U v_i + 1/N sum_j softmax_j(sigmoid(e_ij)) V v_j))

    A softmax of a sigmoid, and a 1/N on top: so the published code has it. With `residual`
    "outside" the second line is v_i + ReLU(BN(...)): OpenGraphAU's.
    """
    count = nodes_BNC.shape[1]
    pairs = part["A"](nodes_BNC)[:, :, None] + part["B"](nodes_BNC)[:, None]
    change = pairs.reshape(edges_BEC.shape) + part["E"](edges_BEC)
    edges_BEC = edges_BEC + part["bne"](change, train=train)
    gates_BNNC = jax.nn.softmax(jax.nn.sigmoid(edges_BEC).reshape(pairs.shape), axis=2)
    gathered = jnp.einsum("bijc,bjc->bic", gates_BNNC, part["V"](nodes_BNC)) / count
    nodes_BNC = nodes_BNC + part["bnv"](part["U"](nodes_BNC) + gathered, train=train)
    return (jax.nn.relu(nodes_BNC) if residual == "inside" else nodes_BNC), edges_BEC
