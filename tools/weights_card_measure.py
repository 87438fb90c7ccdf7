"""From a network's answers about held-out renders to the numbers of its card.

Intervals are bootstraps over people: whole people are drawn again, with all their pictures.
"""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from weights_card_rows import Rows

from jaxfacs.evaluate import metrics
from jaxfacs.infer.answer import centred

DRAWS = 400  # of a bootstrap
LEAST = 5  # labels of either kind, from which an AP says something
FEW = 30  # pictures of a band, below which nothing is told of it
BINS = 5
WORST = 5  # AUs whose false alarms are looked into
_INSIDE = (2.5, 97.5)


class Grouping(NamedTuple):
    """People or pictures in bands of something known.

    `name` is of `Rows.known`; with `size` bands are of its absolute value. Band k holds values from
    edges[k] to below edges[k + 1].
    """

    title: str
    name: str
    bands: tuple[str, ...]
    edges: tuple[float, ...]
    size: bool = False


_MELANIN = tuple(np.exp(np.linspace(np.log(0.2), np.log(5.5), 6)).tolist())
GROUPINGS = (
    Grouping(
        "Skin (melanin)",
        "melanin",
        tuple(f"{a:.2f} - {b:.2f}" for a, b in itertools.pairwise(_MELANIN)),
        (0.0, *_MELANIN[1:-1], 99.0),
    ),
    Grouping(
        "Age (years)",
        "years",
        ("below 13", "13 - 19", "20 - 44", "45 - 64", "65 and more"),
        (0, 13, 20, 45, 65, 200),
    ),
    Grouping(
        "Sex, as a direction of the face's shape",
        "male",
        ("a woman's", "between", "a man's"),
        (-2, -0.2, 0.2, 2),
    ),
    Grouping(
        "Head turned left or right (degrees)",
        "yaw",
        ("below 10", "10 - 20", "20 - 30", "30 and more"),
        (0, 10, 20, 30, 180),
        size=True,
    ),
    Grouping(
        "Head tilted down or up (degrees)",
        "pitch",
        ("down by 8 and more", "level", "up by 8 and more"),
        (-180, -8, 8, 180),
    ),
    Grouping(
        "Landmarks that the picture does not show (share)",
        "hidden",
        ("none", "below .15", ".15 - .30", ".30 and more"),
        (0, 1e-6, 0.15, 0.30, 1.01),
    ),
    Grouping(
        "Height of the face on the sensor (pixels)",
        "face_pixels",
        ("below 60", "60 - 120", "more, or no limit"),
        (1, 60, 120, 1e9),
    ),
)


def measure(rows: Rows, *, least_confidence: float = 0.0, draws: int = DRAWS) -> dict[str, Any]:
    """Everything of `rows`, JSON-able; NaN is None."""
    weight_DN = over_people(rows.person_N, draws=draws)
    whole = [a for a, au in enumerate(rows.aus) if au[0] not in "LR"]
    per_au = {rows.aus[a]: row for a, row in enumerate(_per_au(rows))}
    mean_D = mean_ap(rows, whole, weight_DN)
    return {
        "rows": len(rows.person_N),
        "people": len(set(rows.person_N.tolist())),
        "aus": per_au,
        "mean": _mean(per_au, whole, rows.aus),
        "ap_interval": _interval(mean_D),
        "sides": _mean(per_au, [a for a in range(len(rows.aus)) if a not in whole], rows.aus),
        "groups": [g for x in GROUPINGS if (g := _grouped(rows, x, whole, weight_DN))],
        "confidence": _confidence(rows, least_confidence),
        "emotion": _emotion(rows),
        "confused": _confused(rows, per_au, whole),
    }


