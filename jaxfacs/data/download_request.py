"""One request for one picture: bounded in time and bytes, every way to fail told apart.

The kinds of failure begin with those that Bartissol 2017 (§3.1.2) counted while downloading
EmotioNet: HTTP 404, 400/401/403/410, 500/502/503/504 and 301/302, unknown host, timeout,
connection reset, connection refused, no route to host and failed certificates.
"""

import contextlib
import email.utils
import errno
import http.client
import io
import ipaddress
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass

CHUNK = 1 << 16
ACCEPT = "image/jpeg,image/png,image/gif,image/webp,image/bmp;q=0.9,*/*;q=0.5"
PASSING_4XX = frozenset((408, 425, 429))
FINAL_5XX = frozenset((501, 505))  # not implemented, not this version of HTTP

# kind of failure -> whether another try may end better
KINDS: dict[str, bool] = {
    "http": False,  # or True, by its code: see _passes
    "bad redirect": False,  # 3xx that leads nowhere, in a circle, or out of http(s)
    "unknown host": False,
    "DNS temporary failure": True,
    "timeout": True,
    "connection reset": True,
    "connection refused": True,
    "no route to host": True,
    "bad certificate": False,
    "TLS failure": False,
    "cut off": True,  # fewer bytes than announced
    "not HTTP": False,
    "bad address": False,
    "private address": False,
    "too large": False,
    "network failure": True,
}
# Kinds that say nothing about the picture: no server answered.
UNANSWERED = frozenset(
    (
        "unknown host",
        "DNS temporary failure",
        "timeout",
        "connection reset",
        "connection refused",
        "no route to host",
        "network failure",
    )
)


