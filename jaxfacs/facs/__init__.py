"""What FACS says: action units, code notation, dataset AU lists, emotion sets and prototypes.

Pure data and parsing: importing it loads nothing but the standard library.
"""

from jaxfacs.facs import emotions
from jaxfacs.facs.catalogue import (
    ACTION_UNITS,
    INTENSITY_LETTERS,
    INTENSITY_WORDS,
    REGIONS,
    ActionUnit,
    intensity_letter,
)
from jaxfacs.facs.datasets import DATASET_AUS
from jaxfacs.facs.emotions import EMOTION_SETS, PROTOTYPES, Prototype, PrototypeTable
from jaxfacs.facs.notation import (
    Code,
    CodeError,
    column,
    format,
    parse,
    parse_label,
    split_label,
    swap_sides,
)

__all__ = [
    "ACTION_UNITS",
    "DATASET_AUS",
    "EMOTION_SETS",
    "INTENSITY_LETTERS",
    "INTENSITY_WORDS",
    "PROTOTYPES",
    "REGIONS",
    "ActionUnit",
    "Code",
    "CodeError",
    "Prototype",
    "PrototypeTable",
    "column",
    "emotions",
    "format",
    "intensity_letter",
    "parse",
    "parse_label",
    "split_label",
    "swap_sides",
]
