"""Emotions by rule: the criteria of the FACS manual, or any prototype table, read softly.

A rule is a `facs.Prototype`: the AUs that must be present, limits on intensity, one-sidedness. It
is met as far as its weakest condition is (the minimum): with 0/1 evidence and letters it is met or
not, exactly as written. Three conventions go beyond the sources:

* A rule gives way to a rule of another emotion that contains it and is met: 1+2 means surprise, but
  with AU 4 it is fear's 1+2+4.
* A needed AU that nobody can tell halves what the rest of the rule says. Unknown is not absent, and
  it is no confirmation.
* "neutral" gets what no rule claims: 1 − the best rule. Overlapping rules share the rest; where the
  table says how many people show an AU (Du et al. 2014), by how likely the face is under each.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxfacs.emotion.reading import Evidence, Reading, emotion_names, normalised
from jaxfacs.errors import UserError
from jaxfacs.facs import PROTOTYPES, Code, Prototype, format, parse, parse_label, swap_sides

NEUTRAL = "neutral"
UNKNOWN = 0.5  # what a condition weighs that cannot be judged

# Du et al. 2014 list AUs shown by 20 % of people or more, and as prototypical those above 70 %.
SHARE_PROTOTYPICAL, SHARE_UNLISTED = 0.85, 0.1


class RuleMapper:
    """Maps AUs to emotions by a table of rules.

    Args:
      table: a name in `facs.PROTOTYPES` (default: the FACS manual criteria of Tlili 2019, fig. 7.1)
        or rows of your own.
      neutral: whether "neutral" is among the emotions.
    """

    kind = "rules"

    def __init__(self, table: str | Sequence[Prototype] = "facs_manual", *, neutral: bool = True):
        if isinstance(table, str):
            if table not in PROTOTYPES:
                raise UserError(f"no rule table {table!r}; there are: {', '.join(PROTOTYPES)}")
            self.source: str = PROTOTYPES[table].source
            rows = PROTOTYPES[table].rows
        else:
            self.source, rows = "rows given", tuple(table)
        self.neutral = neutral
        self.rules = tuple(row for row in rows if row.codes)  # neutral's own row asks for nothing
        for rule in self.rules:
            _refuse_faulty(rule)
        self._shares = _shares(self.rules)
        # Likelihoods part a small rule from a larger one by themselves.
        self._containing = [
            [] if self._shares else _containing(rule, self.rules) for rule in self.rules
        ]
        named = dict.fromkeys(rule.emotion for rule in self.rules if rule.emotion != NEUTRAL)
        self._emotions = (*named, NEUTRAL) if neutral else tuple(named)
        if not named:
            raise UserError("a rule table without a rule; give at least one row with codes")

    @property
    def emotions(self) -> tuple[str, ...]:
        return self._emotions

    def apply(
        self,
        aus: Sequence[str],
        probability_TA: ArrayLike,
        *,
        intensity_TA: ArrayLike | None = None,
    ) -> Reading:
        """See `Mapper.apply`. Weights: −1 to 1, from the rule that did best for the emotion."""
        evidence = Evidence(aus, probability_TA, intensity_TA)
        shape_TA = evidence.probability_TA.shape
        met_RT, weight_RTA = [], []
        for rule in self.rules:
            weight_TA = np.zeros(shape_TA)
            met_RT.append(_met(rule, evidence, weight_TA))
            _note_shares(rule, evidence, weight_TA)
            weight_RTA.append(weight_TA)
        kept_RT = np.stack(self._give_way(met_RT, weight_RTA, evidence))
        # Shares part rules that are met alike; they do not make a rule less met.
        parted_RT = kept_RT * self._likelihood(evidence)
        highest_T = parted_RT.max(axis=0)
        score_RT = parted_RT * np.divide(
            kept_RT.max(axis=0), highest_T, out=np.ones_like(highest_T), where=highest_T > 0
        )
        score_TE = np.zeros((shape_TA[0], len(self.emotions)))
        weight_TEA = np.zeros((shape_TA[0], len(self.emotions), shape_TA[1]), np.float32)
        every_frame = np.arange(shape_TA[0])
        for e, emotion in enumerate(self.emotions):
            mine = [r for r, rule in enumerate(self.rules) if rule.emotion == emotion]
            if not mine:
                continue
            # Of rules met alike (often: not at all) the one nearest to being met gives the reasons.
            nearest_RT = [score_RT[r] + 1e-6 * weight_RTA[r].sum(axis=1) for r in mine]
            best_T = np.argmax(nearest_RT, axis=0)
            score_TE[:, e] = score_RT[mine].max(axis=0)
            weight_TEA[:, e] = np.stack([weight_RTA[r] for r in mine])[best_T, every_frame]
        if self.neutral:
            claimed_T = np.max(met_RT, axis=0)
            score_TE[:, -1] = 1 - claimed_T
            # What speaks for any emotion speaks against neutral, as far as a rule claims the face.
            for_TA = np.maximum(weight_TEA[:, :-1].max(axis=1), 0)
            weight_TEA[:, -1] = -for_TA * claimed_T[:, None]
        probability_TE = normalised(score_TE)
        probability_TE[np.isnan(evidence.probability_TA).all(axis=1)] = np.nan
        unjudged = {emotion: self._unjudged(emotion, evidence) for emotion in self.emotions}
        return Reading(
            self.emotions,
            evidence.aus,
            evidence.probability_TA,
            probability_TE,
            weight_TEA,
            unjudged,
        )

    def to_json(self) -> dict[str, Any]:
        """The rules themselves, so that a stored mapper does not change with this package."""
        rows = [
            {
                "emotion": rule.emotion,
                "codes": format(rule.codes),
                **({"at_least": format(rule.at_least)} if rule.at_least else {}),
                **({"at_most": format(rule.at_most)} if rule.at_most else {}),
                **({"one_sided": True} if rule.one_sided else {}),
                **({"shares": dict(rule.shares)} if rule.shares else {}),
            }
            for rule in self.rules
        ]
        return {"kind": self.kind, "source": self.source, "neutral": self.neutral, "rules": rows}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "RuleMapper":
        rows = [
            Prototype(
                emotion_names([row["emotion"]])[0],
                parse(row["codes"]),
                parse(row.get("at_least", "0")),
                parse(row.get("at_most", "0")),
                bool(row.get("one_sided", False)),
                {parse_label(au): float(share) for au, share in row.get("shares", {}).items()},
            )
            for row in content["rules"]
        ]
        mapper = cls(rows, neutral=bool(content["neutral"]))
        mapper.source = str(content["source"])
        return mapper

    def _give_way(
        self, met_RT: list[np.ndarray], weight_RTA: list[np.ndarray], evidence: Evidence
    ) -> list[np.ndarray]:
        kept_RT = []
        for r, rule in enumerate(self.rules):
            claimed_T = np.zeros(evidence.frames)
            own = {code.au for code in rule.codes}
            for s in self._containing[r]:
                claimed_T = np.maximum(claimed_T, met_RT[s])
                against_T = -met_RT[r] * met_RT[s]
                more = [code.label for code in self.rules[s].codes if code.au not in own]
                for a in (a for label in more for a in evidence.columns(label)):
                    weight_RTA[r][:, a] = np.minimum(weight_RTA[r][:, a], against_T)
            kept_RT.append(met_RT[r] * (1 - claimed_T))
        return kept_RT

    def _likelihood(self, evidence: Evidence) -> np.ndarray:
        """Likelihood of the frames under each rule's shares (R×T), up to a factor per frame."""
        log_RT = np.zeros((len(self.rules), evidence.frames))
        for label, share_R in self._shares.items():
            present_T = evidence.present(label)
            share_R1 = share_R[:, None]
            seen_RT = present_T * share_R1 + (1 - present_T) * (1 - share_R1)
            log_RT += np.nan_to_num(np.log(seen_RT))
        return np.exp(log_RT - log_RT.max(axis=0))

    def _unjudged(self, emotion: str, evidence: Evidence) -> tuple[str, ...]:
        """What the emotion's rules ask for and the evidence tells in no frame."""
        missing: dict[str, None] = {}
        for rule in self.rules:
            if emotion not in (rule.emotion, NEUTRAL):
                continue
            if rule.one_sided:
                asked = [f"{side}{code.au}" for code in rule.codes for side in "LR"]
            else:
                asked = [*(code.label for code in rule.codes), *rule.shares]
            missing |= {a: None for a in asked if np.isnan(evidence.present(a)).all()}
            limits = (code.label for code in (*rule.at_least, *rule.at_most))
            missing |= {
                f"{label} (intensity)": None
                for label in limits
                if label not in missing and np.isnan(evidence.intensity(label)).all()
            }
        return tuple(missing)


