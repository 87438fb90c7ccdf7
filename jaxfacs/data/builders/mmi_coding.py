"""How MMI codes AUs: markers in XML, from which phases and occurrence of each frame follow."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat

import numpy as np

from jaxfacs import facs
from jaxfacs.data import schema
from jaxfacs.errors import UserError

APEX = schema.PHASES.index("apex")
XML_BYTES = 4 << 20  # a film's markers take some kilobytes
MOST_FRAMES = 100_000


@dataclass(frozen=True)
class Action:
    """One `ActionUnit` of a file.

    Attributes:
      au: its number. side: "L", "R" or "".
      markers: (frame from 1, type) in ascending order; none where it is coded without times.
    """

    au: str
    side: str
    markers: tuple[tuple[int, int], ...]


def elements(path: Path) -> list[tuple[str, dict]]:
    """(tag, attributes) of an XML file in its order, names in lower case, with "line".

    A document type is refused, and with it every entity: no file of MMI has one, and an entity may
    read other files or fill the memory. Raises UserError for that and for anything that is no XML.
    """
    found: list[tuple[str, dict]] = []
    parser = expat.ParserCreate()

    def start(tag: str, attributes: dict[str, str]) -> None:
        lower = {key.lower(): value.strip() for key, value in attributes.items()}
        found.append((tag.lower(), {**lower, "line": parser.CurrentLineNumber}))

    def refuse(*_: object) -> None:
        raise UserError(f"{path}, line {parser.CurrentLineNumber}: a DOCTYPE; remove it")

    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = refuse
    try:
        if path.stat().st_size > XML_BYTES:
            raise UserError(f"{path} is larger than {XML_BYTES >> 20} MiB: no label file")
        parser.Parse(path.read_bytes(), True)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}); copy the delivery again") from error
    except expat.ExpatError as error:
        raise UserError(f"{path}, line {error.lineno}: {error}; copy it again") from error
    return found


def actions_of(path: Path, notes: Counter) -> tuple[Action, ...]:
    """The AUs of a file and their markers.

    Raises UserError for a marker without frame and type, and for two at one frame that differ.
    """
    coded: list[tuple[str, str, dict[int, int]]] = []
    for tag, attributes in elements(path):
        where = f"{path}, line {attributes['line']}"
        if tag == "actionunit":
            coded.append((*_au(attributes.get("number", ""), notes), {}))
        elif tag == "marker":
            try:
                frame, kind = int(attributes["frame"]), int(attributes["type"])
            except (KeyError, ValueError):
                raise UserError(f"{where}: a marker needs a Frame and a Type, in numbers") from None
            if not coded or not 1 <= frame <= MOST_FRAMES:
                raise UserError(f"{where}: frame {frame} of no AU, or of no film")
            if not 0 <= kind < len(schema.PHASES):
                notes["marker of a type that is none of 0 to 3: phase unknown from there"] += 1
            if coded[-1][2].setdefault(frame, kind) != kind:
                raise UserError(f"{where}: two markers at frame {frame} contradict each other")
    return tuple(
        Action(au, side, tuple(sorted(markers.items()))) for au, side, markers in coded if au
    )


def _au(number: str, notes: Counter) -> tuple[str, str]:
    """("46", "L") of "46L"; ("", "") and a note where FACS has no such code."""
    match = re.fullmatch(r"(?:AU\s*)?([LR]?)\s*0*(\d{1,3})\s*([LRTB]?)", number, re.IGNORECASE)
    if match is None or int(match[2]) not in facs.ACTION_UNITS:
        notes[f"ActionUnit {number[:12]!r}, which FACS does not have: left away"] += 1
        return "", ""
    side = (match[1] or match[3]).upper()
    sided = side in ("L", "R") and facs.ACTION_UNITS[int(match[2])].sided
    return match[2], side if sided else ""


def columns(actions: Sequence[Action]) -> tuple[str, ...]:
    """Every AU that occurs, and its sides where they are coded."""
    pairs = {pair for action in actions for pair in ((action.au, ""), (action.au, action.side))}
    return tuple(f"{side}{au}" for au, side in sorted(pairs, key=lambda p: (int(p[0]), p[1])))


def split(label: str) -> tuple[str, str]:
    """("L", "46") of "L46"; ("", "46") of "46"."""
    return (label[0], label[1:]) if label[0] in "LR" else ("", label)


def phase(markers: Sequence[tuple[int, int]], frames: int) -> np.ndarray:
    """int8 T: the phase that began last, place in `schema.PHASES`; −1 where none is known.

    Before the first marker the AU is neutral if that is an onset, else unknown.
    """
    phase_T = np.full(frames, -1, np.int8)
    if not markers:
        return phase_T
    if markers[0][1] in (0, 1):
        phase_T[: markers[0][0] - 1] = 0
    ends = [frame for frame, _ in markers[1:]] + [frames + 1]
    for (frame, kind), end in zip(markers, ends, strict=True):
        phase_T[frame - 1 : end - 1] = kind if 0 <= kind < len(schema.PHASES) else -1
    return phase_T


def timed(actions: Sequence[Action], label: str, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """int8 occurrence_T and phase_T of one column in a film of `frames` frames.

    The whole AU is what either side or lip does; where they do different things it is at its apex
    if one of them is, else its phase is unknown. A side of an AU that is coded whole is absent
    where the whole is, and unknown where it is present.
    """
    side, au = split(label)
    chosen = [a for a in actions if a.au == au and side in ("", a.side)]
    whole = [a for a in actions if a.au == au and not a.side]
    # row 0: a face at rest, so that an AU that is not listed is absent
    phase_NT = np.zeros((1, frames), np.int8)
    if chosen or whole:
        phase_NT = np.stack([phase(a.markers, frames) for a in chosen or whole])
    active_T, absent_T = (phase_NT > 0).any(0), (phase_NT == 0).all(0)
    if not chosen:
        active_T = np.zeros(frames, bool)
    occurrence_T = np.where(active_T, 1, np.where(absent_T, 0, -1)).astype(np.int8)
    largest_T = phase_NT.max(0)
    alike_T = ((phase_NT <= 0) | (phase_NT == largest_T)).all(0)
    apex_T = (phase_NT == APEX).any(0)
    phase_T = np.where(apex_T, APEX, np.where(alike_T, largest_T, -1))
    return occurrence_T, np.where(occurrence_T < 0, -1, phase_T).astype(np.int8)


def has_marker(actions: Sequence[Action], frames: int) -> np.ndarray:
    """bool T: whether any AU has a marker there."""
    out_T = np.zeros(frames, bool)
    out_T[[frame - 1 for action in actions for frame, _ in action.markers]] = True
    return out_T


def marked(actions: Sequence[Action], label: str, frames: int) -> np.ndarray:
    """int8 occurrence_T as Bocklisch et al. count it (normanrz/face-vid: frameIO.py): 1 where the
    AU has a marker of whatever type, 0 where only others have one, −1 where nobody has.

    Theirs keeps 46, 46L and 46R apart, and 28, 28T and 28B; here the whole is either of them, and
    a side is unknown where the AU is marked without one.
    """
    side, au = split(label)
    occurrence_T = np.where(has_marker(actions, frames), 0, -1).astype(np.int8)
    own = [a for a in actions if a.au == au]
    if side:
        occurrence_T[has_marker([a for a in own if not a.side], frames)] = -1
    occurrence_T[has_marker([a for a in own if side in ("", a.side)], frames)] = 1
    return occurrence_T


def of_still(actions: Sequence[Action], labels: Sequence[str]) -> list[int]:
    """Occurrence of each column in a picture: an AU that is named is present, unless all that its
    markers say is that it is neutral."""
    there = [a for a in actions if not a.markers or any(kind > 0 for _, kind in a.markers)]
    present = {f"{a.side}{a.au}" for a in there} | {a.au for a in there}
    unsided = {a.au for a in there if not a.side}
    return [
        1 if label in present else -1 if split(label)[0] and split(label)[1] in unsided else 0
        for label in labels
    ]
