"""`jaxfacs serve` as it is typed: where it listens, how it ends, what it leaves."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

from jaxfacs.cli import run_function
from jaxfacs.errors import UserError
from jaxfacs.serve import command


def serve(*args):
    return run_function(command.serve, ("serve",), ["--model", "none.jaxfacs", *args])


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (["--host", "0.0.0.0"], "--open"),
        (["--host", "::"], "--token-file"),
        (["--host", "no.such.host.invalid", "--open"], "no address"),
        (["--port", "70000"], "0 to 65535"),
        (["--token", "short"], "8 or more"),
        (["--token", "a b c d e f g"], "8 or more"),
        (["--token-file", "/nowhere"], "cannot be read"),
        (["--keep", "/dev/null/x"], "cannot be a folder"),
        ([], "no model file none.jaxfacs"),
    ],
)
def test_what_cannot_be_is_named_before_anything_starts(args, error, monkeypatch):
    monkeypatch.delenv("JAXFACS_TOKEN", raising=False)
    with pytest.raises(UserError, match=re.escape(error)):
        serve("--port", "0", *args)


def test_a_token_comes_from_the_command_a_file_or_the_environment(tmp_path, monkeypatch):
    path = tmp_path / "tokens"
    path.write_text("# ours\ntoken-number-one\n\ntoken-number-two\n")
    monkeypatch.setenv("JAXFACS_TOKEN", "token-of-the-environment")
    assert command._tokens("token-of-the-command", path) == ("token-of-the-command",)
    assert command._tokens(None, path) == ("token-number-one", "token-number-two")
    assert command._tokens(None, None) == ("token-of-the-environment",)
    path.write_text("# none\n")
    with pytest.raises(UserError, match="holds no token"):
        command._tokens(None, path)


def test_missing_parts_are_named_with_their_line(monkeypatch):
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"uvicorn.*pip install 'jaxfacs\[serve\]'"):
        serve()


def test_a_port_in_use_is_named():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} of 127.0.0.1 is in use"):
            serve("--port", str(port))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_addresses_of_this_machine_alone(host):
    assert command._is_local(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.org", "10.0.0.1"])
def test_addresses_of_others(host):
    assert not command._is_local(host)


class Process:
    """The command in a process of its own."""

    def __init__(self, model, temporary, *args):
        environment = {**os.environ, "TMPDIR": str(temporary), "JAX_PLATFORMS": "cpu"}
        environment.pop("JAXFACS_TOKEN", None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jaxfacs", "serve", "--model", str(model), "--port", "0", *args],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said: list[str] = []
        threading.Thread(target=self._drain, daemon=True).start()
        line = self.process.stdout.readline()
        assert line.startswith("jaxfacs serves http://127.0.0.1:"), (line, self.said)
        self.url = line.split()[2].rstrip("/")

    def _drain(self):
        self.said += self.process.stderr

    def end(self, sig):
        self.process.send_signal(sig)
        return self.process.wait(timeout=30)


def folders(temporary):
    return sorted(temporary.glob("jaxfacs-serve-*"))


@pytest.mark.long
def test_sigterm_ends_it_cleanly(model, tmp_path):
    server = Process(model, tmp_path)
    assert len(folders(tmp_path)) == 1
    assert httpx.get(f"{server.url}/healthz").json() == {"ready": True}
    begun = time.monotonic()
    assert server.end(signal.SIGTERM) == 0
    assert time.monotonic() - begun < 10
    assert folders(tmp_path) == []
    assert all(re.match(r"\d{4}-\d\d-\d\dT[\d:]+Z [a-z.]+", line) for line in server.said)
    assert [line.split()[1] for line in server.said][-1] == "stopped"


@pytest.mark.long
def test_a_server_removes_what_a_killed_one_left(model, film, tmp_path):
    killed = Process(model, tmp_path)
    httpx.post(f"{killed.url}/v1/films?name=a%0Abc", content=film)
    assert killed.end(signal.SIGKILL) == -signal.SIGKILL
    (left,) = folders(tmp_path)
    server = Process(model, tmp_path)
    assert len(folders(tmp_path)) == 1 and left not in folders(tmp_path)
    assert server.end(signal.SIGTERM) == 0
    assert folders(tmp_path) == []


@pytest.mark.long
def test_ctrl_c_with_clients_and_films_under_way_leaves_nothing(model, film, tmp_path):
    from websockets.sync.client import connect

    server = Process(model, tmp_path, "--token", "a-token-of-the-test")
    headers = {"Authorization": "Bearer a-token-of-the-test"}
    live = connect(server.url.replace("http", "ws") + "/v1/live", additional_headers=headers)
    live.send('{"type": "start", "format": "jpeg"}')
    live.recv()
    for _ in range(3):
        answer = httpx.post(f"{server.url}/v1/films", content=film, headers=headers)
        assert answer.status_code == 202
    assert server.end(signal.SIGINT) == 0
    assert folders(tmp_path) == []
    assert not any("a-token-of-the-test" in line for line in server.said)
    assert not any("Traceback" in line for line in server.said)
