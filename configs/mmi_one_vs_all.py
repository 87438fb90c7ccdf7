"""One binary AlexNet for each label of MMI, "One vs all": Bocklisch et al. 2015, §3.1.2 and §3.4.

    jaxfacs convert alexnet bvlc_alexnet.npz --workdir weights/alexnet
    jaxfacs train configs/mmi_one_vs_all.py --workdir runs/mmi_one_vs_all \
        --data.source DIR_OF_RECORDS --init-from weights/alexnet

Data: as in configs/mmi_alexnet_finetune.py.

Figures: fig. 5 to 7 only, as plots; recall is very high for all labels, precision low.

Not reproduced: MMI may not be passed on. Their networks answer two numbers under a softmax; here it
is the one logit that is their difference. Since only fc7 and the last layer move, the frozen layers
are computed once for all networks, which is exact: one program, 0.14 G parameters instead of 2.2 G.
The recipe is that of the authors' repository (normanrz/face-vid): SGD with momentum 0.9, decay
5e-4, batch 100, 2,500 steps, 1e-4 divided by ten after 2,000; there the last layer's rate is ten
times that, here all have one.
"""

import dataclasses

from jaxfacs.data.config import BOCKLISCH, DataConfig
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

FRAMES, STEPS, BATCH = 56_553, 2_500, 100


def get_config() -> Experiment:
    return Experiment(
        data=DataConfig(source="data/mmi", frames=1, size=227, batch_size=BATCH, augment=BOCKLISCH),
        model=ModelConfig(
            name="one_vs_all",
            backbone="alexnet",
            dropout=0.9,
            options={"shared_trunk": True, "hidden": 512, "form": "caffe", "fc_dropout": 0.9},
        ),
        loss=LossConfig(occurrence="bce", label_weights="none"),
        optim=OptimConfig(
            name="sgd",
            learning_rate=1e-4,
            momentum=0.9,
            weight_decay=5e-4,
            schedule="step",
            decay_factor=0.1,
            boundaries_epochs=(2_000 * BATCH / FRAMES,),
            frozen=("^trunk/",),
        ),
        init=InitConfig(
            rename=(("^backbone/", "trunk/backbone/"),), new=("^bank/",), ignore=("^head/",)
        ),
        checkpoint=CheckpointConfig(every=500),
        evaluation=EvaluationConfig(every=500),
        steps=STEPS,
        log_every=20,
    )


def smoke() -> Experiment:
    full = get_config()
    options = {**full.model.options, "hidden": 8, "fc7": 8}
    full = dataclasses.replace(full, data=dataclasses.replace(full.data, aus=("6", "12", "25")))
    return shrunk(full, size=64, model=dataclasses.replace(full.model, options=options))
