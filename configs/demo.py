"""The training of `make demo`: a small 3D-MobileNetV2 on a few hundred rendered clips.

    jaxfacs data build synthface --out RECORDS --clips 900 --frames 4 --fps 12.5 --size 64 \
        --subjects 300 --near-frontal --detector none --seed 1 \
        --without occlusion,camera,wear,shadow,people,speech,range
    jaxfacs train configs/demo.py --workdir RUN --data.source RECORDS

It shows that the way from faces to AUs works; a network of a few hundred renders is not for real
faces.
"""

import dataclasses

from jaxfacs.data.config import Augment, DataConfig
from jaxfacs.train.config import (
    CheckpointConfig,
    EvaluationConfig,
    Experiment,
    LossConfig,
    ModelConfig,
    OptimConfig,
)

# AUs of the emotion prototypes that a face of 50 pixels can show.
AUS = tuple("1 2 4 5 6 9 12 15 20 25 26".split())

# Milder than the default: the aim is to fit a few clips in a few steps.
AUGMENT = Augment(
    zoom=(0.95, 1.08),
    shift=0.03,
    rotate=4.0,
    brightness=0.1,
    contrast=0.15,
    saturation=0.2,
    tint=0.03,
    grey=0.05,
    noise=4.0,
    blur=0.05,
    cutout=0.0,
)


def get_config() -> Experiment:
    return Experiment(
        data=DataConfig(
            source="demo_out/records", aus=AUS, frames=4, size=64, batch_size=16, augment=AUGMENT
        ),
        model=ModelConfig(
            name="mobilenet3d_v2", width=0.35, dropout=0.1, per_frame=True, intensity=True
        ),
        loss=LossConfig(label_weights="none", intensity_scale=0.3),
        optim=OptimConfig(name="adam", learning_rate=1.5e-3, warmup_steps=20),
        checkpoint=CheckpointConfig(every=100),
        evaluation=EvaluationConfig(every=300),
        steps=900,
        log_every=50,
    )


def smoke() -> Experiment:
    full = get_config()
    return dataclasses.replace(
        full,
        data=dataclasses.replace(full.data, batch_size=4, size=32),
        model=dataclasses.replace(full.model, width=0.2),
        optim=dataclasses.replace(full.optim, warmup_steps=1),
        checkpoint=dataclasses.replace(full.checkpoint, every=2),
        evaluation=dataclasses.replace(full.evaluation, every=0),
        steps=4,
        log_every=1,
    )
