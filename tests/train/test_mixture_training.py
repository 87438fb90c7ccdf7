"""Three record sets of differing AUs and emotions, from a config to reports, and stopped midway."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from jaxfacs import cli
from jaxfacs.data.mixture import open_data
from jaxfacs.data.pipeline import train_batches
from jaxfacs.data.records import clip_from_arrays, open_set, write_set
from jaxfacs.infer.bundle import read
from jaxfacs.runtime import metrics
from jaxfacs.train import config as configs
from jaxfacs.train import mesh as meshes
from jaxfacs.train import optim, state, step, terms
from jaxfacs.train.trained import load_for_inference

ALL = ("1", "4", "12", "25")
# set -> AUs, emotions, side of the frames, clips of each split
SETS = {
    "one": (("1", "12"), ("neutral", "happy"), 16, {"train": 14, "validation": 6, "test": 6}),
    "two": (("L12", "R12", "25"), (), 24, {"train": 8, "validation": 5, "test": 4}),
    "three": (("4", "25"), ("sad", "neutral"), 16, {"train": 5, "test": 4}),
}

CONFIG = '''
"""Three sets at once."""
import dataclasses
from jaxfacs.data.config import DataConfig, Part
from jaxfacs.train.config import *


def get_config():
    return Experiment(
        data=DataConfig(
            mixture=(
                Part("FOLDER/one", weight=2.0),
                Part("FOLDER/two", loss_weight=0.5),
                Part("FOLDER/three", name="third"),
            ),
            frames=2, size=16, batch_size=8, threads=2, balance=0.25, balance_subjects=0.25,
        ),
        model=ModelConfig(
            name="tiny", module="tiny_model", dropout=0.2, emotion=True,
            options={"norm": True, "poison": 0.0},
        ),
        optim=OptimConfig(learning_rate=1e-2),
        checkpoint=CheckpointConfig(every=5, latest=4, metric="mean_f1"),
        evaluation=EvaluationConfig(every=10),
        steps=20, log_every=4,
    )


smoke = get_config
'''


def write(folder, which: str, **info):
    """Clips of noise in which the rows of an AU are bright where it is present."""
    aus, own_emotions, size, counts = SETS[which]
    rng, clips = np.random.default_rng(len(which)), {}
    for split, count in counts.items():
        clips[split] = []
        for i in range(count):
            occurrence_A = rng.integers(0, 2, len(aus)).astype(np.int8)
            frames = rng.integers(0, 160, (3, size, size, 3), dtype=np.uint8)
            for au, present in zip(aus, occurrence_A, strict=True):
                first = ALL.index(au.lstrip("LR")) * size // 4
                frames[:, first : first + size // 4, : size // 2] += np.uint8(60 * present)
            clips[split].append(
                clip_from_arrays(
                    frames,
                    clip_id=f"{split}{i}",
                    subject=f"{split}{i // 2}",
                    occurrence_TA=np.tile(occurrence_A, (3, 1)),
                    emotion=i % 2 if own_emotions else -1,
                )
            )
    described = {"aus": aus, "emotions": own_emotions, "name": which, **info}
    return write_set(folder / described["name"], clips, **described)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    for name in SETS:
        write(folder, name)
    return folder


@pytest.fixture(scope="module")
def config_path(folder):
    path = folder / "config.py"
    path.write_text(CONFIG.replace("FOLDER", str(folder)))
    return path


@pytest.fixture(scope="module")
def trained(config_path, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("trained")
    assert cli.main(["train", str(config_path), "--workdir", str(workdir)]) == 0
    return workdir


def test_it_trains_on_all_and_measures_each_on_what_it_codes(trained):
    network = load_for_inference(trained, step="latest")
    assert network.aus == ALL and network.emotions == ("neutral", "happiness", "sadness")
    assert [part["name"] for part in network.manifest["data"]["parts"]] == ["one", "two", "third"]
    rows = metrics.read(trained / "metrics.jsonl", "train")
    assert rows[-1]["loss"] < rows[0]["loss"]
    last = metrics.read(trained / "metrics.jsonl", "validation")[-1]
    assert {"mean_f1", "one/mean_f1", "two/mean_f1", "one/f1_AU1", "two/f1_AU25"} <= last.keys()
    uncoded = ("one/f1_AU25", "two/f1_AU1", "two/emotion_accuracy", "third/mean_f1")
    assert not set(uncoded) & last.keys()  # the third has no validation split
    assert np.isfinite(last["one/emotion_accuracy"])


def test_the_report_has_the_totals_and_each_set(trained, capsys):
    assert cli.main(["evaluate", "--workdir", str(trained)]) == 0
    said = capsys.readouterr().out
    assert "\n  one: mean AP" in said and "\n  third: mean AP" in said
    (folder,) = (trained / "evaluation" / "test").iterdir()
    report = json.loads((folder / "report.json").read_text())
    assert [row["au"] for row in report["per_au"]] == list(ALL)
    sets = report["sets"]
    assert {name: [row["au"] for row in own["per_au"]] for name, own in sets.items()} == {
        "one": ["1", "12"],
        "two": ["12", "25"],
        "third": ["4", "25"],
    }
    known = {row["au"]: row["known"] for row in report["per_au"]}
    for au in ALL:
        of_sets = [r["known"] for own in sets.values() for r in own["per_au"] if r["au"] == au]
        assert sum(of_sets) == known[au]
    assert "emotion" in sets["one"] and "emotion" not in sets["two"]
    page = (folder / "report.md").read_text()
    assert page.index("## Occurrence") < page.index("## Of these, one")


def test_sets_that_moved_are_found_and_several_others_are_measured_by_set(trained, folder, capsys):
    words = ["evaluate", "--workdir", str(trained), "--source"]
    moved = [str(folder / name) for name in SETS]
    assert cli.main([*words, *moved]) == 0
    assert "  third: " in capsys.readouterr().out  # the part's name: these are its own
    assert cli.main([*words, *moved[:2]]) == 0
    assert "  third: " not in capsys.readouterr().out


def test_a_bundle_names_every_set_and_nobodys_folders_or_subjects(trained, folder, tmp_path):
    out = tmp_path / "net.jaxfacs"
    assert cli.main(["export", "--workdir", str(trained), "--out", str(out)]) == 0
    bundle = read(out)
    about = bundle.manifest["about"]
    assert about["data"]["name"] == "one+two+third"
    assert [part["set"] for part in about["data"]["parts"]] == list(SETS)
    opened = [open_set(folder / name) for name in SETS]
    assert [part["digest"] for part in about["data"]["parts"]] == [r.digest for r in opened]
    text = json.dumps(bundle.manifest)
    assert str(folder) not in text and "train0" not in text
    assert bundle.input.fps == 25.0


def test_the_command_line_changes_the_parts(config_path, tmp_path, capsys):
    words = ["train", str(config_path), "--workdir", str(tmp_path / "run"), "--steps", "1"]
    assert cli.main([*words, "--data.mixture.2.source", "nowhere"]) == 2
    assert "nowhere is not a record folder" in capsys.readouterr().err
    assert cli.main([*words, "--data.source", "x"]) == 2
    assert "data.source (x) and data.mixture are both given" in capsys.readouterr().err
    experiment = configs.load(config_path)
    again = configs.from_json(configs.to_json(experiment))
    assert again == experiment


def test_sets_may_move_but_their_weights_are_the_run(config_path):
    tree = configs.to_json(configs.load(config_path))
    moved, weighed = (json.loads(json.dumps(tree)) for _ in range(2))
    moved["data"]["mixture"][1]["source"] = "elsewhere"
    weighed["data"]["mixture"][1]["weight"] = 7.0
    assert configs.differences(tree, moved) == []
    assert configs.differences(tree, weighed) == ["data.mixture.1.weight: 1.0 -> 7.0"]


def test_a_run_cut_back_ends_with_the_same_bits(trained, config_path, tmp_path):
    cut = tmp_path / "cut"
    shutil.copytree(trained, cut)
    for late in (15, 20):
        shutil.rmtree(cut / "checkpoints" / str(late))
    assert cli.main(["train", str(config_path), "--workdir", str(cut)]) == 0
    assert tiny.digests(cut, 20) == tiny.digests(trained, 20)
    assert tiny.lines(cut) == tiny.lines(trained)


# Gradients


def first_batch(config_path):
    experiment = configs.load(config_path)
    stream = train_batches(experiment.data)
    batch = next(stream)
    stream.close()
    return experiment, batch


@pytest.fixture(scope="module")
def planned(config_path):
    """(plan, function that gives a first state)."""
    return state.plan(
        configs.load(config_path), mesh=meshes.create(), aus=ALL, num_emotions=3, steps_per_epoch=1
    )


@pytest.mark.parametrize("loss", ["bce", "focal", "weighted_asymmetric", "bp_mll"])
def test_an_unknown_label_moves_its_logit_by_exactly_nothing(config_path, loss):
    batch = first_batch(config_path)[1]
    config = configs.LossConfig(occurrence=loss)
    facts = terms.Facts(ALL, 16, label_weight_A=jnp.arange(1.0, 5.0))
    rng = np.random.default_rng(0)
    logits_BA = jnp.asarray(rng.normal(0, 3, (8, len(ALL))), jnp.float32)

    def total(logits_BA):
        outputs = {"occurrence": logits_BA, "emotion": jnp.zeros((8, 3))}
        sums = terms.loss_terms(config, outputs, batch, facts)
        return sums["occurrence"][0]

    gradient_BA = np.asarray(jax.grad(total)(logits_BA))
    known_BA = batch["occurrence_BTA"][:, 1] >= 0
    assert known_BA.any(axis=0).all() and not known_BA.all(axis=0).any()
    np.testing.assert_array_equal(gradient_BA[~known_BA], 0.0)
    if loss != "bp_mll":  # that one wants a present and an absent label in one clip
        assert (gradient_BA[known_BA] != 0).all()


def test_labels_of_a_set_reach_the_parameters_by_its_aus_alone(config_path, planned):
    """The same through the network: the head's column of an AU that no row codes stays."""
    experiment, batch = first_batch(config_path)
    plan, init = planned
    params, stats = (init()[key] for key in ("params", "stats"))
    of_one = batch["set_B"] == 0
    weight_B = of_one.astype(np.float32)  # the others' rows only move BatchNorm

    def loss(params):
        params = optim.held(params, plan.frozen_params)
        key = jax.random.key(0)
        outputs, _ = step.forward(plan, params, stats, batch, dropout_key=key)
        facts = terms.Facts(ALL, 16)
        sums = terms.loss_terms(experiment.loss, outputs, {**batch, "weight_B": weight_B}, facts)
        return sums["occurrence"][0]

    kernel = np.asarray(jax.jit(jax.grad(loss))(params)["head"]["kernel"])
    coded = [au in ("1", "12") for au in ALL]
    assert (np.abs(kernel[:, coded]).sum(0) > 0).all()
    np.testing.assert_array_equal(kernel[:, ~np.array(coded)], 0.0)


