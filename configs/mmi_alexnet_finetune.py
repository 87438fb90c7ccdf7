"""AlexNet's last layers fine-tuned on MMI, "AN-Finetune": Bocklisch et al. 2015, table 1.

    jaxfacs data build mmi --source MMI --faces bocklisch --labels bocklisch --aus bocklisch \
        --frames-of markers --views all --out data/mmi
    jaxfacs convert alexnet bvlc_alexnet.npz --workdir weights/alexnet
    jaxfacs train configs/mmi_alexnet_finetune.py --workdir runs/mmi_finetune \
        --data.source DIR_OF_RECORDS --init-from weights/alexnet

Option: loss, bce (theirs, a sigmoid cross entropy) or bp_mll, which they would have liked to try.

Data: the 328 clips of MMI that are coded frame by frame, 56,553 frames with the tilted and
brightened copies; faces found by Haar's cascade, all but an ellipse of the face masked. 37 labels,
which the paper names only in a figure: 36 are in the authors' repository (normanrz/face-vid,
web-server/videos/labelmapping.txt), of which the builder's option makes 34 columns.

Figures: fig. 5 to 7 (precision and recall of each label, and the Hamming score) are plots without
numbers in the text; the authors call all of them "rather poor".

Not reproduced: MMI may not be passed on. Frozen are the five convolutions and fc6; fc7 is a new one
of 512, and "0.9 dropout" is read as Caffe's dropout_ratio: nine tenths are dropped. Tilts of -6,
-3, 3 and 6 degrees and fixed steps of brightness are drawn anew in every step. Rate,
batch size and length are not given: momentum 0.9, decay 5e-4 and batch 32 are of the authors'
repository (normanrz/face-vid), whose solver was seen in an early version only; 1e-3 falling to 0
over 10 epochs is ours.
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

FRAMES, EPOCHS, BATCH = 56_553, 10, 32


def get_config(loss: str = "bce") -> Experiment:
    return Experiment(
        data=DataConfig(source="data/mmi", frames=1, size=227, batch_size=BATCH, augment=BOCKLISCH),
        model=ModelConfig(
            name="alexnet",
            dropout=0.0,  # its own is behind fc6 and fc7
            options={"form": "caffe", "fc7": 512, "fc_dropout": 0.9},
        ),
        loss=LossConfig(occurrence=loss, label_weights="none"),
        optim=OptimConfig(
            name="sgd",
            learning_rate=1e-3,
            momentum=0.9,
            weight_decay=5e-4,
            schedule="cosine",
            frozen=("^backbone/features/", "^backbone/classifier/fc6/"),
        ),
        init=InitConfig(new=("^head/", "^backbone/classifier/fc7/")),
        checkpoint=CheckpointConfig(every=500),
        evaluation=EvaluationConfig(every=500),
        steps=EPOCHS * FRAMES // BATCH,
        log_every=20,
    )


def smoke(loss: str = "bce") -> Experiment:
    full = get_config(loss)
    model = dataclasses.replace(full.model, options={**full.model.options, "fc7": 16})
    return shrunk(full, size=64, model=model)
