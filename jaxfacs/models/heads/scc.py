"""The head of SCC heatmap regression (Fan et al., AAAI 2020; `model_graph.py` of EvelynFan/FAU).

Three times: a transposed convolution doubles the map, and a semantic correspondence convolution
(SCC) lets every node look at its nearest neighbours in feature space. A 1x1 convolution makes one
heatmap for each place of each AU.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxfacs.errors import UserError
from jaxfacs.models import heatmaps
from jaxfacs.models.layers import BatchNorm, normal

Layout = Literal["channels", "reshaped"]
LAYOUTS: tuple[Layout, ...] = ("channels", "reshaped")

STRIDE = 32  # of the backbone's last map
WIDTHS = (256, 128, 64)  # channels after each doubling
BN_EPS, BN_MOMENTUM = 1e-9, 0.99  # `resnet_arg_scope` of lib/basemodel.py
DECONV_STD = 0.01
LOGIT_PER_LEVEL = 2.0  # how fast occurrence rises with intensity: any value > 0 agrees with it


class Deconv(nnx.Module):
    """A transposed convolution 4x4 of stride 2 that doubles the map, BatchNorm, ReLU.

    The kernel (4, 4, out, in) lies as TensorFlow's.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, frozen_bn: bool, dtype: Any, rngs: nnx.Rngs
    ):
        shape = (4, 4, out_channels, in_channels)
        self.kernel = nnx.Param(normal(DECONV_STD)(rngs.params(), shape))
        self.norm = _norm(out_channels, frozen_bn)
        self.dtype = dtype

    def __call__(self, x_NHWC: jax.Array, *, train: bool) -> jax.Array:
        y = double(x_NHWC.astype(self.dtype), self.kernel[...].astype(self.dtype))
        return self.norm(y, train=train)


class SCC(nnx.Module):
    """Semantic correspondence convolution over nodes (N, n, d).

    Each node i and each of its k nearest j make an edge [f_i, f_j - f_i], which a shared linear
    layer 2d -> d reads, then BatchNorm over (N, n, k) and ReLU; the node gets the maximum of its
    edges. The layer is computed on nodes, not edges: with its kernel as W1 over W2, it is
    W1 f_i + (W2 f_j - W2 f_i), two products for n nodes instead of one, twice as wide, for n k
    edges. So it costs k times less, and the edges' 2d features are never made.
    """

    def __init__(self, dim: int, *, k: int, frozen_bn: bool, dtype: Any, rngs: nnx.Rngs):
        std = math.sqrt(2.0 / (2 * dim))
        self.kernel = nnx.Param(normal(std)(rngs.params(), (2 * dim, dim)))
        self.norm = _norm(dim, frozen_bn)
        self.k, self.dtype = k, dtype

    def __call__(self, nodes_Nnd: jax.Array, *, train: bool) -> jax.Array:
        near_Nnk = nearest(nodes_Nnd, self.k)
        f, dim = nodes_Nnd.astype(self.dtype), nodes_Nnd.shape[-1]
        # Both halves in one product: slices of a kernel of 134 MB would be copied.
        halves = self.kernel[...].astype(self.dtype).reshape(2, dim, dim)
        both = jnp.broadcast_to(f, (2, *f.shape))
        own, other = jnp.einsum("tNnd,tde->tNne", both, halves)
        differences = jax.vmap(lambda rows, at: rows[at])(other, near_Nnk) - other[:, :, None]
        edges_Nnkd = own[:, :, None] + differences
        return self.norm(edges_Nnkd, train=train).max(axis=2)


