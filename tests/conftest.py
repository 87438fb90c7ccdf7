"""Fixtures that every folder of tests may use."""

import os
import signal
from pathlib import Path

import pytest

# Tests compile many small programs: keep them between runs and between test processes.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# A shell starts what runs in its background deaf to Ctrl-C, and so would be all that tests start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real films and head models that lies beside a developer's checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip("../shared/data is not here: checks on real films and the ICT head left out")
    return SHARED_DATA
