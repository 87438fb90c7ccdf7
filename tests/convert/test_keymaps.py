"""Key maps: every name of every published form finds its place, and its layout is ours."""

import re

import numpy as np
import originals
import pytest

from jaxfacs import convert
from jaxfacs.convert import weights
from jaxfacs.convert.keymap import BUFFERS, renamed
from jaxfacs.convert.keymaps import KEYMAPS, choose
from jaxfacs.convert.published import AUS, PUBLISHED
from jaxfacs.errors import UserError
from jaxfacs.models import NORMALISATIONS
from jaxfacs.models import names as model_names

SWIN = {
    "swin_t": ((2, 2, 6, 2), 96, (3, 6, 12, 24)),
    "swin_b": ((2, 2, 18, 2), 128, (4, 8, 16, 32)),
}

# (network, form that is found, names and shapes of the file)
FILES = [
    ("vgg_face", "matconvnet", originals.vgg_face("conv")),
    ("vgg_face", "caffe", originals.vgg_face("conv_")),
    ("vgg_face", "mat", originals.vgg_face("conv", mat=True)),
    ("vgg_face", "torch7", originals.torch7()),
    ("resnet50", "keras", originals.old_keras_resnet50()),
    ("scc", "original", originals.scc(24, 256)),
    *((name, "torchvision", originals.torchvision_swin(*sizes)) for name, sizes in SWIN.items()),
]


@pytest.mark.parametrize(
    "name, form, shapes", FILES, ids=[f"{name}-{form}" for name, form, _ in FILES]
)
def test_every_name_has_a_place_of_its_shape(name, form, shapes):
    """Checked on shapes alone: these networks have up to 145 million numbers."""
    found, keymap = choose(name, "", shapes)
    assert found == form
    ignored = re.compile("|".join((BUFFERS, *keymap.ignored)))
    names = renamed([n for n in shapes if not ignored.search(n)], keymap)
    given = {**keymap.create, **(keymap.infer(shapes) if keymap.infer else {})}
    if "num_aus" not in given:
        source = {names[n]: array for n, array in originals.empty(shapes).items() if n in names}
        given["num_aus"] = weights._answers(name, source, keymap)
    expected = originals.ours(name, **given)
    places = {key: weights._path(key, keymap, expected) for key in names.values()}
    assert set(places.values()) == set(expected) and len(places) == len(expected)
    for key, new in names.items():
        assert np.prod(shapes[key]) == np.prod(expected[places[new]]), key


def test_scc_tells_its_aus_and_size():
    _, keymap = choose("scc", "", originals.scc(10, 96))
    assert keymap.infer(originals.scc(10, 96)) == {
        "aus": ("6", "10", "12", "14", "17"),
        "num_aus": 5,
        "size": 96,
    }
    assert len(keymap.infer(originals.scc(24, 256))["aus"]) == 12


@pytest.mark.parametrize(
    "name, backbone, stage",
    [
        *(("me_graphau", backbone, 2) for backbone in ("resnet18", "resnet50", "resnet101")),
        *(("me_graphau", backbone, 1) for backbone in ("swin_t", "swin_s", "swin_b")),
        *(("open_graphau", "resnet18", stage) for stage in (1, 2)),
    ],
)
def test_graph_checkpoints_tell_stage_and_backbone(name, backbone, stage):
    options = {"num_aus": 8} if name == "me_graphau" else {}
    shapes = originals.as_torch(originals.ours(name, backbone=backbone, stage=stage, **options))
    shapes = {n.replace("head.global_linear", "global_linear"): s for n, s in shapes.items()}
    _, keymap = choose(name, "", shapes)
    told = dict(keymap.infer(shapes))
    neighbors = told.pop("neighbors", 4)
    assert told == {"stage": stage, "backbone": backbone}
    assert neighbors == (3 if name == "me_graphau" else 4)  # 8 AUs: DISFA


def test_kernels_of_all_forms_of_vgg_face_are_the_same_numbers():
    """Convolutions, the layer after the flattening, and the channels that Caffe's forms turn."""
    draw = np.random.default_rng(0)
    conv, fc6 = draw.random((4, 3, 3, 3), np.float32), draw.random((2, 512, 7, 7), np.float32)
    flipped = conv[:, ::-1]
    of_torch = {"conv": conv, "fc6": fc6.reshape(2, -1)}
    given = {
        "matconvnet": of_torch,
        "torchvision": of_torch,
        "mat": {"conv": conv.transpose(2, 3, 1, 0), "fc6": fc6.transpose(2, 3, 1, 0)},
        "caffe": {**of_torch, "conv": flipped},
        "torch7": {**of_torch, "conv": flipped.reshape(4, 27)},
    }
    wanted = {
        "backbone/features/0/kernel": conv.transpose(2, 3, 1, 0),
        "backbone/classifier/0/kernel": fc6.transpose(2, 3, 1, 0).reshape(-1, 2),
    }
    for form, arrays in given.items():
        for (path, expected), value in zip(wanted.items(), arrays.values(), strict=True):
            keymap, notes = KEYMAPS["vgg_face"][form], []
            ours = weights._laid_out(path, value, keymap, expected.shape, notes)
            np.testing.assert_array_equal(ours, expected, err_msg=f"{form} {path}")
            assert bool(notes) == (keymap.bgr and "features" in path)


