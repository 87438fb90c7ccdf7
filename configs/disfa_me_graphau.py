"""ME-GraphAU on DISFA, both stages, three folds: Luo et al., IJCAI 2022.

    jaxfacs data build disfa --source DISFA --protocol fold1 --aus occurrence \
        --faces me-graphau --frames 1 --out data/disfa/fold1
    jaxfacs convert swin_b swin_base_patch4_window7_224.pth --workdir weights/swin_b
    jaxfacs train configs/disfa_me_graphau.py:fold=1,stage=1 --workdir runs/disfa_1_1 \
        --init-from weights/swin_b
    jaxfacs train configs/disfa_me_graphau.py:fold=1,stage=2 --workdir runs/disfa_1_2 \
        --init-from runs/disfa_1_1

Options: fold, 1 to 3; stage, 1 (ANFL) or 2 (MEFL, from stage 1's weights); backbone, swin_b
(theirs) or any other of the paper.

Data: 130,814 frames of 27 people with 8 AUs, present from intensity 2, one record set a fold,
data/disfa/fold1 to fold3. Test is the third part for fold 1, the second for fold 2, the first for
fold 3 (subjects: the authors' tool/DISFA_image_label_process.py); validation is held out of the
other two, by subject.

Figures (the authors' README), F1 in percent over three folds at threshold 0.5:

    AU          1     2     4     6     9     12    25    26    mean
    ResNet-50   54.6  47.1  72.9  54.0  55.7  76.7  91.1  53.0  63.1
    Swin-B      -     -     -     -     -     -     -     -     62.4

Not reproduced: DISFA may not be passed on. The recipe is that of BP4D (configs/bp4d_me_graphau.py)
with 3 neighbours in stage 1, and in stage 2 1e-6 and 0.01 times the edges' cross entropy. What
differs from theirs is listed there.
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

TRAIN_FRAMES = {1: 87_209, 2: 87_209, 3: 87_210}
LEARNING_RATE = {1: 1e-4, 2: 1e-6}
EPOCHS, BATCH = 20, 64
# stage -> what does not come from the weights that it starts from
NEW = {1: ("^head/",), 2: ("^head/(edge_extractor|gnn|edge_fc)/",)}
AUGMENT = dataclasses.replace(
    NO_AUGMENT, flip=0.5, crop=0.875, brightness=0.2, contrast=0.4, saturation=0.4
)


def get_config(fold: int = 1, stage: int = 1, backbone: str = "swin_b") -> Experiment:
    if fold not in TRAIN_FRAMES or stage not in LEARNING_RATE:
        raise UserError(f"fold={fold},stage={stage}: give fold 1, 2 or 3, and stage 1 or 2")
    return Experiment(
        data=DataConfig(
            source=f"data/disfa/fold{fold}",
            aus=DATASET_AUS["disfa_8"],
            frames=1,
            size=224,
            batch_size=BATCH,
            augment=AUGMENT,
        ),
        model=ModelConfig(
            name="me_graphau", backbone=backbone, options={"stage": stage, "neighbors": 3}
        ),
        loss=LossConfig(
            occurrence="weighted_asymmetric",
            label_weights="inverse_rate",
            max_label_weight=1000.0,  # theirs has no bound
            edge_scale=0.01,
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


def smoke(fold: int = 1, stage: int = 1) -> Experiment:
    full = get_config(fold, stage)
    full = dataclasses.replace(
        full, data=dataclasses.replace(full.data, aus=("1", "6", "12", "25"))
    )
    return shrunk(full, size=64, model=dataclasses.replace(full.model, backbone="resnet18"))
