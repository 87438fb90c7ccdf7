"""Makes tests/golden/{alexnet,vgg16,mobilenet_v2,resnet18,resnet50,resnet101}*.npz with PyTorch.

    python tools/goldens/torchvision_nets.py [NAME...]

torchvision's own classes with weights drawn by name, in inference: the logits at 224 px and at an
odd size, and the mean and a projection of a map from the middle of the network. A file holds the
names and shapes of the state dict and these numbers; weights and inputs are drawn again. `scales`
multiplies the drawn tensors: residual branches end at a quarter, or else thirty sums of them would
make logits of 300,000.

`alexnet_caffe` has no class there. It is built here with torch's layers (groups,
LocalResponseNorm, ceil_mode) from what Caffe's models/bvlc_alexnet/deploy.prototxt states, under
its layers' names, and from nothing in this package.
"""

import re
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torchvision
from drawn import draw, draw_input, draw_state, pack_shapes
from torch import nn

FOLDER = Path(__file__).parents[2] / "tests" / "golden"
BATCH = 2
# golden -> (names, factor), where drawn tensors are multiplied.
SCALED: dict[str, tuple[tuple[str, float], ...]] = {
    # As pictures in 0..255 do, this gives local response normalisation something to divide by.
    "alexnet_caffe": ((r"conv1\..*", 20.0), (r"fc8\.weight", 1 / 20)),
    "resnet18": ((r"layer\d\.\d+\.bn2\.weight", 0.25),),
    "resnet50": ((r"layer\d\.\d+\.bn3\.weight", 0.25),),
    "resnet101": ((r"layer\d\.\d+\.bn3\.weight", 0.25),),
}


def scale(golden: str, tensor: str) -> np.float32:
    factors = (by for name, by in SCALED.get(golden, ()) if re.fullmatch(name, tensor))
    return np.float32(next(factors, 1.0))


def alexnet_caffe() -> nn.Module:
    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    def norm() -> nn.Module:
        return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)

    layers = [
        ("conv1", nn.Conv2d(3, 96, 11, stride=4)),
        ("relu1", nn.ReLU()),
        ("norm1", norm()),
        ("pool1", pool()),
        ("conv2", nn.Conv2d(96, 256, 5, padding=2, groups=2)),
        ("relu2", nn.ReLU()),
        ("norm2", norm()),
        ("pool2", pool()),
        ("conv3", nn.Conv2d(256, 384, 3, padding=1)),
        ("relu3", nn.ReLU()),
        ("conv4", nn.Conv2d(384, 384, 3, padding=1, groups=2)),
        ("relu4", nn.ReLU()),
        ("conv5", nn.Conv2d(384, 256, 3, padding=1, groups=2)),
        ("relu5", nn.ReLU()),
        ("pool5", pool()),
        # Caffe takes 227 px alone; other sizes are averaged to 6 x 6 as torchvision does.
        ("grid", nn.AdaptiveAvgPool2d(6)),
        ("flatten", nn.Flatten()),
        ("fc6", nn.Linear(9216, 4096)),
        ("relu6", nn.ReLU()),
        ("fc7", nn.Linear(4096, 4096)),
        ("relu7", nn.ReLU()),
        ("fc8", nn.Linear(4096, 1000)),
    ]
    return nn.Sequential(OrderedDict(layers))


# golden -> (makes the network, sizes, module whose output is the middle tap)
NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int], str]] = {
    "alexnet": (torchvision.models.alexnet, (224, 183), "features.7"),
    "alexnet_caffe": (alexnet_caffe, (227, 183), "relu3"),
    "vgg16": (torchvision.models.vgg16, (224, 183), "features.15"),
    "mobilenet_v2": (torchvision.models.mobilenet_v2, (224, 183), "features.10"),
    "resnet18": (torchvision.models.resnet18, (224, 183), "layer2"),
    "resnet50": (torchvision.models.resnet50, (224, 183), "layer2"),
    "resnet101": (torchvision.models.resnet101, (224, 183), "layer2"),
}


def main(names: list[str]) -> None:
    """Writes one file a network."""
    torch.set_grad_enabled(False)
    for name in names or NETS:
        make, sizes, middle = NETS[name]
        net = make().eval()
        shapes = {k: tuple(v.shape) for k, v in net.state_dict().items() if "num_batches" not in k}
        scales = {k: scale(name, k) for k in shapes}
        state = {k: torch.from_numpy(scales[k] * v) for k, v in draw_state(shapes).items()}
        net.load_state_dict(state, strict=False)
        net = net.double()  # the truth: float32 errs by itself
        seen = {}
        net.get_submodule(middle).register_forward_hook(
            lambda _, __, y, seen=seen: seen.update(y=y)
        )
        arrays = {}
        for size in sizes:
            x = draw_input((BATCH, size, size, 3))
            logits = net(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).double())
            y = seen["y"].permute(0, 2, 3, 1).numpy()
            arrays[f"logits_{size}_BA"] = logits.numpy().astype(np.float32)
            # One projection on a tensor drawn like a weight tells the whole map's layout.
            projection = (y * draw(f"{name}.{size}", y.shape)).sum()
            arrays[f"middle_{size}"] = np.float32([y.mean(), projection])
            print(name, size, "logits", logits.std().item(), arrays[f"middle_{size}"], flush=True)
        path = FOLDER / f"{name}.npz"
        arrays["scales"] = np.float32(list(scales.values()))
        np.savez_compressed(path, **pack_shapes(shapes), **arrays)
        print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main(sys.argv[1:])
