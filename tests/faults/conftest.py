"""The tiny run of tests/train, for faults to be injected into."""

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "train")]

import faulty  # noqa: E402
from tiny_fixtures import config_path, copy_of, records, straight  # noqa: E402, F401


@pytest.fixture(scope="session")
def cached(tmp_path_factory) -> dict[str, str]:
    """An environment in which what one run compiles serves the next."""
    return {"JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled"))}


@pytest.fixture(scope="session")
def together(config_path, tmp_path_factory, cached) -> Path:  # noqa: F811
    """The work directory of a run of two processes that nobody disturbed."""
    workdir = tmp_path_factory.mktemp("together")
    found = faulty.ends(faulty.several(2, "", "train", config_path, "--workdir", workdir, **cached))
    assert [code for code, _ in found] == [0, 0], found
    return workdir
