"""`jaxfacs data …`: list, build, show, download."""

import difflib
from importlib import import_module
from pathlib import Path
from typing import Annotated

import tyro

from jaxfacs import facs
from jaxfacs.data.builders import BUILDERS
from jaxfacs.errors import UserError


def list_builders() -> None:
    """Print the data sets that `jaxfacs data build` knows: what they hold, their licence."""
    width = max(map(len, BUILDERS))
    for name, builder in BUILDERS.items():
        print(f"{name:<{width}}  {builder.content}")
        print(f"{'':<{width}}  source: {builder.source}; licence: {builder.licence}")
    print("\nOptions of each: jaxfacs data build NAME --help")


def build(argv: list[str], prog: str) -> None:
    """Build the records of one data set: `jaxfacs data build NAME --out DIR [options]`.

    Each builder has its own options, so its name comes first and the rest is parsed for it.
    """
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: {prog} NAME --out DIR [options]; {prog} NAME --help explains them\n")
        list_builders()
        return
    name, *options = argv
    if name not in BUILDERS:
        near = difflib.get_close_matches(name, BUILDERS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(BUILDERS)}"
        raise UserError(f"no data set '{name}'; {hint}")
    function = getattr(import_module(BUILDERS[name].module), BUILDERS[name].function)
    tyro.cli(function, prog=f"{prog} {name}", args=options)


def show(
    folder: Annotated[Path, tyro.conf.Positional],
    *,
    out: Path | None = None,
    aus: tuple[str, ...] = (),
    verify: bool = False,
) -> None:
    """Print what a record folder holds: clips, subjects, occurrence and intensity of every AU.

    Args:
      folder: what `jaxfacs data build` wrote.
      out: folder for the plots (occurrence, intensities, a sheet of samples); none without it.
      aus: these AUs only.
      verify: read every shard and compare its digest first.
    """
    from jaxfacs.data import records, show

    opened = records.open_set(folder, verify=verify)
    aus = tuple(facs.parse_label(label) for label in aus)
    print(show.text(opened, aus=aus))
    if out is not None:
        for path in show.plots(opened, out, aus=aus):
            print(f"wrote {path}")


def download(
    what: Annotated[str, tyro.conf.Positional],
    *,
    out: Path,
    url: str = "",
    keep_archive: bool = False,
) -> None:
    """Fetch what its owners publish openly: the ICT Face Model Light (`ict-facekit`).

    An interrupted download goes on where it stopped when the command is given again.

    Args:
      what: ict-facekit.
      out: new folder for the unpacked files.
      url: address of the archive, if not the owners'.
      keep_archive: keep the archive beside the folder.
    """
    from jaxfacs.data.download import fetch

    fetch(what, out, url=url, keep_archive=keep_archive)
