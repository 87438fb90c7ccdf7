"""Names and shapes that published files have, for networks that no golden file lists."""

from collections.abc import Iterable

import jax
import numpy as np
from flax import nnx

from jaxfacs import models
from jaxfacs.train.paths import paths

Shapes = dict[str, tuple[int, ...]]


def ours(name: str, **options) -> Shapes:
    """Path -> shape of every parameter and statistic of our network; nothing is allocated."""
    _, params, stats = jax.eval_shape(
        lambda: models.split(models.create(name, rngs=nnx.Rngs(0), **options))
    )
    return {path: leaf.shape for tree in (params, stats) for path, leaf in paths(tree).items()}


def as_torch(shapes: Shapes, *, clips: bool = False) -> Shapes:
    """Our paths and shapes as torch would name and lay them out; `clips` has kernels in 3D."""
    roles = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
    named = {}
    for path, shape in shapes.items():
        *parents, role = path.split("/")
        if role == "kernel" and len(shape) == (4 if clips else 3):  # depthwise
            shape = (shape[-1], 1, *shape[:-1])
        elif role == "kernel":
            shape = (shape[-1], shape[-2], *shape[:-2])
        named[".".join((*parents, roles.get(role, role)))] = shape
    return named


VGG_CONVS = tuple(
    (f"{block}_{n}", i if n == 1 else o, o)
    for block, (i, o, count) in enumerate(
        ((3, 64, 2), (64, 128, 2), (128, 256, 3), (256, 512, 3), (512, 512, 3)), start=1
    )
    for n in range(1, count + 1)
)


def vgg_face(conv: str, *, mat: bool = False) -> Shapes:
    """VGG-Face's layers under names such as conv1_1; `mat` lays them out as MatConvNet does."""
    rows: list[tuple[str, tuple[int, ...]]] = [
        *((conv + number, (o, i, 3, 3)) for number, i, o in VGG_CONVS),
        ("fc6", (4096, 512, 7, 7) if mat else (4096, 25088)),
        ("fc7", (4096, 4096, 1, 1) if mat else (4096, 4096)),
        ("fc8", (2622, 4096, 1, 1) if mat else (2622, 4096)),
    ]
    if mat:
        rows = [(name, (*s[2:], s[1], s[0])) for name, s in rows]
        return biased(rows, "kernel", [s[-1] for _, s in rows])
    return biased(rows, "weight", [s[0] for _, s in rows])


def torch7() -> Shapes:
    """VGG_FACE.t7: layers by place, convolutions flattened."""
    shapes = [(o, 9 * i) for _, i, o in VGG_CONVS] + [(4096, 25088), (4096, 4096), (2622, 4096)]
    places = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28, 32, 35, 38]
    rows = [(str(place), shape) for place, shape in zip(places, shapes, strict=True)]
    return biased(rows, "weight", [s[0] for _, s in rows])


def biased(rows: Iterable[tuple[str, tuple[int, ...]]], kernel: str, outputs: list[int]) -> Shapes:
    shapes: Shapes = {}
    for (name, shape), size in zip(rows, outputs, strict=True):
        shapes |= {f"{name}.{kernel}": shape, f"{name}.bias": (size,)}
    return shapes


def torchvision_swin(depths: tuple[int, ...], embedding: int, heads: tuple[int, ...]) -> Shapes:
    """torchvision's Swin v1: patches, then stages and mergings in turn, in one `features`."""
    shapes = biased([("features.0.0", (embedding, 3, 4, 4))], "weight", [embedding])
    shapes |= {f"features.0.2.{role}": (embedding,) for role in ("weight", "bias")}
    for stage, depth in enumerate(depths):
        c = embedding * 2**stage
        for block in range(depth):
            at = f"features.{2 * stage + 1}.{block}"
            shapes |= {f"{at}.attn.relative_position_bias_table": (169, heads[stage])}
            shapes |= {f"{at}.attn.relative_position_index": (49 * 49,)}
            for norm in ("norm1", "norm2"):
                shapes |= {f"{at}.{norm}.{role}": (c,) for role in ("weight", "bias")}
            rows = [
                (f"{at}.attn.qkv", (3 * c, c)),
                (f"{at}.attn.proj", (c, c)),
                (f"{at}.mlp.0", (4 * c, c)),
                (f"{at}.mlp.3", (c, 4 * c)),
            ]
            shapes |= biased(rows, "weight", [s[0] for _, s in rows])
        if stage + 1 < len(depths):
            at = f"features.{2 * stage + 2}"
            shapes |= {f"{at}.reduction.weight": (2 * c, 4 * c)}
            shapes |= {f"{at}.norm.{role}": (4 * c,) for role in ("weight", "bias")}
    last = embedding * 2 ** (len(depths) - 1)
    shapes |= {f"norm.{role}": (last,) for role in ("weight", "bias")}
    return shapes | biased([("head", (1000, last))], "weight", [1000])


def old_keras_resnet50() -> Shapes:
    """keras-applications' file before 2019: res2a_branch2a, bn2a_branch2a, ..."""
    roles = ("gamma", "beta", "moving_mean", "moving_variance")
    shapes = biased([("conv1", (7, 7, 3, 64))], "kernel", [64])
    shapes |= {f"bn_conv1.{role}": (64,) for role in roles}
    i = 64
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=2):
        for block in "abcdef"[:blocks]:
            convs = {"2a": (1, i, width), "2b": (3, width, width), "2c": (1, width, 4 * width)}
            if block == "a":
                convs["1"] = (1, i, 4 * width)
            for branch, (size, inputs, o) in convs.items():
                name = f"{stage}{block}_branch{branch}"
                shapes |= biased([(f"res{name}", (size, size, inputs, o))], "kernel", [o])
                shapes |= {f"bn{name}.{role}": (o,) for role in roles}
            i = 4 * width
    return shapes | biased([("fc1000", (2048, 1000))], "kernel", [1000])


def scc(maps: int, size: int) -> Shapes:
    """The variables of an SCC checkpoint (model_graph.py and lib/basemodel.py of EvelynFan/FAU)."""
    roles = ("gamma", "beta", "moving_mean", "moving_variance")

    def normed(scope: str, shape: tuple[int, ...], channels: int) -> Shapes:
        return {f"{scope}.weights": shape} | {
            f"{scope}.BatchNorm.{role}": (channels,) for role in roles
        }

    shapes = normed("resnet_v1_50.conv1", (7, 7, 3, 64), 64)
    i = 64
    for block, (width, units) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=1):
        for unit in range(1, units + 1):
            at = f"resnet_v1_50.block{block}.unit_{unit}.bottleneck_v1"
            convs = {"conv1": (1, i, width), "conv2": (3, width, width)}
            convs["conv3"] = (1, width, 4 * width)
            if unit == 1:
                convs["shortcut"] = (1, i, 4 * width)
            for name, (k, inputs, o) in convs.items():
                shapes |= normed(f"{at}.{name}", (k, k, inputs, o), o)
            i = 4 * width
    side, i = size // 32, 2048
    for n, width in enumerate((256, 128, 64), start=1):
        side *= 2
        shapes |= normed(f"up{n}", (4, 4, width, i), width)
        shapes |= normed(f"conv{n}", (1, 1, 2 * side * side, side * side), side * side)
        i = width
    shapes |= {"out.weights": (1, 1, 64, maps), "out.biases": (maps,)}
    shapes |= {"global_step": (), "out.weights.Adam": (1, 1, 64, maps), "beta1_power": ()}
    return shapes


def empty(shapes: Shapes) -> dict[str, np.ndarray]:
    """Arrays of these shapes that take no memory."""
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}
