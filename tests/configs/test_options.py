"""Options that a config file takes for itself, written after its name."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from jaxfacs.errors import UserError
from jaxfacs.train import config as configs
from jaxfacs.train import optim
from jaxfacs.train.config import OptimConfig
from jaxfacs.train.named_options import split

CONFIG = """
from jaxfacs.data.config import DataConfig
from jaxfacs.train.config import *


def get_config(fold: int = 1, rate: float = 0.1, name: str = "a") -> Experiment:
    data = DataConfig(source=f"{name}{fold}")
    return Experiment(data=data, optim=OptimConfig(learning_rate=rate))


def smoke() -> Experiment:
    return get_config()
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "c.py"
    path.write_text(CONFIG)
    return path


def test_options_reach_the_function(path):
    experiment = configs.load(f"{path}:fold=3,rate=1e-3,name=bp4d")
    assert experiment.data.source == "bp4d3" and experiment.optim.learning_rate == 1e-3
    assert configs.load(path).data.source == "a1"


@pytest.mark.parametrize(
    ("options", "smoke", "words"),
    [
        ("fodl=2", False, r"no option 'fodl'; its options: fold: int = 1, rate: float = 0.1"),
        ("fold=2", True, "no option 'fold'; its options: none"),
        ("fold", False, "'fold' in .* is not KEY=VALUE"),
        ("fold=1,fold=2", False, "'fold=2' in .* each key once"),
        ("fold=", False, "'fold=' in"),
        ("", False, "'' in"),
    ],
)
def test_a_wrong_option_is_one_line(path, options, smoke, words):
    with pytest.raises(UserError, match=words) as error:
        configs.load(f"{path}:{options}", smoke=smoke)
    assert "\n" not in str(error.value)


def test_a_missing_file_with_options_is_named():
    with pytest.raises(UserError, match=r"config file nothing\.py does not exist"):
        configs.load("nothing.py:fold=1")


def test_values_are_read_as_what_they_look_like():
    name, options = split("x:a=1,b=0.5,c=true,d=resnet50,e=1e-3")
    assert name == "x"
    assert options == {"a": 1, "b": 0.5, "c": True, "d": "resnet50", "e": 1e-3}
    assert type(options["a"]) is int and type(options["c"]) is bool
    assert split("plain") == ("plain", {})


def test_an_empty_pattern_decays_every_parameter():
    params = {"fc": {"kernel": jnp.ones(2), "bias": jnp.ones(2)}}
    config = OptimConfig(
        name="sgd", momentum=0.0, weight_decay=0.5, learning_rate=1.0, schedule="constant"
    )

    def after(no_decay):
        tx, _ = optim.create(
            dataclasses.replace(config, no_decay=no_decay),
            params,
            steps=1,
            steps_per_epoch=1,
        )
        zeros = jax.tree.map(jnp.zeros_like, params)
        return tx.update(zeros, tx.init(params), params)[0]["fc"]

    assert after("")["bias"][0] == -0.5 and after("")["kernel"][0] == -0.5
    assert after("bias$")["bias"][0] == 0.0 and after("bias$")["kernel"][0] == -0.5