def test_layers_that_keras_counts_from_anywhere():
    _, keymap = choose("xception", "", ["block1_conv1.kernel"])
    for first in (0, 4, 97):
        names = [f"conv2d_{first + i}.kernel" if first + i else "conv2d.kernel" for i in range(4)]
        assert list(renamed(names, keymap).values()) == [
            f"backbone.block{n}_shortcut.kernel" for n in (2, 3, 4, 13)
        ]


@pytest.fixture(scope="module")
def state() -> dict[str, np.ndarray]:
    """A small network's tensors as its owners name them."""
    draw = np.random.default_rng(0)
    shapes = originals.as_torch(originals.ours("mobilenet3d_v2", num_aus=5, width=0.2), clips=True)
    shapes = {
        n.removeprefix("backbone.").replace("head.occurrence", "classifier.1"): s
        for n, s in shapes.items()
    }
    return {name: draw.random(shape, np.float32) for name, shape in shapes.items()}


def test_prefix_and_counters_are_taken_off_and_the_width_found(state):
    wrapped = {f"module.{name}": value for name, value in state.items()}
    wrapped["module.features.0.1.num_batches_tracked"] = np.int64(7)
    done = weights.convert("mobilenet3d_v2", wrapped)
    assert done.options == {"width": 0.2, "num_aus": 5} and done.form == "efficient-3dcnns"
    assert done.unused == ("features.0.1.num_batches_tracked",) and done.loaded == len(state)
    plain = convert.from_torch("mobilenet3d_v2", state)
    kernel = plain.head.occurrence.kernel[...]
    np.testing.assert_array_equal(kernel, done.module.head.occurrence.kernel[...])
    np.testing.assert_array_equal(kernel, state["classifier.1.weight"].T)
    depthwise = state["features.2.conv.3.weight"]
    ours = plain.backbone.features["2"].conv
    np.testing.assert_array_equal(
        getattr(ours, "3").kernel[...], depthwise[:, 0].transpose(1, 2, 3, 0)
    )


def test_all_that_does_not_fit_is_in_one_error(state):
    wrong = dict(state)
    wrong["features.0.0.wight"] = wrong.pop("features.0.0.weight")
    wrong["features.1.conv.0.weight"] = wrong["features.1.conv.0.weight"][:, :, :2]
    wrong["features.0.1.bias"] = wrong["features.0.1.bias"].astype(np.int32)
    with pytest.raises(UserError) as caught:
        convert.from_torch("mobilenet3d_v2", wrong, width=0.2)
    text = str(caught.value)
    for told in (
        "1 missing from the weights: backbone/features/0/0/kernel",
        "1 in the weights without a place in the network: backbone/features/0/0/wight (near:",
        "2 of another shape or type",
        "backbone/features/0/1/bias is of type int32, expected float32",
    ):
        assert told in text
    with pytest.raises(UserError, match=r"and \d\d+ more"):
        convert.from_torch("mobilenet3d_v2", state, width=0.5)


def test_other_networks_and_forms_are_named(state):
    for name, form, told in (
        ("resnet50", "", "not of resnet50 in any form known here (torchvision, keras, slim)"),
        ("resnet50", "caffe", "no weights of form 'caffe'; give --form torchvision, keras, slim"),
        ("resnet5", "", "no model 'resnet5'"),
    ):
        with pytest.raises(UserError) as caught:
            convert.from_torch(name, state, form=form)
        assert told in str(caught.value)


def test_a_file_without_its_last_layer_makes_a_network_that_answers_0(state):
    body = {name: value for name, value in state.items() if not name.startswith("classifier")}
    done = weights.convert("mobilenet3d_v2", body)
    assert done.headless and not done.module.head.occurrence.kernel[...].any()


def test_a_first_layer_for_flow_is_the_mean_over_colours():
    kernel = np.random.default_rng(0).random((96, 3, 11, 11), np.float32)
    keymap, notes = KEYMAPS["alexnet"]["caffe"], []
    path = "backbone/features/conv1/kernel"
    ours = weights._laid_out(path, kernel, keymap, (11, 11, 10, 96), notes)
    mean = kernel.mean(1).transpose(1, 2, 0) * 0.3
    np.testing.assert_allclose(ours, np.repeat(mean[:, :, None], 10, axis=2), rtol=1e-5)
    assert "made for 10 channels" in notes[-1]


def test_the_list_of_releases_is_of_networks_and_forms_there_are():
    for release in PUBLISHED:
        for network in release.networks:
            assert network in model_names() and release.form in KEYMAPS[network], release
        named = {n: what for n, what in release.holds.items() if what == AUS}
        assert named.keys() == release.aus.keys()
        assert all(len(labels) == n for n, labels in release.aus.items())
    known = {(n, release.form) for release in PUBLISHED for n in release.networks}
    for network, forms in KEYMAPS.items():
        for form, keymap in forms.items():
            assert keymap.normalisation in ("", *NORMALISATIONS)
            if (network, form) != ("vgg_face", "torchvision"):  # nobody's, but common
                assert (network, form) in known
