"""FLOPs counted by formula: operations one by one, networks as published, gradients that are."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from test_step import BASE

from jaxfacs import ops
from jaxfacs.data.config import DataConfig
from jaxfacs.train import flops
from jaxfacs.train import mesh as meshes
from jaxfacs.train import state as states
from jaxfacs.train.config import Experiment, ModelConfig


def plan_of(experiment: Experiment, aus=("1", "2", "4")):
    return states.plan(
        experiment, mesh=meshes.create(), aus=aus, num_emotions=2, steps_per_epoch=5
    )[0]


def conv(x, kernel, strides=(1, 1), **more):
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, kernel, strides, [(1, 1)] * 2, dimension_numbers=numbers, **more
    )


def zeros(*shape: int) -> jax.Array:
    return jnp.zeros(shape)


# function of (what is trained, what is not), their shapes, multiply-adds forward
OPERATIONS = {
    "product": (lambda w, x: x @ w, (8, 4), (2, 8), 2 * 8 * 4),
    "batched product": (lambda w, x: jnp.einsum("bij,bjk", x, w), (3, 8, 4), (3, 2, 8), 192),
    "convolution": (lambda w, x: conv(x, w), (3, 3, 4, 8), (2, 6, 6, 4), 2 * 36 * 9 * 4 * 8),
    "strided": (lambda w, x: conv(x, w, (2, 2)), (3, 3, 4, 8), (2, 6, 6, 4), 2 * 9 * 9 * 4 * 8),
    "grouped": (
        lambda w, x: conv(x, w, feature_group_count=4), (3, 3, 1, 8), (2, 6, 6, 4), 2 * 36 * 9 * 8,
    ),
    "transposed": (
        lambda w, x: lax.conv_transpose(x, w, (2, 2), "SAME"), (3, 3, 4, 8), (2, 6, 6, 4),
        2 * 36 * 9 * 4 * 8,
    ),
    "depthwise": (
        lambda w, x: ops.depthwise_conv3d(x, w, (1, 2, 2)), (3, 3, 3, 8), (1, 4, 6, 6, 8),
        4 * 9 * 27 * 8,
    ),
    "stem": (
        lambda w, x: ops.conv3d(x, w, (1, 2, 2)), (3, 3, 3, 3, 8), (1, 4, 6, 6, 3),
        4 * 9 * 27 * 3 * 8,
    ),
    "pointwise": (lambda w, x: ops.pointwise_conv3d(x, w), (4, 8), (1, 2, 3, 3, 4), 18 * 32),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations(name):
    """Where only the kernel is trained there is one gradient; where both are, two."""
    function, kernel, inputs, products = OPERATIONS[name]
    assert flops.count(function, zeros(*kernel), zeros(*inputs)) == (2 * products, 4 * products)
    both = flops.count(lambda p: function(*p), (zeros(*kernel), zeros(*inputs)))
    assert both == (2 * products, 6 * products)


def test_gradients_that_nobody_needs_and_results_that_nobody_reads_are_not_counted():
    w = {"a": zeros(8, 8), "b": zeros(8, 8)}
    x = zeros(1, 8)
    once = 2 * 64

    assert flops.count(lambda w, x: x @ w["a"] @ w["b"], w, x) == (2 * once, (2 + 3) * once)
    stopped = flops.count(lambda w, x: lax.stop_gradient(x @ w["a"]) @ w["b"], w, x)
    assert stopped == (2 * once, (1 + 2) * once)
    chosen = flops.count(lambda w, x: w["b"][jnp.argmax(x @ w["a"])] @ w["b"], w, x)
    assert chosen == (2 * once, (1 + 3) * once)  # no gradient through the place of the highest

    def unread(w, x):
        x @ w["a"]
        return x @ w["b"]

    assert flops.count(unread, w, x) == (once, 2 * once)


def test_loops_count_every_turn_and_branches_the_longest():
    w, x, once = zeros(8, 8), zeros(1, 8), 2 * 64
    looped = flops.count(lambda w, x: lax.scan(lambda c, _: (c @ w, None), x, length=5), w, x)
    assert looped == (5 * once, 5 * 3 * once)  # after the first turn the carry moves as well
    mapped = flops.count(lambda w, x: lax.map(lambda row: row @ w, x), w, zeros(6, 8))
    assert mapped == (6 * once, 6 * 2 * once)
    branched = flops.count(
        lambda w, x: lax.cond(x.sum() > 0, lambda: x @ w @ w, lambda: x @ w), w, x
    )
    assert branched == (2 * once, (2 + 3) * once)
    again = flops.count(lambda w, x: jax.checkpoint(lambda w: x @ w)(w), w, x)
    assert again == (once, 2 * once)


# Multiply-adds of one picture in the papers' and torchvision's tables, in thousand millions.
@pytest.mark.parametrize(
    ("name", "size", "published"),
    [("resnet18", 224, 1.81), ("alexnet", 227, 0.72), ("vgg16", 224, 15.47)],
)
def test_networks_take_what_is_published(name, size, published):
    data = DataConfig(batch_size=2, frames=1, size=size)
    experiment = Experiment(data=data, model=ModelConfig(name=name))
    found = flops.formula(plan_of(experiment), experiment)
    assert found.forward == pytest.approx(2e9 * published, rel=0.01)
    assert 2.8 * found.forward < found.training < 3 * found.forward


@pytest.mark.long
def test_a_transformer_takes_what_is_published():
    test_networks_take_what_is_published("swin_t", 224, 4.5)


# Of tests/train/test_step.py's network: a layer of 48 x 16 for each of 4 frames, three heads.
STEM, OCCURRENCE, INTENSITY, EMOTION = 2 * 4 * 48 * 16, 2 * 16 * 3, 2 * 16 * 3, 2 * 16 * 2


def test_a_clip_of_the_tiny_network():
    heads = OCCURRENCE + INTENSITY + EMOTION
    found = flops.formula(plan_of(BASE), BASE)
    assert found == flops.Flops(STEM + heads, 2 * STEM + 3 * heads)
    parts = dataclasses.replace(BASE, accumulate=4)
    assert flops.formula(plan_of(parts), parts) == found
    sharp = dataclasses.replace(BASE, optim=dataclasses.replace(BASE.optim, sam_rho=0.5))
    assert flops.formula(plan_of(sharp), sharp).training == 2 * found.training


def test_frozen_parts_and_losses_of_no_scale_have_no_backward_pass():
    frozen = dataclasses.replace(
        BASE,
        optim=dataclasses.replace(BASE.optim, frozen=("^stem", "^emotion")),
        loss=dataclasses.replace(BASE.loss, intensity_scale=0.0),
    )
    found = flops.formula(plan_of(frozen), frozen)
    assert found.forward == STEM + OCCURRENCE + INTENSITY + EMOTION
    assert found.training == STEM + 2 * OCCURRENCE + EMOTION


class Counted:
    def __init__(self, cost):
        self.cost_analysis = lambda: cost


def test_the_compilers_count_is_of_one_device_and_one_turn_of_a_loop():
    experiment = dataclasses.replace(BASE, accumulate=2)
    assert flops.compiled(Counted({"flops": 8e6}), experiment, devices=4) == 8e6  # batch 8
    assert flops.compiled(Counted({}), experiment, devices=4) is None
    assert flops.compiled(Counted(None), experiment, devices=4) is None


@pytest.mark.parametrize(
    ("kind", "single", "half"),
    [
        ("NVIDIA H100 80GB HBM3", 494.7, 989.4),
        ("NVIDIA H100 PCIe", 378, 756),
        ("NVIDIA H200", 494.7, 989.4),
        ("NVIDIA A100-SXM4-80GB", 156, 312),
        ("NVIDIA A100 80GB PCIe", 156, 312),
        ("NVIDIA A10", 62.5, 125),
        ("NVIDIA L4", 60, 121),
        ("NVIDIA L40S", 183, 362.05),
        ("NVIDIA GeForce RTX 4090", 82.6, 165.2),
        ("Tesla V100-SXM2-16GB", 15.7, None),
        ("Tesla T4", 8.1, None),
        ("NVIDIA A10G", None, None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None, None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None, None),
        ("cpu", None, None),
    ],
)
def test_peaks_are_of_exactly_these_devices(kind, single, half):
    for dtype, tera in (("float32", single), ("bfloat16", half)):
        expected = None if tera is None else pytest.approx(tera * 1e12)
        assert flops.peak(kind, dtype) == expected


def test_utilisation_is_a_share_of_the_peak():
    assert flops.utilisation(3e9, clips_per_s_device=100, peak=1e12) == pytest.approx(0.3)
