"""AU systems in PyTorch, on torchvision's backbones, as one would write them from their papers."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torchvision import models

from jaxfacs.bench.torch_twins_images import alexnet


class _Map(nn.Module):
    """A backbone without its classifier: (B, 3, H, W) -> (B, C, h, w)."""

    def __init__(self, name: str):
        super().__init__()
        network = getattr(models, name)()
        self.swin = name.startswith("swin")
        if self.swin:
            self.body = nn.Sequential(network.features, network.norm)
            self.channels = network.head.in_features
        else:
            self.body = nn.Sequential(*list(network.children())[:-2])
            self.channels = network.fc.in_features

    def forward(self, x):
        x = self.body(x)
        return x.permute(0, 3, 1, 2) if self.swin else x


class _Block(nn.Module):
    """Linear, BatchNorm over channels, ReLU on tokens (B, D, C)."""

    def __init__(self, i: int, o: int):
        super().__init__()
        self.fc, self.bn = nn.Linear(i, o), nn.BatchNorm1d(o)

    def forward(self, x):
        y = self.fc(x)
        return F.relu(self.bn(y.flatten(0, 1)).view_as(y))


class _Knn(nn.Module):
    """Stage 1's graph: a node hears its nearest by inner product."""

    def __init__(self, nodes: int, channels: int, neighbours: int):
        super().__init__()
        self.own, self.other = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.bn, self.neighbours = nn.BatchNorm1d(nodes), neighbours

    def forward(self, v):
        with torch.no_grad():
            near = v @ v.transpose(1, 2)
            least = near.topk(self.neighbours, dim=-1).values[..., -1:]
            linked = (near >= least).float()
            root = linked.sum(-1).rsqrt()
            linked = root[:, :, None] * linked * root[:, None]
        return F.relu(v + self.bn(linked @ self.other(v) + self.own(v)))


