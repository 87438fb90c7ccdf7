"""VGG16 and Inception V2 fine-tuned on EmotioNet's AUs: Bartissol 2017, section 4.

    jaxfacs data download emotionet EmotioNet_FACS_aws_2020_24600.xlsx --out PICTURES
    jaxfacs data build emotionet --source PICTURES --size 224 --out DIR_OF_RECORDS
    jaxfacs convert inception_v2 WEIGHTS --workdir weights/inception_v2
    jaxfacs train configs/emotionet_aus.py:network=inception_v2,aus=11 --workdir runs/emotionet \
        --data.source DIR_OF_RECORDS --init-from weights/inception_v2

Options: network, vgg16 or inception_v2; aus, 60 or 11 (DISFA's without AU 15).

Data: the manually coded part of EmotioNet, single pictures; 15,000 for training and 6,400 for test
with 60 AUs, 10,282 and 4,424 with 11.

Figures, tables 3 and 5, over all AUs together:

    AUs   network        accuracy   recall   precision   F1      AUC
    60    VGG16          0.977      0        0           0       0.5
    60    Inception V2   0.977      0.124    0.468       0.197   0.561
    11    VGG16          0.864      0.337    0.514       0.407   0.643
    11    Inception V2   0.889      0.434    0.650       0.521   0.698

Not reproduced, and not meant to be for 60 AUs: the thesis set the sheet's 999 (nobody could say) to
0, so that a network that always says "absent" is right 97.7 times in a hundred. Here 999 is
unknown, masked in the loss and in every measure. Of the sheet's 60 columns, 3 and 47 to 49 are no
FACS codes and never known: 56 are answered. With 11 AUs the thesis left out every picture with a
999; here such a picture counts for its known AUs.

The recipe, §4.2.1 and §4.3.1: sigmoid cross entropy, RMSprop (decay 0.9, momentum 0.9), 0.94 every
two epochs, L2 4e-5; 60 AUs: rate 0.01, batch 32, 5,000 steps; 11 AUs: rate 0.001, batch 32 for
VGG16 and 128 for Inception V2. Epsilon 1.0 is what TF-slim's train_image_classifier.py takes where
nothing is said. Of VGG16 the "final three convolutional layers" were trained, which in TF-slim are
fc6 to fc8 (§6.1.2 says "just the fully connected layers"), of Inception V2 the last. Steps for 11
AUs are ours: batch 128 had levelled off after 8,000 (§4.3.1.1). So is the augmentation, of which
the thesis says nothing. In TF-slim frozen BatchNorm goes on measuring its batches.
"""

import dataclasses

from jaxfacs.data.config import NO_AUGMENT, DataConfig
from jaxfacs.errors import UserError
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

NO_FACS_CODES = ("3", "47", "48", "49")
AUS = {
    60: tuple(au for au in DATASET_AUS["emotionet_60"] if au not in NO_FACS_CODES),
    11: DATASET_AUS["emotionet_11"],
}
# network -> what does not move
FROZEN = {"vgg16": ("^backbone/features/",), "inception_v2": ("^backbone/",)}
# (network, AUs) -> learning rate, batch size, steps
RECIPES = {
    ("vgg16", 60): (0.01, 32, 5_000),
    ("inception_v2", 60): (0.01, 32, 5_000),
    ("vgg16", 11): (0.001, 32, 8_000),
    ("inception_v2", 11): (0.001, 128, 8_000),
}
AUGMENT = dataclasses.replace(NO_AUGMENT, flip=0.5, zoom=(1.0, 1.3), shift=0.1)


def get_config(network: str = "vgg16", aus: int = 60) -> Experiment:
    if (network, aus) not in RECIPES:
        raise UserError(
            f"network={network},aus={aus} is not of the thesis; give network=vgg16 or "
            "network=inception_v2, and aus=60 or aus=11"
        )
    rate, batch, steps = RECIPES[network, aus]
    return Experiment(
        data=DataConfig(
            source="data/emotionet",
            aus=AUS[aus],
            frames=1,
            size=224,
            batch_size=batch,
            augment=AUGMENT,
        ),
        model=model_of(network),
        loss=LossConfig(occurrence="bce", label_weights="none"),
        optim=OptimConfig(
            name="rmsprop",
            learning_rate=rate,
            schedule="exponential",
            decay_factor=0.94,
            decay_epochs=2.0,
            rms_decay=0.9,
            momentum=0.9,
            eps=1.0,
            weight_decay=4e-5,
            frozen=FROZEN[network],
        ),
        init=InitConfig(new=("^head/",)),
        checkpoint=CheckpointConfig(every=500),
        evaluation=EvaluationConfig(every=500),
        steps=steps,
        log_every=50,
    )


def model_of(network: str) -> ModelConfig:
    # VGG16 has its dropout of 0.5 behind fc6 and fc7; Inception V2's is before the last layer.
    return ModelConfig(name=network, dropout=0.0 if network == "vgg16" else 0.2)


def smoke(network: str = "vgg16", aus: int = 11) -> Experiment:
    full = get_config(network, aus)
    small = {"vgg16": {"top": "pool"}, "inception_v2": {}}[network]
    return shrunk(full, size=64, model=dataclasses.replace(full.model, options=small))
