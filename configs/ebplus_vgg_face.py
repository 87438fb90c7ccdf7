"""VGG-Face on EB+, frame by frame: the baseline of Tlili 2019.

    jaxfacs data build eb_plus --source EB+ --frames 1 --size 224 --out DIR_OF_RECORDS
    jaxfacs convert vgg_face VGG_FACE.t7 --workdir weights/vgg_face
    jaxfacs train configs/ebplus_vgg_face.py --workdir runs/ebplus_vgg_face \
        --data.source DIR_OF_RECORDS --init-from weights/vgg_face

Data: EB+ with its 27 AUs, frames of 224 px; half of its 370,000 frames for training, a quarter each
for validation and test (§6.1).

Figures, Tlili 2019 §6.3.2 and fig. 6.4-6.9, after about 20 epochs: evaluation recall 37-40 %, mAP
0.48 in training. For evaluation the text says that mAP settles "around 0.42", the caption of
fig. 6.9 "a little above 0.3".

Not reproduced: EB+ may not be passed on. The thesis gives no optimiser, learning rate, batch size
or augmentation for this network: Adam, 1e-4, 32 and ours, and 20 epochs of half the frames.
"""

import dataclasses

from jaxfacs.data.config import DataConfig
from jaxfacs.facs import DATASET_AUS
from jaxfacs.train.config import (
    CheckpointConfig,
    EvaluationConfig,
    Experiment,
    InitConfig,
    LossConfig,
    ModelConfig,
    OptimConfig,
    shrunk,
)

TRAIN_FRAMES, EPOCHS, BATCH = 185_000, 20, 32


def get_config() -> Experiment:
    return Experiment(
        data=DataConfig(
            source="data/ebplus", aus=DATASET_AUS["eb_plus"], batch_size=BATCH, frames=1, size=224
        ),
        model=ModelConfig(name="vgg_face", dropout=0.0),  # its own dropout is behind fc6 and fc7
        loss=LossConfig(occurrence="bce", label_weights="positive"),
        optim=OptimConfig(name="adam", learning_rate=1e-4, schedule="cosine"),
        init=InitConfig(new=("^head/",)),
        checkpoint=CheckpointConfig(every=1000),
        evaluation=EvaluationConfig(every=5000),
        steps=EPOCHS * TRAIN_FRAMES // BATCH,
        log_every=50,
    )


def smoke() -> Experiment:
    full = get_config()
    model = dataclasses.replace(full.model, options={"top": "pool"})  # without 120 M dense weights
    return shrunk(full, size=32, model=model)
