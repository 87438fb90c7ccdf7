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
Rules = tuple[tuple[str, str], ...]

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
      bgr: whether the file's network read B, G, R.
      answers: name after the rules of the tensor whose outputs are the classes or AUs.
      create: options with which the network must be made for these weights.
      infer: further options that the file's names and shapes tell.
      marks: regular expressions that all match some name of such a file, and no other form's.
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


def classified(classifier: str, *more: tuple[str, str]) -> Rules:
    """Rules of an image classifier: its last layer is the head, the rest the backbone."""
    return ((rf"^{classifier}\.", "head.occurrence."), *more, (r"^(?!head\.)", "backbone."))


# A network without an entry has the paths of its own parameters as names.
OWN = KeyMap(rules=())

_RESNET = KeyMap(rules=classified("fc"), marks=(r"^conv1\.weight$",))
_EFFICIENT_3D = KeyMap(rules=classified(r"classifier\.1"), first="backbone/features/0/0/kernel")
# Microsoft's names, which ours are; relative_position_index and attn_mask are computed.
_SWIN = KeyMap(rules=classified("head"), first="backbone/patch_embed/proj/kernel")
_VGG = KeyMap(
    rules=classified(r"classifier\.6"),
    flatten={"backbone/classifier/0/kernel": (512, 7, 7)},
    first="backbone/features/0/kernel",
)

KEYMAPS: dict[str, dict[str, KeyMap]] = {
    "resnet18": {"torchvision": _RESNET},
    "resnet50": {"torchvision": _RESNET},
    "resnet101": {"torchvision": _RESNET},
    "mobilenet3d_v1": {"efficient-3dcnns": _EFFICIENT_3D},
    "mobilenet3d_v2": {"efficient-3dcnns": _EFFICIENT_3D},
    "mobilenet_v2": {
        "torchvision": KeyMap(
            rules=classified(r"classifier\.1"), first="backbone/features/0/0/kernel"
        )
    },
    "alexnet": {
        "torchvision": KeyMap(
            rules=classified(r"classifier\.6"),
            flatten={"backbone/classifier/1/kernel": (256, 6, 6)},
            first="backbone/features/0/kernel",
        )
    },
    "vgg16": {"torchvision": _VGG},
    "vgg_face": {"torchvision": _VGG},
    "inception_v3": {
        "torchvision": KeyMap(
            rules=classified("fc"),
            ignored=(r"^AuxLogits\.",),
            first="backbone/Conv2d_1a_3x3/conv/kernel",
        )
    },
    "swin_t": {"microsoft": _SWIN},
    "swin_s": {"microsoft": _SWIN},
    "swin_b": {"microsoft": _SWIN},
    "me_graphau": {"original": KeyMap(rules=(), answers="head.sc")},
    "open_graphau": {"original": KeyMap(rules=(), answers="head.main_sc")},
}


def choose(name: str, form: str, names: Mapping[str, Any]) -> tuple[str, KeyMap]:
    """The form of the weights and its map; with "" the first whose marks the file's names bear.

    Raises KeyError listing the forms if there is no such form.
    """
    forms = KEYMAPS.get(name, {"own": OWN})
    if form:
        if form not in forms:
            raise KeyError(", ".join(forms))
        return form, forms[form]
    for known, keymap in forms.items():
        if all(any(re.search(mark, key) for key in names) for mark in keymap.marks):
            return known, keymap
    return next(iter(forms.items()))


def renamed(key: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key
