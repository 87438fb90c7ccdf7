"""FACS notation: reading and writing codes as people and their files spell them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from jaxfacs.errors import UserError
from jaxfacs.facs.catalogue import ACTION_UNITS, INTENSITY_LETTERS

LEFT, RIGHT = "L", "R"  # of the person coded, not of the picture

# Column kinds of OpenFace's files, and `p` for the probability that OpenFace does not give.
COLUMN_KINDS = {"r": "intensity 0-5", "c": "occurrence 0/1", "p": "probability"}

_SEPARATORS = "+,"
_TOKEN = re.compile(
    r"""(?P<prefix>A[UD][\s_-]*)?
        (?P<before>[LR]\s?)?
        (?P<number>\d+)
        (?P<after>[LR])?
        (?P<letter>[A-E])?
        (?P<kind>[\s_-]+(?:intensity|occurrence|presence|probability|r|c|p))?""",
    re.IGNORECASE | re.VERBOSE | re.ASCII,
)
_LABEL = re.compile(r"([LR]?)([1-9]\d?)", re.ASCII)


class CodeError(UserError, ValueError):
    """Text that is no FACS code; knows where the fault is.

    Attributes:
      text: what was read.
      position: index of the first wrong character in `text` (len(text) if something is missing).
      reason: what is wrong, and what to write instead.
    """

    def __init__(self, text: str, position: int, reason: str):
        super().__init__(f"{text!r}, character {position + 1}: {reason}")
        self.text, self.position, self.reason = text, position, reason

    @property
    def caret(self) -> str:
        """The text and, under it, a caret at the fault: two lines for a terminal."""
        return f"{self.text}\n{' ' * self.position}^"


@dataclass(frozen=True, order=True)
class Code:
    """One coded action: number, side of the person ("" both or either), intensity 1-5 or None."""

    au: int
    side: str = ""
    intensity: int | None = None

    def __post_init__(self):
        if self.au not in ACTION_UNITS:
            raise ValueError(f"FACS has no code {self.au}")
        if self.side not in ("", LEFT, RIGHT):
            raise ValueError(f"side {self.side!r} is none of '', 'L', 'R'")
        if self.side and not ACTION_UNITS[self.au].sided:
            raise ValueError(f"FACS {self.au} is not coded on one side")
        if self.intensity is not None and self.intensity not in range(1, 6):
            raise ValueError(f"intensity {self.intensity!r} is none of 1..5 (A..E)")

    @property
    def label(self) -> str:
        """The code without its intensity: "12", "L12"."""
        return f"{self.side}{self.au}"

    def __str__(self) -> str:
        letter = "" if self.intensity is None else INTENSITY_LETTERS[self.intensity - 1]
        return self.label + letter


def parse(text: str) -> tuple[Code, ...]:
    """Reads a FACS formula, in the order written: "R12A+1+2", "1, 2, 5B", "AU 6 + AU12".

    "0" is a neutral face, the empty tuple. A side may stand before or after the number; letters may
    be lower case. Refused: numbers that FACS does not have, a side on a code that has none, a code
    scored twice (also "12+L12": both sides and one).

    Raises:
      CodeError: with the position of the fault.
    """
    if text.strip() == "0":
        return ()
    codes: list[Code] = []
    position = 0
    while True:
        code, start, position = _read_code(text, position)
        _refuse_repeat(text, start, code, codes)
        codes.append(code)
        position = _skip_blanks(text, position)
        if position == len(text):
            return tuple(codes)
        if text[position] not in _SEPARATORS:
            raise CodeError(text, position, f"{text[position]!r} is not expected here; {_HINT}")
        position += 1


def format(codes: Iterable[Code]) -> str:
    """Writes codes as FACS does, in the order given: "R12A+1+2"; "0" for none (neutral)."""
    return "+".join(str(code) for code in codes) or "0"


def parse_label(name: str) -> str:
    """The AU label behind a column name: "AU06_r" -> "6", "'AU 1'" -> "1", "AU12L_c" -> "L12".

    Raises:
      CodeError: if the name is no single FACS code, or carries an intensity letter.
    """
    text = name.strip().strip("'\"")
    code, _, end = _read_code(text, 0)
    if _skip_blanks(text, end) != len(text):
        raise CodeError(text, end, "a label is one code and nothing else, as in 12 or AU12_r")
    if code.intensity is not None:
        raise CodeError(text, end - 1, "a label carries no intensity letter")
    return code.label


def column(label: str, kind: str) -> str:
    """The name of OpenFace's column: ("1", "c") -> "AU01_c", ("L12", "r") -> "AU12L_r".

    Kinds: r intensity, c occurrence, p probability. Labels need not be in the catalogue, because
    EmotioNet has columns for 60 numbers.
    """
    if kind not in COLUMN_KINDS:
        raise ValueError(f"column kind {kind!r} is none of {', '.join(COLUMN_KINDS)}")
    side, number = split_label(label)
    return f"AU{number:02d}{side}_{kind}"


def swap_sides(label: str) -> str:
    """The label that a mirrored picture shows: "L12" -> "R12", "51" (turn left) -> "52"."""
    side, number = split_label(label)
    unit = ACTION_UNITS.get(number)
    if unit is not None and unit.mirror is not None:
        number = unit.mirror
    return {"": "", LEFT: RIGHT, RIGHT: LEFT}[side] + str(number)


def split_label(label: str) -> tuple[str, int]:
    """("L12") -> ("L", 12), ("12") -> ("", 12); CodeError if it is no label."""
    match = _LABEL.fullmatch(label)
    if match is None:
        raise CodeError(label, 0, "not an AU label, as in 12, L12 or R12")
    return match[1], int(match[2])


_HINT = "codes are joined by +, as in 1+2+5B or R12A+R14A"


def _read_code(text: str, position: int) -> tuple[Code, int, int]:
    """The code at `position`, where it starts, and where the text after it begins."""
    start = _skip_blanks(text, position)
    match = _TOKEN.match(text, start)
    if match is None:
        found = repr(text[start]) if start < len(text) else "the end"
        raise CodeError(text, start, f"{found} where a FACS code was expected; {_HINT}")
    if match["before"] and match["after"]:
        raise CodeError(text, match.start("after"), "the side is given twice")
    side = (match["before"] or match["after"] or "").strip().upper()
    number = int(match["number"])
    if number not in ACTION_UNITS:
        reason = "0 (neutral) stands alone" if number == 0 else f"FACS has no code {number}"
        raise CodeError(text, match.start("number"), reason)
    unit = ACTION_UNITS[number]
    if side and not unit.sided:
        where = "before" if match["before"] else "after"
        name = unit.name.lower()
        raise CodeError(text, match.start(where), f"{number} ({name}) is not coded on one side")
    _refuse_clinging(text, match)
    letter = (match["letter"] or "").upper()
    intensity = INTENSITY_LETTERS.index(letter) + 1 if letter else None
    return Code(number, side, intensity), start, match.end()


def _refuse_clinging(text: str, match: re.Match[str]) -> None:
    """Refuses what clings to a code without belonging to it: "12F", "12AB", "AU12_R2"."""
    end = match.end()
    if end < len(text) and (text[end].isalnum() or text[end] in "_-."):
        raise CodeError(
            text, end, f"{text[end]!r} after {match[0].strip()}; intensities are A-E, sides L and R"
        )
    kind = (match["kind"] or "").lstrip(" \t_-")
    if kind.isupper() and len(kind) == 1:
        # AU12_R may mean the right side or OpenFace's intensity column AU12_r: not to be guessed.
        raise CodeError(
            text, end - 1, f"_{kind} is ambiguous; write R12 for a side, AU12_r for an intensity"
        )


def _refuse_repeat(text: str, start: int, code: Code, before: list[Code]) -> None:
    for other in before:
        if other.au == code.au and (other.side == code.side or "" in (other.side, code.side)):
            raise CodeError(text, start, f"{code.label} is scored already, as {other}")


def _skip_blanks(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position
