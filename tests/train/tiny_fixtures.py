"""Records and a config of the tiny run, and the straight run that others are compared with."""

from pathlib import Path

import pytest
import tiny


@pytest.fixture(scope="session")
def records(tmp_path_factory) -> Path:
    return tiny.write_records(tmp_path_factory.mktemp("data") / "records")


@pytest.fixture(scope="session")
def config_path(records, tmp_path_factory) -> Path:
    return tiny.write_config(tmp_path_factory.mktemp("config"), records)


@pytest.fixture(scope="session")
def straight(config_path, tmp_path_factory) -> Path:
    """The work directory of the run that nobody interrupted."""
    from jaxfacs import cli

    workdir = tmp_path_factory.mktemp("straight")
    assert cli.main(["train", str(config_path), "--workdir", str(workdir)]) == 0
    return workdir


@pytest.fixture
def copy_of(straight, tmp_path):
    """A function that gives a fresh copy of the straight run, to be damaged."""
    import shutil

    def copy() -> Path:
        return Path(shutil.copytree(straight, tmp_path / "copy"))

    return copy
