"""`jaxfacs serve`: the page, films and live frames, answered by one network."""

import errno
import importlib.util
import ipaddress
import os
import socket
from pathlib import Path

from jaxfacs.errors import UserError
from jaxfacs.infer import shipped
from jaxfacs.serve.limits import Limits

_PARTS = ("starlette", "uvicorn", "websockets")


def serve(
    *,
    model: str = shipped.DEFAULT,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    token_file: Path | None = None,
    origin: tuple[str, ...] = (),
    open: bool = False,
    behind_proxy: bool = False,
    keep: Path | None = None,
    detector: str | None = None,
    batch: int | None = None,
    workers: int | None = None,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
) -> int:
    """Serve a web page, an HTTP API and live frames over websockets.

    Films are read one after the other, live frames of all clients together, by one network.
    Nothing of a film stays after it was read but its results, in memory, for a while. On this
    machine alone (127.0.0.1) nobody is asked for a token; for other addresses one is needed.

    Args:
      model: a .jaxfacs file that `jaxfacs export` wrote, or the name of weights that come with the
        package: default or clip
      host: address to listen on; 0.0.0.0 is every one of this machine
      port: to listen on; 0: any that is free
      token: what clients must show; better in a file or in JAXFACS_TOKEN, where other users of this
        machine do not see it
      token_file: file of tokens, one a line
      origin: another site whose pages may ask, as in https://example.org
      open: listen on another address than this machine's own without a token
      behind_proxy: believe the addresses that a proxy on this machine passes on
      keep: folder in which films and their tables stay; without it nothing does
      detector: haar, or the path of a YuNet .onnx file; default: as the model's records were cut
      batch: clips that the network reads at once (8 on a CPU, 64 elsewhere)
      workers: threads that look for faces in live frames (half of the cores)
      limits: what one client may ask for
    """
    _refuse_without_parts()
    tokens = _tokens(token, token_file)
    local = _is_local(host)
    if not local and not tokens and not open:
        raise UserError(
            f"everybody who reaches {host} could use this server; give --token-file or "
            "JAXFACS_TOKEN, or say --open"
        )
    if keep is not None:
        try:
            keep.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{keep} cannot be a folder ({error.strerror}); choose another --keep"
            ) from error
    listener = _listener(host, port)
    from jaxfacs.serve import run

    run.run(
        model,
        listener,
        tokens=tokens,
        origins=tuple(o.rstrip("/").lower() for o in origin),
        host=host if local and not tokens else None,
        behind_proxy=behind_proxy,
        keep=keep,
        detector=detector,
        batch=batch,
        workers=workers,
        limits=limits,
    )
    return 0


def _refuse_without_parts() -> None:
    missing = [name for name in _PARTS if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"{', '.join(missing)} not installed; install with: pip install 'jaxfacs[serve]'"
        )


def _tokens(token: str | None, token_file: Path | None) -> tuple[str, ...]:
    if token is not None:
        given = [token]
    elif token_file is not None:
        try:
            given = [t.strip() for t in token_file.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{token_file} cannot be read ({error}); give a text file") from error
        given = [t for t in given if t and not t.startswith("#")]
        if not given:
            raise UserError(f"{token_file} holds no token; write one a line")
    else:
        given = [os.environ["JAXFACS_TOKEN"]] if os.environ.get("JAXFACS_TOKEN") else []
    for one in given:
        if len(one) < 8 or not one.isascii() or not one.isprintable() or " " in one:
            raise UserError(
                "a token is 8 or more letters, digits and signs without spaces; make one with: "
                "python -c 'import secrets; print(secrets.token_urlsafe())'"
            )
    return tuple(given)


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listener(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet: the port is ours, and closed until we are ready."""
    if not 0 <= port <= 65535:
        raise UserError(f"--port is {port}; give 0 to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise UserError(f"there is no address {host} ({error.strerror}); check --host") from error
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"port {port} of {host} is in use; stop what uses it, or give another --port"
            ) from error
        raise UserError(
            f"cannot listen on port {port} of {host} ({error.strerror}); give another --host or "
            "--port"
        ) from error
    return listener