def over_people(person_N: np.ndarray, *, draws: int, seed: int = 0) -> np.ndarray:
    """float32 D×N: how often each row is there when its people are drawn again."""
    names, own_N = np.unique(person_N, return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn_DP = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    return drawn_DP[:, own_N.reshape(-1)].astype(np.float32)


def weighted_ap(truth_N: np.ndarray, p_N: np.ndarray, weight_DN: np.ndarray) -> np.ndarray:
    """float64 D: average precision under each row of weights, as `metrics.average_precision`."""
    order_N = np.argsort(-p_N, kind="stable")
    end_K = np.append(np.nonzero(np.diff(p_N[order_N]))[0], len(p_N) - 1)  # ties are one step
    weight_DN = weight_DN[:, order_N].astype(np.float64)
    hit_DK = np.cumsum(weight_DN * (truth_N[order_N] == 1), axis=1)[:, end_K]
    called_DK = np.cumsum(weight_DN, axis=1)[:, end_K]
    precision_DK = hit_DK / np.maximum(called_DK, 1e-9)
    gained_DK = np.diff(hit_DK, axis=1, prepend=0.0)
    total_D = hit_DK[:, -1]
    ap_D = (gained_DK * precision_DK).sum(1) / np.maximum(total_D, 1e-9)
    return np.where(total_D > 0, ap_D, np.nan)


def mean_ap(rows: Rows, columns: Sequence[int], weight_DN: np.ndarray) -> np.ndarray:
    """D: mean AP over these AUs; draws in which one does not occur leave it out."""
    each = []
    for a in columns:
        known_N = rows.occurrence_NA[:, a] >= 0
        if (rows.occurrence_NA[:, a] == 1).any():
            truth_N, p_N = rows.occurrence_NA[known_N, a], rows.probability_NA[known_N, a]
            each.append(weighted_ap(truth_N, p_N, weight_DN[:, known_N]))
    if not each:
        return np.full(len(weight_DN), np.nan)
    with np.errstate(invalid="ignore"):
        return np.nanmean(np.stack(each), axis=0)


def mean_f1(rows: Rows, columns: Sequence[int], weight_DN: np.ndarray) -> np.ndarray:
    """D: mean F1 at the shipped thresholds over these AUs."""
    truth, called = rows.occurrence_NA[:, columns], rows.present_NA[:, columns]
    sums = [
        weight_DN @ cell.astype(np.float32)
        for cell in ((truth == 1) & called, (truth == 0) & called, (truth == 1) & ~called)
    ]
    tp, fp, fn = sums
    f1_DA = np.where(2 * tp + fp + fn > 0, 2 * tp / np.maximum(2 * tp + fp + fn, 1e-9), np.nan)
    some_D = np.isfinite(f1_DA).any(1)
    mean_D = np.full(len(f1_DA), np.nan)
    mean_D[some_D] = np.nanmean(f1_DA[some_D], axis=1)
    return mean_D


def _per_au(rows: Rows) -> list[dict[str, Any]]:
    y_NA, p_NA = rows.occurrence_NA, rows.probability_NA
    columns = {
        "ap": metrics.average_precision(y_NA, p_NA),
        "auc": metrics.roc_auc(y_NA, p_NA),
        "f1": metrics.f1(y_NA, rows.present_NA.astype(float)),
        "icc": metrics.icc(rows.intensity_NA, rows.graded_NA),
        "mae": metrics.mae(rows.intensity_NA, rows.graded_NA),
    }
    found = []
    for a in range(len(rows.aus)):
        y_N, called_N = y_NA[:, a], rows.present_NA[:, a]
        known = int((y_N >= 0).sum())
        found.append(
            {
                "known": known,
                "present": int((y_N == 1).sum()),
                "people_present": len(set(rows.person_N[y_N == 1].tolist())),
                "base_rate": _number((y_N == 1).sum() / known) if known else None,
                "intensities": int((rows.intensity_NA[:, a] >= 0).sum()),
                **{name: _number(value_A[a]) for name, value_A in columns.items()},
                "threshold": float(rows.threshold_A[a]),
                "hits": int((called_N & (y_N == 1)).sum()),
                "false_alarms": int((called_N & (y_N == 0)).sum()),
            }
        )
    return found


def _mean(per_au: Mapping[str, Any], columns: Sequence[int], aus: Sequence[str]) -> dict[str, Any]:
    """Means over these AUs, each over those for which it is defined, and how many they are."""
    found: dict[str, Any] = {}
    for name in ("base_rate", "ap", "auc", "f1", "icc", "mae"):
        values = [v for a in columns if (v := per_au[aus[a]][name]) is not None]
        found[name] = float(np.mean(values)) if values else None
        found[f"{name}_of"] = len(values)
    return found


def _grouped(
    rows: Rows, grouping: Grouping, whole: Sequence[int], weight_DN: np.ndarray
) -> dict[str, Any] | None:
    """Bands of one thing, measured on the AUs that occur often enough in each of them."""
    if grouping.name not in rows.known:
        return None
    value_N = np.array(rows.known[grouping.name], np.float64)
    if np.isnan(value_N).all():
        return None
    if grouping.name == "face_pixels":
        value_N[value_N == 0] = grouping.edges[-2]  # no limit
    value_N = np.abs(value_N) if grouping.size else value_N
    place_N = np.where(np.isnan(value_N), -1, np.searchsorted(grouping.edges, value_N, "right") - 1)
    in_BN = [place_N == b for b in range(len(grouping.bands))]
    enough = [b for b, in_N in enumerate(in_BN) if in_N.sum() >= FEW]
    y_NA = rows.occurrence_NA
    counted = [
        (a, min(min((y_NA[in_BN[b], a] == code).sum() for code in (0, 1)) for b in enough))
        for a in whole
        if enough
    ]
    aus_ap = [a for a, n in counted if n >= LEAST]
    aus_f1 = [a for a, n in counted if n >= 1]
    by = "ap" if len(aus_ap) >= 3 else "f1"
    bands, drawn = [], {}
    for b, in_N in enumerate(in_BN):
        band = {"band": grouping.bands[b], "rows": int(in_N.sum())}
        band["people"] = len(set(rows.person_N[in_N].tolist()))
        if b in enough and (aus_ap or aus_f1):
            part, one = _part(rows, in_N), np.ones((1, int(in_N.sum())), np.float32)
            drawn[b] = (
                mean_ap(part, aus_ap, weight_DN[:, in_N])
                if by == "ap"
                else mean_f1(part, aus_f1, weight_DN[:, in_N])
            )
            truth_NA, p_NA = part.occurrence_NA[:, aus_ap], part.probability_NA[:, aus_ap]
            band |= {
                "ap": _number(mean_ap(part, aus_ap, one)[0]) if by == "ap" else None,
                "auc": _number(metrics.roc_auc(truth_NA, p_NA).mean()) if by == "ap" else None,
                "f1": _number(mean_f1(part, aus_f1, one)[0]),
                "interval": _interval(drawn[b]),
            }
            if part.confidence_N is not None:
                band["confidence"] = float(part.confidence_N.mean())
        bands.append(band)
    named = {"ap": [rows.aus[a] for a in aus_ap], "f1": [rows.aus[a] for a in aus_f1]}
    return {
        "title": grouping.title,
        "name": grouping.name,
        "by": by,
        "aus": named,
        "bands": bands,
        "apart": _apart(bands, drawn, by),
    }


def _apart(
    bands: Sequence[Mapping[str, Any]], drawn: Mapping[int, np.ndarray], by: str
) -> dict[str, Any] | None:
    """The best and the worst band, and the interval of what lies between them."""
    told = [b for b in drawn if bands[b].get(by) is not None]
    if len(told) < 2:
        return None
    best, worst = max(told, key=lambda b: bands[b][by]), min(told, key=lambda b: bands[b][by])
    return {
        "best": bands[best]["band"],
        "worst": bands[worst]["band"],
        "by": bands[best][by] - bands[worst][by],
        "interval": _interval(drawn[best] - drawn[worst]),
    }


def right_of(rows: Rows) -> np.ndarray:
    """N: of the AUs that the network or the truth calls present the share that both do; 1 where
    neither calls any. What confidence was learned to say."""
    known = rows.occurrence_NA >= 0
    present = rows.occurrence_NA == 1
    both = (known & present & rows.present_NA).sum(1)
    either = (known & (present | rows.present_NA)).sum(1)
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)


