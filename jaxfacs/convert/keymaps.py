"""Where each published tensor goes: one entry a network and form of its weights."""

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from jaxfacs.convert.keymap import OWN, KeyMap, Rules, Shapes, classified
from jaxfacs.errors import UserError
from jaxfacs.models import heatmaps
from jaxfacs.models.backbones import inception_v3, mobilenet3d

# --- ResNet ---------------------------------------------------------------------------------------

_KERAS_PARTS = {
    "0_conv": "downsample.0",
    "0_bn": "downsample.1",
    **{f"{n}_{part}": f"{part}{n}" for n in (1, 2, 3) for part in ("conv", "bn")},
}
_OLD_KERAS_BRANCHES = {"1": "0", "2a": "1", "2b": "2", "2c": "3"}
_SLIM_PARTS = {
    "shortcut": "downsample.0",
    "shortcut.BatchNorm": "downsample.1",
    **{f"conv{n}": f"conv{n}" for n in (1, 2, 3)},
    **{f"conv{n}.BatchNorm": f"bn{n}" for n in (1, 2, 3)},
}


def _keras_block(found: re.Match[str]) -> str:
    stage, block, part = found.groups()
    return f"layer{int(stage) - 1}.{int(block) - 1}.{_KERAS_PARTS[part]}."


def _old_keras_block(found: re.Match[str]) -> str:
    """Names of the files before 2019: res2a_branch2b, bn2a_branch1."""
    kind, stage, block, branch = found.groups()
    part = _OLD_KERAS_BRANCHES[branch] + ("_conv" if kind == "res" else "_bn")
    return f"layer{int(stage) - 1}.{ord(block) - ord('a')}.{_KERAS_PARTS[part]}."


def _slim_block(found: re.Match[str]) -> str:
    stage, block, part = found.groups()
    return f"layer{stage}.{int(block) - 1}.{_SLIM_PARTS[part]}."


# What TF-slim's optimisers and counters leave in a checkpoint beside the weights.
SLIM_IGNORED = (r"(^|\.)global_step$", r"\.(Adam|Adam_1|Momentum|RMSProp|RMSProp_1)$", r"_power$")
SLIM_RESNET: Rules = (
    (r"^resnet_v1_\d+\.", ""),
    (r"^block(\d)\.unit_(\d+)\.bottleneck_v1\.(\w+(?:\.BatchNorm)?)\.", _slim_block),
    (r"^conv1\.BatchNorm\.", "bn1."),
)

_RESNET = KeyMap(rules=classified("fc"), marks=(r"^layer1\.0\.",))
_KERAS_RESNET = KeyMap(
    rules=classified(
        "(?:predictions|probs|fc1000)",
        (r"^conv1_conv\.", "conv1."),
        (r"^(?:conv1_bn|bn_conv1)\.", "bn1."),
        (r"^conv(\d)_block(\d+)_(\d_(?:conv|bn))\.", _keras_block),
        (r"^(res|bn)(\d)([a-z])_branch(1|2[abc])\.", _old_keras_block),
    ),
    layout="keras",
    bgr=True,
    answers="head.occurrence.kernel",
    create={"form": "keras"},
    marks=(r"^(?:conv2_block1_1_conv|res2a_branch2a)\.",),
    normalisation="caffe",
)
_SLIM_RESNET = KeyMap(
    rules=classified(r"(?:resnet_v1_\d+\.)?logits", *SLIM_RESNET),
    layout="keras",
    ignored=(*SLIM_IGNORED, r"^resnet_v1_\d+\.mean_rgb$"),
    answers="head.occurrence.weights",
    create={"form": "slim"},
    marks=(r"bottleneck_v1\.conv1\.weights$",),
    normalisation="caffe",
)
_RESNETS = {"torchvision": _RESNET, "keras": _KERAS_RESNET, "slim": _SLIM_RESNET}

# --- VGG16 ----------------------------------------------------------------------------------------

# (block, convolution) -> torchvision's index in `features`.
_VGG_CONVS = {
    (1, 1): 0,
    (1, 2): 2,
    (2, 1): 5,
    (2, 2): 7,
    (3, 1): 10,
    (3, 2): 12,
    (3, 3): 14,
    (4, 1): 17,
    (4, 2): 19,
    (4, 3): 21,
    (5, 1): 24,
    (5, 2): 26,
    (5, 3): 28,
}
_VGG_FIRST, _VGG_FC6 = "backbone/features/0/kernel", "backbone/classifier/0/kernel"
_VGG_FLATTEN = {_VGG_FC6: (512, 7, 7)}


def _vgg_conv(found: re.Match[str]) -> str:
    block, conv = map(int, found.groups())
    return f"features.{_VGG_CONVS.get((block, conv), f'{block}_{conv}')}."


