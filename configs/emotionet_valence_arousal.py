"""Valence and arousal of EmotioNet's pictures: Bartissol 2017, section 5.

    jaxfacs convert vgg16 vgg16-397923af.pth --workdir weights/vgg16
    jaxfacs train configs/emotionet_valence_arousal.py:network=vgg16 --workdir runs/affect \
        --data.source DIR_OF_RECORDS --init-from weights/vgg16

Option: network, vgg16 or inception_v2.

Data: 1,000 pictures of EmotioNet that the author annotated himself, 800 for training and 200 for
test; the annotations were not published. Records carry valence and arousal in [-1, 1].

Figures, §5.1.2: Inception V2 mean squared error 15.66 (RMSE 3.957), VGG16 13.75 (3.708). They are
on the scale of the annotation tool, which the thesis does not state; if it was -10 to 10, they are
0.157 and 0.137 here.

Not reproduced: the annotations are not to be had. The recipe: mean squared error, RMSprop (decay
0.9, momentum 0.9), 0.94 every two epochs; VGG16 batch 32 and rate 0.01, Inception V2 batch 128,
1,500 steps, its rate that of the AUs (0.001); what is frozen, the decay of the weights and epsilon
as for the AUs (configs/emotionet_aus.py). The last layer was linear; here tanh keeps it in [-1, 1].
"""

import dataclasses

from jaxfacs.data.config import NO_AUGMENT, DataConfig
from jaxfacs.errors import UserError
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

# network -> learning rate, batch size, dropout before the last layer, what does not move
RECIPES = {
    "vgg16": (0.01, 32, 0.0, ("^backbone/features/",)),
    "inception_v2": (0.001, 128, 0.2, ("^backbone/",)),
}
AUGMENT = dataclasses.replace(NO_AUGMENT, flip=0.5, zoom=(1.0, 1.3), shift=0.1)


def get_config(network: str = "vgg16") -> Experiment:
    if network not in RECIPES:
        raise UserError(f"no network={network} here; give vgg16 or inception_v2")
    rate, batch, dropout, frozen = RECIPES[network]
    return Experiment(
        data=DataConfig(
            source="data/emotionet_affect", frames=1, size=224, batch_size=batch, augment=AUGMENT
        ),
        model=ModelConfig(name=network, dropout=dropout, occurrence=False, valence_arousal=True),
        loss=LossConfig(label_weights="none", valence_arousal="mse"),
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
            frozen=frozen,
        ),
        init=InitConfig(new=("^head/",)),
        checkpoint=CheckpointConfig(every=100, metric="mean_affect_ccc"),
        evaluation=EvaluationConfig(every=100),
        steps=1_500,
        log_every=10,
    )


def smoke(network: str = "vgg16") -> Experiment:
    full = get_config(network)
    small = {"vgg16": {"top": "pool"}, "inception_v2": {}}[network]
    return shrunk(full, size=64, model=dataclasses.replace(full.model, options=small))
