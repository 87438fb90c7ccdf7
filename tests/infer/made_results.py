"""Results of frames, made from a seed: rounded as answers are, some frames without a face."""

import numpy as np

from jaxfacs.infer import tables
from jaxfacs.infer.results import FaceResult, FrameResult

AUS = ("1", "4", "12", "L14")
EMOTIONS = ("happiness", "sadness", "boredom")
LABELS = {"aus": AUS, "emotions": EMOTIONS}


def made_results(count=40, *, seed=0, affect=False, fps=25.0, aus=AUS, emotions=EMOTIONS):
    """`count` frames; every fifth is empty, every seventh has two faces."""
    rng = np.random.default_rng(seed)

    def face(number):
        probability = rng.random(len(aus)).round(4)
        return FaceResult(
            face_id=number,
            confidence=float(rng.random()),
            box_4=(rng.random(4) * 200 - 20).astype(np.float32),
            probability_A=probability,
            intensity_A=(5 * probability).round(2),
            present_A=probability >= 0.5,
            emotion_E=rng.random(len(emotions)).round(3),
            valence_arousal_2=(2 * rng.random(2) - 1).round(3) if affect else None,
        )

    frames = []
    for n in range(1, count + 1):
        faces = () if n % 5 == 0 else (face(0), face(1)) if n % 7 == 0 else (face(0),)
        frames.append(FrameResult(n, (n - 1) / fps, faces))
    return frames


def written(path, results, **options):
    """The path of a table of these results."""
    with tables.writing(path, **{**LABELS, **options}) as add:
        for result in results:
            add(result)
    return path
