"""EmotioNet (Fabian Benitez-Quiroz et al. 2016): photographs from the web, 60 columns of AUs.

The owners give lists of addresses and labels, no pictures. By hand: EmotioNet_FACS_*.xlsx (24,600
rows), also seen as .csv. By machine: dataFile_XXXX.txt (950,000 rows in all). See `emotionet_list`
for their forms. Of the 60 columns 3 and 47-49 are no codes of FACS. Pictures are found where
`jaxfacs data download emotionet` puts them, or anywhere in the folder by the end of their address
(radekd91/inferno: inferno/datasets/EmotioNetDataModule.py keeps them by that).
"""

import csv
import hashlib
import os
import posixpath
import re
import urllib.parse
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from jaxfacs import facs
from jaxfacs.data import emotionet_list
from jaxfacs.data.builders import reading
from jaxfacs.data.delivery import Builder, Delivery, Known, LeftOut, Pictures, Recording
from jaxfacs.data.download_journal import JOURNAL, picture_path
from jaxfacs.errors import UserError

AUS = {
    "all": tuple(au for au in facs.DATASET_AUS["emotionet_60"] if int(au) in facs.ACTION_UNITS),
    "2017": facs.DATASET_AUS["emotionet_11"],
    "2018": facs.DATASET_AUS["emotionet_12"],
    "2020": facs.DATASET_AUS["emotionet_23"],
}
NO_CODES = tuple(sorted(set(facs.DATASET_AUS["emotionet_60"]) - set(AUS["all"]), key=int))
PICTURES = (*reading.PICTURES, ".gif", ".webp")
LISTS = {"manual": (".xlsx", ".csv"), "automatic": (".txt",)}
PER_RECORDING = 256  # nobody knows who is in the pictures: these are dealt to processes


@dataclass(frozen=True)
class Options:
    """What can be chosen for EmotioNet.

    Attributes:
      labels: the coders' sheet, or the lists that a program labelled.
      label_list: name of the list, where the folder holds several; patterns (*) are allowed.
      aus: those of the challenge of 2017 (11; Bartissol 2017), 2018 (12) or 2020 (23), or all that
        the list codes.
      complete: leave out pictures in which any of these AUs is unknown (Bartissol 2017, §4.3).
      protocol: random: each picture to test or training by the digest of its address, so that it
        stays there in every build; dealt: by --validation and --test, 256 neighbours at a time.
      held_out: share of the test split under `random` (inferno: 0.1; Bartissol 2017: 0.3).
    """

    labels: Literal["manual", "automatic"] = "manual"
    label_list: str = ""
    aus: Literal["2017", "2018", "2020", "all"] = "all"
    complete: bool = False
    protocol: Literal["random", "dealt"] = "random"
    held_out: float = 0.1


def read(source: Path, options: Options) -> Delivery:
    """The lists and pictures in `source`; see the module for what is expected."""
    if not 0 <= options.held_out < 1:
        raise UserError(f"--held-out {options.held_out} is not between 0 and 1")
    folder = _Folder.of(source)
    paths = _lists(folder, options)
    problems = emotionet_list.Problems()
    labelled, left_out, read_rows = _labelled(paths, folder.sha256_of, problems)
    left_out += [LeftOut("", None, text, file, row) for file, row, text in problems.rows]
    notes = [f"labels of {', '.join(reading.relative(source, path) for path in paths)}"]
    notes += _list_notes(labelled, problems, read_rows)
    aus = AUS[options.aus]
    if options.aus == "all":
        aus = _coded(labelled, aus)
        notes.append(f"AUs coded in at least one row: {' '.join(aus) or 'none'}")
    found, lost = _find(folder, labelled)
    left_out += lost
    column = [int(au) - 1 for au in aus]
    kept = [(path, item, item.occurrence_60[column]) for path, item in found]
    if options.complete:
        left_out += [
            LeftOut(path, None, "not all AUs coded", item.source, item.row)
            for path, item, label_A in kept
            if (label_A < 0).any()
        ]
        kept = [row for row in kept if (row[2] >= 0).all()]
    notes.append(f"pictures found: {len(found)} of {len(labelled)}")
    if not kept:
        raise UserError(
            f"no picture of {paths[0].name} can be used: {len(found)} of {len(labelled)} were "
            f"found below {source}; fetch them: jaxfacs data download emotionet {paths[0].name} "
            f"--out {source / 'downloaded'}"
        )
    return Delivery(
        recordings=list(_recordings(kept, options)),
        aus=aus,
        inputs=(*paths, *folder.names_files),
        left_out=left_out,
        notes=notes,
        root=source,
    )


