"""docs/reliability.md names a test for every fault: it exists, and `make test-faults` runs it."""

import functools
import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "reliability.md").read_text()
CODES = {"0", "1", "2", "3", "4", "6", "75", "137", ""}


def rows() -> list[list[str]]:
    """The tables of faults, without their heads."""
    lines = [line[1:-1].split("|") for line in PAGE.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line] for line in lines]
    return [row for row in cells if len(row) == 5 and row[0] != "fault"]


@functools.cache
def suite(target: str = "test-faults") -> list[Path]:
    """The paths that the target names; of test-long those that it leaves out."""
    said = subprocess.run(
        ["make", "--dry-run", "--always-make", target],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = said.stdout.replace("\\\n", " ").splitlines()
    words = " ".join(line for line in lines if " -m pytest " in line).split()
    return [REPOSITORY / word for word in words if word.startswith("tests/")]


def named_tests() -> set[str]:
    """As path or path::function; "::function" alone is of the file named before it."""
    found, path = set(), ""
    for file, function in re.findall(r"(tests/\S+\.py)?((?:(?<=py)|(?<= ))::\w+)?", PAGE):
        path = file or path
        if file or function:
            found.add(path + function)
    return found


@pytest.mark.parametrize("named", sorted(named_tests()))
def test_each_named_test_exists_and_is_run(named):
    path, _, function = named.partition("::")
    text = (REPOSITORY / path).read_text()
    assert f"\ndef {function or 'test_'}" in text
    assert any((REPOSITORY / path).is_relative_to(there) for there in suite())


def test_each_fault_has_a_test_and_a_code_that_is_one():
    assert len(rows()) > 20
    for fault, happens, code, cost, shown in rows():
        assert fault and happens and shown.startswith("tests/"), fault
        assert set(code.split(", ")) <= CODES, fault
        assert cost or code == "2", fault


def test_no_long_test_is_left_out():
    """`make test` leaves those out that are marked long; they must be in another suite."""
    long = [p for p in (REPOSITORY / "tests").rglob("test_*.py") if "mark.long" in p.read_text()]
    assert len(long) > 5
    left_out, others = suite("test-long"), [*suite(), *suite("test-page")]
    for path in long:
        if any(path.is_relative_to(there) for there in left_out):
            assert any(path.is_relative_to(there) for there in others), path
