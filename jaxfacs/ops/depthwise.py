"""Depthwise 3D convolution."""

import jax
import jax.numpy as jnp

Stride = tuple[int, int, int]


def depthwise_conv3d(x_BTHWC: jax.Array, kernel_TxHxWxC: jax.Array, strides: Stride = (1, 1, 1)):
    """Convolves every channel with its own kernel; padding k//2 on each side."""
    kt, kh, kw, _ = kernel_TxHxWxC.shape
    pads = [(0, 0)] + [(k // 2, k // 2) for k in (kt, kh, kw)] + [(0, 0)]
    xp = jnp.pad(x_BTHWC, pads)
    out = [
        (n + 2 * (k // 2) - k) // s + 1
        for n, k, s in zip(x_BTHWC.shape[1:4], (kt, kh, kw), strides)
    ]
    y = 0.0
    for t in range(kt):
        for h in range(kh):
            for w in range(kw):
                sl = tuple(
                    slice(o, o + (n - 1) * s + 1, s) for o, n, s in zip((t, h, w), out, strides)
                )
                y += xp[(slice(None), *sl)].astype(jnp.float32) * kernel_TxHxWxC[t, h, w].astype(
                    jnp.float32
                )
    return y.astype(x_BTHWC.dtype)
