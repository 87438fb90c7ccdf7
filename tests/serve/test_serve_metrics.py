"""The metrics as Prometheus would read them, by a small reader of the text format 0.0.4."""

import re
import time

import httpx
import pytest
from loopback import finished, packed

from jaxfacs.serve.metrics import FAMILIES, Metrics

_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(?:,|$)')


def parsed(text):
    """{(name, labels)} -> value; checks that every sample follows the help and type of its own."""
    assert text.endswith("\n")
    samples, types, family = {}, {}, None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split(" ")[2]
            assert family not in types
            continue
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == family and kind in ("counter", "gauge", "histogram")
            types[name] = kind
            continue
        match = _SAMPLE.fullmatch(line)
        assert match, line
        name, labels, value = match.groups()
        ends = ("", "_bucket", "_sum", "_count") if types[family] == "histogram" else ("",)
        assert name in {family + end for end in ends}, line
        found = _LABEL.findall(labels or "")
        assert "".join(f'{k}="{v}",' for k, v in found).rstrip(",") == (labels or "")
        key = (name, tuple(sorted(found)))
        assert key not in samples
        samples[key] = float(value)
    return samples


def test_counters_add_up_by_label():
    metrics = Metrics()
    metrics.count("jaxfacs_frames_dropped_total", reason="behind")
    metrics.count("jaxfacs_frames_dropped_total", 2, reason="behind")
    metrics.count("jaxfacs_frames_dropped_total", reason='a "quoted"\nline \\')
    samples = parsed(metrics.text())
    assert samples["jaxfacs_frames_dropped_total", (("reason", "behind"),)] == 3
    assert samples["jaxfacs_frames_dropped_total", (("reason", r"a \"quoted\"\nline \\"),)] == 1


def test_histograms_are_cumulative_and_end_in_infinity():
    metrics = Metrics()
    for value in (0.001, 0.002, 0.3, 99):
        metrics.observe("jaxfacs_live_seconds", value, stage="total")
    samples = parsed(metrics.text())
    buckets = {
        dict(labels)["le"]: value
        for (name, labels), value in samples.items()
        if name == "jaxfacs_live_seconds_bucket"
    }
    assert buckets["0.001"] == 1  # a value on the edge belongs below it
    assert buckets["0.0025"] == 2
    assert buckets["0.5"] == 3
    assert buckets["+Inf"] == 4
    assert list(buckets.values()) == sorted(buckets.values())
    assert samples["jaxfacs_live_seconds_count", (("stage", "total"),)] == 4
    assert samples["jaxfacs_live_seconds_sum", (("stage", "total"),)] == pytest.approx(99.303)


def test_gauges_are_read_when_asked():
    metrics, now = Metrics(), [1]
    metrics.gauge("jaxfacs_live_sessions", lambda: {(): now[0]})
    assert parsed(metrics.text())["jaxfacs_live_sessions", ()] == 1
    now[0] = 5
    assert parsed(metrics.text())["jaxfacs_live_sessions", ()] == 5


def test_names_follow_the_conventions():
    for name, kind in FAMILIES.items():
        assert name.endswith("_total") == (kind.type == "counter")
        assert bool(kind.bounds) == (kind.type == "histogram")


def test_every_family_is_told_by_a_server_that_works(loopback, film, jpegs):
    server = loopback()
    with httpx.Client(base_url=server.url) as client:
        finished(client, client.post("/v1/films", content=film))
        live, _ = server.live()
        with live:
            live.send(packed((0, 0.0, jpegs[0]), (1, 0.0, jpegs[0])))
            live.recv(), live.recv()
            live.send('{"type": "stop"}')
            live.recv()
        told: set[str] = set()
        until = time.monotonic() + 20  # the session is counted when its connection is gone
        while "jaxfacs_live_sessions_total" not in told and time.monotonic() < until:
            samples = parsed(client.get("/metrics").text)
            told = {name for name, _ in samples}
    for name, kind in FAMILIES.items():
        assert (name + "_count" if kind.bounds else name) in told, name
    assert samples["jaxfacs_film_frames_total", ()] == 12
    assert samples["jaxfacs_frames_received_total", ()] == 2
    assert samples["jaxfacs_frames_answered_total", ()] == 1
    assert samples["jaxfacs_frames_dropped_total", (("reason", "time"),)] == 1
    assert samples["jaxfacs_clips_total", (("kind", "live"),)] == 1
    assert samples["jaxfacs_clips_total", (("kind", "film"),)] >= 1
    assert samples["jaxfacs_jobs_total", (("state", "done"),)] == 1
    assert samples["jaxfacs_upload_bytes_total", ()] == len(film)


def test_a_server_tells_what_it_did(served):
    client = served()
    client.get("/v1/model")
    client.get("/nowhere/at/all")
    client.get("/v1/jobs/none")
    answer = client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples = parsed(answer.text)

    def requests(route, status):
        labels = (("method", "GET"), ("route", route), ("status", str(status)))
        return samples["jaxfacs_requests_total", labels]

    assert requests("/v1/model", 200) == 1
    assert requests("other", 404) == 1  # names of routes are bounded, whatever is asked for
    assert requests("/v1/jobs/{id}", 404) == 1
    assert samples["jaxfacs_ready", ()] == 1
    assert samples["jaxfacs_queue_length", (("queue", "films"),)] == 0
