"""OpenGraphAU on its hybrid of six datasets, 41 outputs, both stages.

    jaxfacs convert swin_t swin_tiny_patch4_window7_224.pth --workdir weights/swin_t
    jaxfacs train configs/open_graphau_hybrid.py:stage=1 --workdir runs/open_1 \
        --init-from weights/swin_t
    jaxfacs train configs/open_graphau_hybrid.py:stage=2 --workdir runs/open_2 \
        --init-from runs/open_1

Options: stage, 1 or 2; backbone, resnet18, resnet50, swin_t, swin_s or swin_b; data, the folder in
which the six record sets lie, each under its name in SETS. One that lies elsewhere, or is to come
more often: --data.mixture.3.source DIR --data.mixture.3.weight 2 (they count from 0).

Data: BP4D, DISFA (present from intensity 1 here), RAF-AU, Aff-Wild2, CK+ and CASME II, each with
the authors' split by subject. 27 AUs, and 7 of them on each side; what a set does not code is
unknown and masked. Every clip of every set comes equally often, as in the authors' joined list.

Figures (the authors' README), test of the hybrid, mean F1 / accuracy in percent:

    backbone   stage 1         stage 2
    ResNet-18  22.33 / 92.97   22.51 / 93.23
    ResNet-50  22.52 / 92.63   23.24 / 93.31
    Swin-T     22.66 / 92.97   22.74 / 93.37
    Swin-S     24.49 / 92.84   22.99 / 93.37
    Swin-B     23.53 / 92.91   24.14 / 93.25

Not reproduced: the sets may not be passed on. The recipe: batch 512, 20 epochs, decay 5e-4 of all
parameters, cosine; stage 1 AdamW 2e-5, stage 2 adaptive sharpness-aware minimisation (radius 2)
around AdamW 1e-5, BatchNorm's running statistics moved by its first pass alone. No mirroring,
because of the sides. The number of steps is ours: the authors do not give the number of frames.
Their head reads AU 12's sides from AU 11's node, a slip that their weights need and we keep.
"""

import dataclasses

from jaxfacs.data.config import NO_AUGMENT, DataConfig, Part
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

SETS = ("bp4d", "disfa", "raf_au", "aff_wild2", "ck_plus", "casme2")
# stage -> learning rate, radius of the sharpness-aware step
RECIPES = {1: (2e-5, 0.0), 2: (1e-5, 2.0)}
# stage -> what does not come from the weights that it starts from
NEW = {1: ("^head/",), 2: ("^head/(edge_extractor|gnn)/",)}
AUGMENT = dataclasses.replace(
    NO_AUGMENT, shift=1 / 16, brightness=0.2, contrast=0.4, saturation=0.4
)


def get_config(stage: int = 1, backbone: str = "swin_t", data: str = "data") -> Experiment:
    if stage not in RECIPES:
        raise UserError(f"stage={stage}: give stage 1 or 2")
    rate, radius = RECIPES[stage]
    return Experiment(
        data=DataConfig(
            mixture=tuple(Part(f"{data}/{name}", name=name) for name in SETS),
            mixture_by="clip",
            aus=DATASET_AUS["opengraphau"],
            frames=1,
            size=224,
            batch_size=512,
            augment=AUGMENT,
        ),
        model=ModelConfig(
            name="open_graphau", backbone=backbone, options={"stage": stage, "neighbors": 4}
        ),
        loss=LossConfig(
            occurrence="weighted_asymmetric",
            label_weights="inverse_rate",
            max_label_weight=1000.0,  # theirs has no bound
        ),
        optim=OptimConfig(
            name="adamw",
            learning_rate=rate,
            schedule="cosine",
            weight_decay=5e-4,
            no_decay="",
            sam_rho=radius,
        ),
        init=InitConfig(new=NEW[stage]),
        checkpoint=CheckpointConfig(every=500, metric="mean_f1"),
        evaluation=EvaluationConfig(every=2000),
        steps=40_000,
        log_every=50,
    )


def smoke(stage: int = 1) -> Experiment:
    full = get_config(stage)
    return shrunk(full, size=32, model=dataclasses.replace(full.model, backbone="resnet18"))