def _confidence(rows: Rows, least: float) -> dict[str, Any] | None:
    if rows.confidence_N is None:
        return None
    right_N, said_N = right_of(rows), rows.confidence_N
    edge_B = np.linspace(0, 1, BINS + 1)
    place_N = np.clip(np.searchsorted(edge_B, said_N, "right") - 1, 0, BINS - 1)
    bins = [
        {
            "low": float(edge_B[b]),
            "high": float(edge_B[b + 1]),
            "rows": int((place_N == b).sum()),
            "said": _number(said_N[place_N == b].mean()) if (place_N == b).any() else None,
            "right": _number(right_N[place_N == b].mean()) if (place_N == b).any() else None,
        }
        for b in range(BINS)
    ]
    flagged_N = said_N < least
    spread = said_N.std() > 0 and right_N.std() > 0
    return {
        "bins": bins,
        "said": float(said_N.mean()),
        "right": float(right_N.mean()),
        "error": float(sum(b["rows"] * abs(b["said"] - b["right"]) for b in bins if b["rows"]))
        / len(said_N),
        "correlation": _number(np.corrcoef(said_N, right_N)[0, 1]) if spread else None,
        "threshold": least or None,
        "flagged": int(flagged_N.sum()),
        "right_flagged": _number(right_N[flagged_N].mean()) if flagged_N.any() else None,
        "right_rest": _number(right_N[~flagged_N].mean()) if (~flagged_N).any() else None,
    }


