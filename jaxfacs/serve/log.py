"""One line per event, in which nothing that a client sent can begin a line of its own."""

import json
import sys
import time

_LONGEST = 200


def event(name: str, /, **fields: object) -> None:
    """Prints "time name key=value …" to stderr; strings are cut and written as JSON writes them."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    words = [f"{key}={_word(value)}" for key, value in fields.items()]
    print(" ".join([now, name, *words]), file=sys.stderr, flush=True)


def _word(value: object) -> str:
    if isinstance(value, bool | int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    text = str(value)
    return json.dumps(text if len(text) <= _LONGEST else text[:_LONGEST] + "…")
