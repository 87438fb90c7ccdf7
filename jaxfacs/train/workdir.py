"""The work directory belongs to one experiment: its config.json says which."""

import json
from pathlib import Path
from typing import Any

from jaxfacs.errors import UserError
from jaxfacs.files import one_line, place, replacing
from jaxfacs.train import config as configs
from jaxfacs.train.meter import tell


def compare(workdir: Path, manifest: dict[str, Any], *, accept_changes: bool) -> None:
    """Holds the run to the folder's config.json: a run that changes midway is one run no more.

    Raises UserError listing every field that differs, unless told to accept it, in which case the
    list is printed.
    """
    path = place(workdir) / "config.json"
    if path.exists():
        try:
            old = json.loads(path.read_text())
            # Through the classes: a field that a later version added has its default in an old run.
            before = configs.to_json(configs.from_json(old["experiment"]))
            changes = configs.differences(before, manifest["experiment"])
            changes += configs.differences(_origin(old), _origin(manifest))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path} cannot be read ({one_line(error)}); give another --workdir"
            ) from error
        if changes and not accept_changes:
            raise UserError(
                f"{workdir} holds a run with another config ({'; '.join(changes)}); give it the "
                "same, another --workdir, or --accept-changes to go on with the new one"
            )
        for change in changes:
            tell(f"changed by --accept-changes: {change}")


def claim(workdir: Path, manifest: dict[str, Any]) -> None:
    """Writes config.json, once the run is known to go on with what the folder holds.

    One process does it for all. Raises UserError if it cannot be written.
    """
    path = place(workdir) / "config.json"
    try:
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(manifest, indent=2) + "\n")
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {one_line(error)}; make room or mend access there, then the "
            "same command goes on"
        ) from error


def make(workdir: Path) -> None:
    """Makes the folder, or raises UserError saying why it cannot be."""
    try:
        place(workdir).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make --workdir {workdir} ({one_line(error)}); give a folder you may write to"
        ) from error


def _origin(manifest: dict[str, Any]) -> dict[str, Any]:
    return {
        "aus": manifest["aus"],
        "emotions": manifest["emotions"],
        "records": manifest["data"]["digest"],
    }
