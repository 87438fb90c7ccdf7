"""Small sets of plain pictures whose content says which record and frame they are."""

import hashlib
import itertools
from pathlib import Path

import numpy as np

from jaxfacs.data import records
from jaxfacs.data.pipeline import train_batches

AUS = ("1", "12", "25", "L12", "R12")
EMOTIONS = ("anger", "happiness")
FRAMES, SIZE = 6, 32


def picture(record: int, frame: int, size: int = SIZE) -> np.ndarray:
    """RGB: red tells the record, green the frame; the picture's left half is bright in blue."""
    out = np.zeros((size, size, 3), np.uint8)
    out[..., 0] = 20 * record % 240
    out[..., 1] = 40 * frame
    out[:, : size // 2, 2] = 200
    return out


def clip(record: int, *, subject: str, frames: int = FRAMES, fps: float = 25.0):
    """AU 12 is on the left only, stronger from frame to frame; AU 1 was not coded; AU 25 rare."""
    intensity = np.zeros((frames, len(AUS)), np.float32)
    intensity[:, 0] = -1
    intensity[:, 3] = intensity[:, 1] = np.linspace(0, 5, frames)
    intensity[:, 2] = 5.0 if record == 0 else 0.0
    return records.clip_from_arrays(
        np.stack([picture(record, t) for t in range(frames)]),
        clip_id=f"{subject}-{record}",
        subject=subject,
        intensity_TA=intensity,
        emotion=record % 3 - 1,
        fps=fps,
    )


def noisy(record: int, *, subject: str):
    """A clip that no compression shrinks."""
    rng = np.random.default_rng(record)
    return records.clip_from_arrays(
        rng.integers(0, 256, (FRAMES, SIZE, SIZE, 3), np.uint8),
        clip_id=f"{subject}-{record}",
        subject=subject,
        occurrence_TA=rng.integers(0, 2, (FRAMES, len(AUS))).astype(np.int8),
    )


def splits(train: int = 11, validation: int = 5):
    return {
        "train": [clip(i, subject=f"t{i % 3}") for i in range(train)],
        "validation": [clip(i, subject=f"v{i % 2}") for i in range(validation)],
    }


def write(path: Path, **counts) -> Path:
    return records.write_set(path, splits(**counts), aus=AUS, emotions=EMOTIONS, name="plain")


def tree_digest(folder: Path) -> str:
    """One hash over the names and bytes of all files."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            total.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return total.hexdigest()


def batches(config, steps: int, **options) -> list[dict[str, np.ndarray]]:
    """The first `steps` of `train_batches`, which is closed again."""
    stream = train_batches(config, **options)
    try:
        return list(itertools.islice(stream, steps))
    finally:
        stream.close()


def same(a, b) -> None:
    """Asserts that two lists of batches are equal in every bit."""
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert x.keys() == y.keys()
        for key in x:
            np.testing.assert_array_equal(x[key], y[key], err_msg=key)
