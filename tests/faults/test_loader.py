"""Shards that are cut, overwritten, removed or never answer while a run reads them, for real."""

import shutil
from pathlib import Path

import faulty
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jaxfacs import cli
from jaxfacs.data.records import DamagedError, open_set
from jaxfacs.train import terms
from jaxfacs.train.config import LossConfig


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    return tiny.write_records(tmp_path_factory.mktemp("large") / "records", size=64)


@pytest.fixture(scope="module")
def straight_large(large, tmp_path_factory) -> Path:
    """The run on them that nobody disturbed."""
    folder = tmp_path_factory.mktemp("straight_large")
    train(tiny.write_config(folder, large), folder / "run")
    return folder / "run"


def train(config: Path, workdir: Path, *more: object) -> None:
    words = ["train", config, "--workdir", workdir, *more]
    assert cli.main([str(word) for word in words]) == 0


@pytest.fixture
def own(large, tmp_path):
    """(config, shard) of a copy of the records, to be damaged."""
    folder = Path(shutil.copytree(large, tmp_path / "records"))
    (shard,) = folder.glob("*-train.array_record-*")
    return tiny.write_config(tmp_path, folder), shard


def overwrite(shard: Path, record: int) -> None:
    """Puts zeros into one record, wherever in the shard that is."""
    whole = shard.read_bytes()
    for at in range(1000, len(whole), 4000):
        shard.write_bytes(whole[:at] + bytes(64) + whole[at + 64 :])
        if unreadable(shard) == [record]:
            return
    raise AssertionError(f"no byte of {shard} is of record {record} alone")


def unreadable(shard: Path) -> list[int]:
    source, found = open_set(shard.parent).source("train"), []
    for record in range(len(source)):
        try:
            source[record]
        except DamagedError:
            found.append(record)
    return found


CUT = "truncate -s 400000 {shard}"
ZEROS = "dd if=/dev/zero of={shard} bs=1000 seek=300 count=200 conv=notrunc"


@pytest.mark.parametrize("deed", [CUT, pytest.param(ZEROS, marks=pytest.mark.long)])
def test_a_shard_that_is_damaged_under_the_run(deed, own, large, straight_large, tmp_path):
    config, shard = own
    words = ["train", config, "--workdir", tmp_path / "run"]
    shell = deed.format(shard=shard)
    run = faulty.start("reader:25:shell", *words, JAXFACS_TEST_SHELL=shell)
    code, said = faulty.finish(run)
    assert code == 2, said
    (line,) = (line for line in said.splitlines() if str(shard) in line)
    assert f"{shard}, record " in line and "Traceback" not in said
    assert max(map(int, (p.name for p in (tmp_path / "run/checkpoints").glob("[0-9]*")))) > 20
    shutil.copy(large / shard.name, shard)
    train(config, tmp_path / "run")
    faulty.assert_ends_as(straight_large, tmp_path / "run")


@pytest.mark.long
def test_a_shard_that_is_removed_under_the_run_is_read_to_the_end(own, straight_large, tmp_path):
    config, shard = own
    words = ["train", config, "--workdir", tmp_path / "run"]
    run = faulty.start("reader:25:shell", *words, JAXFACS_TEST_SHELL=f"rm {shard}")
    code, said = faulty.finish(run)
    assert code == 0 and not shard.exists(), said
    faulty.assert_ends_as(straight_large, tmp_path / "run")
    code, said = faulty.finish(faulty.start("", *words))
    assert code == 2 and f"{shard} is missing" in said and "Traceback" not in said


@pytest.mark.long
def test_a_shard_that_never_answers(own, large, straight_large, tmp_path):
    """A reader that opens a FIFO waits in C++ until somebody writes, as on storage that hangs."""
    config, shard = own
    words = ["train", config, "--workdir", tmp_path / "run"]
    shell = f"rm {shard} && mkfifo {shard}"
    run = faulty.start("data:1:shell", *words, "--watchdog-s", 3, JAXFACS_TEST_SHELL=shell)
    code, said = faulty.finish(run)
    assert code == 4, said
    assert "waiting for a batch for" in said and "records.py" in said  # where it stands
    shard.unlink()
    shutil.copy(large / shard.name, shard)
    train(config, tmp_path / "run")
    faulty.assert_ends_as(straight_large, tmp_path / "run")


@pytest.mark.long
def test_damage_that_comes_in_the_middle_is_gone_on_without(own, straight_large, tmp_path):
    config, shard = own
    words = ["train", config, "--workdir", tmp_path / "run", "--data.max-damaged", 9]
    shell = f"dd if=/dev/zero of={shard} bs=1000 seek=300 count=60 conv=notrunc"
    run = faulty.start("reader:25:shell", *words, JAXFACS_TEST_SHELL=shell)
    code, said = faulty.finish(run)
    assert code == 0, said
    named = [line for line in said.splitlines() if "goes on without it" in line]
    assert len(named) == len(unreadable(shard)) > 0
    steps = [row for row in tiny.lines(tmp_path / "run") if row["kind"] == "train"]
    wanted = [row for row in tiny.lines(straight_large) if row["kind"] == "train"]
    assert steps[:5] == wanted[:5] and all(np.isfinite(row["loss"]) for row in steps)
    assert tiny.digests(tmp_path / "run", 60) != tiny.digests(straight_large, 60)


