"""What one process finds out and all must know."""

from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxfacs.errors import UserError

LONGEST = 8192  # bytes of a message


def on_first(action: Callable[[], None]) -> None:
    """Runs `action` on the first process; the others wait, and all raise its UserError.

    Every process must call it at the same place. `action` may take minutes.
    """
    if jax.process_count() == 1:
        return action()
    # Gloo waits 30 s for all to come to their first collective, but for ever in those after it.
    multihost_utils.sync_global_devices("before the first process acts")
    told = ""
    if jax.process_index() == 0:
        try:
            action()
        except UserError as error:
            told = str(error)
    words = told.encode()[:LONGEST].ljust(LONGEST, b"\0")
    heard = multihost_utils.broadcast_one_to_all(np.frombuffer(words, np.uint8))
    if told := np.asarray(heard).tobytes().rstrip(b"\0").decode(errors="ignore"):
        raise UserError(told)
