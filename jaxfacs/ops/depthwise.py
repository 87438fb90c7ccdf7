"""Depthwise 3D convolution: every channel with its own small kernel.

XLA runs a grouped convolution on CPU one group at a time, 20 to 50 times slower than the memory
allows. Here the forward pass and both gradients are sums of shifted products over channels-last
arrays, in forms that XLA compiles to vectorised loops over the channels:

- forward: one fused loop, kT·kH·kW multiply-adds an output element, input padded beforehand;
- input gradient: the same kind of loop over g, for any stride: position i = s·m + p takes
  g[m + a]·k[p + pad - s·a] over the few offsets a, so the kernel becomes one table for each offset
  with an entry (maybe 0) for each phase p. Nothing is dilated, concatenated or scattered;
- kernel gradient: one variadic reduction for each group of 9 taps, first over blocks of 7 rows.
  LLVM unrolls the short inner loop (9 · 7 products; it stops near 64), then vectorises over
  channels with 9 accumulators in registers, so that each g is loaded once for 9 taps.

Elsewhere than on CPU the plain convolution is used (`docs/performance.md`).
"""

import itertools
import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

Stride = tuple[int, int, int]

DIMENSIONS = ("NDHWC", "DHWIO", "NDHWC")
TAPS_AT_ONCE = 9
UNROLLED_PRODUCTS = 63


def depthwise_conv3d(
    x_BTHWC: jax.Array, kernel_TxHxWxC: jax.Array, strides: Stride = (1, 1, 1)
) -> jax.Array:
    """Convolves each channel of `x_BTHWC` with its own kernel, padding k//2 on each side.

    Equal to `lax.conv_general_dilated` with `feature_group_count=C`; accumulates in float32 and
    answers in the dtype of `x_BTHWC`. Differentiable once in both arguments.

    Args:
      x_BTHWC: (B, T, H, W, C), float32 or bfloat16.
      kernel_TxHxWxC: (kT, kH, kW, C), any sizes.
      strides: along T, H, W.

    Returns:
      (B, T', H', W', C) with T' = (T + 2·(kT//2) - kT)//sT + 1 and so on.

    Raises:
      ValueError: ranks or channels do not agree, or the input is smaller than the kernel.
    """
    if x_BTHWC.ndim != 5 or kernel_TxHxWxC.ndim != 4:
        raise ValueError(f"x {x_BTHWC.shape} must be BTHWC, kernel {kernel_TxHxWxC.shape} THWC")
    if x_BTHWC.shape[-1] != kernel_TxHxWxC.shape[-1]:
        raise ValueError(f"x has {x_BTHWC.shape[-1]} channels, kernel {kernel_TxHxWxC.shape[-1]}")
    strides = (int(strides[0]), int(strides[1]), int(strides[2]))
    if min(strides) < 1 or any(
        n < 1 for n in out_sizes(x_BTHWC.shape, kernel_TxHxWxC.shape, strides)
    ):
        raise ValueError(
            f"x {x_BTHWC.shape} is too small for kernel {kernel_TxHxWxC.shape}, strides {strides}"
        )
    return _depthwise(x_BTHWC, kernel_TxHxWxC, strides)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _depthwise(x_BTHWC: jax.Array, kernel: jax.Array, strides: Stride) -> jax.Array:
    return lax.platform_dependent(
        x_BTHWC,
        kernel,
        cpu=partial(forward_by_shifts, strides=strides),
        default=partial(plain_depthwise_conv3d, strides=strides),
    )


def _depthwise_fwd(x_BTHWC, kernel, strides):
    return _depthwise(x_BTHWC, kernel, strides), (x_BTHWC, kernel)