def _refuse_faulty(rule: Prototype) -> None:
    for code in (*rule.at_least, *rule.at_most):
        if code.intensity is None:
            raise UserError(f"{rule.emotion}: the limit {code} has no letter; write {code}B")
    for au, share in rule.shares.items():
        if not 0 < share < 1:
            raise UserError(f"{rule.emotion}: {share} of people show AU {au}; write 0.01 to 0.99")


def _containing(rule: Prototype, rules: Sequence[Prototype]) -> list[int]:
    """Rules of other emotions whose AUs are all of this one's and more."""
    own = {code.au for code in rule.codes}
    return [
        s
        for s, other in enumerate(rules)
        if other.emotion != rule.emotion and own < {code.au for code in other.codes}
    ]


def _met(rule: Prototype, evidence: Evidence, weight_TA: np.ndarray) -> np.ndarray:
    """How far the rule is met (T, 0-1); adds each AU's say, −1 to 1, to `weight_TA` in place."""
    if rule.one_sided:
        conditions_T = _one_sided(rule, evidence, weight_TA)
    else:
        conditions_T = [_needed(code.label, evidence, weight_TA) for code in rule.codes]
    nothing_known_T = np.isnan(conditions_T).all(axis=0)
    for code, level in ((c, c.intensity or 1) for c in rule.at_least):
        level_T = np.clip(evidence.intensity(code.label) - (level - 1), 0, 1)
        conditions_T.append(level_T)
        _lower(evidence, code.label, level_T, weight_TA)
    for code, level in ((c, c.intensity or 5) for c in rule.at_most):
        over_T = np.nan_to_num(np.clip(evidence.intensity(code.label) - level, 0, 1))
        # A limit that cannot be judged is not broken: most AUs are below it most of the time.
        conditions_T.append(1 - over_T)
        _lower(evidence, code.label, 1 - over_T, weight_TA)
    condition_CT = np.stack(conditions_T)
    unknown_T = np.isnan(condition_CT).sum(axis=0)
    weakest_T = np.where(np.isnan(condition_CT), 1.0, condition_CT).min(axis=0)
    return np.where(nothing_known_T, 0.0, weakest_T * UNKNOWN**unknown_T)


