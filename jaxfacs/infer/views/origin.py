"""What lies beside a table: NAME.json, which `jaxfacs predict` writes about NAME.csv."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def beside(table_path: str | Path) -> dict[str, Any]:
    """The origin of a table; empty where there is none, or it is another kind of file."""
    path = Path(table_path).with_suffix(".json")
    if path == Path(table_path):
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def thresholds(origin: Mapping[str, Any]) -> dict[str, float]:
    """AU label -> probability from which it is present; empty where the origin does not tell."""
    settings = origin.get("settings")
    told = settings.get("thresholds") if isinstance(settings, Mapping) else None
    if not isinstance(told, Mapping):
        return {}
    return {
        str(label): float(value)
        for label, value in told.items()
        if isinstance(value, (int, float)) and 0 <= value <= 1
    }


def warnings(origin: Mapping[str, Any]) -> list[str]:
    """What `jaxfacs predict` warned of."""
    told = origin.get("warnings")
    return [str(text) for text in told] if isinstance(told, list) else []


def mapper(origin: Mapping[str, Any]) -> dict[str, Any] | None:
    """The emotion mapper as JSON, where the emotions come from AUs."""
    told = origin.get("emotion_mapper")
    return told if isinstance(told, dict) else None


def own_emotions(origin: Mapping[str, Any]) -> bool:
    """Whether the network names emotions itself."""
    settings = origin.get("settings")
    return isinstance(settings, Mapping) and settings.get("emotions_from") == "network"
