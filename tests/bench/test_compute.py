"""bench step and bench depthwise run, and refuse what they cannot read."""

import json

import jax
import jax.numpy as jnp
import pytest

from jaxfacs import models
from jaxfacs.bench import depthwise, floor, jax_step, step
from jaxfacs.bench.timing import interleaved, parse_clip, ratio
from jaxfacs.errors import UserError
from jaxfacs.train.named_options import split


@pytest.fixture(autouse=True)
def own_allocator(monkeypatch):
    """Tests share a process with others: leave its C library as it is."""
    for module in (step, depthwise):
        monkeypatch.setattr(module, "keep_freed_memory", lambda: False)


def test_rounds_are_interleaved_and_compared_within():
    calls = []
    seconds = interleaved(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2, warmup=1
    )
    assert calls == ["a", "b"] * 3
    assert [len(v) for v in seconds.values()] == [2, 2]
    assert ratio([2.0, 9.0, 8.0], [1.0, 3.0, 4.0]) == 2.0


@pytest.mark.parametrize("text", ["16x112", "axbxc", "0x8x8", "16x112x112x3", ""])
def test_clip_must_be_three_numbers(text):
    with pytest.raises(UserError, match="FRAMES"):
        parse_clip(text)


OTHERS = ("me_graphau:stage=1,backbone=swin_t", "open_graphau:stage=1", "scc:size=96")


@pytest.mark.parametrize("model", sorted({*models.names(), *step.FAMILIES, *OTHERS}))
def test_twin_has_our_parameters(model):
    torch = pytest.importorskip("torch")
    pytest.importorskip("torchvision")
    from jaxfacs.bench.torch_twin import twin

    name, options = split(model)
    with torch.device("meta"):  # forms without numbers
        theirs = twin(name, num_aus=12, **options)
    if theirs is None:
        pytest.skip(f"{model} has no PyTorch twin")
    ours = jax.eval_shape(lambda: models.split(jax_step.network(model, num_aus=12))[1])
    count = sum(p.numel() for p in theirs.parameters() if p.requires_grad)
    assert count == sum(p.size for p in jax.tree.leaves(ours))


def test_what_has_no_twin_is_said(monkeypatch):
    pytest.importorskip("torch")
    from jaxfacs.bench import torch_twin

    assert torch_twin.twin("another", num_aus=12) is None
    monkeypatch.setattr(torch_twin, "_makers", dict)
    with pytest.raises(UserError, match="mobilenet3d_v1 has no PyTorch twin here"):
        step.torch_steps("mobilenet3d_v1", (1, 2, 16, 16, 3), num_aus=3)


def test_step_compares_with_torch(capsys, tmp_path):
    pytest.importorskip("torch")
    saved = tmp_path / "step.json"
    step.main(model="mobilenet3d_v1", clip="2x16x16", batch=2, rounds=1, save=saved)
    printed = capsys.readouterr().out
    assert "channels_last_3d, oneDNN" in printed and "times as fast as PyTorch" in printed
    assert "floor: " in printed
    found = json.loads(saved.read_text())
    assert found["gflop"] > 0 and found["floor_ms"] > 0
    assert step.row(found).count("|") == 11


def test_a_table_has_a_row_for_each_and_a_reason_for_those_that_fail(capsys):
    step.table(("mobilenet3d_v1", "resnet19"), "--clip 2x16x16 --rounds 1 --no-torch".split())
    rows = capsys.readouterr().out.splitlines()
    assert rows[-2].startswith("| mobilenet3d_v1 | 2 × 2x16x16 |") and "| – |" in rows[-2]
    assert rows[-1].startswith("| resnet19 | not measured: ") and "resnet18" in rows[-1]


def test_the_floor_counts_what_the_compiler_counts():
    a, b = jnp.ones((32, 64)), jnp.ones((64, 16))
    work = floor.work_of(jax.jit(jnp.matmul).lower(a, b).compile())
    assert work.flops == 2 * 32 * 64 * 16
    assert work.bytes == 4 * (32 * 64 + 64 * 16 + 32 * 16)
    assert floor.Work(6.0, 10.0).floor_s(floor.Peaks(2.0, 10.0)) == 3.0
    assert floor.Work(6.0, 50.0).floor_s(floor.Peaks(2.0, 10.0)) == 5.0


def test_depthwise_prints_a_row_a_layer(capsys):
    depthwise.main(clip="2x8x8", batch=1, rounds=1, quick=True, torch=False)
    printed = capsys.readouterr().out
    assert printed.count(" ms ") >= 1 and "geometric means: XLA f" in printed


@pytest.mark.parametrize("main", [step.main, depthwise.main])
@pytest.mark.parametrize("options", [{"dtype": "int8"}, {"batch": 0}, {"rounds": 0}])
def test_bad_options_are_refused(main, options):
    with pytest.raises(UserError):
        main(**options)
