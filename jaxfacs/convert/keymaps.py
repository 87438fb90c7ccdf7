"""Where each published tensor goes: one entry a network and form of its weights.

Names here are dotted, as torch writes them; `backbone.layer1.0.conv1.weight` becomes our path
`backbone/layer1/0/conv1/kernel`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxfacs.convert.layouts import Layout

Shapes = Mapping[str, tuple[int, ...]]
Rule = tuple[str, str | Callable[[re.Match[str]], str]]
Rules = tuple[Rule, ...]

# Buffers that hold no weights: counters, and tables that are computed from sizes.
BUFFERS = r"(num_batches_tracked|relative_position_index|attn_mask)$"


@dataclass(frozen=True)
class KeyMap:
    """How the names of a file become ours.

    Attributes:
      rules: (regular expression, replacement), all applied in order to each name.
      layout: whose tensor layout and roles.
      ignored: names (as in the file) that match have no place here, by intent.
      flatten: our kernel's path -> (C, H, W) of the map that was flattened before it.
      first: path of the kernel that reads the picture.
      bgr: whether the file's network read B, G, R; its first kernel is then turned round.
      answers: name after the rules of the tensor whose outputs are the classes or AUs.
      create: options with which the network must be made for these weights.
      infer: further options that the file's names and shapes tell.
      marks: regular expressions that all match some name of such a file, and no other form's.
      normalisation: name in `models.NORMALISATIONS` that the weights want; "" is the card's.
      fill: (regular expression, value) for our parameters that such files leave out.
      ordered: modules of ours, for files whose layers are known by their order alone.
      numbered: whether layers have names such as conv2d_7 that count from anywhere: they become
        conv2d#0, conv2d#1, ... before the rules.
    """

    rules: Rules
    layout: Layout = "torch"
    ignored: tuple[str, ...] = ()
    flatten: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    first: str = "backbone/conv1/kernel"
    bgr: bool = False
    answers: str = "head.occurrence.weight"
    create: Mapping[str, Any] = field(default_factory=dict)
    infer: Callable[[Shapes], Mapping[str, Any]] | None = None
    marks: tuple[str, ...] = ()
    normalisation: str = ""
    fill: tuple[tuple[str, float], ...] = ()
    ordered: tuple[str, ...] = ()
    numbered: bool = False


def classified(classifier: str, *more: Rule) -> Rules:
    """Rules of an image classifier: its last layer is the head, the rest the backbone."""
    return ((rf"^{classifier}\.", "head.occurrence."), *more, (r"^(?!head\.)", "backbone."))


# A network without an entry has the paths of its own parameters as names.
OWN = KeyMap(rules=())


def _shifted(template: str, *shifts: int) -> Callable[[re.Match[str]], str]:
    """A replacement whose {0}, {1}, ... are the groups, as numbers moved by `shifts`."""
    return lambda found: template.format(
        *(int(group) + by for group, by in zip(found.groups(), shifts, strict=True))
    )


# --- ResNet ---------------------------------------------------------------------------------------

_KERAS_PARTS = {"0_conv": "downsample.0", "0_bn": "downsample.1"} | {
    f"{n}_{kind}": f"{ours}{n}"
    for n in (1, 2, 3)
    for kind, ours in (("conv", "conv"), ("bn", "bn"))
}
_SLIM_PARTS = {
    "conv1": "conv1",
    "conv2": "conv2",
    "conv3": "conv3",
    "shortcut": "downsample.0",
    "conv1.BatchNorm": "bn1",
    "conv2.BatchNorm": "bn2",
    "conv3.BatchNorm": "bn3",
    "shortcut.BatchNorm": "downsample.1",
}


def _keras_block(found: re.Match[str]) -> str:
    stage, block, part = found.groups()
    return f"layer{int(stage) - 1}.{int(block) - 1}.{_KERAS_PARTS[part]}."


def _old_keras_block(found: re.Match[str]) -> str:
    """res2a_branch2b and bn2a_branch1, as the files before 2019 have them."""
    kind, stage, block, branch = found.groups()
    number = {"1": "0", "2a": "1", "2b": "2", "2c": "3"}[branch]
    part = _KERAS_PARTS[f"{number}_{'conv' if kind == 'res' else 'bn'}"]
    return f"layer{int(stage) - 1}.{ord(block) - ord('a')}.{part}."


def _slim_block(found: re.Match[str]) -> str:
    stage, block, part = found.groups()
    return f"layer{stage}.{int(block) - 1}.{_SLIM_PARTS[part]}."


SLIM_RESNET: Rules = (
    (r"^resnet_v1_\d+\.", ""),
    (
        r"^block(\d)\.unit_(\d+)\.bottleneck_v1\.((?:conv\d|shortcut)(?:\.BatchNorm)?)\.",
        _slim_block,
    ),
    (r"^conv1\.BatchNorm\.", "bn1."),
)
_RESNET = {
    "torchvision": KeyMap(rules=classified("fc"), marks=(r"^layer1\.0\.",)),
}
_RESNET_FORMS = {
    **_RESNET,
    "keras": KeyMap(
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
    ),
    "slim": KeyMap(
        rules=classified("logits", *SLIM_RESNET)
        if False
        else (
            *SLIM_RESNET,
            (r"^logits\.", "head.occurrence."),
            (r"^(?!head\.)", "backbone."),
        ),
        layout="keras",
        ignored=(r"^(?:global_step|mean_rgb)$", r"\.(?:Adam(?:_1)?|Momentum|RMSProp(?:_1)?)$"),
        answers="head.occurrence.weights",
        create={"form": "slim"},
        marks=(r"bottleneck_v1\.conv1\.weights$",),
        normalisation="caffe",
    ),
}
