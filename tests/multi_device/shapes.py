"""One process's share of several runs and restorations in a row, told by `test_shapes.py`.

    python shapes.py JSON       [["train", FOLDER, words], ["restore", FOLDER, words, FOLDERS], ...]

`train` is a whole run, of whose batches every row's digest goes to FOLDER/rows/PROCESS.json, beside
the rows of its evaluations. `restore` reads the newest checkpoint of each of FOLDERS on this
process's mesh, compares every array with its digest, takes `MORE` further steps and writes their
losses to FOLDER/restored.json.
"""

import hashlib
import json
import os
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))

from jaxfacs.data import pipeline

MORE = 3
seen: dict[str, list] = {"train": [], "evaluation": []}


def recording(name, make):
    """The batches of `make`, of whose rows `seen` keeps what tells them apart."""

    def batches(*given, **named):
        for batch in make(*given, **named):
            frames = [
                hashlib.sha256(clip.tobytes()).hexdigest()[:16] for clip in batch["frames_BTHWC"]
            ]
            where = zip(batch["index_B"].tolist(), batch["start_B"].tolist(), strict=True)
            known = batch["weight_B"].tolist()
            seen[name].append([[*at, f, w] for at, f, w in zip(where, frames, known, strict=True)])
            yield batch

    return batches


# Before anything imports them by name.
pipeline.train_batches = recording("train", pipeline.train_batches)
pipeline.evaluation_batches = recording("evaluation", pipeline.evaluation_batches)


def experiment_of(words: list[str]):
    from jaxfacs.train import command
    from jaxfacs.train import config as configs

    config, *overrides = words
    return command.parse_overrides(configs.load(config), overrides, prog="shapes")


def train(folder: Path, words: list[str]) -> None:
    import jax

    from jaxfacs.train.loop import run

    for rows in seen.values():
        rows.clear()
    folder.mkdir(parents=True, exist_ok=True)
    assert run(experiment_of(words), folder) == 0
    (folder / "rows").mkdir(exist_ok=True)
    (folder / "rows" / f"{jax.process_index()}.json").write_text(json.dumps(seen))


def restore(folder: Path, words: list[str], sources: list[str]) -> None:
    import jax

    from jaxfacs.data.mixture import open_data
    from jaxfacs.train import mesh as meshes
    from jaxfacs.train import state as states
    from jaxfacs.train.checkpoint import Checkpoints
    from jaxfacs.train.labels import network_aus
    from jaxfacs.train.step import jit_train_step

    experiment = experiment_of(words)
    config, mesh = experiment.data, meshes.create(experiment.mesh)
    records = open_data(config)
    plan, _ = states.plan(
        experiment,
        mesh=mesh,
        aus=network_aus(experiment, records),
        num_emotions=0,
        steps_per_epoch=records.clips(config.train_split) / config.batch_size,
    )
    step = jit_train_step(plan, experiment)
    batches = pipeline.train_batches(
        config,
        start_step=experiment.steps,
        records=records,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    placed = [meshes.global_batch(next(batches), mesh) for _ in range(MORE)]
    found = {}
    for source in sources:
        restored = Checkpoints(Path(source), experiment.checkpoint).restore(plan.abstract)
        assert restored is not None and restored[1]["step"] == experiment.steps, source
        state, losses = restored[0], []
        for batch in placed:
            state, metrics = step(state, batch)
            losses.append(float(metrics["loss"]))
        found[Path(source).name] = losses
    if jax.process_index() == 0:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "restored.json").write_text(json.dumps(found))


if __name__ == "__main__":
    from jaxfacs.runtime import distributed

    distributed.initialize()
    try:
        for deed, where, *rest in json.loads(sys.argv[1]):
            {"train": train, "restore": restore}[deed](Path(where), *rest)
    except BaseException:  # at once: JAX would wait for the other processes
        traceback.print_exc()
        os._exit(1)
