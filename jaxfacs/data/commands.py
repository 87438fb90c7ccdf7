"""`jaxfacs data …`: list, build, show, download."""

import difflib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated

import tyro

from jaxfacs import facs
from jaxfacs.data.builders import DELIVERED, MADE, builder
from jaxfacs.errors import UserError


def list_builders() -> None:
    """Print the data sets that `jaxfacs data build` knows: what they hold, how to get them."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "task", "labels", "people", "licence", "how to obtain", box=box.SIMPLE)
    for name in (*MADE, *DELIVERED):
        row = MADE[name] if name in MADE else builder(name)
        people = str(getattr(row, "subjects", "") or "-")
        table.add_row(name, row.task, row.labels, people, row.licence, row.obtain)
    console = Console()
    Console(width=console.width if console.is_terminal else 160).print(table)
    print("\nOptions of each: jaxfacs data build NAME --help")


def build(argv: list[str], prog: str) -> None:
    """Build the records of one data set: `jaxfacs data build NAME --source DIR --out DIR`.

    Each builder has its own options, so its name comes first and the rest is parsed for it.
    """
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: {prog} NAME --out DIR [options]; {prog} NAME --help explains them\n")
        list_builders()
        return
    name, *options = argv
    known = (*MADE, *DELIVERED)
    if name not in known:
        near = difflib.get_close_matches(name.replace("-", "_"), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
        raise UserError(f"no data set '{name}'; {hint}")
    if name in MADE:
        function = getattr(import_module(MADE[name].module), MADE[name].function)
    else:
        function = _delivered(name)
    tyro.cli(function, prog=f"{prog} {name}", args=options)


def _delivered(name: str) -> Callable[..., None]:
    """The build of a delivered set, with the options of every set and its own side by side."""
    from jaxfacs.data import build as building

    known = builder(name)

    def function(options, own) -> None:
        building.build(known, options, own)

    function.__doc__ = (
        f"Build records of {known.title} from the folder that its owners deliver.\n\n"
        f"{known.task}. Labels: {known.labels}.\nExpected: {known.layout}.\n"
        f"Licence: {known.licence}. To obtain it: {known.obtain}.\nCite: {known.citation}."
    )
    function.__annotations__ = {
        "options": tyro.conf.OmitArgPrefixes[building.BuildOptions],
        "own": tyro.conf.OmitArgPrefixes[known.options],
        "return": None,
    }
    return function


def verify(folder: Annotated[Path, tyro.conf.Positional]) -> None:
    """Read a record folder whole: every digest, every record, every picture.

    Args:
      folder: what `jaxfacs data build` wrote.
    """
    from jaxfacs.data.verify import verify as whole

    for line in whole(folder):
        print(line)


def merge(
    folders: Annotated[tuple[Path, ...], tyro.conf.Positional], *, out: Path, shard_mb: int = 150
) -> None:
    """Join record sets that were built alike (on several machines, say) into one.

    Args:
      folders: what `jaxfacs data build` wrote.
      out: new folder.
      shard_mb: size of its files in MB.
    """
    from jaxfacs.data import merge

    merge.merge(folders, out, shard_bytes=_shard_bytes(shard_mb))


def reshard(
    folder: Annotated[Path, tyro.conf.Positional], *, out: Path, shard_mb: int = 150
) -> None:
    """Write the same records in files of another size.

    Args:
      folder: what `jaxfacs data build` wrote.
      out: new folder.
      shard_mb: size of its files in MB.
    """
    from jaxfacs.data import merge

    merge.merge((folder,), out, shard_bytes=_shard_bytes(shard_mb))


def tfrecord(
    folder: Annotated[Path, tyro.conf.Positional], *, out: Path, shard_mb: int = 150
) -> None:
    """Write records as TFRecord files of tf.train.Examples, for programs that read those.

    Args:
      folder: what `jaxfacs data build` wrote.
      out: new folder; its features.json says what each feature is.
      shard_mb: size of its files in MB.
    """
    from jaxfacs.data import export_tfrecord

    export_tfrecord.export(folder, out, shard_bytes=_shard_bytes(shard_mb))


def _shard_bytes(shard_mb: int) -> int:
    if shard_mb < 1:
        raise UserError(f"--shard-mb {shard_mb} must be at least 1")
    return shard_mb << 20


def show(
    folder: Annotated[Path, tyro.conf.Positional],
    *,
    out: Path | None = None,
    aus: tuple[str, ...] = (),
    verify: bool = False,
    augment: bool = False,
) -> None:
    """Print what a record folder holds: clips, subjects, occurrence and intensity of every AU.

    Args:
      folder: what `jaxfacs data build` wrote.
      out: folder for the plots (occurrence, intensities, a sheet of samples); none without it.
      aus: these AUs only.
      verify: read every shard and compare its digest first.
      augment: draw every random change of training on one face, as augment.png in `out`, or
        beside the record folder without it.
    """
    from jaxfacs.data import records, show

    opened = records.open_set(folder, verify=verify)
    aus = tuple(facs.parse_label(label) for label in aus)
    print(show.text(opened, aus=aus))
    if out is not None:
        for path in show.plots(opened, out, aus=aus):
            print(f"wrote {path}")
    if augment:
        from jaxfacs.data import augment_sheet

        beside = folder.resolve().with_name(f"{folder.resolve().name}-augment.png")
        path = beside if out is None else out / "augment.png"
        print(f"wrote {augment_sheet.write(opened, path)}")


def download(argv: list[str], prog: str) -> None:
    """Fetch pictures or models from their owners: `jaxfacs data download NAME … --out DIR`.

    An interrupted download goes on where it stopped when the command is given again.
    """
    functions = {"ict-facekit": _download_facekit, "emotionet": _download_emotionet}
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: {prog} NAME … --out DIR [options]; {prog} NAME --help explains them\n")
        for name, function in functions.items():
            print(f"{name:<11}  {(function.__doc__ or '').splitlines()[0]}")
        print("\nAn interrupted download goes on when the same command is given again.")
        return
    name, *options = argv
    if name not in functions:
        raise UserError(f"nothing called '{name}' to download; there is: {', '.join(functions)}")
    tyro.cli(functions[name], prog=f"{prog} {name}", args=options)


def _download_facekit(*, out: Path, url: str = "", keep_archive: bool = False) -> None:
    """The ICT Face Model Light, unpacked and checked.

    Args:
      out: new folder for the unpacked files.
      url: address of the archive, if not the owners'.
      keep_archive: keep the archive beside the folder.
    """
    from jaxfacs.data.download import fetch

    fetch("ict-facekit", out, url=url, keep_archive=keep_archive)


def _download_emotionet(
    lists: Annotated[tuple[Path, ...], tyro.conf.Positional],
    *,
    out: Path,
    limit: int = 0,
    connections: int = 32,
    per_host: int = 4,
    rate: float = 4.0,
    timeout: float = 30.0,
    retries: int = 3,
    user_agent: str = "",
    max_mb: float = 32.0,
    max_megapixels: float = 50.0,
    placeholder_from: int = 10,
    again: bool = False,
    allow_private: bool = False,
) -> None:
    """The pictures of EmotioNet's lists, or of any list of addresses.

    Writes pictures/, names.csv, failures.csv, duplicates.csv and the journal by which the same
    command goes on. Where the first address of a row gives no picture, the second is tried.

    Args:
      lists: the owners' sheet (.xlsx, .csv), dataFile_*.txt, or one address a line.
      out: folder for the pictures and tables.
      limit: only so many rows; 0: all.
      connections: at once, to all hosts together.
      per_host: connections at once to each host.
      rate: requests a second to each host.
      timeout: seconds for one request, to its last byte.
      retries: further tries after failures that may pass (timeouts, 5xx, 429, resets).
      user_agent: what servers are told; jaxfacs/VERSION if empty. A contact is polite.
      max_mb: megabytes of one picture.
      max_megapixels: of one picture.
      placeholder_from: so many addresses that give the same bytes are a placeholder; 0: never.
      again: try once more what earlier runs could not get.
      allow_private: fetch also from this machine and private networks.
    """
    from jaxfacs.data.download_pictures import Settings
    from jaxfacs.data.download_pictures import download as fetch_pictures

    settings = Settings(
        connections=connections,
        per_host=per_host,
        rate=rate,
        timeout_s=timeout,
        retries=retries,
        user_agent=user_agent or Settings.user_agent,
        max_bytes=int(max_mb * 1e6),
        max_pixels=int(max_megapixels * 1e6),
        placeholder_from=placeholder_from,
        again=again,
        allow_private=allow_private,
    )
    print(fetch_pictures(lists, out, settings, limit=limit))
    print(f"{out}: pictures/, names.csv, failures.csv, duplicates.csv")
