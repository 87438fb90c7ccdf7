"""Brings the processes of a run together before JAX joins them, so that who is missing is told.

JAX 0.10 aborts a process, with a stack and no name, where another one does not come, and ends by a
segmentation fault where its port is taken. So process 0 first listens on that port itself, until
all others have come, and then leaves it to JAX.
"""

import contextlib
import errno
import selectors
import socket
import time

from jaxfacs.errors import UserError

PORT_S = 30.0  # that a former run on the same port may take to end
STEP_S = 0.1  # between two attempts


def meet(address: str, count: int, index: int, *, timeout_s: float) -> None:
    """Returns on each of `count` processes once all of them are there.

    A process that ends before the others came may be started again and takes its place.

    Raises UserError on every process, saying who did not come or why process 0 is not reached.
    """
    host, port = split(address)
    end = time.monotonic() + timeout_s
    if index == 0:
        _gather(host, port, count, end, timeout_s)
    else:
        _join(host, port, count, index, end, timeout_s)


def split(address: str) -> tuple[str, int]:
    """(host, port) of "host:port" or "[::1]:port"."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise UserError(f"the coordinator's address is '{address}'; give host:port")
    return host, int(port)


def is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _gather(host: str, port: int, count: int, end: float, timeout_s: float) -> None:
    """Process 0: waits for a line "jaxfacs INDEX COUNT" of each, then answers "go" or "no WHY"."""
    here: dict[int, socket.socket] = {}
    with contextlib.ExitStack() as open_links, selectors.DefaultSelector() as events:
        door = open_links.enter_context(_listen(host, port, end))
        events.register(door, selectors.EVENT_READ)

        def leave(number: int) -> None:
            events.unregister(here[number])
            here.pop(number).close()

        try:
            while len(here) < count - 1:
                ready = events.select(max(end - time.monotonic(), 0))
                if not ready and time.monotonic() >= end:
                    lacking = [str(i) for i in range(1, count) if i not in here]
                    who = ", ".join(lacking[:8]) + (", ..." if len(lacking) > 8 else "")
                    raise UserError(
                        f"of {count} processes these did not come to {host}:{port} within "
                        f"{timeout_s:g} s: {who}; start all of them, and see their logs"
                    )
                for key, _ in ready:
                    if key.fileobj is not door:  # they say no more: it ended
                        leave(key.data)
                        continue
                    link, number, counted = _received(door)
                    if link is None:
                        continue
                    open_links.enter_context(link)
                    if counted != count or not 0 < number < count:
                        why = f"process {number} was told of {counted} processes, process 0 of"
                        _say(link, f"no {why} {count}")
                        raise UserError(f"{why} {count}; give all the same number")
                    if number in here:
                        _say(here[number], f"no another process came as number {number}")
                        leave(number)
                    here[number] = link
                    events.register(link, selectors.EVENT_READ, number)
            _reach(host, port, end)
        except UserError as error:
            for link in here.values():
                _say(link, f"no {error}")
            raise
        door.close()  # JAX is to listen there
        for link in here.values():
            _say(link, "go")


def _join(host: str, port: int, count: int, index: int, end: float, timeout_s: float) -> None:
    """Process `index`: comes to process 0, again and again, until it answers."""
    while True:
        why = "something else listens there"
        try:
            with socket.create_connection(
                (host, port), max(end - time.monotonic(), STEP_S)
            ) as link:
                # Process 0 decides, whose time may have begun as late as now.
                link.settimeout(timeout_s + 5)
                _say(link, f"jaxfacs {index} {count}")
                answer = _line(link)
        except OSError as error:
            answer, why = "", error.strerror or str(error)
        if answer == "go":
            return _reach(host, port, end)
        if answer.startswith("no "):
            raise UserError(answer.removeprefix("no "))
        if time.monotonic() >= end:
            raise UserError(
                f"process 0 of the run does not answer at {host}:{port} within {timeout_s:g} s "
                f"({why}); is it started, and this its address?"
            )
        time.sleep(STEP_S)


def _listen(host: str, port: int, end: float) -> socket.socket:
    """A listening socket: of a loopback address on that alone, else on all of this machine's."""
    patience = min(end, time.monotonic() + PORT_S)
    while True:
        try:
            if is_loopback(host):
                family = socket.getaddrinfo(host, port)[0][0]
                return socket.create_server((host, port), family=family)
            if socket.has_dualstack_ipv6():
                return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
            return socket.create_server(("", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= patience:
                raise UserError(
                    f"process 0 cannot listen on port {port} ({error.strerror or error}); does "
                    "another run use it? give another one"
                ) from error
        time.sleep(STEP_S)


def _received(door: socket.socket) -> tuple[socket.socket | None, int, int]:
    """(its connection, index, count) of who came; (None, 0, 0) of what is none of ours."""
    link, _ = door.accept()
    link.settimeout(5)
    words = _line(link).split()
    if len(words) == 3 and words[0] == "jaxfacs" and words[1].isdigit() and words[2].isdigit():
        return link, int(words[1]), int(words[2])
    link.close()
    return None, 0, 0


def _reach(host: str, port: int, end: float) -> None:
    """Returns once somebody listens there, as JAX then need not try twice (a second each)."""
    while True:
        try:
            return socket.create_connection((host, port), timeout=5).close()
        except OSError as error:
            if time.monotonic() >= end:
                raise UserError(
                    f"{host}:{port} is not reached ({error.strerror or error}); is it the address "
                    "of process 0?"
                ) from error
        time.sleep(STEP_S / 10)


def _say(link: socket.socket, text: str) -> None:
    with contextlib.suppress(OSError):  # it ended meanwhile
        link.sendall(text.encode() + b"\n")


def _line(link: socket.socket) -> str:
    """One line, or what came of it; "" where nothing did."""
    data = b""
    with contextlib.suppress(OSError):
        while not data.endswith(b"\n") and len(data) < 4096:
            more = link.recv(1024)
            if not more:
                break
            data += more
    return data.decode(errors="replace").strip()
