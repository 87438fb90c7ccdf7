"""The routes: what each one does. Their table is in `routes`, what guards them in `guard`."""

import asyncio
import contextlib
import json
import mimetypes
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute

from jaxfacs import __version__
from jaxfacs.infer.predictor import Predictor
from jaxfacs.serve import examples, live_socket, messages, openapi, uploads
from jaxfacs.serve.films import Options
from jaxfacs.serve.guard import Guard
from jaxfacs.serve.jobs import DONE, Job, to_json
from jaxfacs.serve.limits import TooMany
from jaxfacs.serve.messages import BadMessage
from jaxfacs.serve.metrics import CONTENT_TYPE
from jaxfacs.serve.routes import LIVE, ROUTES
from jaxfacs.serve.service import Service, Settings

PAGE = Path(__file__).parent / "page"
_TYPES = {".js": "text/javascript", ".webm": "video/webm", ".svg": "image/svg+xml"}
_GZIP = 31


def create_app(predictor: Predictor, settings: Settings | None = None) -> Guard:
    """The ASGI application; its lifespan starts the network's thread and ends it."""
    service = Service(predictor, settings or Settings())

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await asyncio.to_thread(service.open)
        try:
            yield
        finally:
            await asyncio.to_thread(service.close)

    routes: list[Route | WebSocketRoute] = [
        Route(r.path, globals()[r.handler], methods=[r.method]) for r in ROUTES
    ]
    routes.append(WebSocketRoute(LIVE, live_socket.serve))
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={
            HTTPException: _http_error,
            TooMany: lambda request, error: _error(429, str(error)),
            BadMessage: lambda request, error: _error(400, str(error)),
            uploads.Refused: lambda request, error: _error(
                getattr(error, "status", 400), str(error)
            ),
            Exception: lambda request, error: _error(
                500, "the server failed at this; its log says why"
            ),
        },
    )
    app.router.redirect_slashes = False
    app.state.service = service
    return Guard(app, service)


async def page(request: Request) -> Response:
    return _page_file("index.html")


async def page_file(request: Request) -> Response:
    return _page_file(request.path_params["file"])


async def model(request: Request) -> Response:
    service = _service(request)
    limits = service.limits
    names = ("upload_bytes", "film_seconds", "frames_per_second", "window", "frame_bytes")
    return JSONResponse(
        {
            **service.model,
            "limits": {name: getattr(limits, name) for name in names},
            "examples": [example.to_json() for example in examples.listed().values()],
            "token_required": bool(service.settings.tokens),
            "version": __version__,
        }
    )


async def post_film(request: Request) -> Response:
    service, options = _service(request), _options(request)
    film = await uploads.receive(request, service)
    return _added(service, request, film, options)


async def post_example(request: Request) -> Response:
    service, options = _service(request), _options(request)
    chosen = _example(request)
    service.jobs.check_room(request.scope["client_name"])
    film = await asyncio.to_thread(uploads.copy, chosen.path, service.workplace)
    return _added(service, request, film, options)


async def example(request: Request) -> Response:
    film = _example(request)
    return FileResponse(film.path, media_type=_type(film.path.name))


async def job(request: Request) -> Response:
    service, found = _service(request), _job(request)
    return JSONResponse(to_json(found, service.jobs.place(found)))


async def delete_job(request: Request) -> Response:
    service, found = _service(request), _job(request)
    service.jobs.cancel(found)
    return JSONResponse(to_json(found, None))


async def results(request: Request) -> Response:
    found = _job(request)
    kind = request.query_params.get("format", "json")
    if kind not in ("json", "csv"):
        return _error(400, "format is json or csv")
    if found.state != DONE or found.result is None:
        return _error(409, found.error or f"the film is {found.state}; ask again when it is done")
    headers = {"vary": "accept-encoding"}
    if kind == "csv":
        packed, media = found.result.csv_gz, "text/csv; charset=utf-8"
        headers["content-disposition"] = 'attachment; filename="jaxfacs.csv"'
    else:
        packed, media = found.result.json_gz, "application/json"
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
        return Response(packed, media_type=media, headers=headers)
    return StreamingResponse(_unpacked(packed), media_type=media, headers=headers)


async def health(request: Request) -> Response:
    ready = _service(request).ready
    return JSONResponse({"ready": ready}, 200 if ready else 503)


async def metrics(request: Request) -> Response:
    return Response(_service(request).metrics.text(), headers={"content-type": CONTENT_TYPE})


async def openapi_json(request: Request) -> Response:
    return JSONResponse(openapi.document())


def _service(request: Request) -> Service:
    return request.app.state.service


def _job(request: Request) -> Job:
    """The job of the path; to other clients with a token of their own it is not there."""
    service = _service(request)
    found = service.jobs.get(request.path_params["id"])
    foreign = service.settings.tokens and found and found.client != request.scope["client_name"]
    if found is None or foreign:
        raise HTTPException(404, "no such job; results are kept for a while only")
    return found


def _example(request: Request) -> examples.Example:
    found = examples.listed().get(request.path_params["name"])
    if found is None:
        raise HTTPException(404, "no such example film")
    return found


def _options(request: Request) -> Options:
    query = request.query_params
    every = query.get("every", "1")
    if not (every.isascii() and every.isdigit() and 1 <= int(every[:6]) <= 10_000):
        raise BadMessage('"every" is a whole number from 1 to 10000')
    return Options(
        baseline=messages.baseline(query.get("baseline", "none")),
        smooth_s=messages.smoothing(query.get("smooth_s", "0")),
        every=int(every[:6]),
    )


def _added(service: Service, request: Request, film: Path, options: Options) -> Response:
    try:
        found = service.jobs.add(request.scope["client_name"], film, options)
    except TooMany:
        service.workplace.remove(film.parent)
        raise
    url = f"/v1/jobs/{found.id}"
    return JSONResponse({"id": found.id, "url": url}, 202, headers={"location": url})


def _page_file(name: str) -> Response:
    """A file of the page by its name among those that are there: no path is made of it."""
    files = {p.name: p for p in PAGE.iterdir() if p.is_file()} if PAGE.is_dir() else {}
    if name not in files:
        raise HTTPException(404, "no such file of the page")
    headers = {"cache-control": "no-cache"}
    return FileResponse(files[name], media_type=_type(name), headers=headers)


def _type(name: str) -> str:
    suffix = Path(name).suffix
    return _TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")


def _unpacked(packed: bytes) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(_GZIP)
    for at in range(0, len(packed), 1 << 16):
        yield unpacker.decompress(packed[at : at + (1 << 16)])
    yield unpacker.flush()


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, error.detail, dict(error.headers or {}))


def _error(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    body = json.dumps({"error": " ".join(text.split())})
    headers = {**(headers or {}), **({"connection": "close"} if status in _CLOSING else {})}
    return Response(body, status, headers=headers, media_type="application/json")


_CLOSING = (400, 408, 413, 415, 429, 503, 507)  # the rest of a body may be on its way
