"""Numbers, lists and tables of the card of shipped weights, as Markdown."""

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from jaxfacs import facs

WIDTH = 125


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def bullets(lines: Iterable[str]) -> str:
    return "\n".join(wrapped(f"- {line}", "  ") for line in lines)


def number(value: float | None, decimals: int = 2) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


def span(ends: Sequence[float] | None, decimals: int = 2) -> str:
    return "-" if ends is None else f"{ends[0]:.{decimals}f} to {ends[1]:.{decimals}f}"


def listed(aus: Iterable[str]) -> str:
    """By number, a whole AU before its sides."""
    return ", ".join(in_order(aus)) or "none"


def in_order(aus: Iterable[str]) -> list[str]:
    return sorted(aus, key=lambda au: facs.split_label(au)[::-1])
