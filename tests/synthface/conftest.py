"""The ICT head's files, unpacked once for all tests that need them."""

import os
import tarfile

import pytest


@pytest.fixture(scope="session")
def ict_folder(shared_data, tmp_path_factory):
    """The FaceXModel folder of the ICT Face Model Light; its parse is cached beside it."""
    archive = shared_data / "ICT-FaceKit.tar.xz"
    if not archive.is_file():
        pytest.skip("../shared/data/ICT-FaceKit.tar.xz is not here: the ICT head is not tested")
    folder = tmp_path_factory.mktemp("ict")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    yield folder / "FaceXModel"
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before