# Weights of sets in the loss


def test_the_loss_is_the_mean_weighted_by_set(config_path):
    experiment, batch = first_batch(config_path)
    outputs = {
        "occurrence": jnp.asarray(np.random.default_rng(1).normal(0, 1, (8, 4)), jnp.float32)
    }
    facts = terms.Facts(ALL, 16)

    def parts(weight_B):
        sums = terms.loss_terms(
            experiment.loss, outputs, {**batch, "weight_B": jnp.asarray(weight_B)}, facts
        )
        return np.array([float(x) for x in sums["occurrence"]])

    each = [parts((batch["set_B"] == k).astype(np.float32)) for k in range(3)]
    expected = each[0] + 0.5 * each[1] + each[2]
    np.testing.assert_allclose(parts(batch["weight_B"]), expected, rtol=1e-5)


def test_loss_weights_are_relative_also_below_one(config_path, planned):
    """All weights a tenth: the same step, where a sum of weights below 1 is no excuse."""
    experiment, batch = first_batch(config_path)
    plan, init = planned
    take, losses = step.jit_train_step(plan, experiment), []
    for scale in (1.0, 0.01):
        scaled = {**batch, "weight_B": batch["weight_B"] * np.float32(scale)}
        losses.append(float(take(init(), meshes.global_batch(scaled, plan.mesh))[1]["loss"]))
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


