"""Both streams and their late fusion on MMI: Bocklisch et al. 2015, the complete system.

    jaxfacs convert alexnet bvlc_alexnet.npz --workdir weights/alexnet
    jaxfacs train configs/mmi_two_stream.py --workdir runs/mmi_two_stream \
        --data.source DIR_OF_RECORDS --init-from weights/alexnet

Option: fusion, average (theirs: the mean of both streams' probabilities), weights (two learned
weights an AU) or fc (a hidden layer over the features of both).

Data: clips of MMI, as in configs/mmi_flow_stream.py.

Figures: fig. 5 to 7 only, as plots.

Not reproduced: MMI may not be passed on. Theirs trains each stream alone and averages afterwards;
here both are trained at once, the spatial one above its frozen fc6 from ImageNet's weights, the
temporal one from scratch; both have the last layers of table 1. Rate, batch size and length are
ours: SGD with momentum 0.9, 1e-2 falling to 0 over 20 epochs, batch 64.
"""

import dataclasses

from jaxfacs.data.config import BOCKLISCH, DataConfig
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

FRAMES, EPOCHS, BATCH = 56_553, 20, 64
# fusion -> what it has that no weights are published of
NEW = {
    "average": ("^spatial/head/",),
    "weights": ("^spatial/head/", "^fusion/"),
    "fc": ("^fusion/",),
}


def get_config(fusion: str = "average") -> Experiment:
    if fusion not in NEW:
        raise UserError(f"no fusion={fusion} here; give {', '.join(NEW)}")
    return Experiment(
        data=DataConfig(
            source="data/mmi", frames=11, size=227, batch_size=BATCH, augment=BOCKLISCH
        ),
        model=ModelConfig(
            name="two_stream",
            backbone="alexnet",
            dropout=0.0,  # its own is behind fc6 and fc7
            options={
                "fusion": fusion,
                "form": "caffe",
                "fc7": 512,
                "fc_dropout": 0.9,
                "components": "y",
            },
        ),
        loss=LossConfig(occurrence="bce", label_weights="none"),
        optim=OptimConfig(
            name="sgd",
            learning_rate=1e-2,
            momentum=0.9,
            schedule="cosine",
            frozen=("^spatial/backbone/features/", "^spatial/backbone/classifier/fc6/"),
        ),
        init=InitConfig(
            rename=(("^", "spatial/"),),
            new=("^spatial/backbone/classifier/fc7/", "^temporal/", *NEW[fusion]),
            ignore=("^spatial/head/",),
        ),
        checkpoint=CheckpointConfig(every=500),
        evaluation=EvaluationConfig(every=1000),
        steps=EPOCHS * FRAMES // BATCH,
        log_every=20,
    )


def smoke(fusion: str = "average") -> Experiment:
    full = get_config(fusion)
    model = dataclasses.replace(full.model, options={**full.model.options, "fc7": 8})
    return shrunk(full, size=64, frames=4, model=model)
