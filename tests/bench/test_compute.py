"""bench step and bench depthwise run, and refuse what they cannot read."""

import jax
import pytest
from flax import nnx

from jaxfacs import models
from jaxfacs.bench import depthwise, step
from jaxfacs.bench.timing import interleaved, parse_clip, ratio
from jaxfacs.errors import UserError


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


def test_twin_has_our_parameters():
    pytest.importorskip("torch")
    from jaxfacs.bench.torch_twin import twin

    for name in ("mobilenet3d_v1", "mobilenet3d_v2"):
        ours = models.split(models.create(name, rngs=nnx.Rngs(0), num_aus=12))[1]
        count = sum(p.numel() for p in twin(name, num_aus=12).parameters())
        assert count == sum(p.size for p in jax.tree.leaves(ours))
    assert twin("another", num_aus=12) is None


def test_step_compares_with_torch(capsys):
    pytest.importorskip("torch")
    step.main(model="mobilenet3d_v1", clip="2x16x16", batch=2, rounds=1)
    printed = capsys.readouterr().out
    assert "channels_last_3d, oneDNN" in printed and "times as fast as PyTorch" in printed


def test_depthwise_prints_a_row_a_layer(capsys):
    depthwise.main(clip="2x8x8", batch=1, rounds=1, quick=True, torch=False)
    printed = capsys.readouterr().out
    assert printed.count(" ms ") >= 1 and "geometric means: XLA f" in printed


@pytest.mark.parametrize("main", [step.main, depthwise.main])
@pytest.mark.parametrize("options", [{"dtype": "int8"}, {"batch": 0}, {"rounds": 0}])
def test_bad_options_are_refused(main, options):
    with pytest.raises(UserError):
        main(**options)
