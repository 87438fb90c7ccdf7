"""`jaxfacs bench serve`, short: every frame is answered or told as dropped."""

import re

import pytest

from jaxfacs.bench import serve


def numbers(text):
    sent, answered, dropped = re.search(
        r"sent (\d+), answered (\d+), dropped and told (\d+)", text
    ).groups()
    return int(sent), int(answered), int(dropped)


@pytest.fixture
def film_path(film, tmp_path):
    path = tmp_path / "drawn.avi"
    path.write_bytes(film)
    return path


@pytest.mark.long
def test_no_frame_of_many_clients_is_lost_in_silence(model, film_path, capfd):
    assert serve.main(model=model, film=film_path, clients=4, fps=10, seconds=4) == 0
    said = capfd.readouterr().out
    sent, answered, dropped = numbers(said)
    assert sent == 160 == answered + dropped
    assert answered > 0
    assert "neither answered nor told: 0" in said
    assert all(name in said for name in ("p50", "p95", "p99", "round trip", "memory"))


def test_a_server_that_runs_can_be_measured(loopback, film_path, capsys):
    server = loopback()
    address = server.url
    assert serve.main(address=address, film=film_path, clients=2, fps=10, seconds=0.5) == 0
    sent, answered, dropped = numbers(capsys.readouterr().out)
    assert sent == 10 == answered + dropped


def test_a_silent_server_is_found_out(capsys):
    one = serve.Client(sent={3: 0.0, 4: 0.1}, round_trip_ms=[5.0], stages_ms=[(1, 2, 3, 6)])
    one.dropped["behind"] = 2
    assert serve._report([one], 1, 10, 1, 1.0, None, None) == 1
    said = capsys.readouterr().out
    assert numbers(said) == (5, 1, 2) and "neither answered nor told: 2" in said