@dataclass(eq=False)
class _Labelled:
    """One picture of the list: where it stood first, its addresses, and its labels."""

    source: str
    row: int
    url: str
    orig_url: str
    occurrence_60: np.ndarray


@dataclass(frozen=True, eq=False)
class _Folder:
    """What lies in the delivery.

    Attributes:
      source: the folder.
      lists: files that may hold labels.
      pictures: base name in lower case -> paths relative to `source`.
      downloads: folders that the downloader wrote.
      names_files, sha256_of: its tables, and the digest of each address's picture.
    """

    source: Path
    lists: list[Path] = field(default_factory=list)
    pictures: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    downloads: list[Path] = field(default_factory=list)
    names_files: list[Path] = field(default_factory=list)
    sha256_of: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, source: Path) -> "_Folder":
        if not source.is_dir():
            raise UserError(f"--source {source} is not a folder")
        folder = cls(source)
        visited = set()
        for top, folders, files in os.walk(source, followlinks=True):
            real = os.path.realpath(top)
            folders[:] = [] if real in visited else sorted(folders)
            visited.add(real)
            here = Path(top)
            downloaded = JOURNAL in files
            if downloaded:
                folder.downloads.append(here)
                folder._read_names(here / "names.csv")
                folders[:] = [name for name in folders if name != "placeholders"]
            for name in sorted(files):
                suffix = os.path.splitext(name)[1].lower()
                if name.startswith((".", "~$")):
                    continue
                if suffix in PICTURES:
                    folder.pictures[name.lower()].append(reading.relative(source, here / name))
                elif suffix in (".xlsx", ".csv", ".txt") and not downloaded:
                    folder.lists.append(here / name)
        return folder

    def _read_names(self, path: Path) -> None:
        """The downloader's own table; without it the same picture twice goes unseen."""
        if not path.is_file():
            return
        self.names_files.append(path)
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row.get("url") and row.get("sha256"):
                    self.sha256_of[row["url"]] = row["sha256"]


def _lists(folder: _Folder, options: Options) -> list[Path]:
    """The label lists that are meant; a sheet with a password gives way to one without."""
    wanted = [
        path
        for path in folder.lists
        if (path.match(options.label_list) if options.label_list else _is_list(path, options))
    ]
    if not wanted:
        other = "automatic" if options.labels == "manual" else "manual"
        there = [p for p in folder.lists if _is_list(p, Options(labels=other))]
        names = ", ".join(p.name for p in folder.lists[:8]) or "no .xlsx, .csv or .txt"
        hint = f"; there is {there[0].name}: --labels {other}" if there else ""
        expected = "EmotioNet_FACS_*.xlsx or .csv" if options.labels == "manual" else "dataFile_*"
        raise UserError(
            f"{folder.source} is not EmotioNet as delivered: expected "
            f"{options.label_list or expected}, found {names}{hint}"
        )
    if options.labels == "automatic":
        return wanted
    open_ones = [path for path in wanted if not _locked(path)] or wanted
    if len(open_ones) > 1:
        names = ", ".join(reading.relative(folder.source, path) for path in open_ones)
        raise UserError(f"{len(open_ones)} lists of labels: {names}; say which: --label-list NAME")
    return open_ones


