"""What every request passes: name, origin, token; and what every response carries."""

import json
import time
import traceback
from urllib.parse import parse_qs, urlsplit

import h11
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jaxfacs.serve.log import event
from jaxfacs.serve.routes import OPEN, route_of
from jaxfacs.serve.service import Service

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob: data:; connect-src 'self' ws: wss:; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": PAGE_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


class Guard:
    """ASGI middleware. Leaves the client's name in `scope["client_name"]`."""

    def __init__(self, app: ASGIApp, service: Service):
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            scope["refused"] = self._refusal(scope, Headers(scope=scope), "/v1/live")
            await self._app(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        route = route_of(scope["method"], scope["path"])
        start, status = time.perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(message, headers.get("origin"))
            await send(message)

        try:
            refused = self._refusal(scope, headers, route)
            if refused is not None:
                await _answer(sending, refused[0], refused[1])
            elif scope["method"] == "OPTIONS" and "origin" in headers:
                await _answer(sending, 204, "")
            else:
                await self._app(scope, receive, sending)
        except h11.LocalProtocolError:
            pass  # what followed the request was no HTTP: the connection has ended already
        except Exception as error:  # a bug of ours ends this request, not the server
            event("request.failed", route=route, error=type(error).__name__)
            traceback.print_exc()
        finally:
            seconds = time.perf_counter() - start
            method = scope["method"] if scope["method"] in _METHODS else "other"
            metrics = self._service.metrics
            metrics.count(
                "jaxfacs_requests_total", route=route, method=method, status=str(status or 499)
            )
            metrics.observe("jaxfacs_request_seconds", seconds, route=route)

    def _refusal(self, scope: Scope, headers: Headers, route: str) -> tuple[int, str] | None:
        settings = self._service.settings
        host = _host(headers.get("host", ""))
        if settings.hosts is not None and host not in settings.hosts:
            return 403, "this server is not asked for by that name; start it with --origin"
        origin = headers.get("origin")
        opened = scope.get("method") in ("GET", "HEAD", "OPTIONS") and route in OPEN
        page = opened and (route == "/" or route.startswith("/page/"))
        if origin is not None and not page and not self._same(origin, headers):
            return 403, "pages of that origin may not ask; start the server with --origin"
        scope["client_name"] = (scope.get("client") or ("unknown",))[0]
        if not settings.tokens or opened:
            return None
        number = self._service.allows(_token(scope, headers))
        if number is None:
            return 401, "this needs the server's token: Authorization: Bearer TOKEN"
        scope["client_name"] = f"token {number + 1}"
        return None

    def _same(self, origin: str, headers: Headers) -> bool:
        if origin.lower() in self._service.settings.origins:
            return True
        parts = urlsplit(origin)
        return (
            parts.scheme in ("http", "https")
            and parts.netloc.lower() == headers.get("host", "").lower()
        )

    def _add_headers(self, message: Message, origin: str | None) -> None:
        headers = MutableHeaders(scope=message)
        for name, value in _HEADERS.items():
            headers.setdefault(name, value)
        if origin is not None and origin.lower() in self._service.settings.origins:
            headers["access-control-allow-origin"] = origin
            headers["access-control-allow-methods"] = "GET, POST, DELETE"
            headers["access-control-allow-headers"] = "authorization, content-type"
            headers["cross-origin-resource-policy"] = "cross-origin"
            headers.add_vary_header("origin")


_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"))


def _host(header: str) -> str:
    """The name in a Host header, without its port."""
    if header.startswith("["):
        return header.partition("]")[0].strip("[").lower()
    return header.partition(":")[0].lower()


def _token(scope: Scope, headers: Headers) -> str | None:
    given = headers.get("authorization", "")
    if given[:7].lower() == "bearer ":
        return given[7:].strip()
    if scope["type"] == "websocket":  # a browser cannot give a websocket headers
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        return query.get("token", [None])[0]
    return None


async def _answer(send: Send, status: int, error: str) -> None:
    body = json.dumps({"error": error}).encode() if error else b""
    headers = [(b"content-length", str(len(body)).encode())]
    if body:
        headers.append((b"content-type", b"application/json"))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status >= 400:
        headers.append((b"connection", b"close"))  # a body may be on its way that nobody reads
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
