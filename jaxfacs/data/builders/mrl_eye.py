"""MRL Eye (Fusek 2018): infrared pictures of single eyes of 37 people, open or closed.

`mrlEyes_2018_01/s0001/s0001_00001_0_0_0_0_0_01.png` is named by subject, number, gender (0 man,
1 woman), glasses, eye state (0 closed, 1 open), reflections (0 none, 1 small, 2 big), lighting
(0 bad, 1 good) and sensor (01 RealSense, 02 IDS, 03 Aptina), as `annotations.txt` of the delivery
and mrl.cs.vsb.cz/eyedataset say. Nobody says which eye it is. `pupil.txt`, if it is there, has rows
`s0014/s0014_03817_0_0_1_0_0_01.png 36 42`, the pupil's x and y in pixels of the picture.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from jaxfacs.data.builders import reading
from jaxfacs.data.delivery import Builder, Delivery, Known, LeftOut, Pictures
from jaxfacs.errors import UserError

NAME = re.compile(r"(s\d{4})_(\d+)_([01])_([01])_([01])_([012])_([01])_(0[123])")
FIELDS = ("gender", "glasses", "open", "reflections", "good_light", "sensor")
ATTRIBUTES = ("gender", "glasses", "reflections", "good_light", "sensor", "pupil_x", "pupil_y")
# A common split of public readers: the first 25 people train, the other 12 validate.
TRAINING = {f"s{number:04d}" for number in range(1, 26)}


@dataclass(frozen=True)
class Options:
    """What can be chosen for MRL Eye.

    Attributes:
      protocol: subjects: dealt out; first25: s0001 to s0025 train, the others are for validation.
    """

    protocol: Literal["subjects", "first25"] = "subjects"


def read(source: Path, options: Options) -> Delivery:
    """Every eye in `source`; see the module for what is expected."""
    source = reading.require_folders(source, "mrlEyes*", "s0[0-9][0-9][0-9]", title="MRL Eye")
    books = [p for p in (source / "pupil.txt", *source.glob("*/pupil.txt")) if p.is_file()][:1]
    pupil_of, notes = _pupils(books[0]) if books else ({}, [])
    people: dict[str, dict[str, tuple[str, list[float]]]] = {}
    left_out: list[LeftOut] = []
    for path in reading.files_below(source):
        if path.suffix.lower() != ".png":
            continue
        match = NAME.fullmatch(path.stem)
        place = reading.relative(source, path)
        if match is None or match[1] != path.parent.name:
            reason = "no label: its name says nothing" if match is None else "label clash"
            left_out.append(LeftOut(place, None, reason))
            continue
        subject = match[1]
        told = people.setdefault(subject, {})
        if path.name in told:
            other = source / told[path.name][0]
            raise UserError(f"{path} and {other} are one picture; remove one of them")
        values = [float(match[i + 3]) for i in range(len(FIELDS))]
        pupil = pupil_of.pop(path.name, (0, np.nan, np.nan))[1:]
        told[path.name] = place, [*values, *pupil]
    if not people:
        raise UserError(f"{source} has no picture named like s0001_00001_0_0_0_0_0_01.png")
    left_out += [
        LeftOut(name, None, "missing", books[0].name, line)
        for name, (line, _, _) in pupil_of.items()
    ]
    recordings = []
    closed = FIELDS.index("open")
    for subject, eyes in people.items():
        value_NK = np.array([values for _, values in eyes.values()], np.float32)
        recordings += reading.stills(
            subject,
            subject,
            Pictures(tuple(place for place, _ in eyes.values())),
            split=_split(subject, options),
            occurrence_TA=(value_NK[:, [closed]] == 0).astype(np.int8),
            attributes_TK=np.delete(value_NK, closed, 1),
        )
    return Delivery(
        recordings,
        aus=("43",),
        attributes=ATTRIBUTES,
        inputs=books,
        left_out=left_out,
        notes=notes,
        root=source,
    )


def _split(subject: str, options: Options) -> str | None:
    if options.protocol == "subjects":
        return None
    return "train" if subject in TRAINING else "validation"


def _pupils(path: Path) -> tuple[dict[str, tuple[int, float, float]], list[str]]:
    """name -> line, x, y of the pupil as it stands there; rows of another form are told."""
    found: dict[str, tuple[int, float, float]] = {}
    others: list[int] = []
    for line, text in enumerate(reading.lines_of(path), start=1):
        words = re.split(r"[\s,;]+", text.strip())
        name = words[0].replace("\\", "/").rsplit("/", 1)[-1]
        name += "" if name.endswith(".png") else ".png"
        try:
            x, y = (float(word) for word in words[1:3])
            if not np.isfinite((x, y)).all():
                raise ValueError
        except ValueError:
            others += [line] if text.strip() else []
            continue
        found[name] = line, x, y
    notes = [
        f"{path.name}: {len(others)} rows are not 'name x y' (the first: line {others[0]})"
    ] if others else []  # fmt: skip
    return found, notes


BUILDER = Builder(
    name="mrl_eye",
    title="MRL Eye",
    task="is the eye closed, in infrared pictures of single eyes",
    labels="AU 43 of one eye; glasses, reflections, light, sensor, gender; some pupils",
    subjects=37,
    licence="none is stated by its owners",
    obtain="download: mrl.cs.vsb.cz/eyedataset",
    citation="Fusek, Pupil Localization Using Geodesic Distance, ISVC 2018",
    read=read,
    options=Options,
    layout="mrlEyes_2018_01/s0001/s0001_00001_0_0_0_0_0_01.png",
    frames=1,
    faces=("whole",),
    size=64,
    people="mrl_eye",
    known=(Known("mrl.cs.vsb.cz/eyedataset", {"frames": 84898, "subjects": 37}),),
)