class Failure(Exception):
    """A request that gave no picture.

    Attributes:
      kind: a key of `KINDS`, or what is wrong with the bytes.
      code: of HTTP; 0 where no server answered.
      passing: whether another try may end better.
      wait_s: how long the server asks to wait (Retry-After), 0 if it does not say.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        code: int = 0,
        passing: bool | None = None,
        wait_s: float = 0.0,
    ):
        super().__init__(message)
        self.kind, self.code, self.wait_s = kind, code, wait_s
        self.passing = KINDS.get(kind, False) if passing is None else passing


@dataclass(frozen=True)
class Redirect:
    """The server knows the picture under another address."""

    url: str
    code: int


@dataclass(frozen=True)
class Body:
    """What the server sent; `whole` says whether its length was announced and met."""

    data: bytes
    content_type: str
    whole: bool


def host_of(url: str) -> str:
    """ "Example.org:8080" of an address, lower case; "" where there is none."""
    try:
        return urllib.parse.urlsplit(url).netloc.rpartition("@")[2].lower()
    except ValueError:
        return ""


def normal(url: str) -> str:
    """An address as it may be sent: blanks and letters beyond ASCII escaped, fragment dropped.

    Raises:
      Failure: "bad address".
    """
    try:
        parts = urllib.parse.urlsplit(url.strip())
        host = (parts.hostname or "").encode("idna").decode("ascii")
        port = parts.port
    except (ValueError, UnicodeError) as error:
        raise Failure("bad address", f"{url[:200]!r}: {error}") from error
    if parts.scheme.lower() not in ("http", "https") or not host:
        raise Failure("bad address", f"{url[:200]!r} is no http(s) address")
    host = f"[{host}]" if ":" in host else host
    netloc = host if port is None else f"{host}:{port}"
    keep = "/%:=&?~+!$,;'@()*[]"
    return urllib.parse.urlunsplit(
        (
            parts.scheme.lower(),
            netloc,
            urllib.parse.quote(parts.path, safe=keep) or "/",
            urllib.parse.quote(parts.query, safe=keep),
            "",
        )
    )


class Requester:
    """Sends requests; may be shared by threads."""

    def __init__(
        self, *, timeout_s: float, max_bytes: int, user_agent: str, allow_private: bool = False
    ):
        self.timeout_s = timeout_s
        self.max_bytes = max_bytes
        self.allow_private = allow_private
        self.headers = {
            "User-Agent": user_agent,
            "Accept": ACCEPT,
            "Accept-Encoding": "identity",
        }
        self.proxies = urllib.request.getproxies()
        # No handler of redirects and of error codes: both are the caller's to judge.
        self._opener = urllib.request.OpenerDirector()
        for handler in (urllib.request.ProxyHandler(self.proxies), _Handler()):
            self._opener.add_handler(handler)

    def get(self, url: str) -> Body | Redirect:
        """The answer to one request.

        Raises:
          Failure: with its kind.
        """
        deadline = time.monotonic() + self.timeout_s
        url = normal(url)
        try:
            self._refuse_private(url)
            request = urllib.request.Request(url, headers=self.headers)
            answer = self._opener.open(request, timeout=max(0.001, deadline - time.monotonic()))
            assert isinstance(answer, http.client.HTTPResponse)
            with answer:
                return self._read(answer, url)
        except Failure:
            raise
        except Exception as error:  # each library raises its own; none may end the whole download
            raise failure_of(error) from error

    def _refuse_private(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        assert parts.hostname is not None
        proxied = parts.scheme in self.proxies and not urllib.request.proxy_bypass(parts.hostname)
        if self.allow_private or proxied:  # a proxy resolves names itself
            return
        port = parts.port or (443 if parts.scheme == "https" else 80)
        for *_, address in socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM):
            if not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_global:
                raise Failure(
                    "private address", f"{parts.hostname} is {address[0]}; see --allow-private"
                )

    def _read(self, answer: http.client.HTTPResponse, url: str) -> Body | Redirect:
        code = answer.status
        if 300 <= code < 400:
            return Redirect(_target(answer, url), code)
        if code != 200:
            raise Failure(
                "http",
                f"{code} {answer.reason}"[:200],
                code=code,
                passing=_passes(code),
                wait_s=_retry_after(answer.headers.get("Retry-After")),
            )
        if answer.length is not None and answer.length > self.max_bytes:
            raise Failure("too large", f"{answer.length} bytes announced", code=code)
        announced, data = answer.length, bytearray()
        while block := answer.read(CHUNK):
            data += block
            if len(data) > self.max_bytes:
                raise Failure("too large", f"more than {self.max_bytes} bytes", code=code)
        if announced is not None and len(data) < announced:
            raise Failure("cut off", f"{len(data)} of {announced} bytes", code=code)
        whole = announced is not None or answer.chunked
        return Body(bytes(data), answer.headers.get_content_type(), bool(whole))


def _passes(code: int) -> bool:
    return code in PASSING_4XX or (code >= 500 and code not in FINAL_5XX)


def _target(answer: http.client.HTTPResponse, url: str) -> str:
    location = answer.headers.get("Location")
    if not location:
        raise Failure("bad redirect", f"{answer.status} without a Location", code=answer.status)
    with contextlib.suppress(UnicodeError):  # headers are read as Latin-1, servers write UTF-8
        location = location.encode("latin-1").decode("utf-8")
    try:
        target = urllib.parse.urljoin(url, location)
        scheme = urllib.parse.urlsplit(target).scheme.lower()
    except ValueError as error:
        raise Failure("bad redirect", f"to {location[:200]!r}", code=answer.status) from error
    if scheme not in ("http", "https"):
        raise Failure("bad redirect", f"to {location[:200]!r}, not http(s)", code=answer.status)
    return target


def _retry_after(text: str | None) -> float:
    """Seconds from now; the header holds seconds or a date (RFC 9110, §10.2.3)."""
    if not text:
        return 0.0
    if text.strip().isdecimal():
        return float(text.strip()[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def failure_of(error: BaseException) -> Failure:
    """What an exception of the network libraries means."""
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, BaseException):
        error = error.reason
    text = f"{type(error).__name__}: {error}"[:200]
    if isinstance(error, socket.gaierror):
        temporary = error.errno == socket.EAI_AGAIN
        return Failure("DNS temporary failure" if temporary else "unknown host", text)
    for types, kind in _KIND_OF_TYPE:
        if isinstance(error, types):
            return Failure(kind, text)
    if isinstance(error, OSError) and error.errno in _KIND_OF_ERRNO:
        return Failure(_KIND_OF_ERRNO[error.errno], text)
    return Failure("network failure", text)


# Subclasses first: RemoteDisconnected is both a reset and no HTTP.
_KIND_OF_TYPE: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((ssl.SSLCertVerificationError,), "bad certificate"),
    ((ssl.SSLEOFError, ssl.SSLZeroReturnError), "connection reset"),
    ((ssl.SSLError,), "TLS failure"),
    ((TimeoutError,), "timeout"),
    ((ConnectionResetError, ConnectionAbortedError, BrokenPipeError), "connection reset"),
    ((ConnectionRefusedError,), "connection refused"),
    ((http.client.IncompleteRead,), "cut off"),
    ((http.client.InvalidURL, UnicodeError), "bad address"),
    ((http.client.HTTPException,), "not HTTP"),
)
_KIND_OF_ERRNO = {
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "no route to host",
    errno.ETIMEDOUT: "timeout",
}


class _Handler(urllib.request.AbstractHTTPHandler):
    """http and https through connections that end at their deadline."""

    def __init__(self):
        super().__init__()
        self._context = ssl.create_default_context()  # reads 140 certificates: once, not each time

    def http_open(self, request: urllib.request.Request):
        return self.do_open(_Connection, request)  # type: ignore[arg-type]

    def https_open(self, request: urllib.request.Request):
        return self.do_open(_SecureConnection, request, context=self._context)  # type: ignore

    http_request = urllib.request.AbstractHTTPHandler.do_request_
    https_request = urllib.request.AbstractHTTPHandler.do_request_


class _Deadline:
    """Makes `timeout` bound the whole exchange.

    A socket's timeout bounds each read alone: a server that sends one byte now and then would hold
    a thread for days.
    """

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.deadline = time.monotonic() + self.timeout  # type: ignore[attr-defined]

    def connect(self):
        super().connect()  # type: ignore[misc]
        self.sock = _TimedSocket(self.sock, self.deadline)  # type: ignore[has-type]


class _Connection(_Deadline, http.client.HTTPConnection):
    pass


class _SecureConnection(_Deadline, http.client.HTTPSConnection):
    pass


class _TimedSocket:
    """As much of a socket as http.client uses once it is connected."""

    def __init__(self, sock: socket.socket, deadline: float):
        self._sock, self._deadline = sock, deadline

    def sendall(self, data) -> None:
        self._sock.settimeout(_left(self._deadline))
        self._sock.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        raw = self._sock.makefile(mode, buffering=0)  # type: ignore[call-overload]
        return io.BufferedReader(_TimedReader(raw, self._sock, self._deadline))

    def close(self) -> None:
        self._sock.close()


class _TimedReader(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: float):
        self._raw, self._sock, self._deadline = raw, sock, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int | None:
        self._sock.settimeout(_left(self._deadline))
        return self._raw.readinto(buffer)  # type: ignore[attr-defined]

    def close(self) -> None:
        self._raw.close()
        super().close()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("too slow: the time for one picture is over")
    return left
