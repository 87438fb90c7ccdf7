"""Emotions by co-occurrence: a table of how often each AU is seen in each emotion.

Tlili 2019, §7.2: fit the table from labelled frames, keep the AUs that co-occur strongly
("a basic thresholding technique"), let a psychologist correct it, personalise it per participant.
Here a cell is the share of an emotion's frames that show the AU. Fitted cells and an expert's edits
are kept apart: refitting never loses an edit, and a reader sees who said what.

A face is scored by how much likelier its AUs are in one emotion than in the average face (naive
Bayes over the kept cells, all emotions equally likely before), tempered because AUs go together
and would otherwise be counted several times.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxfacs.emotion.reading import Evidence, Reading, emotion_names, softmax
from jaxfacs.errors import UserError
from jaxfacs.facs import emotions as facs_emotions
from jaxfacs.facs import parse_label

THRESHOLD = 0.1  # a cell this near to the AU's average over emotions says nothing
MIN_KNOWN = 10  # fewer labelled frames of an emotion: the cell is left to the average
STRENGTH = 2.0  # frames that the average counts for in each fitted cell
RATE_EDGE = 0.005  # no AU is certain: 0 and 1 would let one frame decide alone
DIGITS = 4  # of a share in the file that people edit
TEMPERATURES = np.geomspace(0.5, 16, 31)


@dataclass(frozen=True, eq=False)
class CooccurrenceMapper:
    """The table and what is needed to read it. Make one with `fit`, `published` or `from_json`.

    Attributes:
      emotions: E names.
      aus: A labels.
      rate_EA: share (0-1) of the emotion's frames that show the AU; NaN = never labelled.
      known_EA: labelled frames behind each cell.
      edits: emotion -> AU -> the expert's share, or None to leave the AU out for that emotion.
      threshold: cells nearer than this to the AU's average over emotions are not used; an edit
        always is.
      temperature: divides the scores; 1 is plain naive Bayes, more is less sure.
      source: where the fitted shares are from.
    """

    emotions: tuple[str, ...]
    aus: tuple[str, ...]
    rate_EA: np.ndarray
    known_EA: np.ndarray
    edits: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    threshold: float = THRESHOLD
    temperature: float = 1.0
    source: str = ""

    kind = "cooccurrence"

    def __post_init__(self):
        shape = (len(self.emotions), len(self.aus))
        if self.rate_EA.shape != shape or self.known_EA.shape != shape:
            raise ValueError(
                f"table of {self.rate_EA.shape} for {shape[0]} emotions, {shape[1]} AUs"
            )
        known = self.rate_EA[~np.isnan(self.rate_EA)]
        if np.any((known < 0) | (known > 1)) or not 0 < self.temperature < np.inf:
            raise ValueError("shares are 0 to 1, the temperature is above 0")
        for emotion, cells in self.edits.items():
            if emotion not in self.emotions:
                raise UserError(_not_in("edited emotion", emotion, self.emotions))
            for au, share in cells.items():
                if au not in self.aus:
                    raise UserError(_not_in(f"AU edited for {emotion}", au, self.aus))
                if share is not None and not 0 <= share <= 1:
                    raise UserError(f"edit {emotion}, AU {au}: {share} is no share; write 0 to 1")

    @property
    def average_A(self) -> np.ndarray:
        """The AU's fitted share averaged over emotions, each once; NaN if never labelled."""
        defined = ~np.isnan(self.rate_EA)
        total = np.where(defined, self.rate_EA, 0).sum(axis=0)
        count = defined.sum(axis=0)
        return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)

    @property
    def used_EA(self) -> np.ndarray:
        """The shares that are read, after edits and threshold; NaN where a cell says nothing."""
        far_EA = np.abs(self.rate_EA - self.average_A) >= self.threshold  # NaN compares False
        used_EA = np.where(far_EA, self.rate_EA, np.nan)
        for emotion, cells in self.edits.items():
            for au, share in cells.items():
                cell = self.emotions.index(emotion), self.aus.index(au)
                used_EA[cell] = np.nan if share is None else share
        return used_EA

    def apply(
        self,
        aus: Sequence[str],
        probability_TA: ArrayLike,
        *,
        intensity_TA: ArrayLike | None = None,
    ) -> Reading:
        """See `Mapper.apply`. Weights: nats of evidence, after tempering. Intensity is not read."""
        evidence = Evidence(aus, probability_TA, intensity_TA)
        used_EA = np.clip(self.used_EA, RATE_EDGE, 1 - RATE_EDGE)
        average_A = np.clip(np.nan_to_num(self.average_A, nan=0.5), RATE_EDGE, 1 - RATE_EDGE)
        if_present_EA = np.nan_to_num(np.log(used_EA / average_A)) / self.temperature
        if_absent_EA = np.nan_to_num(np.log((1 - used_EA) / (1 - average_A))) / self.temperature
        shape_TA = evidence.probability_TA.shape
        logit_TE = np.zeros((shape_TA[0], len(self.emotions)))
        weight_TEA = np.zeros((shape_TA[0], len(self.emotions), shape_TA[1]), np.float32)
        missing = set()
        for a, au in enumerate(self.aus):
            present_T = evidence.present(au)
            say_TE = present_T[:, None] * if_present_EA[:, a] + (
                (1 - present_T)[:, None] * if_absent_EA[:, a]
            )
            say_TE = np.nan_to_num(say_TE)  # an AU that nobody can tell says nothing
            logit_TE += say_TE
            evidence.credit(weight_TEA, au, say_TE)
            if np.isnan(present_T).all():
                missing.add(au)
        probability_TE = softmax(logit_TE)
        probability_TE[np.isnan(evidence.probability_TA).all(axis=1)] = np.nan
        unjudged = {
            emotion: tuple(
                au
                for a, au in enumerate(self.aus)
                if au in missing and not np.isnan(self.used_EA[e, a])
            )
            for e, emotion in enumerate(self.emotions)
        }
        return Reading(
            self.emotions,
            evidence.aus,
            evidence.probability_TA,
            probability_TE,
            weight_TEA,
            unjudged,
        )

    def edited(self, emotion: str, au: str, share: float | None) -> "CooccurrenceMapper":
        """The same table with one more edit; None leaves the AU out for that emotion."""
        edits = {name: dict(cells) for name, cells in self.edits.items()}
        edits.setdefault(emotion, {})[au] = share
        return replace(self, edits=edits)

    def unedited(self, emotion: str, au: str) -> "CooccurrenceMapper":
        """The same table without the edit of one cell; UserError if there is none."""
        if au not in self.edits.get(emotion, {}):
            raise UserError(f"{emotion}, AU {au} was not edited")
        edits = {name: dict(cells) for name, cells in self.edits.items()}
        del edits[emotion][au]
        return replace(self, edits={name: cells for name, cells in edits.items() if cells})

    def to_json(self) -> dict[str, Any]:
        """The table as an expert edits it: change "edits", never "fitted"."""
        return {
            "kind": self.kind,
            "how_to_edit": (
                "Shares are 0 to 1. Write your own under edits, as {emotion: {AU: share}}; null "
                "leaves the AU out for that emotion. fitted and known come from data: refitting "
                "replaces them and keeps edits."
            ),
            "source": self.source,
            "threshold": self.threshold,
            "temperature": self.temperature,
            "emotions": list(self.emotions),
            "aus": list(self.aus),
            "edits": {emotion: dict(cells) for emotion, cells in self.edits.items()},
            "fitted": self._cells(self.rate_EA),
            "known": self._cells(self.known_EA),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "CooccurrenceMapper":
        emotions, aus = emotion_names(content["emotions"]), tuple(map(parse_label, content["aus"]))
        known_EA = _table(content["known"], emotions, aus)
        if not np.all((known_EA >= 0) & (known_EA < 2**53)):
            raise ValueError("known is a number of frames for every cell")
        return cls(
            emotions,
            aus,
            _table(content["fitted"], emotions, aus),
            known_EA.astype(np.int64),
            {emotion: dict(cells) for emotion, cells in content["edits"].items()},
            float(content["threshold"]),
            float(content["temperature"]),
            str(content["source"]),
        )

    def _cells(self, values_EA: np.ndarray) -> dict[str, dict[str, float | int | None]]:
        return {
            emotion: {
                au: None if np.isnan(value) else value.item()
                for au, value in zip(self.aus, row, strict=True)
            }
            for emotion, row in zip(self.emotions, values_EA, strict=True)
        }


def fit(
    occurrence_NA: ArrayLike,
    emotion_N: ArrayLike,
    *,
    aus: Sequence[str],
    emotions: Sequence[str],
    start: CooccurrenceMapper | None = None,
    strength: float = STRENGTH,
    threshold: float = THRESHOLD,
    min_known: int = MIN_KNOWN,
    source: str = "",
) -> CooccurrenceMapper:
    """Counts the table from labelled frames and tunes its temperature on them.

    Args:
      occurrence_NA: −1 unknown (left out of the count), 0, 1.
      emotion_N: index into `emotions`, −1 unknown (the row is left out).
      aus, emotions: labels and names.
      start: a table to personalise: its shares count as `strength` frames in every cell, and its
        edits are kept. None: the average over these frames does.
      strength: how many frames that prior counts for; 50-200 for one participant.
      threshold: see `CooccurrenceMapper`.
      min_known: with fewer labelled frames a cell stays NaN (without `start`).
      source: noted in the table.

    Raises:
      UserError: no frame has both an emotion and a known AU, or `start` has other lists.
    """
    occurrence_NA, emotion_N = np.asarray(occurrence_NA), np.asarray(emotion_N)
    if occurrence_NA.shape != (emotion_N.size, len(aus)):
        raise ValueError(f"{occurrence_NA.shape} labels, {emotion_N.size} emotions, {len(aus)} AUs")
    if len(emotions) < 2:
        raise UserError("a table needs at least two emotions to tell apart")
    if start is not None and (start.aus, start.emotions) != (tuple(aus), tuple(emotions)):
        raise UserError("the table to start from has other AUs or emotions; fit it with the same")
    known_NA = (occurrence_NA >= 0) & (emotion_N >= 0)[:, None]
    if not known_NA.any():
        raise UserError("no frame has both an emotion and a known AU; nothing to fit from")
    of_NE = emotion_N[:, None] == np.arange(len(emotions))
    known_EA = of_NE.T.astype(np.int64) @ known_NA
    present_EA = of_NE.T.astype(np.int64) @ (known_NA & (occurrence_NA == 1))
    if start is None:
        rate_EA = np.divide(
            present_EA, known_EA, out=np.full(known_EA.shape, np.nan), where=known_EA > 0
        )
        prior_EA = np.broadcast_to(_column_mean(rate_EA), rate_EA.shape)
        enough_EA = known_EA >= min_known
    else:
        prior_EA, enough_EA = start.rate_EA, ~np.isnan(start.rate_EA)
    rate_EA = (present_EA + strength * np.nan_to_num(prior_EA)) / np.maximum(
        known_EA + strength, 1e-9
    )
    table = CooccurrenceMapper(
        tuple(emotions),
        tuple(aus),
        np.round(np.where(enough_EA, rate_EA, np.nan), DIGITS),
        known_EA,
        {} if start is None else start.edits,
        threshold,
        source=source,
    )
    rows = known_NA.any(axis=1)
    return _tempered(table, occurrence_NA[rows], emotion_N[rows])


def published(threshold: float = THRESHOLD) -> CooccurrenceMapper:
    """The table of Tlili 2019, fig. 7.3: 27 AUs of EB+, 8 emotions.

    The figure gives neither the number of frames behind a cell nor a temperature; 4 is a cautious
    guess, since some five of its AUs always go together.
    """
    data = facs_emotions.TLILI_COOCCURRENCE
    aus = tuple(data.percent)
    rate_EA = np.round(np.array([data.percent[au] for au in aus]).T / 100, DIGITS)
    return CooccurrenceMapper(
        data.emotions,
        aus,
        rate_EA,
        np.zeros(rate_EA.shape, np.int64),
        threshold=threshold,
        temperature=4.0,
        source=data.source,
    )


def _tempered(
    table: CooccurrenceMapper, occurrence_NA: np.ndarray, emotion_N: np.ndarray
) -> CooccurrenceMapper:
    """Sets the temperature under which these frames' emotions are likeliest, each emotion once."""
    count_E = np.bincount(emotion_N, minlength=len(table.emotions))
    weight_N = 1 / count_E[emotion_N]
    logit_NE = np.log(np.maximum(table.apply(table.aus, occurrence_NA).probability_TE, 1e-30))
    losses = []
    for temperature in TEMPERATURES:
        probability_NE = softmax(logit_NE / temperature)
        right_N = probability_NE[np.arange(len(emotion_N)), emotion_N]
        losses.append(-np.sum(weight_N * np.log(np.maximum(right_N, 1e-30))))
    return replace(table, temperature=round(float(TEMPERATURES[np.argmin(losses)]), 3))


def _column_mean(rate_EA: np.ndarray) -> np.ndarray:
    defined = ~np.isnan(rate_EA)
    count_A = np.maximum(defined.sum(axis=0), 1)
    return np.where(defined, rate_EA, 0).sum(axis=0) / count_A


def _table(cells: Mapping[str, Mapping[str, float | None]], emotions, aus) -> np.ndarray:
    rows = [[cells[emotion][au] for au in aus] for emotion in emotions]
    return np.array([[np.nan if v is None else v for v in row] for row in rows], float)


def _not_in(what: str, name: str, known: Sequence[str]) -> str:
    return f"{what} {name!r} is not in the table; it has: {', '.join(known)}"
