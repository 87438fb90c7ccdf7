"""Makes tests/golden/mobilenet3d_{v1,v2}.npz: PyTorch's answers for small random 3D MobileNets.

    python tools/goldens/mobilenet3d.py

The networks are built here from the tables of the paper (Koepueklue et al., ICCVW 2019), under the
names that the published weights have, and from nothing in this package. Weights are not stored:
each is drawn from its name and shape (`drawn.py`), so a file holds only the answers in both modes,
and the loss and what `gradients.py` keeps of the gradients of one training step.
"""

from pathlib import Path

import drawn
import gradients
import kinks
import numpy as np
import torch
from torch import nn

WIDTH = 0.2
NUM_AUS = 5
# 36 values or more for every BatchNorm: at 2 clips of 48 px they were 8, and rounding was 1e-3.
CLIP = (4, 16, 66, 66, 3)
FOLDER = Path(__file__).parents[2] / "tests" / "golden"


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
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()

    def forward(self, x):
        return self.relu2(self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))))


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


def in_torch(x_BTHWC: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x_BTHWC.transpose(0, 4, 1, 2, 3).copy()).double()


def main() -> None:
    """Writes both files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, net in (("mobilenet3d_v1", v1()), ("mobilenet3d_v2", v2())):
        tensors = {k: v for k, v in net.state_dict().items() if "num_batches" not in k}
        shapes = {k: tuple(v.shape) for k, v in tensors.items()}
        state = {k: torch.from_numpy(v) for k, v in drawn.draw_state(shapes).items()}
        net.load_state_dict(state, strict=False)
        net = net.double()  # the truth: float32 errs by up to 2e-4 in gradients
        seed = kinks.seed_of_input(net.train(), CLIP, lambda x, net=net: net(in_torch(x)))
        x = in_torch(drawn.draw_input(CLIP, seed=seed))
        label_BA = np.random.default_rng(9).integers(0, 2, (CLIP[0], NUM_AUS))
        with torch.no_grad():
            inference = net.eval()(x)
        training = net.train()(x)
        loss = nn.functional.binary_cross_entropy_with_logits(
            training, torch.from_numpy(label_BA).double()
        )
        loss.backward()
        np.savez_compressed(
            FOLDER / f"{name}.npz",
            **drawn.pack_shapes(shapes),
            inference_BA=inference.numpy().astype(np.float32),
            training_BA=training.detach().numpy().astype(np.float32),
            seed=np.array(seed),
            label_BA=label_BA,
            loss=np.array(loss.item()),
            **gradients.pack_gradients({k: p.grad.numpy() for k, p in net.named_parameters()}),
        )
        print(name, (FOLDER / f"{name}.npz").stat().st_size, inference[0], training[0], loss.item())


if __name__ == "__main__":
    main()