def _vgg_rules(conv: str, fc6: str, fc7: str, fc8: str) -> Rules:
    """Rules for names such as conv1_1, by the pattern of a convolution's two numbers."""
    return classified(
        fc8,
        (rf"^{conv}\.", _vgg_conv),
        (rf"^{fc6}\.", "classifier.0."),
        (rf"^{fc7}\.", "classifier.3."),
    )


def _without_top(fc6: str) -> Callable[[Shapes], Mapping[str, Any]]:
    """Files of the convolutions alone make a network that averages the last map."""
    return lambda shapes: {} if any(k.startswith(fc6) for k in shapes) else {"top": "pool"}


_VGG16 = KeyMap(
    rules=classified(r"classifier\.6"),
    flatten=_VGG_FLATTEN,
    first=_VGG_FIRST,
    infer=_without_top("classifier.0."),
    marks=(r"^features\.0\.",),
)
_KERAS_VGG16 = KeyMap(
    rules=_vgg_rules(r"block(\d)_conv(\d)", "fc1", "fc2", "predictions"),
    layout="keras",
    first=_VGG_FIRST,
    bgr=True,
    answers="head.occurrence.kernel",
    infer=_without_top("fc1."),
    marks=(r"^block1_conv1\.",),
    normalisation="caffe",
)
# VGG-Face was trained in Caffe on B, G, R; MatConvNet's copy, and what was made from it, reads RGB.
_FACE_RULES = _vgg_rules(r"conv_?(\d)_(\d)", "fc6", "fc7", "fc8")
_VGG_FACES = {
    "torchvision": _VGG16,
    "matconvnet": KeyMap(  # vgg_face_dag.pth
        rules=_FACE_RULES,
        flatten=_VGG_FLATTEN,
        first=_VGG_FIRST,
        marks=(r"^conv1_1\.weight$",),
    ),
    "mat": KeyMap(  # vgg_face.mat
        rules=_FACE_RULES,
        layout="keras",
        first=_VGG_FIRST,
        answers="head.occurrence.kernel",
        marks=(r"^conv1_1\.kernel$",),
    ),
    "caffe": KeyMap(  # what the common conversion of VGG_FACE.t7 saves
        rules=_FACE_RULES,
        flatten=_VGG_FLATTEN,
        first=_VGG_FIRST,
        bgr=True,
        marks=(r"^conv_1_1\.weight$",),
    ),
    "torch7": KeyMap(  # VGG_FACE.t7
        rules=(),
        flatten=_VGG_FLATTEN,
        first=_VGG_FIRST,
        bgr=True,
        marks=(r"^0\.weight$",),
        ordered=(
            *(f"backbone.features.{index}" for index in _VGG_CONVS.values()),
            "backbone.classifier.0",
            "backbone.classifier.3",
            "head.occurrence",
        ),
    ),
}

# --- AlexNet, MobileNets --------------------------------------------------------------------------

_ALEXNETS = {
    "torchvision": KeyMap(
        rules=classified(r"classifier\.6"),
        flatten={"backbone/classifier/1/kernel": (256, 6, 6)},
        first="backbone/features/0/kernel",
        create={"form": "torchvision"},
        marks=(r"^features\.0\.",),
        normalisation="imagenet",
    ),
    "caffe": KeyMap(  # bvlc_alexnet's layers, as Caffe converters to torch name them
        rules=classified(
            "fc8", (r"^(conv\d)\.", r"features.\1."), (r"^(fc[67])\.", r"classifier.\1.")
        ),
        flatten={"backbone/classifier/fc6/kernel": (256, 6, 6)},
        first="backbone/features/conv1/kernel",
        bgr=True,
        create={"form": "caffe"},
        marks=(r"^conv1\.weight$", r"^fc6\.weight$"),
        normalisation="caffe",
    ),
}
_MOBILENET_V2 = KeyMap(rules=classified(r"classifier\.1"), first="backbone/features/0/0/kernel")


# Widths that Efficient-3DCNNs publishes. Channels are rounded down, so a count is not enough.
PUBLISHED_WIDTHS = (0.2, 0.45, 0.5, 0.7, 1.0, 1.5, 2.0)


def _width(shapes: Shapes) -> Mapping[str, float]:
    """The multiplier of the channels, by those of the stem."""
    if "features.0.0.weight" not in shapes:
        return {}
    stem, full = shapes["features.0.0.weight"][0], mobilenet3d.STEM_CHANNELS
    matching = (width for width in PUBLISHED_WIDTHS if int(full * width) == stem)
    return {"width": next(matching, stem / full)}


_MOBILENET_3D = dataclasses.replace(_MOBILENET_V2, infer=_width)

