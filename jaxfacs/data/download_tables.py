"""What a download leaves to read, from its journal: names, failures, duplicates, a summary."""

import csv
import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from jaxfacs.data.download_journal import Ending
from jaxfacs.data.emotionet_list import Problems
from jaxfacs.files import replacing

PLACEHOLDERS = "placeholders"


def by_digest(endings: Iterable[Ending]) -> dict[str, list[Ending]]:
    """The pictures that several addresses gave, in the order of the list."""
    groups: dict[str, list[Ending]] = defaultdict(list)
    for ending in endings:
        if ending.file:
            groups[ending.sha256].append(ending)
    return {
        digest: sorted(group, key=_order)
        for digest, group in sorted(groups.items())
        if len(group) > 1
    }


def share_duplicates(folder: Path, groups: dict[str, list[Ending]], placeholder_from: int) -> None:
    """Keeps the bytes of each group once on the disk, under every name (hard links).

    A picture that `placeholder_from` or more addresses gave ("this picture is not available") shows
    nobody: its names are removed and one copy stays in placeholders/ to look at. With another
    threshold the names come back.
    """
    for group in groups.values():
        aside = placeholder_path(folder, group[0])
        names = [folder / ending.file for ending in group]
        first = next((path for path in (aside, *names) if path.exists()), None)
        if first is None:  # somebody removed them; the next run fetches them again
            continue
        if is_placeholder(group, placeholder_from):
            if first != aside:
                aside.parent.mkdir(exist_ok=True)
                _link(first, aside)
            for name in names:
                name.unlink(missing_ok=True)
            continue
        for name in names:
            if name != first and not (name.exists() and name.samefile(first)):
                _link(first, name)
        aside.unlink(missing_ok=True)


def placeholder_path(folder: Path, ending: Ending) -> Path:
    """Where the picture of a placeholder is kept."""
    return folder / PLACEHOLDERS / f"{ending.sha256}.jpg"


def is_placeholder(group: list[Ending], placeholder_from: int) -> bool:
    return 0 < placeholder_from <= len(group)


def _link(source: Path, target: Path) -> None:
    with replacing(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:  # a file system without hard links
            temporary.write_bytes(source.read_bytes())


def write(
    folder: Path,
    endings: Iterable[Ending],
    groups: dict[str, list[Ending]],
    placeholder_from: int,
    problems: Problems,
) -> None:
    """Writes names.csv, failures.csv and duplicates.csv, each whole or not at all."""
    endings = sorted(endings, key=_order)
    aside = {e.url for g in groups.values() if is_placeholder(g, placeholder_from) for e in g}
    _table(
        folder / "names.csv",
        "url file list row address sha256 width height sent_as converted",
        (
            (e.url, e.file, e.source, e.row, e.address, e.sha256, e.width, e.height, e.original,
             int(e.converted))
            for e in endings
            if e.file and e.url not in aside
        ),
    )  # fmt: skip
    _table(
        folder / "failures.csv",
        "url list row address kind http_code attempts time picture message",
        _failures(endings, aside, problems),
    )
    _table(
        folder / "duplicates.csv",
        "sha256 copies placeholder file url list row",
        (
            (digest, len(group), int(is_placeholder(group, placeholder_from)), e.file, e.url,
             e.source, e.row)
            for digest, group in groups.items()
            for e in group
        ),
    )  # fmt: skip


def _failures(endings: list[Ending], aside: set[str], problems: Problems):
    for e in endings:
        picture = "from the other address" if e.file else "none"
        for t in e.tried:
            yield (
                e.url, e.source, e.row, t.address, t.kind, t.code, t.attempts, t.time, picture,
                t.message,
            )  # fmt: skip
        if e.url in aside:
            text = f"the same bytes as many other addresses: {PLACEHOLDERS}/{e.sha256}.jpg"
            yield e.url, e.source, e.row, e.address, "placeholder", 200, 1, "", "none", text
    for source, row, text in problems.rows:
        yield "", source, row, "", "bad row", 0, 0, "", "none", text


def _table(path: Path, header: str, rows: Iterable[tuple]) -> None:
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header.split())
        # Messages come from servers: one line each, nothing that a terminal would obey.
        writer.writerows([_printable(c) if isinstance(c, str) else c for c in row] for row in rows)


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def _order(ending: Ending) -> tuple[str, int]:
    return ending.source, ending.row


def summary(
    endings: Iterable[Ending],
    groups: dict[str, list[Ending]],
    placeholder_from: int,
    *,
    missing: int,
    repeated: int,
    problems: Problems,
) -> str:
    """The table that ends the command: how many pictures, and why the others are missing."""
    endings = list(endings)
    kept = [e for e in endings if e.file]
    aside = sum(len(g) for g in groups.values() if is_placeholder(g, placeholder_from))
    copies = sum(len(g) - 1 for g in groups.values() if not is_placeholder(g, placeholder_from))
    rows = [("pictures", len(kept) - aside)]
    rows += [("  of them from the second address", sum(bool(e.tried) for e in kept))]
    for original, count in sorted(Counter(e.original for e in kept if e.converted).items()):
        rows.append((f"  of them converted from {original}", count))
    rows += [("  of them the same bytes as another", copies)]
    rows += [("placeholders (many addresses, the same bytes)", aside)]
    lost = Counter(_cause(e) for e in endings if not e.file)
    rows += sorted(lost.items(), key=lambda item: (-item[1], item[0]))
    rows += [("not yet fetched", missing)]
    rows += [("rows that repeat an address", repeated), ("rows not understood", len(problems.rows))]
    rows = [row for i, row in enumerate(rows) if row[1] or i == 0]
    width = max(len(text) for text, _ in rows)
    return "\n".join(f"{text:<{width}}  {count:>9,}" for text, count in rows)


def _cause(ending: Ending) -> str:
    """Of the first address: the second is often dead as well and says less."""
    first = ending.tried[0] if ending.tried else None
    if first is None:
        return "unknown"
    return f"HTTP {first.code}" if first.kind == "http" else first.kind
