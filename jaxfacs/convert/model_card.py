"""The model card of a bundle, as plain data: what it is, learned from, and is not for."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxfacs.errors import UserError
from jaxfacs.files import place

INTENDED = (
    "counting and describing movements of the face, as the Facial Action Coding System names them, "
    "in films of people who agreed to it"
)
NOT_FOR = (
    "deciding about a person: work, school, credit, insurance, policing, borders, health",
    "saying what somebody feels, thinks or intends: a movement of the face has many causes, and "
    "the emotions are a mapping of movements to names",
    "reading emotions of people at work or at school, which the European Union forbids (Regulation "
    "2024/1689, article 5(1)(f))",
    "recognising or finding people",
    "faces unlike those it learned from, of which nothing was measured: other ages, skin, light, "
    "angles, beards, glasses, masks",
)
RENDERED = "synthface"
RENDERED_ONLY = "faces of real people: it learned from rendered ones alone"
_PER_AU = ("au", "average_precision", "f1", "known", "occurrence")
_OF_A_SET = ("name", "digest", "licence", "citation", "version")


def card(
    *,
    about: Mapping[str, Any],
    answers: tuple[str, ...],
    sets: list[dict[str, Any]],
    reports: Mapping[str, Any],
) -> dict[str, Any]:
    """The card.

    Args:
      about: of the bundle: model, parameters, paper, source, licence, step, validation, data.
      answers: names of what it answers.
      sets: as `learned_from` gives them.
      reports: as `read_reports` gives them.
    """
    rendered = bool(sets) and all(s["name"] == RENDERED for s in sets)
    weights = {k: about[k] for k in ("converted", "started_from") if k in about}
    return {
        "model": about["model"],
        "answers": list(answers),
        "parameters": about["parameters"],
        "paper": about["paper"],
        "source": about["source"],
        "licence": about["licence"],
        **({"weights": weights} if weights else {}),
        "data": sets,
        "measured": {"step": about["step"], "training": about["validation"], **reports},
        "intended": INTENDED,
        "not_for": [*NOT_FOR, *([RENDERED_ONLY] if rendered else [])],
    }


def learned_from(experiment: Any, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The record sets of a run: all that is known where they still lie, else names and digests."""
    from jaxfacs.data.mixture import open_data

    data = manifest["data"]
    known = [dict(part) for part in data.get("parts", ())]
    found = [
        {"name": part.get("set", part["name"]), "digest": part["digest"]} for part in known
    ] or [{"name": data["name"], "digest": data["digest"]}]
    try:
        opened = open_data(experiment.data)
    except (UserError, OSError):
        return found
    if opened.digest != data["digest"]:
        return found
    return [
        {key: records.card[key] for key in _OF_A_SET if records.card.get(key)}
        | {
            "splits": {
                split: {"clips": clips, "subjects": len(records.subjects[split])}
                for split, clips in records.splits.items()
            }
        }
        for records in opened.records
    ]


def read_reports(workdir: Path, step: int) -> dict[str, Any]:
    """Split -> what `jaxfacs evaluate` measured of this step: means, and each AU's AP and F1."""
    found = {}
    for path in sorted(_reports(workdir, step)):
        try:
            found[path.parent.parent.name] = _of_report(json.loads(path.read_text()))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # not whole: the card does without
    return found


def _of_report(report: Mapping[str, Any]) -> dict[str, Any]:
    told = {
        "records": report.get("meta", {}).get("records", ""),
        "mean": _values(report.get("mean", {})),
        "calibration": _values(report.get("calibration", {}).get("mean", {})),
        "affect": report.get("affect", {}).get("per_dimension", []),
        "emotion_accuracy": report.get("emotion", {}).get("accuracy"),
        "per_au": [{key: row.get(key) for key in _PER_AU} for row in report.get("per_au", ())],
    }
    return {key: value for key, value in told.items() if value}


def _values(means: Mapping[str, Any]) -> dict[str, Any]:
    return {key: entry["value"] for key, entry in means.items()}


def _reports(workdir: Path, step: int) -> Iterator[Path]:
    folder = place(workdir) / "evaluation"
    if folder.is_dir():
        for split in folder.iterdir():
            if (path := split / str(step) / "report.json").is_file():
                yield path
