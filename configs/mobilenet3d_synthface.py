"""3D-MobileNetV2 on rendered faces: AUs with intensities, and the emotion they came from.

    jaxfacs data build synthface --out data/synthface --clips 20000 --seed 1
    jaxfacs train configs/mobilenet3d_synthface.py --workdir runs/synthface
    jaxfacs evaluate --workdir runs/synthface

A starting point, not a result: no full run of it has been measured yet. On the few hundred renders
of `make demo` a quarter-width network comes far above the base rate (configs/demo.py).
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
        data=DataConfig(source="data/synthface", batch_size=64, temporal_jitter=1),
        model=ModelConfig(name="mobilenet3d_v2", intensity=True, emotion=True),
        loss=LossConfig(intensity_scale=0.2, emotion_scale=0.2, emotion_smoothing=0.1),
        optim=OptimConfig(
            name="adamw", learning_rate=2e-3, warmup_steps=500, weight_decay=1e-2, clip_norm=1.0
        ),
        checkpoint=CheckpointConfig(every=500),
        evaluation=EvaluationConfig(every=1000),
        steps=20_000,
        dtype="bfloat16",
        ema=0.999,
        log_every=50,
    )


def smoke() -> Experiment:
    full = get_config()
    return dataclasses.replace(
        full,
        data=dataclasses.replace(full.data, batch_size=4, frames=8, size=32),
        model=dataclasses.replace(full.model, width=0.2),
        optim=dataclasses.replace(full.optim, warmup_steps=1),
        checkpoint=dataclasses.replace(full.checkpoint, every=2),
        evaluation=dataclasses.replace(full.evaluation, every=0),
        steps=4,
        dtype="float32",
        log_every=1,
    )
