"""What is refused before the first step."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from jaxfacs.data.config import DataConfig
from jaxfacs.errors import UserError
from jaxfacs.train.config import Experiment, LossConfig, ModelConfig
from jaxfacs.train.setup import check_centre

RECORDS = SimpleNamespace(path="records", frames=4)
PER_CLIP = Experiment(data=DataConfig(frames=8))


def test_clips_whose_centre_is_always_padding_are_refused():
    # Every label would be unknown: training would run, and learn nothing.
    with pytest.raises(UserError, match=r"frame 4; the longest record of records has 4 frames"):
        check_centre(PER_CLIP, RECORDS)


@pytest.mark.parametrize(
    "experiment",
    [
        replace(PER_CLIP, data=DataConfig(frames=7)),
        replace(PER_CLIP, model=ModelConfig(per_frame=True)),
        replace(PER_CLIP, loss=LossConfig(clip_label="any")),
    ],
)
def test_short_records_that_still_teach_are_taken(experiment):
    check_centre(experiment, RECORDS)