class _Attention(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.q, self.k = (nn.Linear(channels, channels // 2) for _ in range(2))
        self.v = nn.Linear(channels, channels)

    def forward(self, queries, keys):
        q, k, v = self.q(queries), self.k(keys), self.v(keys)
        return (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1) @ v


class _Edges(nn.Module):
    """Stage 2: features of every pair of nodes, over all places of the face."""

    def __init__(self, nodes: int, channels: int):
        super().__init__()
        self.face, self.pair = _Attention(channels), _Attention(channels)
        self.project, self.bn = nn.Linear(channels, channels), nn.BatchNorm2d(nodes**2)

    def forward(self, places, tokens):
        nodes = places.shape[1]
        seen = self.face(places, tokens[:, None].expand_as(places))
        start = seen[:, None].expand(-1, nodes, -1, -1, -1).flatten(1, 2)
        end = seen[:, :, None].expand(-1, -1, nodes, -1, -1).flatten(1, 2)
        return self.bn(self.project(self.pair(start, end))).mean(2)


class _Gated(nn.Module):
    def __init__(self, nodes: int, channels: int, *, residual_inside: bool):
        super().__init__()
        self.u, self.v, self.a, self.b, self.e = (
            nn.Linear(channels, channels, bias=False) for _ in range(5)
        )
        self.of_nodes, self.of_edges = nn.BatchNorm1d(nodes), nn.BatchNorm1d(nodes**2)
        self.residual_inside = residual_inside

    def forward(self, v, e):
        batch, nodes, channels = v.shape
        ends = self.a(v)[:, :, None] + self.b(v)[:, None]
        e = e + F.relu(self.of_edges(ends.flatten(1, 2) + self.e(e)))
        gate = e.sigmoid().view(batch, nodes, nodes, channels).softmax(2)
        heard = self.of_nodes(self.u(v) + (gate * self.v(v)[:, None]).sum(2) / nodes)
        return (F.relu(v + heard) if self.residual_inside else v + F.relu(heard)), e


class _GraphAU(nn.Module):
    """ME-GraphAU; with `sided` (node, ...) OpenGraphAU, whose edges are not answered."""

    def __init__(
        self, nodes: int, backbone: str, stage: int, neighbours: int, sided: Sequence[int]
    ):
        super().__init__()
        self.backbone = _Map(backbone)
        width = self.backbone.channels // (2 if self.backbone.swin else 4)
        self.face = _Block(self.backbone.channels, width)
        self.nodes = nn.ModuleList(_Block(width, width) for _ in range(nodes))
        self.stage, self.sided = stage, list(sided)
        if stage == 1:
            self.knn = _Knn(nodes, width, neighbours)
        else:
            self.edges = _Edges(nodes, width)
            self.gated = nn.ModuleList(
                _Gated(nodes, width, residual_inside=not sided) for _ in range(2)
            )
        if stage == 2 and not sided:
            self.kind = nn.Linear(width, 4)
        self.sc = nn.Parameter(torch.rand(nodes, width))
        if sided:
            self.sides = nn.Parameter(torch.rand(2 * len(sided), width))

    def forward(self, x):
        tokens = self.face(self.backbone(x).flatten(2).transpose(1, 2))
        places = torch.stack([node(tokens) for node in self.nodes], 1)
        v = places.mean(2)
        answers = {}
        if self.stage == 1:
            v = self.knn(v)
        else:
            e = self.edges(places, tokens)
            for layer in self.gated:
                v, e = layer(v, e)
            answers = {} if self.sided else {"edge": self.kind(e)}
        unit = F.normalize(v, dim=-1)
        p = (unit * F.normalize(F.relu(self.sc), dim=-1)).sum(-1)
        if self.sided:
            ofsides = unit[:, [m for m in self.sided for _ in range(2)]]
            sides = (ofsides * F.normalize(F.relu(self.sides), dim=-1)).sum(-1)
            return {"probability": torch.cat([p, sides], 1)}
        return {"probability": p, **answers}


def _me_graphau(
    num_aus: int, *, backbone: str = "resnet50", stage: int = 2, neighbors: int = 4
) -> nn.Module:
    return _GraphAU(num_aus, backbone, stage, neighbors, ())


def _open_graphau(
    num_aus: int, *, backbone: str = "resnet50", stage: int = 2, neighbors: int = 4
) -> nn.Module:
    del num_aus  # it has its own
    return _GraphAU(27, backbone, stage, neighbors, (0, 1, 2, 4, 7, 8, 11))


class _Semantic(nn.Module):
    """SCC's graph over channels: each hears its nearest k, the largest answer stays."""

    def __init__(self, dim: int, k: int):
        super().__init__()
        self.fc, self.bn, self.k = nn.Linear(2 * dim, dim, bias=False), nn.BatchNorm1d(dim), k

    def forward(self, x):
        nodes = x.flatten(2)
        with torch.no_grad():
            near = torch.cdist(nodes, nodes).topk(self.k, largest=False).indices
        others = torch.stack([of[at] for of, at in zip(nodes, near, strict=True)])
        own = nodes[:, :, None].expand_as(others)
        y = self.fc(torch.cat([own, others - own], -1))
        y = F.relu(self.bn(y.flatten(0, 2)).view_as(y))
        return y.amax(2).view_as(x)


class _SCC(nn.Module):
    def __init__(self, backbone: str, size: int, k: int, maps: int):
        super().__init__()
        self.backbone = _Map(backbone)
        layers, i, side = [], self.backbone.channels, size // 32
        for width in (256, 128, 64):
            side *= 2
            layers += [nn.ConvTranspose2d(i, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width)]
            layers += [nn.ReLU(inplace=True), _Semantic(side * side, k)]
            i = width
        self.layers, self.out = nn.Sequential(*layers), nn.Conv2d(64, maps, 1)

    def forward(self, x):
        return {"heatmap": self.out(self.layers(self.backbone(x))).permute(0, 2, 3, 1)}


def _scc(num_aus: int, *, backbone: str = "resnet50", size: int = 256, k: int = 7) -> nn.Module:
    """For BP4D's five AUs, two places each."""
    del num_aus
    return _SCC(backbone, size, k, 10)


class _TwoStream(nn.Module):
    """Two AlexNets, RGB and ten channels of flow that were computed before; the mean of their p."""

    def __init__(self, num_aus: int, flows: int = 10):
        super().__init__()
        self.streams = nn.ModuleList([alexnet(num_aus), alexnet(num_aus, channels=flows)])

    def forward(self, x):
        p = [s(part).sigmoid() for s, part in zip(self.streams, (x[:, :3], x[:, 3:]), strict=True)]
        return {"occurrence": torch.logit(sum(p) / 2, eps=1e-6)}


class _Bank(nn.Module):
    def __init__(self, networks: list[nn.Module]):
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x):
        return torch.cat([network(x) for network in self.networks], 1)


def _one_vs_all(num_aus: int, *, backbone: str = "alexnet", chunk: int = 0) -> nn.Module:
    """Binary networks one after the other, which is how PyTorch runs networks with their own
    BatchNorm statistics; `chunk` is ours alone."""
    del chunk
    if backbone == "alexnet":
        return _Bank([alexnet(1) for _ in range(num_aus)])
    return _Bank([getattr(models, backbone)(num_classes=1) for _ in range(num_aus)])


MAKERS: dict[str, Callable[..., Any]] = {
    "me_graphau": _me_graphau,
    "open_graphau": _open_graphau,
    "scc": _scc,
    "two_stream": _TwoStream,
    "one_vs_all": _one_vs_all,
}
