"""The still network that ships with the package: AUs, sides, intensities, emotion from one picture.

Trained on rendered faces alone (docs/weights.md has the commands, the log and what came of it):

    jaxfacs data build synthface --head FOLDER --frames 1 --clips 60000 --validation 0.04 \
        --test 0.04 --detector none --size 128 --out data/stills
    jaxfacs train configs/default_still.py --workdir runs/default_still
    jaxfacs export --workdir runs/default_still --out default.jaxfacs

FOLDER is the ICT Face Model Light as its owners publish it; without --head the built-in head is
rendered, which needs no files and teaches less.
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
    shrunk,
)

# One number a side, from which the side's occurrence and intensity and those of the whole AU follow
# (models/heads/joint.py).
PAIRED = ("1", "2", "4", "5", "6", "7", "9", "10", "12", "14", "15", "16", "20", "43")
WHOLE = ("17", "18", "19", "22", "23", "24", "25", "26", "27", "28", "34")
AUS = tuple(side + au for au in PAIRED for side in ("", "L", "R")) + WHOLE

# Beside what the renderer's own cameras do: the crop's place and size, colour, and things that hide
# a part of the face.
AUGMENT = Augment(
    crop=0.88,  # less of hair and neck, so that a mouth has an eighth more pixels
    zoom=(0.85, 1.2),
    shift=0.04,
    rotate=12.0,
    brightness=0.2,
    contrast=0.35,
    saturation=0.5,
    hue=12.0,
    tint=0.12,
    grey=0.15,
    noise=8.0,
    blur=0.1,
    jpeg=0.1,
    jpeg_quality=(25, 90),
    cutout=0.15,
    cutout_size=0.4,
)


def get_config() -> Experiment:
    return Experiment(
        data=DataConfig(
            source="data/stills", aus=AUS, frames=1, batch_size=64, augment=AUGMENT, balance=0.25
        ),
        model=ModelConfig(
            name="face_resnet",
            head="joint",
            intensity=True,
            emotion=True,
            valence_arousal=True,
            landmarks=True,
            confidence=True,
            dropout=0.2,
        ),
        loss=LossConfig(
            max_label_weight=3.0,
            intensity_scale=0.2,
            emotion_scale=0.1,
            emotion_smoothing=0.1,
            valence_arousal_scale=0.1,
            landmarks_scale=10.0,
            confidence_scale=0.1,
        ),
        optim=OptimConfig(
            name="adamw", learning_rate=2e-3, warmup_steps=300, weight_decay=2e-2, clip_norm=5.0
        ),
        checkpoint=CheckpointConfig(every=1000),
        evaluation=EvaluationConfig(every=1000, batch_size=128),
        steps=11_000,
        ema=0.999,
        log_every=50,
    )


def smoke() -> Experiment:
    full = get_config()
    model = dataclasses.replace(full.model, width=0.3, options={"size": 32})
    return shrunk(full, size=32, model=model)
