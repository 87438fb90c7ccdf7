"""Swin Transformer (v1): attention inside windows of 7 x 7 patches, which every other block shifts.

Tables: Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", ICCV
2021, and microsoft/Swin-Transformer, whose names the parameter paths are; torchvision has the same
networks under other names. Sizes that are not whole windows are padded as torchvision pads them.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxfacs.errors import UserError
from jaxfacs.models.layers import normal
from jaxfacs.models.layers2d import Conv2d, LayerNorm, Linear
from jaxfacs.models.network import backbone
from jaxfacs.models.normalisation import NORMALISATIONS
from jaxfacs.models.registry import Card

PATCH = 4
WINDOW = 7
SHIFT = WINDOW // 2
MLP_RATIO = 4
# name -> embedding E, blocks and heads of each stage, drop path of the last block: section 3.3 of
# the paper, and for drop path the configs of the repository.
SIZES: dict[str, tuple[int, tuple[int, ...], tuple[int, ...], float]] = {
    "swin_t": (96, (2, 2, 6, 2), (3, 6, 12, 24), 0.2),
    "swin_s": (96, (2, 2, 18, 2), (3, 6, 12, 24), 0.3),
    "swin_b": (128, (2, 2, 18, 2), (4, 8, 16, 32), 0.5),
}
# Added to the attention between patches that are neighbours only because the map was rolled; the
# original's, and not -inf.
MASKED = -100.0
STD = 0.02  # of matrices and bias tables at the start

_CARD = Card(
    frames=1,
    size=224,
    mean=NORMALISATIONS["imagenet"][0],
    std=NORMALISATIONS["imagenet"][1],
    paper="Liu et al., Swin Transformer: Hierarchical Vision Transformer using Shifted Windows, "
    "ICCV 2021",
    source="https://github.com/microsoft/Swin-Transformer",
    licence="MIT (code); weights trained on ImageNet",
)


class Attention(nnx.Module):
    """Multi-head attention inside windows, with a learned bias for each relative position."""

    def __init__(self, channels: int, heads: int, *, dtype: Any, rngs: nnx.Rngs):
        self.qkv = Linear(channels, 3 * channels, std=STD, dtype=dtype, rngs=rngs)
        self.proj = Linear(channels, channels, std=STD, dtype=dtype, rngs=rngs)
        table = ((2 * WINDOW - 1) ** 2, heads)
        self.relative_position_bias_table = nnx.Param(normal(STD)(rngs.params(), table))
        self.heads, self.dtype = heads, dtype

    def __call__(self, x_NVWC: jax.Array, mask_VWW: np.ndarray | None) -> jax.Array:
        """Maps V windows of W patches; `mask_VWW` is added to the attention of every head."""
        qkv = self.qkv(x_NVWC).reshape(*x_NVWC.shape[:-1], 3, self.heads, -1)
        q, k, v = (qkv[..., i, :, :] for i in range(3))
        q = q * q.shape[-1] ** -0.5
        # Softmax in float32 whatever the dtype: bfloat16 has 8 bits for a sum over 49.
        scores = jnp.einsum("nvqhd,nvkhd->nvhqk", q, k, preferred_element_type=jnp.float32)
        bias_QKH = self.relative_position_bias_table[...][relative_positions()]
        scores = scores + jnp.moveaxis(bias_QKH, -1, 0)
        if mask_VWW is not None:
            scores = scores + mask_VWW[:, None]
        weights = jax.nn.softmax(scores).astype(self.dtype)
        y = jnp.einsum("nvhqk,nvkhd->nvqhd", weights, v)
        return self.proj(y.reshape(x_NVWC.shape))


class Mlp(nnx.Module):
    """Two layers with the exact GELU between them."""

    def __init__(self, channels: int, *, dtype: Any, rngs: nnx.Rngs):
        hidden = MLP_RATIO * channels
        self.fc1 = Linear(channels, hidden, std=STD, dtype=dtype, rngs=rngs)
        self.fc2 = Linear(hidden, channels, std=STD, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.fc2(gelu(self.fc1(x)))


class Block(nnx.Module):
    """Attention in windows, then an MLP, each normalised before and added to its input."""

    def __init__(self, channels: int, heads: int, *, shifted: bool, dtype: Any, rngs: nnx.Rngs):
        self.norm1 = LayerNorm(channels)
        self.attn = Attention(channels, heads, dtype=dtype, rngs=rngs)
        self.norm2 = LayerNorm(channels)
        self.mlp = Mlp(channels, dtype=dtype, rngs=rngs)
        self.shifted = shifted

    def __call__(self, x_NHWC: jax.Array, kept_2N: jax.Array | None) -> jax.Array:
        """Maps a map to one of its shape; `kept_2N` multiplies the two branches of each picture."""
        y = self._attend(self.norm1(x_NHWC))
        x = x_NHWC + (y if kept_2N is None else y * _of_picture(kept_2N[0], y))
        y = self.mlp(self.norm2(x))
        return x + (y if kept_2N is None else y * _of_picture(kept_2N[1], y))

    def _attend(self, x_NHWC: jax.Array) -> jax.Array:
        height, width = x_NHWC.shape[1:3]
        rows, columns = -(-height // WINDOW), -(-width // WINDOW)
        shift = (0, 0)
        if self.shifted:  # one window is the whole map already
            shift = (SHIFT if rows > 1 else 0, SHIFT if columns > 1 else 0)
        edges = ((0, 0), (0, rows * WINDOW - height), (0, columns * WINDOW - width), (0, 0))
        x = jnp.pad(x_NHWC, edges)
        x = jnp.roll(x, (-shift[0], -shift[1]), (1, 2))
        y = self.attn(_to_windows(x), rolled_mask(rows, columns, shift) if any(shift) else None)
        y = _from_windows(y, rows, columns)
        return jnp.roll(y, shift, (1, 2))[:, :height, :width]


class PatchEmbed(nnx.Module):
    """Patches of 4 x 4 pixels as vectors."""

    def __init__(self, channels: int, *, dtype: Any, rngs: nnx.Rngs):
        self.proj = Conv2d(
            3,
            channels,
            PATCH,
            strides=PATCH,
            padding="VALID",
            bias=True,
            std=1.0 / math.sqrt(3.0 * 3 * PATCH**2),  # that of torch's uniform start
            dtype=dtype,
            rngs=rngs,
        )
        self.norm = LayerNorm(channels)

    def __call__(self, x_NHWC: jax.Array) -> jax.Array:
        return self.norm(self.proj(x_NHWC))


class PatchMerging(nnx.Module):
    """Four neighbours become one of twice the channels; an odd side gets zeros."""

    def __init__(self, channels: int, *, dtype: Any, rngs: nnx.Rngs):
        self.norm = LayerNorm(4 * channels)
        self.reduction = Linear(
            4 * channels, 2 * channels, bias=False, std=STD, dtype=dtype, rngs=rngs
        )

    def __call__(self, x_NHWC: jax.Array) -> jax.Array:
        height, width = x_NHWC.shape[1:3]
        x = jnp.pad(x_NHWC, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
        # The order of the weights: (even row, even column), (odd, even), (even, odd), (odd, odd).
        x = jnp.concatenate([x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)], axis=-1)
        return self.reduction(self.norm(x))


class Stage(nnx.Module):
    """Blocks at one resolution, and the merging before the next one."""

    def __init__(
        self, channels: int, heads: int, depth: int, *, last: bool, dtype: Any, rngs: nnx.Rngs
    ):
        self.blocks = nnx.Dict(
            {
                str(b): Block(channels, heads, shifted=b % 2 == 1, dtype=dtype, rngs=rngs)
                for b in range(depth)
            }
        )
        self.downsample = None if last else PatchMerging(channels, dtype=dtype, rngs=rngs)


class Swin(nnx.Module):
    """Four stages; taps `layer1`..`layer4`, each before its merging, as ResNet's maps in size."""

    images = True
    channels = 3
    min_size = 32

    def __init__(
        self,
        embedding: int,
        depths: tuple[int, ...],
        heads: tuple[int, ...],
        drop_path: float,
        *,
        dtype: Any,
        rngs: nnx.Rngs,
    ):
        if not 0.0 <= drop_path < 1.0:
            raise UserError(f"drop_path {drop_path} is not in [0, 1)")
        self.patch_embed = PatchEmbed(embedding, dtype=dtype, rngs=rngs)
        stages, self.taps, channels = {}, {}, embedding
        for s, (depth, count) in enumerate(zip(depths, heads, strict=True)):
            channels = embedding * 2**s
            last = s == len(depths) - 1
            stages[str(s)] = Stage(channels, count, depth, last=last, dtype=dtype, rngs=rngs)
            self.taps[f"layer{s + 1}"] = channels
        self.layers = nnx.Dict(stages)
        self.norm = LayerNorm(channels)
        self.taps |= {"map": channels, "features": channels}
        self.depths, self.drop_path = depths, drop_path

    def __call__(
        self, x_NHWC: jax.Array, *, train: bool, dropout_key: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Maps pictures to the taps; `map` is `layer4` normalised, `features` its spatial mean.

        Any size of 32 px or more; 224 px makes whole windows everywhere, other sizes are padded.
        """
        kept = self._kept(x_NHWC.shape[0], dropout_key) if train and self.drop_path else None
        x, block, taps = self.patch_embed(x_NHWC), 0, {}
        for s in range(len(self.depths)):
            stage = self.layers[str(s)]
            for b in range(self.depths[s]):
                x = stage.blocks[str(b)](x, None if kept is None else kept[block])
                block += 1
            taps[f"layer{s + 1}"] = x
            if stage.downsample is not None:
                x = stage.downsample(x)
        x = self.norm(x)
        return {**taps, "map": x, "features": jnp.mean(x, axis=(1, 2), dtype=jnp.float32)}

    def _kept(self, pictures: int, key: jax.Array | None) -> jax.Array:
        """What multiplies each branch (block, branch, picture): 0, or 1 / (1 - its rate)."""
        if key is None:
            raise ValueError(
                "training with drop path needs dropout_key; pass one or create with drop_path=0"
            )
        rates = np.linspace(0.0, self.drop_path, sum(self.depths), dtype=np.float32)[:, None, None]
        kept = jax.random.bernoulli(key, 1.0 - rates, (len(rates), 2, pictures))
        return kept / (1.0 - rates)


def gelu(x: jax.Array) -> jax.Array:
    """The exact GELU, in float32.

    By erf as in torch, and not by erfc as in `jax.nn.gelu`: five times faster on a CPU, and 1e-6
    apart.
    """
    x32 = x.astype(jnp.float32)
    return (0.5 * x32 * (1.0 + jax.lax.erf(x32 * math.sqrt(0.5)))).astype(x.dtype)


def relative_positions() -> np.ndarray:
    """Row of the bias table for each pair of patches of a window, (49, 49)."""
    places = np.stack(np.divmod(np.arange(WINDOW**2), WINDOW))
    apart = places[:, :, None] - places[:, None] + WINDOW - 1
    return apart[0] * (2 * WINDOW - 1) + apart[1]


def rolled_mask(rows: int, columns: int, shift: tuple[int, int]) -> np.ndarray:
    """What separates, in a rolled map, patches from different ends: (rows * columns, 49, 49)."""
    side = [np.zeros(n * WINDOW, np.int32) for n in (rows, columns)]
    for regions, by in zip(side, shift, strict=True):
        if by:  # the last window holds its own patches, then those from the other end
            regions[-WINDOW:] = 1
            regions[-by:] = 2
    region = (3 * side[0][:, None] + side[1]).reshape(rows, WINDOW, columns, WINDOW)
    region = region.transpose(0, 2, 1, 3).reshape(rows * columns, WINDOW**2)
    return np.where(region[:, :, None] == region[:, None], 0.0, MASKED).astype(np.float32)


def _to_windows(x_NHWC: jax.Array) -> jax.Array:
    n, height, width, channels = x_NHWC.shape
    x = x_NHWC.reshape(n, height // WINDOW, WINDOW, width // WINDOW, WINDOW, channels)
    x = x.transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, height * width // WINDOW**2, WINDOW**2, channels)


def _from_windows(x_NVWC: jax.Array, rows: int, columns: int) -> jax.Array:
    n, channels = x_NVWC.shape[0], x_NVWC.shape[-1]
    x = x_NVWC.reshape(n, rows, columns, WINDOW, WINDOW, channels).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, rows * WINDOW, columns * WINDOW, channels)


def _of_picture(kept_N: jax.Array, x_NHWC: jax.Array) -> jax.Array:
    return kept_N.astype(x_NHWC.dtype)[:, None, None, None]


def _swin(name: str, drop_path: float | None, *, dtype: Any, rngs: nnx.Rngs) -> Swin:
    embedding, depths, heads, default = SIZES[name]
    rate = default if drop_path is None else drop_path
    return Swin(embedding, depths, heads, rate, dtype=dtype, rngs=rngs)


@backbone("swin_t", _CARD)
def swin_t(*, drop_path: float | None = None, dtype: Any, frozen_bn: bool, rngs: nnx.Rngs) -> Swin:
    """Makes Swin-T, 27.5 M parameters.

    Args:
      drop_path: the share of pictures that skip a branch of the last block in training; it grows
        from 0 at the first block. By default the paper's: 0.2, 0.3 and 0.5 for T, S and B.
      dtype: of the computation; parameters, norms and softmaxes are float32.
      frozen_bn: nothing here; these networks have no BatchNorm.
      rngs: of the parameters.
    """
    del frozen_bn
    return _swin("swin_t", drop_path, dtype=dtype, rngs=rngs)


@backbone("swin_s", _CARD)
def swin_s(*, drop_path: float | None = None, dtype: Any, frozen_bn: bool, rngs: nnx.Rngs) -> Swin:
    """Makes Swin-S, 48.8 M parameters; options as in `swin_t`."""
    del frozen_bn
    return _swin("swin_s", drop_path, dtype=dtype, rngs=rngs)


@backbone("swin_b", _CARD)
def swin_b(*, drop_path: float | None = None, dtype: Any, frozen_bn: bool, rngs: nnx.Rngs) -> Swin:
    """Makes Swin-B, 86.7 M parameters; options as in `swin_t`."""
    del frozen_bn
    return _swin("swin_b", drop_path, dtype=dtype, rngs=rngs)
