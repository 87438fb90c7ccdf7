"""The table of routes: the one place from which the server and its OpenAPI document are made."""

import re
from typing import Any, NamedTuple

_QUERY_FILM = {
    "name": ("a name for the log; no path", {"type": "string", "maxLength": 200}),
    "baseline": ("none, median or first:SECONDS", {"type": "string", "default": "none"}),
    "smooth_s": ("width of the smoothing in seconds", {"type": "number", "default": 0}),
    "every": ("read every n-th frame", {"type": "integer", "minimum": 1, "default": 1}),
}


class Route(NamedTuple):
    """One method of one path.

    Attributes:
      handler: name of the function in `app`.
      summary: one line for the document.
      answers: status -> (what it means, schema or media type).
      query: name -> (meaning, schema).
      body: media type of the request's body.
      open: whether it can be asked without a token.
    """

    method: str
    path: str
    handler: str
    summary: str
    answers: dict[int, tuple[str, str]]
    query: dict[str, tuple[str, dict[str, Any]]] = {}  # noqa: RUF012 (never changed)
    body: str = ""
    open: bool = False


_JOB = {202: ("it waits to be read", "Job")}

ROUTES: tuple[Route, ...] = (
    Route("GET", "/", "page", "The page.", {200: ("the page", "text/html")}, open=True),
    Route(
        "GET",
        "/page/{file}",
        "page_file",
        "A file of the page.",
        {200: ("the file", "*/*"), 404: ("no such file", "Error")},
        open=True,
    ),
    Route(
        "GET",
        "/v1/model",
        "model",
        "What the network tells apart, and this server's limits.",
        {200: ("the model", "Model")},
        open=True,
    ),
    Route(
        "POST",
        "/v1/films",
        "post_film",
        "Send a film or picture, whose bytes are the body, to be read.",
        {
            **_JOB,
            400: ("a wrong option", "Error"),
            408: ("too slow", "Error"),
            413: ("too large", "Error"),
            415: ("not a film", "Error"),
            429: ("too many films", "Error"),
            507: ("the disk is full", "Error"),
        },
        query=_QUERY_FILM,
        body="application/octet-stream",
    ),
    Route(
        "GET",
        "/v1/jobs/{id}",
        "job",
        "How far a film is.",
        {200: ("the job", "Job"), 404: ("no such job", "Error")},
    ),
    Route(
        "DELETE",
        "/v1/jobs/{id}",
        "delete_job",
        "Cancel and forget a film.",
        {200: ("it is gone", "Job"), 404: ("no such job", "Error")},
    ),
    Route(
        "GET",
        "/v1/jobs/{id}/results",
        "results",
        "What was read: frame by frame, and summed up.",
        {
            200: ("the results", "Results"),
            404: ("no such job", "Error"),
            409: ("not done", "Error"),
        },
        query={"format": ("json or csv", {"type": "string", "enum": ["json", "csv"]})},
    ),
    Route(
        "GET",
        "/v1/examples/{name}",
        "example",
        "An example film.",
        {200: ("the film", "video/*"), 404: ("no such film", "Error")},
        open=True,
    ),
    Route(
        "POST",
        "/v1/examples/{name}",
        "post_example",
        "Read an example film.",
        {**_JOB, 404: ("no such film", "Error"), 429: ("too many films", "Error")},
        query={k: v for k, v in _QUERY_FILM.items() if k != "name"},
    ),
    Route(
        "GET",
        "/healthz",
        "health",
        "Whether the server is ready.",
        {200: ("ready", "Health"), 503: ("not yet, or no longer", "Health")},
        open=True,
    ),
    Route(
        "GET",
        "/metrics",
        "metrics",
        "Counters for Prometheus.",
        {200: ("text format 0.0.4", "text/plain")},
    ),
    Route(
        "GET",
        "/openapi.json",
        "openapi_json",
        "This document.",
        {200: ("OpenAPI 3.1", "application/json")},
        open=True,
    ),
)
LIVE = "/v1/live"
OPEN = frozenset(route.path for route in ROUTES if route.open and route.method == "GET")


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + r"\Z")


_PATTERNS = [(route.path, _pattern(route.path)) for route in ROUTES]


def route_of(method: str, path: str) -> str:
    """The path of the route that answers; "other" for everything else (a bounded set of names)."""
    for name, pattern in _PATTERNS:
        if pattern.match(path):
            return name
    return "other"
