"""The memory command counts both forms of edges, and the lean one needs less."""

import pytest

from jaxfacs import cli
from jaxfacs.bench import graph_memory


@pytest.mark.slow
def test_lean_edges_need_less(monkeypatch, capsys):
    monkeypatch.setattr(graph_memory, "GIGABYTE", 1e6)
    options = ["--nodes", "6", "--batch", "4", "--backbone", "resnet18", "--no-whole"]
    assert cli.main(["bench", "graph-memory", *options, "--budget-gb", "28"]) == 0
    lean, plain = capsys.readouterr().out.splitlines()[-2:]
    assert lean.startswith("head, lean") and plain.startswith("head, plain")
    megabytes = [float(line.split()[2]) for line in (lean, plain)]
    assert 1.0 < megabytes[0] < 0.7 * megabytes[1]
    assert lean.endswith("fits 28 GB") and plain.endswith("does not fit 28 GB")


def test_impossible_sizes_are_refused(capsys):
    assert cli.main(["bench", "graph-memory", "--nodes", "0"]) == 2
    assert "--nodes, --batch and --size must be at least 1" in capsys.readouterr().err
