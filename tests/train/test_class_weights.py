"""Class weights from label lists of the published counts are the published weights."""

from pathlib import Path

import numpy as np
import pytest

from jaxfacs import facs
from jaxfacs.data.builders import bp4d
from jaxfacs.data.records import Statistics
from jaxfacs.train.config import LossConfig
from jaxfacs.train.weights import label_weights

# CVI-SZU/ME-GraphAU: data/BP4D/list/BP4D_weight_fold*.txt, data/DISFA/list/DISFA_weight_fold*.txt.
BP4D_WEIGHTS = {
    "fold1": (
        "1.342985 1.689665 1.248091 0.561356 0.433044 0.435894 "
        "0.457287 0.541004 1.408054 0.722762 1.493145 1.666711"
    ),
    "fold2": (
        "1.191051 1.337315 1.246995 0.558933 0.468168 0.418041 "
        "0.440099 0.581900 1.670360 0.774237 1.586367 1.726535"
    ),
    "fold3": (
        "1.132895 1.519623 1.308560 0.552098 0.507140 0.443118 "
        "0.474432 0.535111 1.496040 0.749851 1.582501 1.698632"
    ),
}
DISFA_WEIGHTS = {
    "fold1": "1.422290 2.347771 0.399672 0.795021 1.878217 0.440125 0.195583 0.521322",
    "fold2": "1.390215 1.469573 0.527298 1.034498 1.672842 0.656650 0.303915 0.945009",
    "fold3": "1.510590 1.560063 0.475896 0.884891 1.656857 0.570937 0.277589 1.063177",
}
# Counted in CVI-SZU/MDHR, data/DISFA_dataset/DISFA_test_label_fold*.txt: fold 1, 2, 3 tests part
# 3, 2, 1. Frames, then those with intensity 2 or more, of the 8 AUs in their order.
DISFA_PARTS = {
    "part1": (43604, (1839, 1125, 5119, 2360, 1218, 4503, 10850, 4902)),
    "part2": (43605, (1469, 879, 6653, 3558, 1287, 6187, 13206, 4123)),
    "part3": (43605, (3198, 3640, 8161, 4409, 2968, 6161, 12191, 2508)),
}
DISFA_POSITIVES = (6506, 5644, 19933, 10327, 5473, 16851, 36247, 11533)  # of all 130,814 frames
CONFIG = LossConfig(label_weights="inverse_rate")
LAST_DIGIT = 0.5e-6  # of the lists


def label_list(frames: int, positives: tuple[int, ...]) -> np.ndarray:
    """int8 T×A with so many ones in each column."""
    return (np.arange(frames)[:, None] < np.array(positives)).astype(np.int8)


def weights(occurrence_TA: np.ndarray, aus: tuple[str, ...]) -> np.ndarray:
    """What the loss of a training run gets, in float64 to be compared with printed digits."""
    return of_counts((occurrence_TA >= 0).sum(0), (occurrence_TA == 1).sum(0), aus)


def of_counts(known_A: np.ndarray, positive_A: np.ndarray, aus: tuple[str, ...]) -> np.ndarray:
    statistics = Statistics(aus, known_A, positive_A, frames=int(known_A.max()), clips=1)
    return np.asarray(label_weights(CONFIG, statistics), np.float64)


def published(row: str) -> np.ndarray:
    return np.array(row.split(), float)


@pytest.mark.parametrize("fold", BP4D_WEIGHTS)
def test_bp4d(fold):
    """Through the builder's own folds: one task a part, labels with the part's counts."""
    aus = facs.DATASET_AUS["bp4d"]
    tasks = {}
    for part, (frames, positives) in bp4d.PART_COUNTS.items():
        occurrence_TA = label_list(frames, positives)
        intensity_TA = np.full(occurrence_TA.shape, -1, np.float32)
        person = bp4d.THREE_FOLD[part][0]
        tasks[person, "T1"] = np.arange(1, frames + 1), occurrence_TA, intensity_TA
    coding = bp4d.Coding(aus, tasks, {}, (), (), ())
    there = bp4d.recordings_of(Path("nowhere"), coding, split_of=bp4d.split_of(fold))
    train = [r.occurrence_TA for r in there if r.split == "train"]
    assert sum(map(len, train)) == 146847 - bp4d.PART_COUNTS[bp4d.TESTED[fold]][0]
    found_A = weights(np.concatenate(train), aus)
    np.testing.assert_allclose(found_A, published(BP4D_WEIGHTS[fold]), rtol=2e-7, atol=LAST_DIGIT)
    assert f"{found_A.sum():.5f}" == "12.00000"


@pytest.mark.parametrize("fold", DISFA_WEIGHTS)
def test_disfa(fold):
    aus = facs.DATASET_AUS["disfa_8"]
    train = [label_list(*DISFA_PARTS[p]) for p in DISFA_PARTS if p != bp4d.TESTED[fold]]
    found_A = weights(np.concatenate(train), aus)
    np.testing.assert_allclose(found_A, published(DISFA_WEIGHTS[fold]), rtol=2e-7, atol=LAST_DIGIT)
    assert f"{found_A.sum():.5f}" == "8.00000"


def test_the_parts_add_up():
    assert sum(frames for frames, _ in DISFA_PARTS.values()) == 130814
    columns = zip(*(row for _, row in DISFA_PARTS.values()), strict=True)
    assert tuple(map(sum, columns)) == DISFA_POSITIVES


@pytest.mark.parametrize("au", range(12))
def test_one_label_more_would_show(au):
    """Six digits see a single label more among 100,813 frames."""
    (n1, p1), (n2, p2) = bp4d.PART_COUNTS["part1"], bp4d.PART_COUNTS["part2"]
    positive_A = np.add(p1, p2)
    positive_A[au] += 1
    found_A = of_counts(np.full(12, n1 + n2), positive_A, facs.DATASET_AUS["bp4d"])
    assert np.abs(found_A - published(BP4D_WEIGHTS["fold1"])).max() > 2 * LAST_DIGIT