@pytest.mark.long
def test_a_run_without_its_damaged_records_resumes_exactly(own, tmp_path):
    config, shard = own
    overwrite(shard, 5)
    more = ("--data.max-damaged", 1, "--data.augment.mixup", 0.4, "--loss.clip-label", "centre")
    train(config, tmp_path / "straight", *more)
    words = ["train", config, "--workdir", tmp_path / "run", *more]
    code, said = faulty.finish(faulty.start("step:33:kill", *words))
    assert code == 128 + 9 and "record 5, cannot be read" in said
    train(config, tmp_path / "run", *more)
    faulty.assert_ends_as(tmp_path / "straight", tmp_path / "run")
    train(config, tmp_path / "workers", *more, "--data.workers", 1, "--data.threads", 1)
    faulty.assert_ends_as(tmp_path / "straight", tmp_path / "workers")


@pytest.mark.long
def test_one_of_two_processes_meets_the_damage(own, tmp_path):
    """It alone says so, and the batch is the one that a single process takes."""
    config, shard = own
    overwrite(shard, 5)
    # Plain descent: Adam makes much of gradients that were added up in another order.
    more = (
        "--data.max-damaged",
        1,
        "--optim.name",
        "sgd",
        "--optim.weight-decay",
        0,
        "--steps",
        20,
    )
    train(config, tmp_path / "straight", *more)
    words = ["train", config, "--workdir", tmp_path / "run", *more]
    ends = [faulty.finish(run, timeout=300) for run in faulty.several(2, "", *words)]
    assert [code for code, _ in ends] == [0, 0], ends
    assert any("record 5, cannot be read" in said for _, said in ends)
    curves = [
        [row["loss"] for row in tiny.lines(tmp_path / name) if row["kind"] == "train"]
        for name in ("run", "straight")
    ]
    np.testing.assert_allclose(*curves, rtol=1e-5)


# Every term of the loss


A, E, SIZE, B, T = 3, 4, 8, 5, 4
FACTS = terms.Facts(
    aus=("1", "12", "25"),
    frame_size=SIZE,
    correlation_AA=jnp.asarray([[1, 0.5, -0.4], [0.5, 1, 0.2], [-0.4, 0.2, 1]]),
)


def answers(per_frame: bool):
    shape = (B, T) if per_frame else (B,)
    forms = {
        "occurrence": (A,), "intensity": (A,), "ordinal": (A, 5), "valence_arousal": (2,),
        "edge": (A * A, 4), "heatmap": (SIZE, SIZE, 2 * A),
        "landmarks": (68, 2), "confidence": (1,),
    }  # fmt: skip
    rng = np.random.default_rng(0)
    found = {k: jnp.asarray(rng.normal(size=shape + v), jnp.float32) for k, v in forms.items()}
    return found | {"emotion": jnp.asarray(rng.normal(size=(B, E)), jnp.float32)}


def labelled() -> dict:
    rng = np.random.default_rng(1)
    batch = {
        "occurrence_BTA": rng.integers(0, 2, (B, T, A)).astype(np.int8),
        "intensity_BTA": rng.uniform(0, 5, (B, T, A)).astype(np.float32),
        "landmarks_BT682": rng.uniform(0, SIZE, (B, T, 68, 2)).astype(np.float32),
        "valence_arousal_BT2": rng.uniform(-1, 1, (B, T, 2)).astype(np.float32),
        "emotion_B": rng.integers(0, E, B).astype(np.int32),
        "weight_B": np.ones(B, np.float32),
    }
    for key, unknown in (
        *(("occurrence_BTA", -1), ("intensity_BTA", -1), ("emotion_B", -1), ("weight_B", 0)),
        *(("landmarks_BT682", np.nan), ("valence_arousal_BT2", np.nan)),
    ):
        batch[key][2] = unknown
    return batch


@pytest.mark.long
@pytest.mark.parametrize(
    ("occurrence", "intensity", "per_frame"),
    [
        ("bce", "", False),
        ("focal", "mse", True),
        ("weighted_asymmetric", "ccc", False),
        ("bp_mll", "ccc", True),
    ],
)
def test_no_loss_sees_a_row_of_a_damaged_record(occurrence, intensity, per_frame):
    scales = {scale: 1.0 for scale, _, _ in terms.TERMS.values()}
    config = LossConfig(**scales, occurrence=occurrence, intensity=intensity or "mse")
    outputs, batch, rest = answers(per_frame), labelled(), np.array([0, 1, 3, 4])
    if intensity:
        del outputs["ordinal"]  # which has a loss of its own

    @jax.jit
    def measured(outputs, batch):
        def sums(outputs):
            found = terms.loss_terms(config, outputs, batch, FACTS)
            return {name: total for name, (total, _) in found.items()}, found

        return jax.jacrev(sums, has_aux=True)(outputs)

    grads, found = measured(outputs, batch)
    _, wanted = measured(
        {k: v[rest] for k, v in outputs.items()}, {k: v[rest] for k, v in batch.items()}
    )
    assert found.keys() == terms.TERMS.keys()
    for name in found:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-6, err_msg=name)
        assert found[name][1] > 0, name
        mine = {key: np.asarray(grad) for key, grad in grads[name].items()}
        assert any(grad.any() for grad in mine.values()), name
        for key, grad in mine.items():
            assert np.isfinite(grad).all() and not grad[2].any(), (name, key)
