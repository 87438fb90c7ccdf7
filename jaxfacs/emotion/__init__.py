"""From AUs to emotions: by rule, by co-occurrence, by learning, behind one interface.

Every mapper takes AU labels with probabilities (and intensities) and gives a distribution over
named emotions with the AUs that spoke for and against each, and says which AUs it could not judge.
"""

from jaxfacs.emotion.cooccurrence import CooccurrenceMapper
from jaxfacs.emotion.files import from_json, load, named, save
from jaxfacs.emotion.frames import Frames, map_frames
from jaxfacs.emotion.learned import LearnedMapper
from jaxfacs.emotion.pain import pspi
from jaxfacs.emotion.reading import (
    Explanation,
    Mapper,
    Reading,
    Reason,
    explain,
    explain_codes,
)
from jaxfacs.emotion.recurrent import RecurrentMapper
from jaxfacs.emotion.rules import RuleMapper

__all__ = [
    "CooccurrenceMapper",
    "Explanation",
    "Frames",
    "LearnedMapper",
    "Mapper",
    "Reading",
    "Reason",
    "RecurrentMapper",
    "RuleMapper",
    "explain",
    "explain_codes",
    "from_json",
    "load",
    "map_frames",
    "named",
    "pspi",
    "save",
]
