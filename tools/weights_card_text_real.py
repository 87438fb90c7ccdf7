"""The part of the card of shipped weights that is about real faces."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from weights_card_table import listed, number, span, table, wrapped

# What was asked of the AUC of each AU before any network was trained.
AIMS = {
    **dict.fromkeys(("12", "25", "26"), 0.98),
    **dict.fromkeys(("43", "5", "2", "4"), 0.95),
    **dict.fromkeys(("1", "6", "9", "15"), 0.90),
}
FEW_PEOPLE = 5  # who show an AU: below, its numbers are about them
FOLLOWS = 0.5  # correlation with the head's turns from which an AU is named
_PLACE = re.compile(r"(?P<file>.+?)(?: frame (?P<frame>\d+))? at (?P<x>\S+),(?P<y>\S+)")


def parts(real: Mapping[str, Any] | None) -> list[str]:
    """The section, of what `real_faces.score` found; None: it was not asked."""
    title = "## On real faces"
    if real is None:
        return [title, "Not measured: the pictures were not at hand."]
    found = real["faces"]
    told = (
        f"{found['found']} of {found['coded']} faces of {real['people']} people were found by "
        f"{real['detector']}. Two coders had coded their AUs alike before any network was looked "
        "at; what was not unmistakable was left out (`docs/weights.md`, `tools/real_faces.py`). "
        "In brackets: how many people. Intervals are 95 % of bootstraps over faces, and over "
        "people, which is the honest one."
    )
    return [
        title,
        wrapped(told),
        _per_au(real["aus"]),
        wrapped(_summary(real)),
        wrapped(_neutral(real["neutral"])),
        *_films(real["films"]),
        *_wrong(real),
    ]


def _per_au(aus: Mapping[str, Any]) -> str:
    head = ("AU", "present", "absent", "AUC", "over faces", "over people", "threshold", "hits",
            "false alarms", "aim", "")  # fmt: skip
    rows = [
        (
            au,
            f"{row['present']} ({row['people_present']})",
            f"{row['absent']} ({row['people_absent']})",
            number(row.get("auc")),
            span(row.get("auc_over_faces")),
            span(row.get("auc_over_people")),
            number(row["threshold"], 3),
            f"{row['hits']}/{row['present']}",
            f"{row['false_alarms']}/{row['absent']}",
            number(AIMS[au]) if au in AIMS else "",
            _verdict(au, row),
        )
        for au, row in aus.items()
    ]
    return table(head, rows)


def _verdict(au: str, row: Mapping[str, Any]) -> str:
    if au not in AIMS:
        return ""
    if "auc" not in row:
        return "not measurable"
    few = ", by few people" if row["people_present"] < FEW_PEOPLE else ""
    return f"met{few}" if row["auc"] >= AIMS[au] else f"**not met**{few}"


def _summary(real: Mapping[str, Any]) -> str:
    aus = real["aus"]
    asked = [au for au in AIMS if "auc" in aus.get(au, {})]
    met = [au for au in asked if aus[au]["auc"] >= AIMS[au]]
    few = [au for au, row in aus.items() if 0 < row["people_present"] < FEW_PEOPLE]
    none = [au for au, row in aus.items() if not row["people_present"]]
    told = (
        f"Aims met: {listed(met)}; not met: {listed(set(asked) - set(met))}; not measurable here: "
        f"{listed(set(AIMS) - set(asked))}."
    )
    if few:
        told += (
            f" **Counts are small**: AU {listed(few)} {'are' if len(few) > 1 else 'is'} shown by "
            f"fewer than {FEW_PEOPLE} people, so that what is said there is about these people "
            "more than about the AU."
        )
    if none:
        told += f" Nobody shows AU {listed(none)}: there only false alarms can be seen."
    if real["not_answered"]:
        told += f" Coded, but not answered by this network: AU {listed(real['not_answered'])}."
    return told


def _neutral(neutral: Mapping[str, Any]) -> str:
    fires = sorted(_whole(neutral["fires_on_faces"].items()), key=lambda item: -item[1])
    on = ", ".join(f"AU {au} on {count}" for au, count in fires if count)
    return (
        f"Neutral faces: {neutral['faces']} of {neutral['people']} people. Answered there: "
        f"{on or 'nothing'}. On most of the faces or people: {listed(neutral['on_most'])} (aim: "
        f"none, {'**not met**' if neutral['on_most'] else 'met'})."
    )


def _films(films: Mapping[str, Any]) -> list[str]:
    lines = []
    for file, film in films.items():
        told = [f"the face in {film['with_face']} of {film['frames']} frames"]
        if jitter := film.get("jitter"):
            moves = sorted(_whole(jitter.items()), key=lambda item: -item[1]["mean"])[:4]
            most = ", ".join(f"{au} by {j['mean']:.2f}" for au, j in moves)
            told.append(f"from frame to frame intensity moves most in AU {most} on average")
        if "with_head" in film:
            follow = []
            for au, row in _whole(film["with_head"].items()):
                known = {turn: r for turn, r in row.items() if r is not None}
                turn = max(known, key=lambda t: abs(known[t]), default=None)
                if turn is not None and abs(known[turn]) >= FOLLOWS:
                    follow.append(f"{au} ({turn} {known[turn]:+.2f})")
            told.append(f"AUs that follow the head's turns: {', '.join(follow) or 'none'}")
        if blinks := film.get("blinks"):
            told.append(
                f"blinks as AU {blinks['label']}: {blinks['hits']} of {blinks['coded']} found, "
                f"{len(blinks['false'])} answered where there is none"
            )
        lines.append(wrapped(f"- `{file}`: {'; '.join(told)}.", indent="  "))
    if not lines:
        return []
    return [f"Films (an AU follows the head where they correlate by {FOLLOWS} or more):",
            "\n".join(lines)]  # fmt: skip


def _wrong(real: Mapping[str, Any]) -> list[str]:
    lines = []
    for au, row in real["aus"].items():
        kinds = {
            kind: [(c["face"], c["probability"]) for c in row["wrong"] if c["coded"] == code]
            for kind, code in (("missed", 1), ("false", 0))
        }
        told = "; ".join(f"{kind}: {places(cells)}" for kind, cells in kinds.items() if cells)
        if told:
            lines.append(wrapped(f"- AU {au} (threshold {row['threshold']:.3f}) {told}", "  "))
    if missed := real["faces"]["missed"]:
        cells = places([(face, None) for face in missed])
        lines.append(wrapped(f"- no face found by the detector: {cells}", "  "))
    if not lines:
        return ["Every coded cell is answered rightly at its threshold."]
    return [
        "What goes wrong, by file; in pictures the face's middle in pixels (x,y), in films the "
        "frame, and the probability behind it:",
        "\n".join(lines),
    ]


def places(cells: Sequence[tuple[str, float | None]]) -> str:
    """Faces by their file: "a.jpg 10,20 (0.31), 90,20 (0.10); b.mp4 frame 3 (0.22)"."""
    files: dict[str, list[str]] = {}
    for face, probability in cells:
        found = _PLACE.fullmatch(face)
        assert found is not None, face
        at = f"frame {found['frame']}" if found["frame"] else f"{found['x']},{found['y']}"
        at += "" if probability is None else f" ({probability:.2f})"
        files.setdefault(found["file"], []).append(at)
    return "; ".join(f"{file} {', '.join(each)}" for file, each in files.items())


def _whole(pairs: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Without the sides, which mostly say the same."""
    return [(au, value) for au, value in pairs if au[0] not in "LR"]
