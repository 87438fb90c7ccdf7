"""Makes tests/golden/mobilenet3d_{v1,v2}.npz: PyTorch's answers for small random 3D MobileNets.

    python tools/goldens/mobilenet3d.py

The networks are built here from the tables of the paper (Koepueklue et al., ICCVW 2019), under the
names that the published weights have, and from nothing in this package. Weights are not stored:
each is drawn by `weights` from its name and shape, here and in the test, so a file holds only an
input, the logits in both modes, and the norm and a projection of every gradient.
"""

import zlib
from pathlib import Path

import numpy as np
import torch
from torch import nn

WIDTH = 0.2
NUM_AUS = 5
CLIP = (2, 16, 48, 48, 3)
FOLDER = Path(__file__).parents[2] / "tests" / "golden"


def weights(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Draws the parameter `name` (torch's name and layout), float32, as a function of both."""
    draw = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("running_var"):
        return (0.5 + np.abs(draw)).astype(np.float32)
    if len(shape) == 1:
        return (0.3 * draw + (1.0 if name.endswith("weight") else 0.0)).astype(np.float32)
    return (draw * np.sqrt(2.0 / np.prod(shape[1:]))).astype(np.float32)


class Block(nn.Module):
    """Expand, depthwise, project (V2)."""

    def __init__(self, i, o, stride, t):
        super().__init__()
        h = i * t
        relu = nn.ReLU6
        layers = [nn.Conv3d(i, h, 1, bias=False), nn.BatchNorm3d(h), relu()] if t > 1 else []
        layers += [nn.Conv3d(h, h, 3, stride, 1, groups=h, bias=False), nn.BatchNorm3d(h), relu()]
        self.conv = nn.Sequential(*layers, nn.Conv3d(h, o, 1, bias=False), nn.BatchNorm3d(o))
        self.skip = i == o and stride == (1, 1, 1)

    def forward(self, x):
        return x + self.conv(x) if self.skip else self.conv(x)


class Separable(nn.Module):
    """Depthwise, pointwise (V1)."""

    def __init__(self, i, o, stride):
        super().__init__()
        self.conv1 = nn.Conv3d(i, i, 3, stride, 1, groups=i, bias=False)
        self.bn1 = nn.BatchNorm3d(i)
        self.conv2 = nn.Conv3d(i, o, 1, bias=False)
        self.bn2 = nn.BatchNorm3d(o)

    def forward(self, x):
        return self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()


class Net(nn.Module):
    def __init__(self, features, last):
        super().__init__()
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(0.0), nn.Linear(last, NUM_AUS))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3, 4)))


def stem(channels, relu):
    conv = nn.Conv3d(3, channels, 3, (1, 2, 2), 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm3d(channels), relu())


def v2():
    c = int(32 * WIDTH)
    features = [stem(c, nn.ReLU6)]
    twice, once = (2, 2, 2), (1, 1, 1)
    table = [(1, 16, 1, once), (6, 24, 2, twice), (6, 32, 3, twice), (6, 64, 4, twice)]
    table += [(6, 96, 3, once), (6, 160, 3, twice), (6, 320, 1, once)]
    for t, out, n, stride in table:
        for j in range(n):
            features.append(Block(c, int(out * WIDTH), stride if j == 0 else once, t))
            c = int(out * WIDTH)
    features.append(
        nn.Sequential(nn.Conv3d(c, 1280, 1, bias=False), nn.BatchNorm3d(1280), nn.ReLU6())
    )
    return Net(features, 1280)


def v1():
    c = int(32 * WIDTH)
    features = [stem(c, nn.ReLU)]
    twice, once = (2, 2, 2), (1, 1, 1)
    for out, n, stride in [
        (64, 1, twice),
        (128, 2, twice),
        (256, 2, twice),
        (512, 6, twice),
        (1024, 2, once),
    ]:
        for j in range(n):
            features.append(Separable(c, int(out * WIDTH), stride if j == 0 else once))
            c = int(out * WIDTH)
    return Net(features, c)


def main() -> None:
    """Writes both files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, net in (("mobilenet3d_v1", v1()), ("mobilenet3d_v2", v2())):
        tensors = {k: v for k, v in net.state_dict().items() if "num_batches" not in k}
        state = {k: torch.from_numpy(weights(k, tuple(v.shape))) for k, v in tensors.items()}
        net.load_state_dict(state, strict=False)
        net = net.double()  # the truth: float32 errs by up to 2e-4 in gradients
        x = np.random.default_rng(7).standard_normal(CLIP).astype(np.float32)
        x_torch = torch.from_numpy(x.transpose(0, 4, 1, 2, 3).copy()).double()
        net.eval()
        with torch.no_grad():
            inference = net(x_torch).numpy()
        net.train()
        logits = net(x_torch)
        (
            logits * torch.linspace(-1, 1, logits.numel()).double().reshape(logits.shape)
        ).sum().backward()
        # One projection on a direction drawn like a weight tells the whole gradient's layout.
        names, norms, projections = [], [], []
        for k, p in net.named_parameters():
            direction = np.random.default_rng(zlib.crc32(("d" + k).encode()))
            names.append(k)
            norms.append(float(p.grad.norm()))
            projections.append(
                float((p.grad.numpy() * direction.standard_normal(tuple(p.shape))).sum())
            )
        np.savez_compressed(
            FOLDER / f"{name}.npz",
            inference_BA=inference.astype(np.float32),
            training_BA=logits.detach().numpy().astype(np.float32),
            names=np.array(names),
            gradient_norms=np.array(norms, np.float32),
            gradient_projections=np.array(projections, np.float32),
            state_names=np.array(list(state)),
            state_shapes=np.array([" ".join(map(str, v.shape)) for v in state.values()]),
        )
        print(name, (FOLDER / f"{name}.npz").stat().st_size, inference[0])


if __name__ == "__main__":
    main()
