"""A small 3D-MobileNetV2 that plainly learns on a few hundred renders in two CPU minutes.

    jaxfacs data build synthface --out data/demo --clips 240 --seed 1
    jaxfacs train configs/demo.py --workdir runs/demo --data.source data/demo

It shows that the way from faces to AUs works; a network of a few hundred renders is not for real
faces.
"""

import dataclasses

from jaxfacs.data.config import DataConfig
from jaxfacs.train.config import (
    CheckpointConfig,
    EvaluationConfig,
    Experiment,
    LossConfig,
    ModelConfig,
    OptimConfig,
)


def get_config() -> Experiment:
    return Experiment(
        data=DataConfig(source="data/demo", batch_size=8, frames=8, size=64),
        model=ModelConfig(name="mobilenet3d_v2", width=0.25, intensity=True),
        loss=LossConfig(intensity_scale=0.2),
        optim=OptimConfig(name="adamw", learning_rate=3e-3, warmup_steps=20, clip_norm=1.0),
        checkpoint=CheckpointConfig(every=50),
        evaluation=EvaluationConfig(every=100),
        steps=300,
        ema=0.98,
    )


def smoke() -> Experiment:
    full = get_config()
    return dataclasses.replace(
        full,
        data=dataclasses.replace(full.data, batch_size=4, size=32),
        optim=dataclasses.replace(full.optim, warmup_steps=1),
        checkpoint=dataclasses.replace(full.checkpoint, every=2),
        evaluation=dataclasses.replace(full.evaluation, every=0),
        steps=4,
        log_every=1,
    )
