"""The example films that lie beside the page."""

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent / "page" / "examples"


class Example(NamedTuple):
    """A film that anybody may ask for by its name."""

    name: str
    title: str
    path: Path

    def to_json(self) -> dict[str, Any]:
        url = f"/v1/examples/{self.name}"
        return {"name": self.name, "title": self.title, "url": url, "film": self.path.name}


@cache
def listed() -> dict[str, Example]:
    """Those that examples.json lists: [{"name", "title", "film"}]."""
    table = FOLDER / "examples.json"
    if not table.is_file():
        return {}
    rows = json.loads(table.read_text(encoding="utf-8"))
    return {r["name"]: Example(r["name"], r["title"], FOLDER / r["film"]) for r in rows}
