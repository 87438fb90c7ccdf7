"""The temporal stream alone: AlexNet on stacks of ten flows, from scratch: Bocklisch et al. 2015.

    jaxfacs data build mmi --source MMI --faces bocklisch --labels bocklisch --aus bocklisch \
        --views all --out data/mmi
    jaxfacs train configs/mmi_flow_stream.py --workdir runs/mmi_flow --data.source DIR_OF_RECORDS

Data: clips of MMI, as in configs/mmi_alexnet_finetune.py; records of clips of 11 frames or more,
since flow is computed from the frames on the device (§2.3: the five flows before a frame and the
five after it).

Figures: fig. 5 to 7 only, as plots.

Not reproduced: MMI may not be passed on. One number a flow: the paper does not say which; the
authors' repository (normanrz/face-vid) has stacks of horizontal and of vertical flow alternate as
training samples, of which this is the vertical one. Its solver: SGD with momentum 0.9, decay 5e-4,
batch 256, 20,000 steps, 1e-3 divided by ten at half time. Its network is CNN-M, the paper's text
and this one AlexNet. Tilts are of the whole clip.
"""

import dataclasses

from jaxfacs.data.config import BOCKLISCH, DataConfig
from jaxfacs.train.config import (
    CheckpointConfig,
    EvaluationConfig,
    Experiment,
    LossConfig,
    ModelConfig,
    OptimConfig,
    shrunk,
)

FRAMES, STEPS, BATCH = 56_553, 20_000, 256


def get_config() -> Experiment:
    return Experiment(
        data=DataConfig(
            source="data/mmi", frames=11, size=227, batch_size=BATCH, augment=BOCKLISCH
        ),
        model=ModelConfig(
            name="two_stream",
            backbone="alexnet",
            dropout=0.0,  # its own is behind fc6 and fc7
            options={"streams": "flow", "form": "caffe", "components": "y"},
        ),
        loss=LossConfig(occurrence="bce", label_weights="none"),
        optim=OptimConfig(
            name="sgd",
            learning_rate=1e-3,
            momentum=0.9,
            weight_decay=5e-4,
            schedule="step",
            decay_factor=0.1,
            boundaries_epochs=(STEPS / 2 * BATCH / FRAMES,),
        ),
        checkpoint=CheckpointConfig(every=500),
        evaluation=EvaluationConfig(every=1000),
        steps=STEPS,
        log_every=20,
    )


def smoke() -> Experiment:
    full = get_config()
    model = dataclasses.replace(full.model, options={**full.model.options, "fc7": 8})
    return shrunk(full, size=64, frames=4, model=model)
