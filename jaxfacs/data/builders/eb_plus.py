"""EB+, the expanded BP4D+ (Onal Ertugrul et al. 2020): AUs of 200 people in 5 to 8 tasks each.

No public code reads it, so its layout is taken to be that of BP4D+ (see `bp4d_plus`) and nothing
is presumed of who is in it: every file of the form `AU_OCC/F001_T1.csv` is a recording. What was
found is told. Tlili 2019 (chapter 5) trains on 27 AUs of it and names the emotions that its tasks
are meant to bring forth, but not by the tasks' numbers: `task_emotions` says which is which.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from jaxfacs import facs
from jaxfacs.data.builders import bp4d, reading
from jaxfacs.data.delivery import Builder, Delivery, Recording, with_aus
from jaxfacs.errors import UserError
from jaxfacs.facs.emotions import canonical

AUS = {
    "all": (),
    "tlili": facs.DATASET_AUS["eb_plus"],
    "occurrence": facs.DATASET_AUS["bp4d"],
    "intensity": facs.DATASET_AUS["bp4d_intensity"],
}
EMOTIONS = facs.EMOTION_SETS["eb_plus"]


@dataclass(frozen=True)
class Options:
    """What can be chosen for EB+.

    People are dealt out by --validation and --test. Tlili 2019 takes a quarter for each, by frames:
    --validation 0.25 --test 0.25 comes nearest without a person in two splits.

    Attributes:
      aus: all that are coded, the 27 of Tlili 2019, the 12 of BP4D's protocol, or the 5 with
        intensity.
      task_emotions: which emotion each task is meant to bring forth, as in T1=happiness T8=pain
        (the user guide of the delivery tells). Frames of other tasks get none.
    """

    aus: Literal["all", "tlili", "occurrence", "intensity"] = "all"
    task_emotions: tuple[str, ...] = ()


def read(source: Path, options: Options) -> Delivery:
    """The delivery in `source`; see the module for what is expected."""
    emotion_of = task_emotions(options.task_emotions)
    source = reading.require_folders(
        source, "AUCoding", "AU_OCC", "AUCoding*", "AU*Cod*", title="EB+"
    )
    coding = bp4d.coded_tasks(source, title="EB+", coded=facs.DATASET_AUS["eb_plus"])
    recordings = bp4d.recordings_of(source, coding, split_of=None)
    if emotion_of:
        recordings = [_with_emotion(recording, emotion_of) for recording in recordings]
    delivery = bp4d.delivery_of(source, coding, recordings)
    delivery = dataclasses.replace(
        delivery,
        emotions=EMOTIONS if emotion_of else (),
        notes=(*delivery.notes, *_found(recordings, emotion_of)),
    )
    return with_aus(delivery, AUS[options.aus])


def task_emotions(words: Sequence[str]) -> dict[str, int]:
    """task -> place in EMOTIONS, of words like T1=happiness. Raises UserError for others."""
    found: dict[str, int] = {}
    for word in words:
        task, _, name = word.partition("=")
        emotion = canonical(name)
        if not re.fullmatch(r"T\d+", task) or emotion not in EMOTIONS:
            raise UserError(
                f"--task-emotions {word} is not like T1=happiness; there are {', '.join(EMOTIONS)}"
            )
        if task in found:
            raise UserError(f"--task-emotions names {task} twice")
        found[task] = EMOTIONS.index(emotion)
    return found


def _with_emotion(recording: Recording, emotion_of: dict[str, int]) -> Recording:
    emotion = emotion_of.get(recording.name.split("/")[1], -1)
    return dataclasses.replace(recording, emotion_T=np.full(len(recording.frames), emotion))


def _found(recordings: Sequence[Recording], emotion_of: dict[str, int]) -> list[str]:
    """What the files say where no description does."""
    people = {recording.subject for recording in recordings}
    tasks = Counter(recording.name.split("/")[1] for recording in recordings)
    each = ", ".join(f"{task} {tasks[task]}" for task in sorted(tasks, key=lambda t: int(t[1:])))
    notes = [f"found {len(people)} people; recordings by task: {each}"]
    if lacking := sorted(set(emotion_of) - set(tasks)):
        notes.append(f"--task-emotions names {', '.join(lacking)}, of which there are no labels")
    return notes


BUILDER = Builder(
    name="eb_plus",
    title="EB+ (expanded BP4D+)",
    task="spontaneous AUs in films of 5 to 8 tasks",
    labels="AU occurrence by frame; intensity where its files are there",
    subjects=200,
    licence="signed agreement with Binghamton University; research only",
    obtain="request by a faculty member: cs.binghamton.edu/~lijun/Research/3DFE/3DFE_Analysis.html",
    citation="Onal Ertugrul et al., Crossing Domains for AU Coding, IEEE T-BIOM 2 (2020) 158-171",
    read=read,
    options=Options,
    layout="AUCoding/AU_OCC/F001_T1.csv, AU_INT files, 2D+3D/F001/T1/*.jpg unpacked or F001_T1.mp4",
    # 140 of its people are BP4D+'s; whether under the same numbers, nobody says.
    overlaps=("bp4d_plus", "fera2017"),
)
