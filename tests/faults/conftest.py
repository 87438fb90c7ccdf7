"""The tiny run of tests/train, for faults to be injected into."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "train")]

from tiny_fixtures import config_path, copy_of, records, straight  # noqa: E402, F401
