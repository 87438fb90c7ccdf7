"""BatchNorm with its activation."""

import jax
import jax.numpy as jnp


def _act(x, activation):
    return {"none": lambda v: v, "relu": jax.nn.relu, "relu6": jax.nn.relu6}[activation](x)


def batch_norm_inference(x, scale, bias, mean, var, activation="none", eps=1e-5):
    gain = scale * jax.lax.rsqrt(var + eps)
    return _act(x.astype(jnp.float32) * gain + (bias - mean * gain), activation).astype(x.dtype)


def batch_norm_train(x, scale, bias, activation="none", eps=1e-5):
    x32 = x.astype(jnp.float32)
    axes = tuple(range(x.ndim - 1))
    mean = x32.mean(axes)
    var = jnp.square(x32 - mean).mean(axes)
    y = batch_norm_inference(x, scale, bias, mean, var, activation, eps)
    return y, mean, var