# --- Inception V3 ---------------------------------------------------------------------------------


def _convolutions(steps: Any) -> Iterator[str]:
    """Names of a branch's convolutions in the order in which Keras makes them."""
    for step in steps:
        if isinstance(step, inception_v3.Conv):
            yield step.name
        elif isinstance(step, tuple):
            yield from _convolutions(step)


KERAS_INCEPTION_V3: tuple[str, ...] = (
    *(conv.name for conv in inception_v3.STEM),
    *(
        f"{block}.{name}"
        for block, branches in inception_v3.BLOCKS.items()
        for branch in branches
        for name in _convolutions(branch)
    ),
)


def _keras_inception(found: re.Match[str]) -> str:
    kind, number = found.groups()
    if int(number) >= len(KERAS_INCEPTION_V3):
        return found.group()
    return f"{KERAS_INCEPTION_V3[int(number)]}.{'conv' if kind == 'conv2d' else 'bn'}."


_INCEPTION_FIRST = "backbone/Conv2d_1a_3x3/conv/kernel"
_INCEPTION_V3 = {
    "torchvision": KeyMap(
        rules=classified("fc"),
        ignored=(r"^AuxLogits\.",),
        first=_INCEPTION_FIRST,
        marks=(r"^Conv2d_1a_3x3\.",),
        normalisation="unit",
    ),
    "keras": KeyMap(
        rules=classified(
            "predictions", (r"^(conv2d|batch_normalization)#(\d+)\.", _keras_inception)
        ),
        layout="keras",
        first=_INCEPTION_FIRST,
        answers="head.occurrence.kernel",
        create={"form": "keras"},
        marks=(r"^conv2d(_\d+)?\.", r"^batch_normalization(_\d+)?\."),
        normalisation="unit",
        numbered=True,
    ),
}

# --- Inception V2, Xception -----------------------------------------------------------------------

_SLIM_INCEPTION_V2 = KeyMap(
    rules=classified(
        r"InceptionV2\.Logits\.Conv2d_1c_1x1",
        (r"^InceptionV2\.", ""),
        (r"\.BatchNorm\.", ".bn."),
        (r"^((?!head\.).*)\.weights$", r"\1.conv.weights"),
    ),
    layout="keras",
    ignored=(*SLIM_IGNORED, r"\.AuxLogits\."),
    first="backbone/Conv2d_1a_7x7/depthwise_weights",
    answers="head.occurrence.weights",
)

# The four skips with a projection have no names of their own in Keras.
_XCEPTION_SKIPS = ("block2", "block3", "block4", "block13")


def _xception_skip(found: re.Match[str]) -> str:
    kind, number = found.groups()
    if int(number) >= len(_XCEPTION_SKIPS):
        return found.group()
    return f"{_XCEPTION_SKIPS[int(number)]}_shortcut{'' if kind == 'conv2d' else '_bn'}."


_KERAS_XCEPTION = KeyMap(
    rules=classified(
        "predictions",
        (r"^(conv2d|batch_normalization)#(\d+)\.", _xception_skip),
        (r"\.(depthwise|pointwise)_kernel$", r".\1.\1_kernel"),
    ),
    layout="keras",
    first="backbone/block1_conv1/kernel",
    answers="head.occurrence.kernel",
    numbered=True,
)

# --- Swin -----------------------------------------------------------------------------------------


def _torchvision_stage(found: re.Match[str]) -> str:
    number, rest = int(found.group(1)), found.group(2)
    stage, merging = divmod(number - 1, 2)
    return f"layers.{stage}.downsample.{rest}" if merging else f"layers.{stage}.blocks.{rest}"


_SWIN_FIRST = "backbone/patch_embed/proj/kernel"
_SWIN = {
    "microsoft": KeyMap(
        rules=classified("head"), first=_SWIN_FIRST, marks=(r"^patch_embed\.proj\.",)
    ),
    "torchvision": KeyMap(
        rules=classified(
            "head",
            (r"^features\.0\.0\.", "patch_embed.proj."),
            (r"^features\.0\.2\.", "patch_embed.norm."),
            (r"^features\.(\d+)\.(.+)$", _torchvision_stage),
            (r"\.mlp\.0\.", ".mlp.fc1."),
            (r"\.mlp\.3\.", ".mlp.fc2."),
        ),
        first=_SWIN_FIRST,
        marks=(r"^features\.0\.0\.",),
    ),
}

# --- Graphs of AUs --------------------------------------------------------------------------------


# config/*_config.yaml of ME-GraphAU: 3 neighbours among DISFA's 8 AUs, 4 among BP4D's 12.
DISFA_NODES, DISFA_NEIGHBORS = 8, 3


