"""The OpenAPI document, made from the table of routes."""

import re
from functools import cache
from typing import Any

from jaxfacs import __version__
from jaxfacs.serve.routes import LIVE, ROUTES, Route

_NUMBER, _TEXT, _WHOLE = {"type": "number"}, {"type": "string"}, {"type": "integer"}
_NUMBERS = {"type": "array", "items": _NUMBER}
_TEXTS = {"type": "array", "items": _TEXT}
_MAYBE_NUMBER = {"type": ["number", "null"]}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


_REASONS = _array({"type": "array", "description": "[AU, or 'no AU' where it is absent, weight]"})
SCHEMAS: dict[str, Any] = {
    "Error": _object(error={"type": "string", "description": "one line: what is wrong"}),
    "Health": _object(ready={"type": "boolean"}),
    "Job": {
        "type": "object",
        "description": "POST answers with id and url; GET with everything else and id.",
        "properties": {
            "id": _TEXT,
            "url": _TEXT,
            "state": {"enum": ["queued", "running", "done", "failed", "cancelled"]},
            "frames": {"type": "integer", "description": "read so far"},
            "total": {"type": ["integer", "null"], "description": "to expect"},
            "seconds_left": _MAYBE_NUMBER,
            "error": {"type": ["string", "null"]},
            "queue_place": {"type": ["integer", "null"], "description": "1: it is next"},
        },
        "required": ["id"],
    },
    "Model": _object(
        name=_TEXT,
        version=_TEXT,
        aus=_array(
            _object(
                label=_TEXT,
                name=_TEXT,
                region=_TEXT,
                ellipses={
                    **_array(_NUMBERS),
                    "description": "[cx, cy, rx, ry] in shares of the face's box",
                },
            )
        ),
        emotions=_TEXTS,
        thresholds={"type": "object", "additionalProperties": _NUMBER},
        valence_arousal={"type": "boolean"},
        card={"type": "object"},
        limits={"type": "object", "additionalProperties": _NUMBER},
        examples=_array(_object(name=_TEXT, title=_TEXT, url=_TEXT, film=_TEXT)),
        token_required={"type": "boolean"},
    ),
    "Why": _object(
        emotion=_TEXT, probability=_NUMBER, **{"for": _REASONS}, against=_REASONS, unjudged=_TEXTS
    ),
    "Face": _object(
        id={"type": "integer", "description": "stays with the face through the film"},
        confidence={"type": "number", "description": "0 to 1, of the network or else the detector"},
        unsure={"type": "boolean", "description": "its confidence is below the model's threshold"},
        box={**_NUMBERS, "description": "x, y, w, h in pixels"},
        p={**_NUMBERS, "description": "probability of each AU, 0 to 1"},
        r={**_NUMBERS, "description": "intensity of each AU, 0 to 5"},
        c={**_array(_WHOLE), "description": "1 where the AU is present"},
        emotions={**_NUMBERS, "description": "score of each emotion, 0 to 1"},
        valence_arousal={"type": ["array", "null"], "items": _NUMBER},
        why={"anyOf": [_ref("Why"), {"type": "null"}]},
    ),
    "Frame": _object(
        frame={"type": "integer", "description": "number in the film, from 1"},
        timestamp={"type": "number", "description": "seconds"},
        readable={"type": "boolean"},
        faces=_array(_ref("Face")),
    ),
    "Results": _object(
        aus=_TEXTS,
        emotions=_TEXTS,
        fps=_MAYBE_NUMBER,
        duration_s=_NUMBER,
        width=_WHOLE,
        height=_WHOLE,
        warnings=_TEXTS,
        frames=_array(_ref("Frame")),
        summary=_object(
            faces=_WHOLE,
            top=_WHOLE,
            aus=_array(
                _object(
                    label=_TEXT,
                    name=_TEXT,
                    share_present=_NUMBER,
                    mean_intensity=_NUMBER,
                    peak_time=_NUMBER,
                )
            ),
            emotions=_array(_object(name=_TEXT, mean=_NUMBER, share_top=_NUMBER)),
        ),
    ),
}

_LIVE_TEXT = """A websocket. The client's first message is the text
{"type": "start", "format": "jpeg" or "raw", "width", "height", "baseline", "smooth_s"}; the server
answers {"type": "ready", "window", "max_frames_per_message"}. Then binary messages of 1 to 16
frames, each a little-endian uint32 sequence (rising), float64 time in seconds (rising), uint32
length, and that many bytes: a JPEG, or width*height*3 bytes of RGB. For each frame the server says,
in order of sequence, {"type": "result", "sequence", "timestamp", "latency_ms": {"wait", "detect",
"network", "total"}, "faces": [Face], "readable"} or {"type": "dropped", "sequence", "reason"}. The
client may say {"type": "baseline", "action": "set", "seconds": 2} (the last seconds are this
person's neutral face) or {"action": "clear"}, answered {"type": "baseline", "set"}; and {"type":
"stop"}, answered {"type": "stopped", "frames", "dropped"}. What is wrong is told in {"type":
"error", "error"} before the server closes. A browser gives the token as ?token=."""


@cache
def document() -> dict[str, Any]:
    """OpenAPI 3.1."""
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    paths[LIVE] = {
        "get": {
            "operationId": "live",
            "summary": "Live frames over a websocket.",
            "description": " ".join(_LIVE_TEXT.split()),
            "parameters": [
                {"name": "token", "in": "query", "required": False, "schema": {"type": "string"}}
            ],
            "responses": {"101": {"description": "the websocket"}},
        }
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "jaxfacs",
            "version": __version__,
            "description": "Facial Action Units and emotions of films and live frames.",
        },
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", route.path)
    ]
    parameters += [
        {"name": name, "in": "query", "required": False, "description": meaning, "schema": schema}
        for name, (meaning, schema) in route.query.items()
    ]
    operation: dict[str, Any] = {
        "operationId": route.handler,
        "summary": route.summary,
        "parameters": parameters,
        "responses": {
            str(status): _response(meaning, kind) for status, (meaning, kind) in _all(route).items()
        },
        "security": [] if route.open else [{"token": []}, {}],
    }
    if route.body:
        schema = {"type": "string", "format": "binary"}
        content = {route.body: {"schema": schema}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _all(route: Route) -> dict[int, tuple[str, str]]:
    everywhere = {403: ("a name or origin that may not ask", "Error")}
    if not route.open:
        everywhere[401] = ("no token, or a wrong one", "Error")
    return {**route.answers, **everywhere}


def _response(meaning: str, kind: str) -> dict[str, Any]:
    if "/" in kind:
        return {"description": meaning, "content": {kind: {}}}
    return {"description": meaning, "content": {"application/json": {"schema": _ref(kind)}}}
