"""What a program sends between devices: read from text, and of our own training step."""

import json
import os
import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))

import tiny

from jaxfacs.bench.collectives import Traffic, changed, experiment_of
from jaxfacs.bench.hlo import Collective, bits, collectives
from jaxfacs.errors import UserError

GROUPS = "replica_groups={{0,1,2,3}}, to_apply=%add"

PROGRAM = f"""\
HloModule jit_step, is_scheduled=true, entry_computation_layout={{(f32[8]{{0}})->f32[8]{{0}}}}

%add (x: f32[], y: f32[]) -> f32[] {{
  %x = f32[] parameter(0)
  ROOT %sum = f32[] add(%x, %y)
}}

%inner (p: (s32[], f32[4])) -> (s32[], f32[4]) {{
  %all-reduce.9 = bf16[4]{{0}} all-reduce(%q), {GROUPS}
  ROOT %t = (s32[], f32[4]{{0}}) tuple(%i, %q)
}}

%body.1 (p: (s32[], /*index=1*/f32[4])) -> (s32[], f32[4]) {{
  %all-reduce.1 = (f32[16,48]{{1,0}}, /*index=1*/f32[]) all-reduce(%a, %b), channel_id=1, {GROUPS}
  %while.2 = (s32[], f32[4]{{0}}) while(%t), condition=%c, body=%inner, \
backend_config={{"known_trip_count":{{"n":"3"}}}}
  ROOT %t.2 = (s32[], f32[4]{{0}}) tuple(%i, %q)
}}

%unknown (p: (s32[])) -> (s32[]) {{
  ROOT %all-to-all = (s8[5]{{0}}, s8[5]{{0}}) all-to-all(%a, %b), replica_groups={{}}
}}

%wrapped (p: f32[8]) -> f32[2] {{
  ROOT %reduce-scatter = f32[2]{{0}} reduce-scatter(%p), replica_groups=[2,4]<=[8], to_apply=%add
}}

%branch (p: pred[]) -> pred[] {{
  ROOT %gathered = pred[100]{{0}} all-gather(%p), dimensions={{0}}
}}

ENTRY %main (x: f32[8]) -> f32[8] {{
  %while.1 = (s32[], f32[4]{{0}}) while(%t), condition=%c, body=%body.1, \
backend_config={{"known_trip_count":{{"n":"4"}}}}
  %while.3 = (s32[]) while(%u), condition=%c, body=%unknown
  %all-reduce-start = f32[851]{{0}} all-reduce-start(%w), channel_id=16, {GROUPS}
  %all-reduce-done = f32[851]{{0}} all-reduce-done(%all-reduce-start)
  %all-gather-start = (f32[2]{{0}}, f32[8]{{0}}) all-gather-start(%w), dimensions={{0}}
  %all-gather-done = f32[8]{{0}} all-gather-done(%all-gather-start)
  %cp = (f32[6]{{0}}, f32[6]{{0}}, u32[], u32[]) collective-permute-start(%w), channel_id=3
  %cp-done = f32[6]{{0}} collective-permute-done(%cp)
  %async = ((f32[8]{{0}}), f32[2]{{0}}, s32[]) async-start(%w), calls=%wrapped
  %cond = pred[] conditional(%k, %a, %b), branch_computations={{%branch, %add}}
  ROOT %y = f32[8]{{0}} fusion(%w), kind=kLoop, calls=%add, metadata={{op_name="all-reduce(x)"}}
}}
"""


def test_every_collective_is_found_with_its_bytes_and_how_often_it_runs():
    found = {each.name: (each.kind, each.bytes, each.times) for each in collectives(PROGRAM)}
    assert found == {
        "all-reduce.1": ("all-reduce", 4 * (16 * 48 + 1), 4),
        "all-reduce.9": ("all-reduce", 2 * 4, 12),
        "all-to-all": ("all-to-all", 10, 1),
        "all-reduce-start": ("all-reduce", 4 * 851, 1),
        "all-gather-start": ("all-gather", 4 * 8, 1),
        "cp": ("collective-permute", 4 * 6, 1),
        "reduce-scatter": ("reduce-scatter", 4 * 2 * 4, 1),
        "gathered": ("all-gather", 100, 1),
    }
    assert [each.name for each in collectives(PROGRAM) if not each.known] == ["all-to-all"]


def test_a_text_without_an_entry_is_no_program():
    with pytest.raises(ValueError, match="no ENTRY"):
        collectives("%add (x: f32[]) -> f32[] {\n}")


@pytest.mark.parametrize(
    ("kind", "size"),
    [("f32", 32), ("bf16", 16), ("pred", 8), ("f8e4m3fn", 8), ("u4", 4), ("s64", 64)],
)
def test_bits_of_an_element(kind, size):
    assert bits(kind) == size


def reduced(count: int, *, kind: str = "f32", times: int = 1, op: str = "all-reduce") -> Collective:
    return Collective("x", op, ((kind, count),), times)


def traffic(*found: Collective, accumulate: int = 1, split: bool = False) -> Traffic:
    return Traffic(found, 4000, 80, 1, accumulate, split)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (traffic(reduced(1000), reduced(20)), None),
        (traffic(reduced(1000), reduced(50, times=4), accumulate=4), None),
        (traffic(reduced(1000), reduced(8, op="all-gather"), split=True), None),
        (traffic(reduced(1000), reduced(8, op="all-gather")), "without being reduced (all-gather)"),
        (traffic(reduced(10), reduced(1000, times=4), accumulate=4), "in every micro-batch"),
        (traffic(reduced(500)), "would drift apart"),
        (traffic(reduced(3000)), "more than once a step"),
        (traffic(reduced(991), reduced(9, kind="bf16")), "9 numbers are added up in 16 bits"),
        (
            traffic(reduced(1000), Collective("x", "all-reduce", (("f32", 1),), 1, known=False)),
            "unknown length",
        ),
    ],
)
def test_what_is_not_as_it_should_be_is_said(case, words):
    said = case.complaints()
    assert said == [] if words is None else len(said) == 1 and words in said[0]


