"""Makes tests/golden/{me,open}_graphau_*.npz: the original code's answers, and one training step.

    git clone https://github.com/CVI-SZU/ME-GraphAU megraphau       (commit dda53cb)
    git clone https://github.com/lingjivoo/OpenGraphAU opengraphau  (commit a0ad10d)
    python tools/goldens/graph_au.py megraphau opengraphau

Needs PyTorch and torchvision. Weights are drawn from their names (`drawn.py`), inputs from a seed,
so a file holds names, shapes and answers only. The originals run in float64: what differs from our
float32 is then our rounding, not the sum of both. Three things are done to them:

- Their constructors load ImageNet weights from files; here those functions are called without.
- On a CPU, `MEFL.py` of ME-GraphAU never defines `start` and `end`, which it only copies to a GPU.
  While it runs, `Tensor.get_device` says 0, and the two matrices are replaced by objects whose
  `to(device)` gives the matrix itself.
- `ANFL.py` asks for float32 in two places (`.float()` and `torch.eye`), which here are float64.
"""

import contextlib
import functools
import importlib
import sys
from pathlib import Path
from unittest import mock

import drawn
import gradients
import kinks
import numpy as np
import torch

FOLDER = Path(__file__).parents[2] / "tests" / "golden"
SIZE, NUM_AUS = 224, 12
BACKBONES = {
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "swin_b": "swin_transformer_base",
    "vit_b": "mae_base_patch16",
}
# What a module calls to make a backbone, where it is not the backbone's name.
MAKERS = {"vit_b": "pretrain_mae_base_patch16_224"}
# (file, repository, module, backbone)
ANSWERS = (
    ("me_graphau_1_resnet50", "me", "ANFL", "resnet50"),
    ("me_graphau_2_resnet50", "me", "MEFL", "resnet50"),
    ("me_graphau_1_swin_b", "me", "ANFL", "swin_b"),
    ("me_graphau_2_swin_b", "me", "MEFL", "swin_b"),
    ("open_graphau_1_resnet50", "open", "ANFL", "resnet50"),
    ("open_graphau_2_resnet50", "open", "MEFL", "resnet50"),
    ("open_graphau_1_vit_b", "mae", "ANFL", "vit_b"),
    ("open_graphau_2_vit_b", "mae", "MEFL", "vit_b"),
)
# The step: batch 4 of 128 px leaves every BatchNorm 64 values or more.
STEP_BATCH, STEP_SIZE, EDGE_WEIGHT = 4, 128, 0.05


class OnCpu:
    """A matrix that `to` does not move."""

    def __init__(self, matrix: torch.Tensor):
        self.matrix = matrix

    def to(self, device: object) -> torch.Tensor:
        del device
        return self.matrix


def original(repository: Path, module: str, backbone: str, **options):
    """The network of a repository, with drawn weights, in float64."""
    for name in [n for n in sys.modules if n == "model" or n.startswith("model.")]:
        del sys.modules[name]  # both repositories call their package so
    with mock.patch.object(sys, "path", [str(repository), *sys.path]):
        source = importlib.import_module(f"model.{module}")
    name = BACKBONES[backbone]
    maker = MAKERS.get(backbone, name)
    make = functools.partial(getattr(source, maker), pretrained=False)
    with mock.patch.object(source, maker, lambda **_: make()):
        net = source.MEFARG(backbone=name, **options)
    skipped = ("num_batches_tracked", "relative_position_index", "attn_mask")
    tensors = {k: v for k, v in net.state_dict().items() if not k.endswith(skipped)}
    shapes = {k: tuple(v.shape) for k, v in tensors.items()}
    state = {k: torch.from_numpy(v) for k, v in drawn.draw_state(shapes).items()}
    net.load_state_dict(state, strict=False)
    net = net.double()
    if module == "MEFL":
        gnn = net.head.gnn
        wrap = (lambda matrix: matrix) if "open" in repository.name.lower() else OnCpu
        gnn.start, gnn.end = wrap(gnn.start.double()), wrap(gnn.end.double())
    return net, shapes


