"""SCC heatmap regression on DISFA's intensities: Fan, Lam and Li, AAAI 2020.

    jaxfacs data build disfa --source DISFA --protocol fold1 --faces scc --frames 1 \
        --out data/disfa_intensity/fold1
    jaxfacs convert resnet50 resnet50-19c8e357.pth --workdir weights/resnet50
    jaxfacs train configs/disfa_scc.py:fold=1 --workdir runs/disfa_scc_1 \
        --init-from weights/resnet50

Options: fold, 1 to 3; size, 256 (theirs) or 96.

Data: DISFA's 12 AUs with intensities and landmarks, 24 maps, one record set a fold,
data/disfa_intensity/fold1 to fold3 (folds as in configs/disfa_me_graphau.py). Of the 68 points
DISFA ships 66; the two that are missing are not asked for.

Figures: ICC(3,1) 0.47 on average, as Masur 2022 quotes it in table 3; mean absolute error 0.20 is
from memory.

Not reproduced: DISFA may not be passed on. The recipe, and what differs from theirs, is that of
BP4D (configs/bp4d_scc.py). Most frames of DISFA show nothing, and nothing balances them: the
authors say themselves that AU 5, 15 and 20 stay weak.
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
EPOCHS, BATCH = 10, 16


def get_config(fold: int = 1, size: int = 256) -> Experiment:
    if fold not in TRAIN_FRAMES:
        raise UserError(f"fold={fold}: give fold 1, 2 or 3")
    return Experiment(
        data=DataConfig(
            source=f"data/disfa_intensity/fold{fold}",
            aus=DATASET_AUS["disfa"],
            frames=1,
            size=size,
            batch_size=BATCH,
            augment=NO_AUGMENT,
        ),
        model=ModelConfig(
            name="scc",
            backbone="resnet50",
            options={"size": size, "k": 7, "present_from": 2.0},  # as DISFA's papers count
        ),
        # Only the maps are trained: intensity and occurrence are read off them.
        loss=LossConfig(
            occurrence_scale=0.0,
            intensity_scale=0.0,
            heatmap_scale=1.0,
            heatmap_sigma=2.0,
            label_weights="none",
        ),
        optim=OptimConfig(
            name="adam",
            learning_rate=5e-4,
            schedule="step",
            boundaries_epochs=(5.0,),
            decay_factor=0.1,
            weight_decay=1e-5,
        ),
        init=InitConfig(new=("^head/",)),
        checkpoint=CheckpointConfig(every=1000, metric="mean_icc"),
        evaluation=EvaluationConfig(every=3000),
        steps=EPOCHS * TRAIN_FRAMES[fold] // BATCH,
        log_every=50,
    )


def smoke(fold: int = 1) -> Experiment:
    full = get_config(fold, size=64)
    return shrunk(full, size=64, model=dataclasses.replace(full.model, backbone="resnet18"))
