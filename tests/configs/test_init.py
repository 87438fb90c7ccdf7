"""What configs say of their start: every rule names something, and nothing is left over."""

import re
from functools import cache
from pathlib import Path

import jax
import pytest
from flax import nnx

from jaxfacs import models
from jaxfacs.train import config as configs
from jaxfacs.train import optim
from jaxfacs.train import state as states
from jaxfacs.train.paths import paths

CONFIGS = Path(__file__).parents[2] / "configs"

# config -> what its docstring starts it from: a converted network, or another config's run
STARTS = {
    "ebplus_vgg_face": "vgg_face",
    "emotionet_aus": "vgg16",
    "emotionet_aus:network=inception_v2": "inception_v2",
    "emotionet_valence_arousal": "vgg16",
    "mmi_alexnet_finetune": "alexnet",
    "mmi_one_vs_all": "alexnet",
    "mmi_two_stream": "alexnet",
    "mmi_two_stream:fusion=weights": "alexnet",
    "mmi_two_stream:fusion=fc": "alexnet",
    "bp4d_me_graphau": "resnet50",
    "bp4d_me_graphau:stage=2": "bp4d_me_graphau:stage=1",
    "disfa_me_graphau": "swin_b",
    "disfa_me_graphau:stage=2": "disfa_me_graphau:stage=1",
    "open_graphau_hybrid": "swin_t",
    "open_graphau_hybrid:stage=2": "open_graphau_hybrid:stage=1",
    "bp4d_scc": "resnet50",
    "disfa_scc": "resnet50",
    "caers_emotiram_scc": "bp4d_scc:size=96",
    "caers_emotiram_me_graphau": "disfa_me_graphau:stage=2,backbone=resnet50",
}


def load(name: str) -> configs.Experiment:
    stem, _, options = name.partition(":")
    return configs.load(f"{CONFIGS / stem}.py" + (f":{options}" if options else ""))


@cache
def shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Path -> shape of every parameter and statistic."""

    def network():
        if name in models.names():
            return models.split(models.create(name, rngs=nnx.Rngs(0), num_aus=1000))[1:]
        experiment = load(name)
        aus = experiment.data.aus or tuple(map(str, range(1, 38)))
        return models.split(
            states.create_module(
                experiment.model,
                aus=aus if experiment.model.occurrence else (),
                num_emotions=7,
                dtype="float32",
                seed=0,
            )
        )[1:]

    params, stats = jax.eval_shape(network)
    return {path: leaf.shape for tree in (params, stats) for path, leaf in paths(tree).items()}


@pytest.mark.parametrize("name", STARTS)
def test_a_start_leaves_nothing_over(name):
    """As `jaxfacs.train.transfer` wants it, without reading weights."""
    init, wanted, given = load(name).init, shapes(name), {}
    for path, shape in shapes(STARTS[name]).items():
        for pattern, replacement in init.rename:
            path = re.sub(pattern, replacement, path)
        given[path] = shape
    for pattern in (*init.new, *init.ignore):
        assert any(re.search(pattern, path) for path in (*wanted, *given)), pattern

    def without(tree, patterns):
        return {k: v for k, v in tree.items() if not any(re.search(p, k) for p in patterns)}

    assert without(wanted, init.new) == without(given, (*init.new, *init.ignore))


@pytest.mark.parametrize("name", STARTS)
def test_what_is_frozen_is_there_and_something_moves(name):
    tree = dict.fromkeys(shapes(name), 0)
    frozen = optim.frozen_mask(load(name).optim.frozen, tree)  # UserError where nothing matches
    assert not all(frozen.values())
