"""`jaxfacs convert`: the work directory it leaves, what the other commands make of it, refusals."""

import json

import jax
import numpy as np
import originals
import pytest
from safetensors.numpy import save_file

import jaxfacs
from jaxfacs import models
from jaxfacs.cli import main
from jaxfacs.convert import files, weights
from jaxfacs.facs import DATASET_AUS
from jaxfacs.train.trained import load_for_inference

WIDTH = {"name": "mobilenet3d_v2", "num_aus": 5, "width": 0.2}
LABELS = "1 2 4 L12 25"


def drawn(shapes, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights that keep activations near 1, as trained ones do."""
    draw = np.random.default_rng(seed)
    state = {}
    for name, shape in shapes.items():
        values = draw.standard_normal(shape, np.float32)
        if len(shape) > 1:
            values *= np.sqrt(2.0 / np.prod(shape[1:])).astype(np.float32)
        elif name.endswith("running_var"):
            values = 0.5 + np.abs(values)
        elif name.endswith("weight"):
            values = 1.0 + 0.1 * values
        state[name] = values
    return state


@pytest.fixture(scope="module")
def clip_weights(tmp_path_factory):
    """(file, state) of a small 3D MobileNet with five outputs, as its owners name them."""
    shapes = originals.as_torch(originals.ours(**WIDTH), clips=True)
    shapes = {
        n.removeprefix("backbone.").replace("head.occurrence", "classifier.1"): s
        for n, s in shapes.items()
    }
    state = drawn(shapes)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_file({f"module.{name}": value for name, value in state.items()}, path)
    return path, state


@pytest.fixture(scope="module")
def graph_workdir(tmp_path_factory):
    """A converted ME-GraphAU of 8 AUs, stage 1 on ResNet-18."""
    folder = tmp_path_factory.mktemp("graph")
    shapes = originals.as_torch(
        originals.ours("me_graphau", num_aus=8, backbone="resnet18", stage=1)
    )
    shapes = {n.replace("head.global_linear", "global_linear"): s for n, s in shapes.items()}
    state = drawn(shapes)
    save_file({f"module.{n}": v for n, v in state.items()}, folder / "fold1.safetensors")
    command = ["convert", "me_graphau", str(folder / "fold1.safetensors")]
    assert main([*command, "--workdir", str(folder / "work")]) == 0
    return folder / "work", state


def test_a_graph_network_is_converted_exported_and_predicts(graph_workdir, tmp_path):
    """The exported file answers as the network that `from_torch` makes."""
    workdir, state = graph_workdir
    out = tmp_path / "model.jaxfacs"
    assert main(["export", "--workdir", str(workdir), "--out", str(out)]) == 0
    predictor = jaxfacs.load(out)
    assert predictor.aus == DATASET_AUS["disfa_8"]
    frames = np.random.default_rng(1).integers(0, 256, (2, 1, 224, 224, 3), np.uint8)
    answered = predictor.run(frames)["probability"]
    module = weights.convert("me_graphau", state).module
    mean, std = models.normalisation("", model="me_graphau")
    graphdef, params, stats = models.split(module)
    direct, _ = jax.jit(lambda p, s, x: models.apply(graphdef, p, s, x, train=False))(
        params, stats, (frames.astype(np.float32) - np.float32(mean)) / np.float32(std)
    )
    assert answered.std() > 1e-3  # weights that answer the same for everything would pass
    np.testing.assert_allclose(answered, direct["probability"], atol=1e-5)


def test_the_folder_says_where_it_comes_from(graph_workdir):
    workdir, state = graph_workdir
    assert {p.name for p in workdir.iterdir()} == {
        *("WEIGHTS.md", "checkpoints", "config.json", "weights.json")
    }
    card = json.loads((workdir / "weights.json").read_text())
    assert card["options"] == {"backbone": "resnet18", "stage": 1, "neighbors": 3}
    assert card["file"]["name"] == "fold1.safetensors" and len(card["file"]["sha256"]) == 64
    assert card["aus"] == list(DATASET_AUS["disfa_8"]) and not card["classes"]
    assert "research-only" in card["licence"] and card["tensors"] == len(state)
    assert card["input"]["size"] == 224 and card["input"]["mean"] == [123.675, 116.28, 103.53]
    assert "IJCAI 2022" in (workdir / "WEIGHTS.md").read_text()
    trained = load_for_inference(workdir)
    assert trained.step == 0 and trained.manifest["converted"]["form"] == "original"
    assert trained.manifest["data"]["digest"] == card["file"]["sha256"]
    assert trained.experiment.model.backbone == "resnet18"
    assert trained.experiment.model.options == {"stage": 1, "neighbors": 3}


def test_what_was_done_is_told(clip_weights, tmp_path, capsys):
    path, state = clip_weights
    command = ["convert", "mobilenet3d_v2", str(path), "--workdir", str(tmp_path / "w")]
    assert main([*command, "--aus", LABELS, "--licence", "ours"]) == 0
    out = capsys.readouterr().out
    assert "mobilenet3d_v2 (efficient-3dcnns) of small.safetensors" in out
    assert f"{len(state)} tensors" in out and "answers AU 1 2 4 L12 25" in out
    assert "licence: ours" in out and "jaxfacs export --workdir" in out
    assert load_for_inference(tmp_path / "w").aus == tuple(LABELS.split())
    assert main(["evaluate", "--workdir", str(tmp_path / "w")]) == 2
    assert "holds converted weights; give --source RECORDS" in capsys.readouterr().err


def test_weights_of_classes_are_not_taken_for_aus(clip_weights, tmp_path, capsys):
    path, _ = clip_weights
    workdir = tmp_path / "w"
    command = ["convert", "mobilenet3d_v2", str(path), "--workdir", str(workdir), "--aus", "none"]
    assert main(command) == 0
    assert "train CONFIG.py --init-from" in capsys.readouterr().out
    for command in (["export", "--out", str(tmp_path / "m.jaxfacs")], ["evaluate"]):
        assert main([*command, "--workdir", str(workdir)]) == 2
        assert "holds 5 classes, not AUs" in capsys.readouterr().err
    assert load_for_inference(workdir, classes=True).aus[:2] == ("class 0", "class 1")


@pytest.mark.parametrize(
    "arguments, told",
    [
        ([], "5 outputs, and nobody says here which AUs they are; give --aus"),
        (["--aus", "1 2"], "--aus has 2 labels, these weights of mobilenet3d_v2 have 5 outputs"),
        (["--aus", "1 2 4 6 6"], "names an AU twice"),
        (["--aus", "1 2 4 6 x"], "not an AU label"),
        (["--aus", "bp4d"], "--aus has 12 labels"),
        (["--form", "keras"], "no weights of form 'keras'; give --form efficient-3dcnns"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(clip_weights, tmp_path, capsys, arguments, told):
    path, _ = clip_weights
    command = ["convert", "mobilenet3d_v2", str(path), "--workdir", str(tmp_path / "w")]
    assert main([*command, *arguments]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_other_networks_options_files_and_folders_are_named(clip_weights, tmp_path, capsys):
    path, _ = clip_weights
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:-5])
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "file").touch()
    for name, file, workdir, told in (
        ("resnet18", path, "w", "not of resnet18 in any form"),
        ("mobilenet3d", path, "w", "no model 'mobilenet3d'"),
        ("mobilenet3d_v2:width=x", path, "w", "width"),
        ("mobilenet3d_v2:wide=1", path, "w", "wide"),
        ("mobilenet3d_v2", cut, "w", "cut.safetensors cannot be read as safetensors"),
        ("mobilenet3d_v2", tmp_path / "no.pth", "w", "does not exist"),
        ("mobilenet3d_v2", path, "taken", "is there already"),
        ("mobilenet3d_v2", path, "taken/file/w", "cannot make --workdir"),
    ):
        command = ["convert", name, str(file), "--workdir", str(tmp_path / workdir)]
        assert main([*command, "--aus", LABELS]) == 2, name
        error = capsys.readouterr().err
        assert told in error and error.count("\n") == 1, error
    assert {p.name for p in tmp_path.iterdir()} == {"cut.safetensors", "taken"}


def test_a_failed_write_leaves_nothing(clip_weights, tmp_path, capsys, monkeypatch):
    from jaxfacs.train import trained

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trained, "save_first", full)
    command = ["convert", "mobilenet3d_v2", str(clip_weights[0]), "--workdir", str(tmp_path / "w")]
    assert main([*command, "--aus", LABELS]) == 2
    assert "No space left" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_list_and_the_help(capsys):
    assert main(["convert", "list"]) == 0
    listed = capsys.readouterr().out
    for word in ("me_graphau", "VGG_FACE.t7", "form torchvision", "https://", "licence"):
        assert word in listed
    with pytest.raises(SystemExit):
        main(["convert", "--help"])
    assert "--init-from" in capsys.readouterr().out


def test_files_read_and_converted_in_python(clip_weights):
    """What the command does, for those who write Python."""
    path, state = clip_weights
    read = files.read(path)
    done = weights.convert("mobilenet3d_v2", read.tensors)
    np.testing.assert_array_equal(done.module.head.occurrence.bias[...], state["classifier.1.bias"])
