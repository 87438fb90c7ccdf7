"""dataset_card.md and .json: what a set holds, under which terms, and how it was made."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxfacs.data.delivery import Builder


def write(
    folder: Path, builder: Builder, labels: Mapping[str, Any], compared: Sequence[str]
) -> None:
    """Writes both cards of a finished set; the same set gives the same bytes."""
    card = content(folder, labels) | {
        "title": builder.title,
        "task": builder.task,
        "labels": builder.labels,
        "obtain": builder.obtain,
        "published_counts": list(compared),
    }
    text = json.dumps(card, indent=1, sort_keys=True)
    (folder / "dataset_card.json").write_text(text + "\n")
    (folder / "dataset_card.md").write_text(markdown(card))


def write_plain(folder: Path, labels: Mapping[str, Any]) -> None:
    """The cards of a set that no owner delivered."""
    card = content(folder, labels)
    (folder / "dataset_card.json").write_text(json.dumps(card, indent=1, sort_keys=True) + "\n")
    (folder / "dataset_card.md").write_text(markdown(card))


def content(folder: Path, labels: Mapping[str, Any]) -> dict[str, Any]:
    """What is true of any set of records: of a builder's, a merged or a resharded one."""
    kept = (
        "name", "version", "licence", "citation", "aus", "emotions", "attributes", "size", "crop",
        "settings", "people", "overlaps", "inputs_sha256", "pixel_mean", "pixel_std",
        "faces_not_found", "left_out", "notes", "digest", "format_version",
    )  # fmt: skip
    splits = {}
    for split, told in labels["splits"].items():
        with np.load(folder / f"index-{split}.npz") as file:
            occurrence_FA = file["occurrence_FA"]
        splits[split] = {
            "clips": told["clips"],
            "frames": told["frames"],
            "frames_with_found_face": told["frames_with_found_face"],
            "subjects": told["subjects"],
            "present": dict(zip(labels["aus"], (occurrence_FA == 1).sum(0).tolist(), strict=True)),
            "coded": dict(zip(labels["aus"], (occurrence_FA >= 0).sum(0).tolist(), strict=True)),
        }
    return {key: labels[key] for key in kept if key in labels} | {"splits": splits}


def markdown(card: Mapping[str, Any]) -> str:
    """The card for people."""
    lines = [f"# {card.get('title', card['name'])}", ""]
    rows = {
        "Task": card.get("task"),
        "Labels": card.get("labels"),
        "Licence": card.get("licence"),
        "How to obtain": card.get("obtain"),
        "Cite": card.get("citation"),
        "Faces": " ".join(map(str, card["crop"].get("steps", ()))) or json.dumps(card["crop"]),
        "Crop": f"{card['size']} × {card['size']} pixels",
        "Mean and deviation of the training pixels": _pixels(card),
        "Settings": ", ".join(f"{k} {v}" for k, v in card["settings"].items()),
        "Version": f"{card['version']}, record format {card['format_version']}",
        "Digest of the inputs": card.get("inputs_sha256"),
        "Digest of the records": card["digest"],
    }
    lines += [f"- **{name}:** {value}" for name, value in rows.items() if value]
    splits = card["splits"]
    lines += ["", "| | " + " | ".join(splits) + " |", "|---|" + "---|" * len(splits)]
    for name in ("clips", "frames", "frames_with_found_face"):
        cells = " | ".join(str(content[name]) for content in splits.values())
        lines.append(f"| {name.replace('_', ' ')} | {cells} |")
    people = [str(len([s for s in c["subjects"] if s]) or "not known") for c in splits.values()]
    lines.append("| subjects | " + " | ".join(people) + " |")
    if card["aus"]:
        lines += ["", "Frames in which an AU is present, of those in which it was coded:", ""]
        lines += ["| AU | " + " | ".join(splits) + " |", "|---|" + "---|" * len(splits)]
        for au in card["aus"]:
            cells = [f"{c['present'][au]} of {c['coded'][au]}" for c in splits.values()]
            lines.append(f"| {au} | " + " | ".join(cells) + " |")
    for title, entries in (
        ("Beside published counts", card.get("published_counts", ())),
        ("Notes", card.get("notes", ())),
    ):
        if entries:
            lines += ["", f"{title}:", "", *(f"- {entry}" for entry in entries)]
    lost = {k: v for k, v in card.get("faces_not_found", {}).items() if v}
    if lost:
        lines += ["", "Frames kept although no face was found, by subject:", ""]
        for split, counts in lost.items():
            told = ", ".join(f"{s or 'unknown'} {n}" for s, n in counts.items())
            lines += [f"- {split}: {told}"] if told else []
    return "\n".join(lines) + "\n"


def _pixels(card: Mapping[str, Any]) -> str:
    mean, std = card.get("pixel_mean"), card.get("pixel_std")
    return f"{mean}, {std} (of 255, by colour)" if mean and None not in mean else ""
