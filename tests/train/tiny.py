"""A run that takes seconds: a network of two layers, records of noise that hold a signal."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).parents[2]
AUS = ("1", "12", "25")
EMOTIONS = ("neutral", "happy")
CLIPS = 22  # does not divide into batches: epochs end in the middle of one

CONFIG = '''
"""The tiny experiment of the tests."""
import dataclasses
from jaxfacs.data.config import DataConfig
from jaxfacs.train.config import *


def get_config():
    return Experiment(
        data=DataConfig(source="RECORDS", frames=4, size=16, batch_size=8, threads=2, seed=3),
        model=ModelConfig(
            name="tiny", module="tiny_model", dropout=0.2, options={"norm": True, "poison": 0.0}
        ),
        optim=OptimConfig(name="adamw", learning_rate=1e-2, weight_decay=1e-3, clip_norm=1.0),
        checkpoint=CheckpointConfig(every=10, latest=2, best=1),
        evaluation=EvaluationConfig(every=20),
        steps=60, ema=0.9, log_every=4,
    )


def smoke():
    return dataclasses.replace(get_config(), steps=4)
'''


def write_records(path: Path, size: int = 16) -> Path:
    """Clips of noise whose top left quarter is bright where AU 12 is present, and so on.

    Of `size` 64 they are so large that a reader does not have all of the shard in its memory.
    """
    from jaxfacs.data.records import clip_from_arrays, write_set

    rng = np.random.default_rng(0)
    splits = {}
    for split, clips, first in (("train", CLIPS, 0), ("validation", 7, 100), ("test", 6, 200)):
        made = []
        for i in range(clips):
            occurrence_A = rng.integers(0, 2, len(AUS)).astype(np.int8)
            frames = rng.integers(0, 160, (6, size, size, 3), dtype=np.uint8)
            for a, present in enumerate(occurrence_A):
                frames[:, 4 * a : 4 * a + 4, :8] += np.uint8(80 * present)
            known_A = np.where(rng.random(len(AUS)) < 0.1, -1, occurrence_A).astype(np.int8)
            made.append(
                clip_from_arrays(
                    frames,
                    clip_id=f"{split}{i}",
                    subject=f"s{first + i // 2}",
                    occurrence_TA=np.tile(known_A, (6, 1)),
                    intensity_TA=np.tile(np.where(known_A < 0, -1, 3 * known_A), (6, 1)).astype(
                        np.float32
                    ),
                    emotion=int(occurrence_A[1]),
                )
            )
        splits[split] = made
    return write_set(path, splits, aus=AUS, emotions=EMOTIONS)


def write_config(folder: Path, records: Path) -> Path:
    path = folder / "tiny_config.py"
    path.write_text(CONFIG.replace("RECORDS", str(records)))
    return path


def environment(devices: int = 1, **more: str) -> dict[str, str]:
    base = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices), **more}
    return {**base, "PYTHONPATH": str(Path(__file__).parent)}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "jaxfacs", *map(str, arguments)]


def run(*arguments: object, devices: int = 1, timeout: float = 240) -> subprocess.CompletedProcess:
    """A command of the package in a process of its own."""
    return subprocess.run(
        command(*arguments),
        env=environment(devices),
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=REPOSITORY,
    )


TIMINGS = r"_s$|_s_device$|^data_wait|^goodput$|^mfu$"


def lines(workdir: Path) -> list[dict]:
    """metrics.jsonl without what depends on the clock."""
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["kind"] != "seconds"]
    return [{k: v for k, v in row.items() if not re.search(TIMINGS, k)} for row in rows]


def digests(workdir: Path, step: int) -> dict:
    """Path -> sha256 of every array of a checkpoint: equal digests are equal bits."""
    manifest = json.loads((workdir / f"checkpoints/{step}/manifest/metadata").read_text())
    return {
        path: array["sha256"]
        for item in manifest["arrays"].values()
        for path, array in item.items()
    }