def _graph_au(shapes: Shapes) -> Mapping[str, Any]:
    """The stage and the backbone of ME-GraphAU's and OpenGraphAU's checkpoints."""
    second = any(re.match(r"head\.gnn\.(U1|graph_layers)\.", key) for key in shapes)
    disfa = shapes.get("head.sc", (0,))[0] == DISFA_NODES
    return {
        "stage": 2 if second else 1,
        **_graph_backbone(shapes),
        **({"neighbors": DISFA_NEIGHBORS} if disfa else {}),
    }


def _graph_backbone(shapes: Shapes) -> Mapping[str, str]:
    patches = shapes.get("backbone.patch_embed.proj.weight")
    if patches is not None and "backbone.layers.0.blocks.0.norm1.weight" in shapes:
        deep = "backbone.layers.2.blocks.6.norm1.weight" in shapes
        return {"backbone": "swin_b" if patches[0] == 128 else "swin_s" if deep else "swin_t"}
    if "backbone.encoder.patch_embed.proj.weight" in shapes:
        return {"backbone": "vit_b"}
    if "backbone.layer1.0.conv1.weight" in shapes:
        if "backbone.layer1.0.conv3.weight" not in shapes:
            return {"backbone": "resnet18"}
        deep = "backbone.layer3.6.conv1.weight" in shapes
        return {"backbone": "resnet101" if deep else "resnet50"}
    return {}


_GRAPH_RULES: Rules = ((r"^global_linear\.", "head.global_linear."),)

# --- SCC ------------------------------------------------------------------------------------------


def _scc(shapes: Shapes) -> Mapping[str, Any]:
    """The AU list, by the number of heatmaps, and the size of the frames, by the graphs' width."""
    told: dict[str, Any] = {}
    lists = {len(heatmaps.places(aus)): aus for aus in (heatmaps.BP4D, heatmaps.DISFA)}
    maps = shapes.get("out.weights", (0,))[-1]
    if maps in lists:
        told = {"aus": lists[maps], "num_aus": len(lists[maps])}
    if "conv1.weights" in shapes:
        told["size"] = 16 * math.isqrt(shapes["conv1.weights"][-1])
    return told


_SCC = KeyMap(
    rules=(
        (r"^(up\d|conv\d)\.BatchNorm\.", r"head.\1.norm."),
        (r"^(up\d|conv\d|out)\.", r"head.\1."),
        *SLIM_RESNET,
        (r"^(?!head\.)", "backbone."),
    ),
    layout="keras",
    ignored=SLIM_IGNORED,
    bgr=True,
    answers="",
    create={"form": "scc", "layout": "reshaped"},
    infer=_scc,
    marks=(r"^up1\.weights$", r"^out\.weights$"),
    normalisation="scc",
)


KEYMAPS: dict[str, dict[str, KeyMap]] = {
    "alexnet": _ALEXNETS,
    "inception_v2": {"slim": _SLIM_INCEPTION_V2},
    "inception_v3": _INCEPTION_V3,
    "me_graphau": {
        "original": KeyMap(rules=_GRAPH_RULES, answers="head.sc", infer=_graph_au),
    },
    "mobilenet3d_v1": {"efficient-3dcnns": _MOBILENET_3D},
    "mobilenet3d_v2": {"efficient-3dcnns": _MOBILENET_3D},
    "mobilenet_v2": {"torchvision": _MOBILENET_V2},
    "open_graphau": {
        "original": KeyMap(rules=_GRAPH_RULES, answers="", infer=_graph_au),
    },
    "resnet18": {"torchvision": _RESNET},
    "resnet50": _RESNETS,
    "resnet101": _RESNETS,
    "scc": {"original": _SCC},
    "swin_t": _SWIN,
    "swin_s": _SWIN,
    "swin_b": _SWIN,
    "vgg16": {"torchvision": _VGG16, "keras": _KERAS_VGG16},
    "vgg_face": _VGG_FACES,
    "xception": {"keras": _KERAS_XCEPTION},
}


def choose(name: str, form: str, names: Iterable[str]) -> tuple[str, KeyMap]:
    """The form of the weights and its map; with "" the first whose marks the file's names bear.

    Raises UserError listing the forms if there is no such form, or none of them is the file's.
    """
    forms = KEYMAPS.get(name, {"own": OWN})
    listed = ", ".join(forms)
    if form:
        if form not in forms:
            raise UserError(f"{name} has no weights of form '{form}'; give --form {listed}")
        return form, forms[form]
    names = tuple(names)
    for known, keymap in forms.items():
        if all(any(re.search(mark, key) for key in names) for mark in keymap.marks):
            return known, keymap
    some = ", ".join(names[:3])
    raise UserError(
        f"these weights ({some}, ...) are not of {name} in any form known here ({listed}); check "
        "the network"
    )
