"""3D-MobileNetV2 on EB+, the recipe of Tlili 2019: BCE with positive weights, Adam 0.05, cosine.

    jaxfacs data build eb_plus --source EB+ --out DIR_OF_RECORDS
    jaxfacs train configs/ebplus_mobilenet3d.py --workdir runs/ebplus --data.source DIR_OF_RECORDS

The 27 AUs of EB+ are the record set's own list. Reference: Tlili 2019, §6.2.2 (optimiser,
schedule, network) and fig. 6.20 (the per-AU table that `jaxfacs evaluate` writes for a run). The
thesis states neither batch size nor length: 64 clips and 20,000 steps are ours, and the figures of
this file have not been reproduced, since EB+ may not be passed on.
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
        data=DataConfig(source="data/ebplus", batch_size=64, frames=16, size=112),
        model=ModelConfig(name="mobilenet3d_v2", dropout=0.2),
        loss=LossConfig(occurrence="bce", label_weights="positive", clip_label="centre"),
        optim=OptimConfig(name="adam", learning_rate=0.05, schedule="cosine"),
        checkpoint=CheckpointConfig(every=500),
        evaluation=EvaluationConfig(every=1000),
        steps=20_000,
        log_every=50,
    )


def smoke() -> Experiment:
    full = get_config()
    return dataclasses.replace(
        full,
        data=dataclasses.replace(full.data, batch_size=4, frames=8, size=32),
        model=dataclasses.replace(full.model, width=0.2),
        checkpoint=dataclasses.replace(full.checkpoint, every=2),
        evaluation=dataclasses.replace(full.evaluation, every=0),
        steps=4,
        log_every=1,
    )
