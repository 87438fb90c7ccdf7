"""EmotiRAM-FAU: seven emotions of CAER-S out of SCC's heatmaps: Masur 2022.

    jaxfacs data build caer_s --source CAER-S --size 96 --out DIR_OF_RECORDS
    jaxfacs train configs/bp4d_scc.py:fold=1,size=96 --workdir runs/bp4d_scc_96
    jaxfacs train configs/caers_emotiram_scc.py --workdir runs/caers_scc \
        --data.source DIR_OF_RECORDS --init-from runs/bp4d_scc_96

Option: keep_aus, false (theirs) or true: the heatmap loss stays beside that of the emotions, for
records in which some clips carry AUs and landmarks.

Data: CAER-S, frames of television series with one of seven emotions, faces cropped to 96 px.

Figures, table 4, accuracy on the test partition: 0.77 with the encoder from BP4D, 0.70 for the same
network without AUs (EmotiRAM-f).

Not reproduced: SCC's weights for BP4D at 96 px were not published. The recipe, §5.4: cross entropy,
batch 32, RMSprop; the epoch before 58, where it began to overfit. Rate and decay were "varied" and
are not given: 1e-4 and 0 are ours, as is the number of training frames that 58 epochs are counted
in. The fully connected layers are 5760 -> 2048 -> 1024 -> 512 -> 256 -> 7; between them ReLU, which
the thesis does not mention. That the AUs are forgotten meanwhile is its main finding: evaluate
before and after, on records with AUs.
"""

import dataclasses

from jaxfacs.data.config import DataConfig
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

TRAIN_FRAMES, EPOCHS, BATCH = 44_000, 57, 32


def get_config(keep_aus: bool = False) -> Experiment:
    return Experiment(
        data=DataConfig(
            source="data/caers",
            aus=DATASET_AUS["bp4d_intensity"],
            frames=1,
            size=96,
            batch_size=BATCH,
        ),
        model=ModelConfig(
            name="emotiram",
            backbone="resnet50",
            dropout=0.0,
            emotion=True,
            options={"encoder": "scc", "size": 96},
        ),
        loss=LossConfig(
            occurrence_scale=0.0,
            intensity_scale=0.0,
            heatmap_scale=1e-3 if keep_aus else 0.0,  # a heatmap's errors are in squares of 255
            emotion_scale=1.0,
            label_weights="none",
        ),
        optim=OptimConfig(name="rmsprop", learning_rate=1e-4, schedule="constant", momentum=0.0),
        init=InitConfig(rename=(("^head/", "head/encoder/"),), new=("^head/bottleneck/",)),
        checkpoint=CheckpointConfig(every=500, metric="emotion_accuracy"),
        evaluation=EvaluationConfig(every=1375),
        steps=EPOCHS * TRAIN_FRAMES // BATCH,
        log_every=50,
    )


def smoke(keep_aus: bool = True) -> Experiment:
    full = get_config(keep_aus)
    options = {**full.model.options, "size": 32}
    model = dataclasses.replace(full.model, backbone="resnet18", options=options)
    return shrunk(full, size=32, model=model)