def _is_list(path: Path, options: Options) -> bool:
    if path.suffix.lower() not in LISTS[options.labels]:
        return False
    if options.labels == "automatic":
        return path.name.lower().startswith("datafile")
    if path.suffix.lower() == ".xlsx":
        return "emotio" in path.name.lower()
    with open(path, encoding="latin-1") as file:
        header = file.readline(1 << 16).lower()
    return (
        re.search(r"\burl\b", header) is not None
        and re.search(r"\bau[ _]?0?1\b", header) is not None
    )


def _locked(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(4) == b"\xd0\xcf\x11\xe0"


def _labelled(
    paths: Sequence[Path], sha256_of: Mapping[str, str], problems: emotionet_list.Problems
) -> tuple[list[_Labelled], list[LeftOut], int]:
    """One entry for each picture, in the order of the lists; contradictions; how many rows.

    Rows are about one picture when they have the same address, or when the downloader found the
    same bytes behind their addresses. What one row leaves unknown another may say.
    """
    of_picture: dict[str, _Labelled] = {}
    clashes: dict[str, list[_Labelled]] = defaultdict(list)
    count = 0
    for row in (row for path in paths for row in emotionet_list.read(path, problems)):
        count += 1
        label_60 = np.array(row.occurrence_60, np.int8)
        item = _Labelled(row.source, row.number, row.url, row.orig_url, label_60)
        key = sha256_of.get(row.url, row.url)
        first = of_picture.setdefault(key, item)
        if first is item:
            continue
        known_60 = (first.occurrence_60 >= 0) & (label_60 >= 0)
        if key in clashes or (first.occurrence_60 != label_60)[known_60].any():
            clashes[key].append(item)
            continue
        first.occurrence_60 = np.where(first.occurrence_60 >= 0, first.occurrence_60, label_60)
    left_out = [
        LeftOut(item.url, None, "label clash", item.source, item.row)
        for key, others in clashes.items()
        for item in (of_picture.pop(key), *others)
    ]
    return list(of_picture.values()), left_out, count


def _list_notes(
    labelled: Sequence[_Labelled], problems: emotionet_list.Problems, read_rows: int
) -> list[str]:
    notes = []
    if read_rows > len(labelled):
        notes.append(f"{read_rows} rows are about {len(labelled)} pictures without contradiction")
    if problems.odd_values:
        values = ", ".join(f"{value!r} ({n})" for value, n in sorted(problems.odd_values.items()))
        notes.append(f"values that are neither 0, 1 nor 999, taken as unknown: {values}")
    if problems.skipped_sheets:
        notes.append(f"sheets without addresses: {', '.join(problems.skipped_sheets)}")
    wrong = _coded(labelled, NO_CODES)
    if wrong:
        notes.append(f"columns {' '.join(wrong)} hold labels but are no codes of FACS: left out")
    return notes


def _coded(labelled: Iterable[_Labelled], aus: Sequence[str]) -> tuple[str, ...]:
    known_60 = np.zeros(emotionet_list.AU_COUNT, bool)
    for item in labelled:
        known_60 |= item.occurrence_60 >= 0
    return tuple(au for au in aus if known_60[int(au) - 1])


def _find(
    folder: _Folder, labelled: Sequence[_Labelled]
) -> tuple[list[tuple[str, _Labelled]], list[LeftOut]]:
    """(path, item) of each picture that is there; the others, with the reason."""
    left_out = []
    claims: dict[str, list[tuple[int, _Labelled]]] = defaultdict(list)
    for item in labelled:
        path, depth = _path_of(folder, item)
        if path:
            claims[path].append((depth, item))
        else:
            reason = "missing" if depth == 0 else "several files have its name"
            left_out.append(LeftOut(item.url, None, reason, item.source, item.row))
    found = []
    for path, claimants in claims.items():
        deepest = max(depth for depth, _ in claimants)
        best = [item for depth, item in claimants if depth == deepest]
        for _, item in claimants:
            if len(best) == 1 and item is best[0]:
                found.append((path, item))
            else:
                reason = "missing" if len(best) == 1 else "several addresses have its name"
                left_out.append(LeftOut(item.url, None, reason, item.source, item.row))
    place = {id(item): i for i, item in enumerate(labelled)}
    return sorted(found, key=lambda pair: place[id(pair[1])]), left_out


_EXACT = 1 << 20  # deeper than any address


def _path_of(folder: _Folder, item: _Labelled) -> tuple[str, int]:
    """Where its picture lies and how many parts of the address say so.

    ("", 0): nowhere. ("", depth): several files end alike.
    """
    name = picture_path(item.url)
    base = name.rsplit("/", 1)[1].lower()
    for path in folder.pictures.get(base, ()) if folder.downloads else ():
        if path.lower().endswith(name.lower()):
            return path, _EXACT
    ambiguous = 0
    for url in (item.url, item.orig_url):
        parts = _parts(url)
        ends = [(_common(path, parts), path) for path in folder.pictures.get(parts[-1], ())]
        if not ends:
            continue
        depth = max(ends)[0]
        deepest = [path for common, path in ends if common == depth]
        if len(deepest) == 1:
            return deepest[0], depth
        ambiguous = depth
    return "", ambiguous


def _parts(url: str) -> list[str]:
    """The parts of an address's path, lower case: ["n_1", "n_1_00001.jpg"]."""
    try:
        path = urllib.parse.unquote(urllib.parse.urlsplit(url).path)
    except ValueError:
        path = ""
    return path.lower().strip("/").split("/")


def _common(path: str, parts: Sequence[str]) -> int:
    """How many of the last parts are the same."""
    ours = path.lower().split("/")
    return len(posixpath.commonprefix([ours[::-1], list(parts)[::-1]]))


def _recordings(
    kept: Sequence[tuple[str, _Labelled, np.ndarray]], options: Options
) -> Iterator[Recording]:
    number: Counter = Counter()
    waiting: dict[str, list] = defaultdict(list)
    random = options.protocol == "random"

    def recording(split: str) -> Recording:
        rows = waiting.pop(split)
        number[split] += 1
        return Recording(
            name=f"{split}/{number[split]:05d}",
            subject="",
            frames=Pictures(tuple(path for path, _, _ in rows)),
            occurrence_TA=np.stack([label_A for _, _, label_A in rows]),
            stills=True,
            split=split if random else None,
        )

    for row in kept:
        split = "pictures"
        if random:
            split = "test" if _share(row[1].url) < options.held_out else "train"
        waiting[split].append(row)
        if len(waiting[split]) == PER_RECORDING:
            yield recording(split)
    for split in sorted(waiting):
        yield recording(split)


def _share(url: str) -> float:
    """A number in [0, 1) that is the address's own, the same in every list and build."""
    digest = hashlib.sha256(b"emotionet split\n" + url.encode("utf-8", "surrogatepass"))
    return int.from_bytes(digest.digest()[:8], "big") / 2**64


BUILDER = Builder(
    name="emotionet",
    title="EmotioNet",
    task="AUs in photographs from the web",
    labels="occurrence of up to 56 AUs, most of them unknown in most pictures",
    subjects=0,
    licence="data access form of Ohio State University; not for commercial use",
    obtain="the form at cbcsl.ece.ohio-state.edu/EmotionNetChallenge gives the lists; then "
    "jaxfacs data download emotionet LIST --out DIR",
    citation="Fabian Benitez-Quiroz, Srinivasan and Martinez, EmotioNet, CVPR 2016",
    read=read,
    options=Options,
    layout="EmotioNet_FACS_*.xlsx or dataFile_*.txt, and the pictures (downloaded, flat or nested)",
    frames=1,
    faces=("haar",),
    known=(
        Known(
            "rows of EmotioNet_FACS_aws_2020_24600.xlsx; many addresses are dead by now",
            {"frames": 24600},
            {"labels": "manual", "complete": False},
        ),
        Known(
            "Bartissol 2017, §4.3: 10,282 + 4,424 pictures that he could fetch",
            {"frames": 14706},
            {"labels": "manual", "aus": "2017", "complete": True},
        ),
    ),
    may_lack=True,
)
