"""1, 2 and 4 processes with 1, 2 and 4 devices each: one curve, the same clips, one checkpoint.

Every shape trains the same three runs: `plain`, `split` (a rule splits a layer over all devices)
and `synchronised` (each device by itself, statistics shared). AdamW, dropout, moving averages.
"""

import itertools
import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))

import tiny

pytestmark = [
    pytest.mark.long,
    pytest.mark.slow,
    pytest.mark.multi_device,
    pytest.mark.timeout(2400),  # the first test that asks makes the runs
    pytest.mark.xdist_group("shapes"),
]

FORMS = ("plain", "split")
SHAPES = [(processes, devices) for processes in (1, 2, 4) for devices in (1, 2, 4)]
STEPS, EVERY, BATCH, WINDOWS = 24, 12, 16, 2 * tiny.CLIPS  # records of 6 frames, clips of 4
# Relative, of every number of every line. Measured: 5.1e-7 at most (a norm), 2.1e-7 of the loss.
CURVE = 1e-5
# Each device draws a dropout of its own under `synchronised`: none there, nor in `still`, a plain
# run of one device that it is compared with.
STILL = ["--model.dropout", "0"]
RUNS = {"plain": [], "split": [], "synchronised": [*STILL, "--mesh.statistics", "synchronised"]}


class Matrix:
    """The runs of all shapes; each is made when it is first asked for."""

    def __init__(self, folder: Path):
        self.folder = folder
        text = tiny.CONFIG.replace("RECORDS", str(tiny.write_records(folder / "records")))
        text = text.replace('"tiny", module="tiny_model"', '"shapes", module="shapes_model"')
        text = text.replace('options={"norm": True, "poison": 0.0}', "")
        text = text.replace("batch_size=8", f"batch_size={BATCH}")
        rule = 'steps=60, mesh=MeshConfig(fsdp=(("stem/kernel", (None, "data")),)),'
        for run in FORMS:
            kept = text.replace("steps=60,", rule) if run == "split" else text
            (folder / f"{run}.py").write_text(kept)

    def words(self, run: str) -> list[str]:
        common = (
            f"--steps {STEPS} --log-every 1 --checkpoint.every {EVERY} --evaluation.every {EVERY} "
            # The training clips: more than one batch, of which the last is not full.
            "--data.validation-split train --data.allow-overlap True"
        )
        path = self.folder / ("split.py" if run == "split" else "plain.py")
        return [str(path), *common.split(), *RUNS.get(run, STILL)]

    def saved(self, run: str, shape: tuple[int, int]) -> Path:
        """The work directory of a run."""
        if not self.at("plain", shape).exists():
            runs = [*RUNS, *(["still"] if shape == (1, 1) else [])]
            launch(shape, [["train", self.at(each, shape), self.words(each)] for each in runs])
        return self.at(run, shape)

    def at(self, run: str, shape: tuple[int, int]) -> Path:
        return self.folder / f"{run}-{shape[0]}x{shape[1]}"


def launch(shape: tuple[int, int], todo: list[list], timeout: float = 900) -> None:
    """`shapes.py` in as many processes; all must end with 0."""
    processes, devices = shape
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = [
        subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).parent / "shapes.py"),
                json.dumps(todo, default=str),
            ],
            env=tiny.environment(
                devices,
                JAXFACS_COORDINATOR=f"127.0.0.1:{port}",
                JAXFACS_PROCESS_COUNT=str(processes),
                JAXFACS_PROCESS_INDEX=str(index),
            ),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(processes)
    ]
    end = time.monotonic() + timeout
    try:
        said = [each.communicate(timeout=max(end - time.monotonic(), 1))[1] for each in started]
    finally:
        for each in started:
            each.kill()
    assert [each.returncode for each in started] == [0] * processes, "\n".join(said)[-4000:]


@pytest.fixture(scope="module")
def matrix(tmp_path_factory) -> Matrix:
    return Matrix(tmp_path_factory.mktemp("shapes"))


def rows(workdir: Path) -> dict[str, list[list]]:
    """Per batch every row of all processes, in their order: [clip, first frame, digest, weight]."""
    parts = [
        json.loads((workdir / "rows" / f"{index}.json").read_text())
        for index in range(len(list((workdir / "rows").iterdir())))
    ]
    return {
        kind: [
            list(itertools.chain(*batch))
            for batch in zip(*(part[kind] for part in parts), strict=True)
        ]
        for kind in ("train", "evaluation")
    }


def assert_same_curve(found: list[dict], expected: list[dict]) -> None:
    assert len(found) == len(expected) == STEPS + STEPS // EVERY
    for row, other in zip(found, expected, strict=True):
        assert row.keys() == other.keys() and row["kind"] == other["kind"]
        for key in row.keys() - {"kind"}:
            np.testing.assert_allclose(row[key], other[key], rtol=CURVE, err_msg=f"{key}: {row}")


def assert_same_run(matrix: Matrix, shape: tuple[int, int], run: str) -> None:
    workdir = matrix.saved(run, shape)
    alone = matrix.saved("still" if run == "synchronised" else "plain", (1, 1))
    found = rows(workdir)
    assert found == rows(alone)
    assert [len(batch) for batch in found["train"]] == [BATCH] * STEPS
    # Each window of each clip once an evaluation, and padding to whole batches.
    real = [tuple(row[:2]) for batch in found["evaluation"] for row in batch if row[3]]
    assert len(set(real)) == WINDOWS and len(real) == WINDOWS * STEPS // EVERY
    assert_same_curve(tiny.lines(workdir), tiny.lines(alone))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s[0]}x{s[1]}")
def test_every_shape_has_the_curve_and_the_batches_of_one_device(matrix, shape):
    for run in RUNS:
        assert_same_run(matrix, shape, run)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s[0]}x{s[1]}")
def test_every_shape_goes_on_from_the_checkpoint_of_every_other(matrix, shape, tmp_path):
    """Each, split or not, restored bit by bit and taken three steps on; one trained to its end."""
    every = [matrix.saved(run, other) for other in SHAPES for run in FORMS]
    other = SHAPES[(SHAPES.index(shape) + 4) % len(SHAPES)]  # other processes and other devices
    for run in FORMS:
        shutil.copytree(matrix.at(run, other), tmp_path / run)
        shutil.rmtree(tmp_path / run / "checkpoints" / str(STEPS))
    launch(
        shape,
        [["restore", tmp_path / f"{run}-restored", matrix.words(run), every] for run in FORMS]
        + [["train", tmp_path / run, matrix.words(run)] for run in FORMS],
    )
    losses = []
    for run in FORMS:
        found = json.loads((tmp_path / f"{run}-restored" / "restored.json").read_text())
        assert len(found) == len(every)
        losses += found.values()
        assert_same_curve(tiny.lines(tmp_path / run), tiny.lines(matrix.at("plain", (1, 1))))
    np.testing.assert_allclose(losses, np.broadcast_to(losses[0], np.shape(losses)), rtol=CURVE)
    assert len(set(losses[0])) == 3
