"""The tiny run."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for tiny_model, as a user's PYTHONPATH would be

from tiny_fixtures import config_path, copy_of, records, straight  # noqa: F401
