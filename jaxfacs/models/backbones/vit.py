"""ViT-B/16 in the form of masked autoencoders: no class token, positions by sines.

Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, table 1; He et al., "Masked
Autoencoders Are Scalable Vision Learners", CVPR 2022; the encoder that OpenGraphAU trained on faces
(`model/modeling_pretrain.py` in the OpenGraphAU folder of CVI-SZU/ME-GraphAU), whose names the
parameter paths are.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxfacs.errors import UserError
from jaxfacs.models.backbones.swin import Mlp
from jaxfacs.models.layers2d import Conv2d, LayerNorm, Linear
from jaxfacs.models.network import backbone
from jaxfacs.models.normalisation import NORMALISATIONS
from jaxfacs.models.registry import Card

PATCH, CHANNELS, DEPTH, HEADS = 16, 768, 12, 12
NORM_EPS = 1e-6
STD = 0.02  # of matrices at the start
WAVELENGTH = 10_000.0  # the longest of the position's sines, in patches over 2 pi

_CARD = Card(
    frames=1,
    size=224,
    mean=NORMALISATIONS["imagenet"][0],
    std=NORMALISATIONS["imagenet"][1],
    paper="He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022",
    source="https://github.com/CVI-SZU/ME-GraphAU/tree/main/OpenGraphAU",
    licence="MIT (code); weights carry the terms of the pictures they were trained on",
)


class Attention(nnx.Module):
    """Multi-head attention over all patches; queries and values have biases, keys none."""

    def __init__(self, *, dtype: Any, rngs: nnx.Rngs):
        self.qkv = Linear(CHANNELS, 3 * CHANNELS, bias=False, std=STD, dtype=dtype, rngs=rngs)
        self.q_bias = nnx.Param(jnp.zeros(CHANNELS, jnp.float32))
        self.v_bias = nnx.Param(jnp.zeros(CHANNELS, jnp.float32))
        self.proj = Linear(CHANNELS, CHANNELS, std=STD, dtype=dtype, rngs=rngs)
        self.dtype = dtype

    def __call__(self, x_NDC: jax.Array) -> jax.Array:
        q_bias, v_bias = self.q_bias[...], self.v_bias[...]
        bias = jnp.concatenate([q_bias, jnp.zeros_like(q_bias), v_bias]).astype(self.dtype)
        qkv = self.qkv(x_NDC) + bias
        qkv = qkv.reshape(*x_NDC.shape[:-1], 3, HEADS, CHANNELS // HEADS)
        q, k, v = (qkv[..., i, :, :] for i in range(3))
        q = q * (CHANNELS // HEADS) ** -0.5
        # Softmax in float32 whatever the dtype, as in Swin.
        scores = jnp.einsum("nqhd,nkhd->nhqk", q, k, preferred_element_type=jnp.float32)
        weights = jax.nn.softmax(scores).astype(self.dtype)
        return self.proj(jnp.einsum("nhqk,nkhd->nqhd", weights, v).reshape(x_NDC.shape))


class Block(nnx.Module):
    """Attention, then an MLP, each normalised before and added to its input."""

    def __init__(self, *, dtype: Any, rngs: nnx.Rngs):
        self.norm1 = LayerNorm(CHANNELS, eps=NORM_EPS)
        self.attn = Attention(dtype=dtype, rngs=rngs)
        self.norm2 = LayerNorm(CHANNELS, eps=NORM_EPS)
        self.mlp = Mlp(CHANNELS, dtype=dtype, rngs=rngs)

    def __call__(self, x_NDC: jax.Array) -> jax.Array:
        x = x_NDC + self.attn(self.norm1(x_NDC))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nnx.Module):
    """Patches of 16 x 16 pixels as vectors."""

    def __init__(self, *, dtype: Any, rngs: nnx.Rngs):
        self.proj = Conv2d(
            3,
            CHANNELS,
            PATCH,
            strides=PATCH,
            padding="VALID",
            bias=True,
            std=1.0 / math.sqrt(3.0 * 3 * PATCH**2),  # that of torch's uniform start
            dtype=dtype,
            rngs=rngs,
        )


class Encoder(nnx.Module):
    """Twelve blocks over the patches of a picture, and a norm."""

    def __init__(self, depth: int, *, dtype: Any, rngs: nnx.Rngs):
        self.patch_embed = PatchEmbed(dtype=dtype, rngs=rngs)
        self.blocks = nnx.Dict({str(n): Block(dtype=dtype, rngs=rngs) for n in range(depth)})
        self.norm = LayerNorm(CHANNELS, eps=NORM_EPS)

    def __call__(self, x_NHWC: jax.Array) -> jax.Array:
        x = self.patch_embed.proj(x_NHWC)
        places = x.shape[1] * x.shape[2]
        tokens = x.reshape(-1, places, CHANNELS)
        tokens = tokens + jnp.asarray(sine_positions(places), x.dtype)[None]
        for n in range(len(self.blocks)):
            tokens = self.blocks[str(n)](tokens)
        return self.norm(tokens).reshape(x.shape)


class ViT(nnx.Module):
    """The encoder; `map` is what it answers for each patch, `features` the mean of that."""

    images = True
    channels = 3
    min_size = 2 * PATCH

    def __init__(self, depth: int, *, dtype: Any, rngs: nnx.Rngs):
        self.encoder = Encoder(depth, dtype=dtype, rngs=rngs)
        self.taps = {"map": CHANNELS, "features": CHANNELS}

    def __call__(
        self, x_NHWC: jax.Array, *, train: bool, dropout_key: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Maps pictures to the taps; sides must be multiples of 16 px, 224 in the weights."""
        del train, dropout_key
        height, width = x_NHWC.shape[1:3]
        if height % PATCH or width % PATCH:
            raise UserError(
                f"frames of {height} x {width} do not divide into patches of {PATCH}; give a "
                f"--data.size that is a multiple of {PATCH}"
            )
        x = self.encoder(x_NHWC)
        return {"map": x, "features": jnp.mean(x, axis=(1, 2), dtype=jnp.float32)}


def sine_positions(places: int) -> np.ndarray:
    """What is added to each patch, counted row by row: (places, C), sines beside cosines.

    Vaswani et al. 2017, section 3.5. The place in the picture is not said otherwise, so weights
    know one width of picture: another size runs, but they have not seen it.
    """
    rate = WAVELENGTH ** (-2.0 * (np.arange(CHANNELS) // 2) / CHANNELS)
    angle = np.arange(places)[:, None] * rate
    return np.where(np.arange(CHANNELS) % 2, np.cos(angle), np.sin(angle)).astype(np.float32)


@backbone("vit_b", _CARD)
def vit_b(*, depth: int = DEPTH, dtype: Any, frozen_bn: bool, rngs: nnx.Rngs) -> ViT:
    """Makes ViT-B/16, 85.6 M parameters.

    Args:
      depth: blocks; 12 in the weights.
      dtype: of the computation; parameters, norms and softmaxes are float32.
      frozen_bn: nothing here; it has no BatchNorm.
      rngs: of the parameters.
    """
    del frozen_bn
    if depth < 1:
        raise UserError(f"depth {depth} must be 1 or more")
    return ViT(depth, dtype=dtype, rngs=rngs)