# Leakage


def test_a_checkpoint_is_not_measured_on_people_it_learned_from(trained, folder, tmp_path, capsys):
    """As DISFA+ shows people of DISFA."""
    again = write(tmp_path, "one", people="one")
    renamed = write(tmp_path, "two", people="one", name="plus")
    words = ["evaluate", "--workdir", str(trained), "--split"]
    assert cli.main([*words, "test", "--source", str(again)]) == 0
    capsys.readouterr()
    assert cli.main([*words, "train", "--source", str(renamed)]) == 2
    said = capsys.readouterr().err
    assert "subjects train0, train1, train2, train3 of one were learned from" in said
    assert "give --allow-overlap\n" in said and said.count("\n") == 1
    assert cli.main([*words, "train", "--source", str(renamed), "--allow-overlap"]) == 0
    assert cli.main([*words, "train"]) == 0  # who asks for it by name knows
    compare = ["compare", "--workdir", str(trained), "--with", str(trained), "--split", "train"]
    assert cli.main([*compare, "--source", str(renamed)]) == 2
    assert cli.main(compare) == 0  # its own sets


def test_a_run_that_starts_from_another_holds_out_whom_that_one_saw(
    trained, folder, tmp_path, capsys
):
    """The next fold's test people are this fold's training people."""
    turned = tmp_path / "config.py"
    text = CONFIG.replace("FOLDER", str(folder))
    turned.write_text(
        text.replace("weight=2.0", "weight=2.0, train_split='validation', validation_split='train'")
    )
    words = ["train", str(turned), "--workdir", str(tmp_path / "run"), "--steps", "1"]
    assert cli.main([*words, "--init-from", str(trained)]) == 2
    assert "of one were learned from and are in split 'train' of one" in capsys.readouterr().err
    assert not (tmp_path / "run" / "checkpoints").exists()
    straight = ["train", str(folder / "config.py"), *words[2:], "--init-from", str(trained)]
    assert cli.main(straight) == 0
    seen = load_for_inference(tmp_path / "run").manifest["data"]["seen"]
    assert seen == open_data(configs.load(folder / "config.py").data).seen()


def test_a_run_says_what_it_draws_and_that_crops_differ(config_path, tmp_path, capsys):
    other = write(tmp_path, "two", crop={"detector": "haar"})
    words = ["train", str(config_path), "--workdir", str(tmp_path / "run"), "--steps", "1"]
    assert cli.main([*words, "--data.mixture.1.source", str(other)]) == 0
    said = capsys.readouterr().err
    assert "one: 50.0% of the clips drawn, of 14; AUs 1 12\n" in said
    assert "third: 25.0% of the clips drawn, of 5; AUs 4 25\n" in said
    assert "faces were cut out in different ways" in said
    assert load_for_inference(tmp_path / "run").manifest["data"]["crop"] == {}  # as in "one"


def test_clips_too_short_in_one_set_are_named(config_path, tmp_path, capsys):
    words = ["train", str(config_path), "--workdir", str(tmp_path / "run")]
    assert cli.main([*words, "--data.frames", "8"]) == 2
    assert "the longest record of" in capsys.readouterr().err
