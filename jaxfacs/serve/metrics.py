"""What the server has done, in Prometheus' text format (version 0.0.4)."""

import bisect
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SHARES = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)

Labels = tuple[tuple[str, str], ...]


class Kind(NamedTuple):
    """One family: its type, its help, the upper bounds of a histogram's buckets."""

    type: str
    help: str
    bounds: tuple[float, ...] = ()


FAMILIES: dict[str, Kind] = {
    "jaxfacs_requests_total": Kind("counter", "HTTP requests by route, method and status."),
    "jaxfacs_request_seconds": Kind("histogram", "Time to a response, by route.", _SECONDS),
    "jaxfacs_live_sessions": Kind("gauge", "Live sessions that are open."),
    "jaxfacs_live_sessions_total": Kind("counter", "Live sessions ever, by how they ended."),
    "jaxfacs_frames_received_total": Kind("counter", "Live frames that came in."),
    "jaxfacs_frames_answered_total": Kind("counter", "Live frames that were answered."),
    "jaxfacs_frames_dropped_total": Kind("counter", "Live frames dropped, by reason."),
    "jaxfacs_live_seconds": Kind("histogram", "Time of a live frame, by stage.", _SECONDS),
    "jaxfacs_batches_total": Kind("counter", "Batches the network has run, by their size."),
    "jaxfacs_clips_total": Kind("counter", "Clips the network has read, by kind of client."),
    "jaxfacs_batch_fill": Kind("histogram", "Share of a batch that held clips.", _SHARES),
    "jaxfacs_network_seconds": Kind("histogram", "Time of one batch in the network.", _SECONDS),
    "jaxfacs_queue_length": Kind("gauge", "What waits: live clips, film clips, films."),
    "jaxfacs_jobs": Kind("gauge", "Films the server knows, by state."),
    "jaxfacs_jobs_total": Kind("counter", "Films that came to an end, by state."),
    "jaxfacs_film_frames_total": Kind("counter", "Frames of films that were read."),
    "jaxfacs_upload_bytes_total": Kind("counter", "Bytes of films that came in."),
    "jaxfacs_ready": Kind("gauge", "1 once the network is compiled."),
}


class Metrics:
    """Counters and histograms that any thread may add to; gauges are read when asked for."""

    def __init__(self):
        self._lock = threading.Lock()
        self._counts: dict[str, dict[Labels, float]] = {}
        self._histograms: dict[str, dict[Labels, list[float]]] = {}
        self._gauges: dict[str, Callable[[], Mapping[Labels, float]]] = {}

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        assert FAMILIES[name].type == "counter"
        key = tuple(sorted(labels.items()))
        with self._lock:
            rows = self._counts.setdefault(name, {})
            rows[key] = rows.get(key, 0) + amount

    def observe(self, name: str, value: float, **labels: str) -> None:
        bounds = FAMILIES[name].bounds
        key = tuple(sorted(labels.items()))
        with self._lock:
            rows = self._histograms.setdefault(name, {})
            row = rows.setdefault(key, [0.0] * (len(bounds) + 2))
            row[bisect.bisect_left(bounds, value)] += 1
            row[-1] += value  # the sum

    def gauge(self, name: str, read: Callable[[], Mapping[Labels, float]]) -> None:
        """`read` gives the values by labels, (("queue", "live"),) -> 3, at the time of asking."""
        assert FAMILIES[name].type == "gauge"
        self._gauges[name] = read

    def text(self) -> str:
        with self._lock:
            counts = {name: dict(rows) for name, rows in self._counts.items()}
            histograms = {
                name: {key: list(row) for key, row in rows.items()}
                for name, rows in self._histograms.items()
            }
        lines: list[str] = []
        for name, kind in FAMILIES.items():
            lines += [f"# HELP {name} {kind.help}", f"# TYPE {name} {kind.type}"]
            if kind.type == "histogram":
                lines += _histogram(name, kind.bounds, histograms.get(name, {}))
                continue
            rows = self._gauges[name]() if name in self._gauges else counts.get(name, {})
            lines += [f"{name}{_labels(key)} {_number(v)}" for key, v in sorted(rows.items())]
        return "\n".join(lines) + "\n"


def _histogram(
    name: str, bounds: tuple[float, ...], rows: Mapping[Labels, list[float]]
) -> Iterator[str]:
    for key, row in sorted(rows.items()):
        below = 0.0
        for bound, amount in zip((*bounds, float("inf")), row, strict=False):
            below += amount
            edge = "+Inf" if bound == float("inf") else _number(bound)
            yield f"{name}_bucket{_labels((*key, ('le', edge)))} {_number(below)}"
        yield f"{name}_sum{_labels(key)} {_number(row[-1])}"
        yield f"{name}_count{_labels(key)} {_number(below)}"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