def _needed(label: str, evidence: Evidence, weight_TA: np.ndarray) -> np.ndarray:
    present_T = evidence.present(label)
    _note(evidence, label, 2 * present_T - 1, weight_TA)
    return present_T


def _one_sided(rule: Prototype, evidence: Evidence, weight_TA: np.ndarray) -> list[np.ndarray]:
    """Conditions of the rule on the side it is written for or the other, whichever is met better.

    A side counts as far as it is ahead of its opposite: by one letter of intensity, or by the
    difference in probability. Without sides in the evidence the AU itself counts, and sidedness as
    one condition that nobody can tell.
    """
    sided = all(evidence.columns(s + str(c.au)) for c in rule.codes for s in "LR")
    if not sided:
        conditions_T = [_needed(str(code.au), evidence, weight_TA) for code in rule.codes]
        return [*conditions_T, np.full(evidence.frames, np.nan)]
    written = [_ahead(code, evidence) for code in rule.codes]
    mirrored = [_ahead(_mirror(code), evidence) for code in rule.codes]
    use_mirrored_T = np.min(mirrored, axis=0) > np.min(written, axis=0)
    conditions_T = []
    for code, as_written_T, as_mirrored_T in zip(rule.codes, written, mirrored, strict=True):
        condition_T = np.where(use_mirrored_T, as_mirrored_T, as_written_T)
        conditions_T.append(condition_T)
        for label, used_T in (
            (code.label, ~use_mirrored_T),
            (swap_sides(code.label), use_mirrored_T),
        ):
            _note(evidence, label, np.where(used_T, 2 * condition_T - 1, np.nan), weight_TA)
    return conditions_T


def _mirror(code: Code) -> Code:
    return Code(code.au, {"L": "R", "R": "L"}.get(code.side, ""), code.intensity)


def _ahead(code: Code, evidence: Evidence) -> np.ndarray:
    """How far the AU is present on the code's side and behind on the other (T, NaN unknown)."""
    here_T = evidence.present(code.label)
    if not code.side:
        return here_T
    other = swap_sides(code.label)
    by_level_T = evidence.intensity(code.label) - evidence.intensity(other)
    lead_T = np.where(np.isnan(by_level_T), here_T - evidence.present(other), by_level_T)
    return np.minimum(here_T, np.clip(lead_T, 0, 1))


def _shares(rules: Sequence[Prototype]) -> dict[str, np.ndarray]:
    """AU -> share of people who show it under each rule (R); empty if the table gives no shares."""
    if not any(rule.shares for rule in rules):
        return {}
    labels = dict.fromkeys(
        label for rule in rules for label in (*(c.label for c in rule.codes), *rule.shares)
    )
    prototypical = [{code.label for code in rule.codes} for rule in rules]
    return {
        label: np.array(
            [
                SHARE_PROTOTYPICAL if label in own else rule.shares.get(label, SHARE_UNLISTED)
                for own, rule in zip(prototypical, rules, strict=True)
            ]
        )
        for label in labels
    }


def _note_shares(rule: Prototype, evidence: Evidence, weight_TA: np.ndarray) -> None:
    for label, share in rule.shares.items():
        _note(evidence, label, share * np.clip(2 * evidence.present(label) - 1, 0, 1), weight_TA)


def _note(evidence: Evidence, label: str, say_T: np.ndarray, weight_TA: np.ndarray) -> None:
    """Adds an AU's say where it has one; the AU "12" read off two sides notes both."""
    for a in evidence.columns(label):
        weight_TA[:, a] = np.clip(weight_TA[:, a] + np.nan_to_num(say_T), -1, 1)


def _lower(evidence: Evidence, label: str, condition_T: np.ndarray, weight_TA: np.ndarray) -> None:
    """An AU that is there says no more for the rule than its intensity does: the weaker decides."""
    for a in evidence.columns(label):
        say_T = np.nan_to_num(2 * condition_T - 1, nan=1.0)
        weight_TA[:, a] = np.minimum(weight_TA[:, a], say_T)
