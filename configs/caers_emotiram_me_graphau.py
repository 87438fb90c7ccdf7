"""EmotiRAM-FAU-ME-Graph: seven emotions of CAER-S out of ME-GraphAU's AUs: Masur 2022.

    jaxfacs data build caer_s --source CAER-S --size 96 --out DIR_OF_RECORDS
    jaxfacs convert me_graphau MEFARG_resnet50_DISFA_fold1.pth --workdir weights/me_graphau
    jaxfacs train configs/caers_emotiram_me_graphau.py:encoder=disfa --workdir runs/caers_graph \
        --data.source DIR_OF_RECORDS --init-from weights/me_graphau

Options: encoder, disfa (8 AUs) or bp4d (12); keep_aus, false (theirs) or true: the AU losses stay
beside that of the emotions, for records in which some clips carry AUs.

Data: CAER-S, frames of television series with one of seven emotions, faces cropped to 96 px, read
at the 224 px of the encoder.

Figures, table 4, accuracy on the test partition: 0.66 with the encoder from DISFA, 0.62 from BP4D,
0.70 for the network without AUs. Table 5, the AUs on DISFA afterwards: mean F1 0.18 (before 0.58),
AU 6 0.0067 (0.64), AU 12 0.56 (0.82); mean accuracy 0.62 (0.94).

Not reproduced yet. The recipe, §5.4: cross entropy, batch 32, RMSprop; one fully connected layer
from the AUs' probabilities to the emotions. Rate, decay and length are not given: 1e-4, 0 and 57
epochs of 44,000 frames are ours.
"""

import dataclasses

from jaxfacs.data.config import DataConfig
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

TRAIN_FRAMES, EPOCHS, BATCH = 44_000, 57, 32
# encoder -> its AUs, neighbours of its graph
ENCODERS = {"disfa": (DATASET_AUS["disfa_8"], 3), "bp4d": (DATASET_AUS["bp4d"], 4)}


def get_config(encoder: str = "disfa", keep_aus: bool = False) -> Experiment:
    if encoder not in ENCODERS:
        raise UserError(f"no encoder={encoder} here; give disfa or bp4d")
    aus, neighbors = ENCODERS[encoder]
    kept = 1.0 if keep_aus else 0.0
    return Experiment(
        data=DataConfig(source="data/caers", aus=aus, frames=1, size=224, batch_size=BATCH),
        model=ModelConfig(
            name="emotiram",
            backbone="resnet50",
            dropout=0.0,
            emotion=True,
            options={"encoder": "me_graphau", "stage": 2, "neighbors": neighbors},
        ),
        loss=LossConfig(
            occurrence="weighted_asymmetric",
            label_weights="inverse_rate" if keep_aus else "none",
            occurrence_scale=kept,
            edge_scale=0.01 * kept,
            emotion_scale=1.0,
        ),
        optim=OptimConfig(name="rmsprop", learning_rate=1e-4, schedule="constant", momentum=0.0),
        init=InitConfig(rename=(("^head/", "head/encoder/"),), new=("^head/bottleneck/",)),
        checkpoint=CheckpointConfig(every=500, metric="emotion_accuracy"),
        evaluation=EvaluationConfig(every=1375),
        steps=EPOCHS * TRAIN_FRAMES // BATCH,
        log_every=50,
    )


def smoke(encoder: str = "disfa", keep_aus: bool = False) -> Experiment:
    full = get_config(encoder, keep_aus)
    full = dataclasses.replace(full, data=dataclasses.replace(full.data, aus=("1", "6", "12")))
    options = {**full.model.options, "stage": 1}
    model = dataclasses.replace(full.model, backbone="resnet18", options=options)
    return shrunk(full, size=32, model=model)