def _emotion(rows: Rows) -> dict[str, Any] | None:
    known_N = rows.emotion_N >= 0
    if rows.emotion_NE is None or not known_N.any():
        return None
    truth_N, said_N = rows.emotion_N[known_N], rows.emotion_NE[known_N].argmax(1)
    commonest = Counter(truth_N.tolist()).most_common(1)[0][1]
    return {
        "rows": len(truth_N),
        "accuracy": float((truth_N == said_N).mean()),
        "commonest": commonest / len(truth_N),
    }


def _confused(rows: Rows, per_au: Mapping[str, Any], whole: Sequence[int]) -> list[dict[str, Any]]:
    """Of the AUs of lowest AP: what is there when they are answered and absent, and missed."""
    scored = sorted(
        (a for a in whole if per_au[rows.aus[a]]["ap"] is not None),
        key=lambda a: per_au[rows.aus[a]]["ap"],
    )
    found = []
    for a in scored[:WORST]:
        false_N = rows.present_NA[:, a] & (rows.occurrence_NA[:, a] == 0)
        others = {
            rows.aus[b]: int((rows.occurrence_NA[false_N, b] == 1).sum()) for b in whole if b != a
        }
        most = max(others, key=lambda au: others[au])
        missed_N = ~rows.present_NA[:, a] & (rows.occurrence_NA[:, a] == 1)
        strength = rows.intensity_NA[missed_N, a]
        row = per_au[rows.aus[a]]
        found.append(
            {
                "au": rows.aus[a],
                "ap": row["ap"],
                "false_alarms": int(false_N.sum()),
                "beside": most if others[most] else None,
                "beside_count": others[most],
                "missed": int(missed_N.sum()),
                "missed_intensity": _number(strength[strength >= 0].mean())
                if (strength >= 0).any()
                else None,
            }
        )
    return found


def failures(rows: Rows, count: int) -> list[dict[str, Any]]:
    """The surest wrong answers about whole AUs: one a person, and two of an AU and a kind.

    Sure is how far the probability is from its threshold, on the scale that puts that at 0.5.
    """
    whole = [a for a, au in enumerate(rows.aus) if au[0] not in "LR"]
    y_NA, called_NA = rows.occurrence_NA[:, whole], rows.present_NA[:, whole]
    wrong_NA = (y_NA >= 0) & (called_NA != (y_NA == 1))
    place_NA = centred(rows.probability_NA[:, whole], rows.threshold_A[whole])
    sure_NA = np.where(wrong_NA, np.abs(place_NA - 0.5), -1.0)
    found: list[dict[str, Any]] = []
    people: set[str] = set()
    kinds: Counter = Counter()
    for flat in np.argsort(-sure_NA, axis=None, kind="stable"):
        n, a = divmod(int(flat), len(whole))
        if sure_NA[n, a] < 0 or len(found) == count:
            break
        person, kind = str(rows.person_N[n]), (rows.aus[whole[a]], bool(called_NA[n, a]))
        if person in people or kinds[kind] == 2:
            continue
        people.add(person)
        kinds[kind] += 1
        named = [rows.aus[i] for i in whole]
        found.append(
            {
                "row": n,
                "au": kind[0],
                "false": kind[1],
                "probability": float(rows.probability_NA[n, whole[a]]),
                "truth": [au for au, y in zip(named, y_NA[n], strict=True) if y == 1],
                "said": [au for au, c in zip(named, called_NA[n], strict=True) if c],
            }
        )
    return found


def _part(rows: Rows, in_N: np.ndarray) -> Rows:
    """Those rows alone; pictures are left behind."""
    return Rows(
        aus=rows.aus,
        occurrence_NA=rows.occurrence_NA[in_N],
        intensity_NA=rows.intensity_NA[in_N],
        probability_NA=rows.probability_NA[in_N],
        present_NA=rows.present_NA[in_N],
        graded_NA=rows.graded_NA[in_N],
        threshold_A=rows.threshold_A,
        confidence_N=None if rows.confidence_N is None else rows.confidence_N[in_N],
        person_N=rows.person_N[in_N],
        clip_N=rows.clip_N[in_N],
        known={},
        emotion_N=rows.emotion_N[in_N],
        emotion_NE=None if rows.emotion_NE is None else rows.emotion_NE[in_N],
        jpeg_N=(),
    )


def _interval(value_D: np.ndarray) -> list[float] | None:
    value_D = value_D[np.isfinite(value_D)]
    if len(value_D) < 20:
        return None
    low, high = np.percentile(value_D, _INSIDE)
    return [float(low), float(high)]


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
