"""The clip network that ships with the package: AUs, sides, intensities of every frame of a film.

The 3D MobileNetV2 of the field's clips, narrowed, one answer a frame, trained on rendered clips
alone (docs/weights.md). It sees 16 frames at once, so that a blink is no closed eye and a talking
mouth no smile:

    jaxfacs data build synthface --head FOLDER --frames 16 --clips 20000 --out data/clips
    jaxfacs train configs/default_clip.py --workdir runs/default_clip
    jaxfacs export --workdir runs/default_clip --out clip.jaxfacs

Labels, augmentation and losses are those of configs/default_still.py.
"""

import dataclasses
import runpy
from pathlib import Path

from jaxfacs.train.config import Experiment, shrunk

STILL = runpy.run_path(str(Path(__file__).with_name("default_still.py")))
WIDTH = 0.75


def get_config() -> Experiment:
    still: Experiment = STILL["get_config"]()
    return dataclasses.replace(
        still,
        data=dataclasses.replace(
            still.data,
            source="data/clips",
            aus=(*STILL["AUS"], "45"),
            frames=16,
            batch_size=16,
            strides=(1, 2),
        ),
        model=dataclasses.replace(still.model, name="mobilenet3d_v2", width=WIDTH, per_frame=True),
        optim=dataclasses.replace(still.optim, learning_rate=1e-3),
        steps=20_000,
    )


def smoke() -> Experiment:
    full = get_config()
    return shrunk(full, size=32, frames=8, model=dataclasses.replace(full.model, width=0.2))