# One process, several programs: (accumulate, statistics, dtype, a rule that splits)
MEASURE = """
import json, sys
from dataclasses import replace
from jaxfacs.bench.collectives import changed, experiment_of, measure
for case in json.loads(sys.argv[2]):
    experiment = experiment_of(sys.argv[1])
    if case.pop("split", False):
        rules = (("stem/kernel", (None, "data")),)
        experiment = replace(experiment, mesh=replace(experiment.mesh, fsdp=rules))
    usual = dict(batch=0, clip="", accumulate=1, dtype="", statistics="")
    found, _ = measure(changed(experiment, devices=8, **{**usual, **case}), sys.argv[3])
    unmeant = replace(found, split=False)
    print(json.dumps([
        found.once, found.repeated, found.gradient_bytes, found.statistics_bytes,
        sorted({kind for each in found.found for kind, _ in each.arrays}),
        sorted({each.kind for each in found.found}), found.complaints(), unmeant.complaints(),
    ]))
"""


def measured(tmp_path: Path, *cases: dict, devices: str = "4") -> list[list]:
    config = tiny.write_config(tmp_path, tmp_path / "nowhere")
    config.write_text(config.read_text().replace("frames=4,", 'frames=4, aus=("1", "12", "25"),'))
    environment = tiny.environment(4, JAXFACS_COMPILE_FOR=devices)
    inherited = os.environ.get("PYTHONPATH", "")  # where the CUDA plugin may be
    environment["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], inherited])
    if ":" in devices:
        environment["XLA_FLAGS"] = "--xla_gpu_autotune_level=0"
    finished = subprocess.run(
        [sys.executable, "-c", MEASURE, str(config), json.dumps(cases), devices],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return [json.loads(line) for line in finished.stdout.splitlines()]


@pytest.mark.multi_device
def test_gradients_are_reduced_once_in_float32_and_nothing_is_gathered(tmp_path):
    """Also in bfloat16, and over four micro-batches where each device has its own statistics."""
    one, many = measured(
        tmp_path,
        {"dtype": "bfloat16"},
        {"accumulate": 4, "statistics": "device"},
    )
    for once, repeated, gradients, statistics, kinds, operations, complaints, _ in (one, many):
        assert complaints == [] and operations == ["all-reduce"] and kinds == ["f32"]
        assert repeated == 0 and gradients == 4 * 867
        # Global: mean, variance, and what BatchNorm's gradient sums, which are gradients as well.
        assert gradients <= once <= gradients + 2 * statistics + 64


@pytest.mark.multi_device
def test_a_reduction_in_every_micro_batch_and_a_gathered_parameter_are_seen(tmp_path):
    """The CPU's compiler leaves the first in the loop; a rule asks for the second."""
    many, split = measured(tmp_path, {"accumulate": 4}, {"split": True})
    assert many[1] > 4 * 867 > many[0]
    assert len(many[6]) == 1 and "in every micro-batch" in many[6][0]
    assert "all-gather" in split[5] and split[6] == []
    assert any("all-gather" in line for line in split[7])


@pytest.mark.multi_device
@pytest.mark.skipif(not util.find_spec("jax_cuda12_plugin"), reason="needs jax[cuda12], no GPU")
def test_the_gpu_compiler_takes_the_reduction_out_of_the_loop(tmp_path):
    (many,) = measured(tmp_path, {"accumulate": 4}, devices="h100:8")
    once, repeated, gradients, *_, complaints, _ = many
    assert complaints == []
    assert once >= 0.98 * gradients and repeated < 0.2 * gradients  # BatchNorm's alone


@pytest.mark.multi_device
def test_the_command_prints_a_table_and_a_verdict(tmp_path):
    config = tiny.write_config(tmp_path, tmp_path / "nowhere")
    config.write_text(config.read_text().replace("frames=4,", 'frames=4, aus=("1", "12", "25"),'))
    run = tiny.run("bench", "collectives", "--what", config, "--devices", "2", timeout=120)
    assert run.returncode == 0, run.stderr
    assert "over 2 simulated CPU devices" in run.stdout
    assert "as it should be: gradients are reduced once a step" in run.stdout


def test_what_cannot_be_compiled_is_named():
    with pytest.raises(UserError, match=r"neither a config file nor a network; .*resnet50"):
        experiment_of("nothing_3d")
    experiment = experiment_of("mobilenet3d_v2")
    words = ("clip", "dtype", "statistics")
    usual = {"devices": 2, "batch": 0, "accumulate": 0, **dict.fromkeys(words, "")}
    for wrong, said in (
        ({"clip": "4x32x16"}, "not square"),
        ({"statistics": "local"}, "none of global, device, synchronised"),
        ({"dtype": "float64"}, "none of float32, bfloat16"),
        ({"batch": -1}, "give 0 or more"),
    ):
        with pytest.raises(UserError, match=said):
            changed(experiment, **{**usual, **wrong})
    # Two clips a device and micro-batch where nothing else is said.
    assert changed(experiment, **{**usual, "accumulate": 3}).data.batch_size == 12
