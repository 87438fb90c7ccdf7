"""A network of two layers as if it had been trained, with records or without."""

import dataclasses
import sys
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
import tiny_model  # noqa: F401 (registers "tiny")
from tiny import write_records  # noqa: F401

from jaxfacs import models
from jaxfacs.data.config import DataConfig
from jaxfacs.data.mixture import open_data
from jaxfacs.train.config import Experiment, ModelConfig
from jaxfacs.train.state import create_module
from jaxfacs.train.trained import Trained

AUS, EMOTIONS = ("1", "12", "25"), ("neutral", "happy")


def tiny_trained(source: str = "/somewhere/private/records", **changes) -> Trained:
    """Random weights; answers every frame with AUs, intensities and no emotions."""
    model = ModelConfig(name="tiny", per_frame=True, intensity=True, options={"norm": True})
    data = DataConfig(source=source, frames=4, size=16)

    def init():
        module = create_module(model, aus=AUS, num_emotions=2, dtype="float32", seed=0)
        return models.split(module)[1:]

    params, stats = jax.jit(init)()
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda p: p + np.float32(0.3 * rng.standard_normal(p.shape)), params)
    told = {"name": "s", "digest": "d", "crop": {"detector": "haar", "margin": 0.1}}
    if Path(source).is_dir():
        told = open_data(data).manifest()
    trained = Trained(
        experiment=Experiment(data=data, model=model),
        aus=AUS,
        emotions=EMOTIONS,
        params=params,
        stats=stats,
        step=7,
        metrics={"mean_average_precision": 0.5},
        thresholds=None,
        manifest={"data": told, "sha256": "c"},
    )
    return dataclasses.replace(trained, **changes)
