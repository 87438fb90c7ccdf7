from pathlib import Path

import plain_sets
import pytest


@pytest.fixture(scope="session")
def small_set(tmp_path_factory) -> Path:
    """11 training and 5 validation clips of 6 frames, 32 pixels; read only."""
    return plain_sets.write(tmp_path_factory.mktemp("sets") / "small")