def _depthwise_bwd(strides, residuals, g_BTHWC):
    x_BTHWC, kernel = residuals
    dx = lax.platform_dependent(
        g_BTHWC,
        kernel,
        x_BTHWC,
        cpu=lambda g, k, x: input_gradient_by_phases(g, k, x.shape, strides).astype(x.dtype),
        default=lambda g, k, x: _plain_vjp(x, k, g, strides)[0],
    )
    dk = lax.platform_dependent(
        g_BTHWC,
        kernel,
        x_BTHWC,
        cpu=lambda g, k, x: kernel_gradient_by_taps(x, g, k.shape, strides).astype(k.dtype),
        default=lambda g, k, x: _plain_vjp(x, k, g, strides)[1],
    )
    return dx, dk


_depthwise.defvjp(_depthwise_fwd, _depthwise_bwd)


def plain_depthwise_conv3d(x_BTHWC: jax.Array, kernel: jax.Array, strides: Stride) -> jax.Array:
    """The same operation as XLA's grouped convolution; the reference in tests and benchmarks."""
    y = lax.conv_general_dilated(
        x_BTHWC.astype(jnp.float32),
        kernel.astype(jnp.float32)[..., None, :],
        strides,
        [(k // 2, k // 2) for k in kernel.shape[:3]],
        dimension_numbers=DIMENSIONS,
        feature_group_count=x_BTHWC.shape[-1],
    )
    return y.astype(x_BTHWC.dtype)


def _plain_vjp(x, kernel, g, strides):
    return jax.vjp(lambda x, k: plain_depthwise_conv3d(x, k, strides), x, kernel)[1](g)


def forward_by_shifts(x_BTHWC: jax.Array, kernel: jax.Array, strides: Stride) -> jax.Array:
    """Sums kT·kH·kW shifted products."""
    xp = _padded(x_BTHWC, kernel.shape)
    sizes = out_sizes(x_BTHWC.shape, kernel.shape, strides)
    kernel = kernel.astype(jnp.float32)
    y = sum(
        _window(xp, tap, sizes, strides).astype(jnp.float32) * kernel[tap][None, None, None, None]
        for tap in _taps(kernel.shape)
    )
    return jnp.asarray(y).astype(x_BTHWC.dtype)


def input_gradient_by_phases(
    g_BTHWC: jax.Array, kernel: jax.Array, x_shape: tuple[int, ...], strides: Stride
) -> jax.Array:
    """Returns the float32 gradient in x, (B, T, H, W, C), from the one in y."""
    batch, *sizes, channels = x_shape
    tables = [_phase_taps(k, s) for k, s in zip(kernel.shape[:3], strides, strict=True)]
    blocks = [-(-n // s) for n, s in zip(sizes, strides, strict=True)]
    # Pad g so that every m + a is inside; what lies past its end is 0.
    pads = []
    for axis, (table, m) in enumerate(zip(tables, blocks, strict=True)):
        n = g_BTHWC.shape[axis + 1]
        pads.append((max(0, -min(table)), max(0, m - 1 + max(table) - (n - 1))))
    gp = jnp.pad(g_BTHWC, ((0, 0), *pads, (0, 0)))
    kernel = jnp.pad(kernel.astype(jnp.float32), ((0, 1),) * 3 + ((0, 0),))  # [-1] is "no tap"
    dx = None
    for offset in itertools.product(*tables):
        start = [a + before for a, (before, _) in zip(offset, pads, strict=True)]
        window = _window(gp, start, blocks, (1, 1, 1)).astype(jnp.float32)
        phases = [jnp.asarray(table[a]) for table, a in zip(tables, offset, strict=True)]
        weights = kernel[jnp.ix_(*phases)]  # (sT, sH, sW, C)
        weights = weights[None, None, :, None, :, None, :]
        term = window[:, :, None, :, None, :, None] * weights
        dx = term if dx is None else dx + term
    full = [m * s for m, s in zip(blocks, strides, strict=True)]
    dx = jnp.asarray(dx).reshape(batch, *full, channels)
    return dx[:, : sizes[0], : sizes[1], : sizes[2]]


def kernel_gradient_by_taps(
    x_BTHWC: jax.Array, g_BTHWC: jax.Array, kernel_shape: tuple[int, ...], strides: Stride
) -> jax.Array:
    """Returns the float32 gradient in the kernel, (kT, kH, kW, C)."""
    _, *sizes, channels = g_BTHWC.shape
    taps = _taps(kernel_shape)
    at_once = min(TAPS_AT_ONCE, len(taps))
    rows = _rows_at_once(sizes[1], UNROLLED_PRODUCTS // at_once)
    blocks = -(-sizes[1] // rows)
    sizes[1] = blocks * rows  # rows past the end are 0 in g, so x may be anything there
    extra = (sizes[1] - g_BTHWC.shape[2]) * strides[1]
    g = jnp.pad(g_BTHWC, ((0, 0), (0, 0), (0, sizes[1] - g_BTHWC.shape[2]), (0, 0), (0, 0)))
    xp = jnp.pad(_padded(x_BTHWC, kernel_shape), ((0, 0), (0, 0), (0, extra), (0, 0), (0, 0)))

    def in_blocks(a):
        return a.reshape(*a.shape[:2], blocks, rows, *a.shape[3:]).astype(jnp.float32)

    g = in_blocks(g)
    sums = []
    for i in range(0, len(taps), at_once):
        products = [in_blocks(_window(xp, t, sizes, strides)) * g for t in taps[i : i + at_once]]
        sums += _variadic_sum(products, axis=3)
    return jnp.stack([jnp.sum(s, axis=(0, 1, 2, 3)) for s in sums]).reshape(
        *kernel_shape[:3], channels
    )


def _variadic_sum(arrays: list[jax.Array], *, axis: int) -> list[jax.Array]:
    """Sums several arrays along `axis` in one loop."""
    zeros = (jnp.float32(0),) * len(arrays)
    return list(
        lax.reduce(
            tuple(arrays),
            zeros,
            lambda left, right: tuple(a + b for a, b in zip(left, right, strict=True)),
            (axis,),
        )
    )


def _rows_at_once(rows: int, most: int) -> int:
    """Returns the block size up to `most` that pads `rows` least, the larger one of equals."""
    return min(range(1, min(rows, most) + 1), key=lambda n: (-(-rows // n) * n, -n))


def _phase_taps(size: int, stride: int) -> dict[int, list[int]]:
    """For one axis: offset a -> for each phase p the tap p + pad - s·a, or -1 if there is none."""
    pad = size // 2
    table: dict[int, list[int]] = {}
    for a in range(math.ceil((pad - size + 1) / stride), (stride - 1 + pad) // stride + 1):
        taps = [p + pad - stride * a for p in range(stride)]
        table[a] = [t if 0 <= t < size else -1 for t in taps]
    return table


def _taps(kernel_shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    return list(itertools.product(*(range(k) for k in kernel_shape[:3])))


def _padded(x_BTHWC: jax.Array, kernel_shape: tuple[int, ...]) -> jax.Array:
    pads = [(k // 2, k // 2) for k in kernel_shape[:3]]
    return jnp.pad(x_BTHWC, ((0, 0), *pads, (0, 0)))


def _window(x_BTHWC, start, sizes, strides):
    """Returns the strided box of `sizes` outputs that begins at `start`."""
    box = (slice(o, o + (n - 1) * s + 1, s) for o, n, s in zip(start, sizes, strides, strict=True))
    return x_BTHWC[(slice(None), *box)]


def out_sizes(
    x_shape: tuple[int, ...], kernel_shape: tuple[int, ...], strides: Stride
) -> list[int]:
    """Returns T', H', W' of a convolution padded k//2 on each side."""
    return [
        (n + 2 * (k // 2) - k) // s + 1
        for n, k, s in zip(x_shape[1:4], kernel_shape[:3], strides, strict=True)
    ]