@contextlib.contextmanager
def adapted(net):
    """Float64 throughout, and where it is needed a GPU that is none."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(torch.Tensor, "float", torch.Tensor.double))
        if isinstance(getattr(net.head.gnn, "start", None), OnCpu):
            stack.enter_context(mock.patch.object(torch.Tensor, "get_device", lambda _: 0))
        yield
    torch.set_default_dtype(usual)


def answers(net, x_NHWC: np.ndarray, *, train: bool) -> dict[str, torch.Tensor]:
    x = torch.from_numpy(x_NHWC.transpose(0, 3, 1, 2).copy()).double()
    with adapted(net):
        found = net.train(train)(x)
    found = found if isinstance(found, tuple) else (found,)
    return dict(zip(("probability", "edge"), found, strict=False))


def arrays(outputs: dict[str, torch.Tensor], prefix: str) -> dict[str, np.ndarray]:
    return {prefix + k: v.detach().numpy().astype(np.float32) for k, v in outputs.items()}


def write(name: str, **content: np.ndarray) -> None:
    path = FOLDER / f"{name}.npz"
    np.savez_compressed(path, **content)
    ranges = {k: (v.min(), v.max()) for k, v in content.items() if v.dtype == np.float32}
    print(name, path.stat().st_size, ranges, flush=True)


def rescale(net, x_NHWC: np.ndarray) -> dict[str, np.float32]:
    """Multiplies two drawn layers so that answers are of order 1; returns name -> factor.

    Nothing in the head normalises in inference mode: features of order 1000, which the backbone's
    drawn weights have grown to, would leave attention that is 0 or 1, and edge logits of 10,000.
    """
    seen = []
    hook = net.global_linear.fc.register_forward_hook(lambda *found: seen.append(found[-1]))
    with torch.no_grad():
        answers(net, x_NHWC, train=False)
    hook.remove()
    factors = {"global_linear.fc.weight": np.float32(1.0 / seen[0].std())}
    if hasattr(net.head, "edge_fc"):
        factors["head.edge_fc.weight"] = np.float32(0.25)
    parameters = dict(net.named_parameters())
    with torch.no_grad():
        for name, factor in factors.items():
            parameters[name].mul_(float(factor))
    return factors


def write_answers(name: str, repository: Path, module: str, backbone: str, **options) -> None:
    """One picture in inference mode, four in training mode, with BatchNorm of their own."""
    net, shapes = original(repository, module, backbone, **options)
    x = drawn.draw_input((1, SIZE, SIZE, 3))
    factors = rescale(net, x)
    with torch.no_grad():
        infer = answers(net, x, train=False)
        for part in net.modules():
            if hasattr(part, "drop_prob"):  # Swin's drop path, which is drawn
                part.drop_prob = 0.0
        train = answers(net, drawn.draw_input((4, SIZE, SIZE, 3), seed=8), train=True)
    write(
        name,
        **drawn.pack_shapes(shapes),
        **arrays(infer, "infer_"),
        **arrays(train, "train_"),
        factor_names=np.array(list(factors)),
        factors=np.array(list(factors.values())),
    )


def write_step(repository: Path) -> None:
    """Loss and gradients of stage 2, with the repository's own losses."""
    net, shapes = original(repository, "MEFL", "resnet18", num_classes=NUM_AUS)
    with mock.patch.object(sys, "path", [str(repository), *sys.path]):
        losses = importlib.import_module("utils")
    rng = np.random.default_rng(9)
    label_BA = rng.integers(0, 2, (STEP_BATCH, NUM_AUS))
    weight_A = rng.uniform(0.5, 1.5, NUM_AUS).astype(np.float32)
    y = torch.from_numpy(label_BA)
    relation = 2 * y[:, :, None] + y[:, None, :]
    shape = (STEP_BATCH, STEP_SIZE, STEP_SIZE, 3)
    seed = kinks.seed_of_input(net, shape, lambda x: answers(net, x, train=True))
    x = drawn.draw_input(shape, seed=seed)
    outputs = answers(net, x, train=True)
    weighted = losses.WeightedAsymmetricLoss(weight=torch.from_numpy(weight_A).double())
    loss = weighted(outputs["probability"], y.double())
    edge = torch.nn.CrossEntropyLoss()(outputs["edge"].view(-1, 4), relation.view(-1))
    (loss + EDGE_WEIGHT * edge).backward()
    found = {name: p.grad.numpy() for name, p in net.named_parameters()}
    statistics = {k: v.numpy() for k, v in net.state_dict().items() if k.endswith("running_mean")}
    write(
        "me_graphau_step",
        **drawn.pack_shapes(shapes),
        **arrays(outputs, "train_"),
        seed=np.array(seed),
        label_BA=label_BA,
        weight_A=weight_A,
        losses=np.array([loss.item(), edge.item()]),
        **gradients.pack_gradients(found),
        statistic_names=np.array(list(statistics)),
        statistic_norms=np.array([np.linalg.norm(v) for v in statistics.values()]),
    )


def main() -> None:
    """Writes all files."""
    repositories = {"me": Path(sys.argv[1]), "open": Path(sys.argv[2])}
    repositories["mae"] = repositories["me"] / "OpenGraphAU"  # a later copy, with one backbone more
    for name, which, module, backbone in ANSWERS:
        options = {"num_classes": NUM_AUS} if which == "me" else {}
        write_answers(name, repositories[which], module, backbone, **options)
    write_step(repositories["me"])


if __name__ == "__main__":
    main()
