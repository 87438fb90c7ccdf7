"""What a compiled program sends between devices, read from its text (HLO).

Syntax: openxla.org/xla/operation_semantics and what jaxlib 0.10 prints.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

KINDS = (
    *("all-reduce", "reduce-scatter", "all-gather", "all-to-all", "ragged-all-to-all"),
    *("collective-permute", "collective-broadcast"),
)
_BITS = {"pred": 8, "c64": 64, "c128": 128, "token": 0, "opaque": 0}

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*)$")
_OPCODE = re.compile(r"\s*([\w\-]+)\(")
_ARRAY = re.compile(r"\b([a-z]+\d*[a-z0-9]*)\[([\d,<=]*)\]")
_CALLED = re.compile(r"\b(?:calls|to_apply|body|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"\b(?:branch_computations|called_computations)=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


@dataclass(frozen=True)
class Collective:
    """One operation between devices.

    Attributes:
      kind: one of KINDS; a started and later finished one is one.
      arrays: (element type, number of elements) of what a device has after it; of a
        reduce-scatter, before it.
      times: how often it runs in one run of the program: the product of the lengths of the loops
        around it. A branch counts as taken.
      known: false where a loop's length is not in the text; it counts as 1 then.
    """

    name: str
    kind: str
    arrays: tuple[tuple[str, int], ...]
    times: int = 1
    known: bool = True

    @property
    def bytes(self) -> int:
        """Of one run."""
        return sum(math.ceil(count * bits(kind) / 8) for kind, count in self.arrays)


def bits(element_type: str) -> int:
    """Of one element: 32 of f32 and s32, 8 of pred and f8e4m3fn."""
    if element_type in _BITS:
        return _BITS[element_type]
    found = re.match(r"[a-z]+(\d+)", element_type)
    return int(found[1]) if found else 0


def collectives(text: str) -> list[Collective]:
    """Every collective that a program's entry reaches, once for each way to it."""
    computations, entry = _computations(text)
    return list(_reached(computations, entry, 1, True))


def _computations(text: str) -> tuple[dict[str, list[tuple[str, str]]], str]:
    """Name of a computation -> its (instruction, right side) pairs; and the entry's name."""
    found: dict[str, list[tuple[str, str]]] = {}
    entry, current = "", None
    for line in text.splitlines():
        header = None if line[:1].isspace() else _COMPUTATION.match(line)
        if header and "HloModule" not in line:
            current = found.setdefault(header[2], [])
            entry = header[2] if header[1] else entry
        elif current is not None and (instruction := _INSTRUCTION.match(line)):
            current.append((instruction[1], instruction[2]))
    if not entry:
        raise ValueError("the text has no ENTRY computation")
    return found, entry


def _reached(
    computations: dict[str, list[tuple[str, str]]], name: str, times: int, known: bool
) -> Iterator[Collective]:
    for instruction, right in computations.get(name, ()):
        shape, rest = _split_shape(right)
        opcode = _OPCODE.match(rest)
        if not opcode:
            continue
        kind = opcode[1].removesuffix("-start")
        if kind in KINDS:
            arrays = _moved(kind, opcode[1].endswith("-start"), shape, rest)
            yield Collective(instruction, kind, arrays, times, known)
            continue
        more, sure = times, known
        if opcode[1] == "while":
            trips = _TRIPS.search(rest)
            more, sure = times * (int(trips[1]) if trips else 1), known and trips is not None
        called = _CALLED.findall(rest)
        for several in _BRANCHES.findall(rest):
            called += [each.strip().lstrip("%") for each in several.split(",")]
        for each in called:
            yield from _reached(computations, each, more, sure)


def _split_shape(right: str) -> tuple[str, str]:
    """(shape, opcode and the rest) of an instruction's right side; a tuple has parentheses."""
    if not right.startswith("("):
        shape, _, rest = right.partition(" ")
        return shape, rest
    depth = 0
    for place, letter in enumerate(right):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return right[: place + 1], right[place + 1 :]
    return right, ""


def _moved(kind: str, started: bool, shape: str, rest: str) -> tuple[tuple[str, int], ...]:
    arrays = tuple(
        (element, math.prod(int(n) for n in re.findall(r"\d+", sizes)))
        for element, sizes in _ARRAY.findall(re.sub(r"/\*.*?\*/", "", shape))
    )
    if kind == "reduce-scatter":
        parts = re.search(r"replica_groups=\[(\d+),(\d+)\]", rest)
        listed = re.search(r"replica_groups=\{\{([\d,]+)\}", rest)
        group = int(parts[2]) if parts else len(listed[1].split(",")) if listed else 1
        return tuple((element, count * group) for element, count in arrays)
    if started and kind in ("all-gather", "collective-permute"):
        arrays = tuple(array for array in arrays if array != ("u32", 1))  # contexts
        return arrays[len(arrays) // 2 :]  # what came in is listed before what goes out
    return arrays
