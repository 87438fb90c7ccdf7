"""FERG-DB (Aneja et al. 2016): rendered faces of six characters with seven expressions.

Layout: `FERG_DB_256/aia/aia_anger/aia_anger_1.png`, 55,767 pictures of 256 px
(grail.cs.washington.edu/projects/deepexpr/ferg-2d-db.html). There is no official split. Papers deal
the pictures out 80 : 20 at random, which puts all but the same render into both parts.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from jaxfacs import facs
from jaxfacs.data.builders import caer, reading
from jaxfacs.data.delivery import Builder, Delivery, Known, LeftOut, Pictures, Recording
from jaxfacs.errors import UserError
from jaxfacs.facs.emotions import canonical

CHARACTERS = ("aia", "bonnie", "jules", "malcolm", "mery", "ray")
EMOTIONS = facs.EMOTION_SETS["ferg_db"]


@dataclass(frozen=True)
class Options:
    """What can be chosen for FERG-DB.

    Attributes:
      protocol: characters: dealt out by character; the name of one: it is the test; random: every
        picture by itself, 80 : 20 as the papers did, though not their draw.
    """

    protocol: Literal[
        "characters", "random", "aia", "bonnie", "jules", "malcolm", "mery", "ray"
    ] = "characters"  # fmt: skip


def read(source: Path, options: Options) -> Delivery:
    """The delivery in `source`; see the module for what is expected."""
    source = reading.require_folders(source, *CHARACTERS, title="FERG-DB")
    missing = [name for name in CHARACTERS if not (source / name).is_dir()]
    if missing:
        raise UserError(f"{source} lacks the characters {', '.join(missing)}; copy the rest")
    recordings: list[Recording] = []
    left_out: list[LeftOut] = []
    for character in CHARACTERS:
        paths, emotions = _pictures(source, character, left_out)
        recordings += _recordings(character, paths, np.array(emotions), options.protocol)
    return Delivery(recordings, emotions=EMOTIONS, left_out=left_out, root=source)


def _pictures(source: Path, character: str, left_out: list[LeftOut]) -> tuple[list[str], list[int]]:
    """Pictures of a character and their emotions; misnamed ones go to `left_out`."""
    paths: list[str] = []
    emotions: list[int] = []
    for folder in sorted(path for path in (source / character).iterdir() if path.is_dir()):
        match = re.fullmatch(rf"{character}_([a-z]+)", folder.name.lower())
        if match is None or canonical(match[1]) not in EMOTIONS:
            raise UserError(f"{folder} should be called {character}_ and one of FERG's emotions")
        named = re.compile(rf"{re.escape(folder.name)}_\d+\.[a-z]+", re.IGNORECASE)
        for path in caer.files_in(folder, reading.PICTURES):
            if named.fullmatch(path.name):
                paths.append(reading.relative(source, path))
                emotions.append(EMOTIONS.index(canonical(match[1])))
            else:
                where = reading.relative(source, path)
                left_out.append(LeftOut(where, None, "name and folder disagree"))
    if not paths:
        raise UserError(f"{source / character} holds no picture; copy the delivery again")
    return paths, emotions


def _recordings(
    character: str, paths: list[str], emotion_T: np.ndarray, protocol: str
) -> list[Recording]:
    if protocol == "random":
        test_T = np.array([hashlib.sha256(path.encode()).digest()[0] % 5 == 0 for path in paths])
        parts = {"train": np.flatnonzero(~test_T), "test": np.flatnonzero(test_T)}
        # A subject is in one split alone; here the characters are in both, so they are not named.
        return [
            recording
            for split, places in parts.items()
            for recording in reading.stills(
                f"{split}/{character}",
                "",
                Pictures(tuple(paths[place] for place in places)),
                split=split,
                emotion_T=emotion_T[places],
            )
        ]
    split = None
    if protocol in CHARACTERS:
        split = "test" if character == protocol else "train"
    return reading.stills(
        character, character, Pictures(tuple(paths)), split=split, emotion_T=emotion_T
    )


BUILDER = Builder(
    name="ferg_db",
    title="FERG-DB",
    task="emotions of rendered characters",
    labels="one of seven expressions",
    subjects=6,
    licence="non-commercial research",
    obtain="request form: grail.cs.washington.edu/projects/deepexpr/ferg-2d-db.html",
    citation="Aneja et al., Modeling Stylized Character Expressions via Deep Learning, ACCV 2016",
    read=read,
    options=Options,
    layout="aia/aia_anger/aia_anger_1.png and five more characters",
    frames=1,
    faces=("whole",),
    size=256,
    known=(Known("the owners' page", {"frames": 55767, "subjects": 6}),),
)
