"""ME-GraphAU on BP4D, both stages, three folds: Luo et al., IJCAI 2022.

    jaxfacs data build bp4d --source BP4D --protocol fold1 --aus occurrence \
        --faces me-graphau YUNET.onnx --frames 1 --out data/bp4d/fold1
    jaxfacs convert resnet50 resnet50-19c8e357.pth --workdir weights/resnet50
    jaxfacs train configs/bp4d_me_graphau.py:fold=1,stage=1 --workdir runs/bp4d_1_1 \
        --init-from weights/resnet50
    jaxfacs train configs/bp4d_me_graphau.py:fold=1,stage=2 --workdir runs/bp4d_1_2 \
        --init-from runs/bp4d_1_1

Options: fold, 1 to 3; stage, 1 (ANFL) or 2 (MEFL, from stage 1's weights); backbone, resnet18,
resnet50, resnet101, swin_t, swin_s or swin_b.

Data: 146,847 frames of 41 people with 12 AUs, one record set a fold, data/bp4d/fold1 to fold3.
Test is the third part for fold 1, the second for fold 2, the first for fold 3 (subjects: the
authors' tool/BP4D_image_label_process.py); validation is held out of the other two, by subject.

Figures (the authors' README), F1 in percent over three folds at threshold 0.5:

    AU          1     2     4     6     7     10    12    14    15    17    23    24    mean
    ResNet-50   53.7  46.9  59.0  78.5  80.0  84.4  87.8  67.3  52.5  63.2  50.6  52.4  64.7
    Swin-B      52.7  44.3  60.9  79.9  80.1  85.3  89.2  69.4  55.4  64.4  49.8  55.1  65.5

Not reproduced: BP4D may not be passed on. The published figures are of the checkpoint that was best
on the test fold itself; here the best is chosen, and thresholds are tuned, on validation. The
recipe: AdamW (0.9, 0.999), decay 5e-4 of all parameters, batch 64, 20 epochs, cosine to 0 without
warm-up; stage 1 at 1e-4, stage 2 at 1e-5 with 0.05 times the edges' cross entropy. The weights of
the AUs (their list/BP4D_weight_fold*.txt) are computed from the training split: with all of the
training people (--validation 0 at build) they are theirs to six digits. Brightness is added where
they multiply.
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

TRAIN_FRAMES = {1: 100_813, 2: 96_665, 3: 96_216}
LEARNING_RATE = {1: 1e-4, 2: 1e-5}
EPOCHS, BATCH = 20, 64
# stage -> what does not come from the weights that it starts from
NEW = {1: ("^head/",), 2: ("^head/(edge_extractor|gnn|edge_fc)/",)}
AUGMENT = dataclasses.replace(
    NO_AUGMENT, flip=0.5, crop=0.875, brightness=0.2, contrast=0.4, saturation=0.4
)


def get_config(fold: int = 1, stage: int = 1, backbone: str = "resnet50") -> Experiment:
    if fold not in TRAIN_FRAMES or stage not in LEARNING_RATE:
        raise UserError(f"fold={fold},stage={stage}: give fold 1, 2 or 3, and stage 1 or 2")
    return Experiment(
        data=DataConfig(
            source=f"data/bp4d/fold{fold}",
            aus=DATASET_AUS["bp4d"],
            frames=1,
            size=224,
            batch_size=BATCH,
            augment=AUGMENT,
        ),
        model=ModelConfig(
            name="me_graphau", backbone=backbone, options={"stage": stage, "neighbors": 4}
        ),
        loss=LossConfig(
            occurrence="weighted_asymmetric",
            label_weights="inverse_rate",
            max_label_weight=1000.0,  # theirs has no bound
            edge_scale=0.05,
        ),
        optim=OptimConfig(
            name="adamw",
            learning_rate=LEARNING_RATE[stage],
            schedule="cosine",
            weight_decay=5e-4,
            no_decay="",
        ),
        init=InitConfig(new=NEW[stage]),
        checkpoint=CheckpointConfig(every=500, metric="mean_f1"),
        evaluation=EvaluationConfig(every=1500),
        steps=EPOCHS * TRAIN_FRAMES[fold] // BATCH,
        log_every=50,
    )


def smoke(fold: int = 1, stage: int = 2) -> Experiment:
    full = get_config(fold, stage)
    full = dataclasses.replace(
        full, data=dataclasses.replace(full.data, aus=("1", "6", "12", "25"))
    )
    return shrunk(full, size=64, model=dataclasses.replace(full.model, backbone="resnet18"))