class SCCHead(nnx.Module):
    """Maps a backbone's last map, 1/32 of the frame, to heatmaps of 1/4 of it.

    Args:
      channels: of the map.
      aus: whose places have a heatmap each (`heatmaps.CENTRES`).
      size: side of the frames in pixels; the width of the layers follows from it.
      k: neighbours of a node, itself among them.
      layout: what a node is. "channels" (the paper): a channel, its features the places of the map.
        "reshaped" (the released TensorFlow code): the map (H, W, C) in memory order cut into C
        pieces; its weights work only so.
      present_from: the intensity from which an AU counts as present.
      merge: how an AU's maps are read as one, "mean" or "max".
    """

    reads = ("map",)

    def __init__(
        self,
        channels: int,
        *,
        aus: Sequence[str],
        size: int,
        k: int,
        layout: Layout,
        present_from: float,
        merge: heatmaps.Merge,
        frozen_bn: bool,
        dtype: Any,
        rngs: nnx.Rngs,
    ):
        num_maps = len(heatmaps.places(aus))
        if size < STRIDE or size % STRIDE:
            raise UserError(f"size {size} is not a multiple of {STRIDE}; give 96 or 256, say")
        if not 1 <= k <= WIDTHS[-1]:
            raise UserError(f"k {k} is not in 1 to {WIDTHS[-1]}, the nodes of the last graph")
        if layout not in LAYOUTS:
            raise UserError(f"no layout '{layout}' of nodes; give one of {', '.join(LAYOUTS)}")
        if not 0.0 < present_from <= heatmaps.MAX_INTENSITY:
            raise UserError(f"present_from {present_from} is not an intensity in 0 to 5")
        if merge not in ("mean", "max"):
            raise UserError(f"merge '{merge}' is neither mean nor max")
        options = {"frozen_bn": frozen_bn, "dtype": dtype, "rngs": rngs}
        side = size // STRIDE
        for n, width in enumerate(WIDTHS, start=1):
            side *= 2
            setattr(self, f"up{n}", Deconv(channels, width, **options))
            setattr(self, f"conv{n}", SCC(side * side, k=k, **options))
            channels = width
        self.out = nnx.Linear(
            channels, num_maps, kernel_init=normal(math.sqrt(2.0 / channels)), rngs=rngs
        )
        self.aus, self.size, self.layout = tuple(aus), size, layout
        self.present_from = present_from
        self.merge: heatmaps.Merge = merge
        self.num_maps, self.map_size = num_maps, side

    def __call__(
        self,
        taps: Mapping[str, jax.Array],
        *,
        train: bool,
        dropout_key: jax.Array | None = None,
    ) -> dict[str, jax.Array]:
        """Maps `map` (..., h, w, C) to what `answers` gives; there is no dropout."""
        del dropout_key
        leading, found = taps["map"].shape[:-3], taps["map"].shape[-3:-1]
        expected = (self.size // STRIDE,) * 2
        if found != expected:
            raise UserError(
                f"this network was made for frames of {self.size} x {self.size}, a map of "
                f"{expected[0]} x {expected[1]}; it was given one of {found[0]} x {found[1]}; make "
                "data.size and the network's size the same, a backbone's stride 32"
            )
        x = taps["map"].reshape(-1, *taps["map"].shape[-3:])
        for n in range(1, len(WIDTHS) + 1):
            x = getattr(self, f"up{n}")(x, train=train)
            nodes = getattr(self, f"conv{n}")(to_nodes(x, self.layout), train=train)
            x = from_nodes(nodes, x.shape, self.layout)
        return self.answers(self.out(x.astype(jnp.float32)), leading)

    def answers(self, maps_NhwP: jax.Array, leading: tuple[Any, ...]) -> dict[str, jax.Array]:
        """What maps say: `heatmap` (..., h, w, P), `intensity` (..., A) in 0..5 and `occurrence`
        logits (..., A), 0 where the intensity is `present_from`, so that the two never disagree.
        """
        peak_NA = heatmaps.peaks(maps_NhwP, aus=self.aus, merge=self.merge)
        outputs = {
            "occurrence": LOGIT_PER_LEVEL * (peak_NA - self.present_from),
            "intensity": jnp.clip(peak_NA, 0.0, heatmaps.MAX_INTENSITY),
            "heatmap": maps_NhwP,
        }
        return {name: v.reshape(*leading, *v.shape[1:]) for name, v in outputs.items()}


def nearest(nodes_Nnd: jax.Array, k: int) -> jax.Array:
    """The k nearest nodes of each by squared Euclidean distance, nearest first: int32 (N, n, k).

    A node is its own neighbour. In float32 and without gradient, as in the code.
    """
    f = lax.stop_gradient(nodes_Nnd).astype(jnp.float32)
    square = jnp.square(f).sum(axis=-1)
    product = jnp.einsum("nid,njd->nij", f, f, precision=lax.Precision.HIGHEST)
    distance = square[:, :, None] - 2.0 * product + square[:, None]
    return lax.top_k(-distance, k)[1]


def to_nodes(x_NHWC: jax.Array, layout: Layout) -> jax.Array:
    """The nodes (N, C, H * W) of a map in a layout; see `SCCHead`."""
    height, width, channels = x_NHWC.shape[1:]
    if layout == "reshaped":
        return x_NHWC.reshape(-1, channels, height * width)
    return x_NHWC.reshape(-1, height * width, channels).swapaxes(1, 2)


def from_nodes(nodes_Nnd: jax.Array, shape: tuple[Any, ...], layout: Layout) -> jax.Array:
    """The map of `shape` (N, H, W, C) whose nodes these are."""
    nodes = nodes_Nnd if layout == "reshaped" else nodes_Nnd.swapaxes(1, 2)
    return nodes.reshape(-1, *shape[1:])


def double(x_NHWC: jax.Array, kernel: jax.Array) -> jax.Array:
    """TensorFlow's transposed convolution 4x4, stride 2, SAME: (N, H, W, I) to (N, 2H, 2W, O).

    One product for all 16 taps, whose results are added where they fall: tap t of row i lands on
    row 2 i - 1 + t. XLA's transposed convolution answers the same; its gradient took 19 times as
    long on two CPU cores (8x8x2048 to 16x16x256, batch 4: 5.9 s, this 0.31 s).
    """
    taps = jnp.einsum("nhwi,tuoi->nhwtuo", x_NHWC, kernel)
    return _land(_land(taps, axis=2), axis=1)


def _land(taps: jax.Array, *, axis: int) -> jax.Array:
    """Adds the four taps of axis -2 where they fall on the doubled `axis`."""
    first, second, third, fourth = (taps[..., t, :] for t in range(4))
    even, odd = second + _moved(fourth, axis, 1), third + _moved(first, axis, -1)
    shape = list(even.shape)
    shape[axis] *= 2
    return jnp.stack((even, odd), axis=axis + 1).reshape(shape)


def _moved(x: jax.Array, axis: int, by: int) -> jax.Array:
    """`x` moved by places along `axis`, zeros moving in."""
    edges = [(0, 0, 0)] * x.ndim
    edges[axis] = (by, -by, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), edges)


def _norm(channels: int, frozen: bool) -> BatchNorm:
    return BatchNorm(channels, activation="relu", eps=BN_EPS, momentum=BN_MOMENTUM, frozen=frozen)
