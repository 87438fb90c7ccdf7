"""A server on loopback that answers as Google Cloud Storage's JSON API does to what gcsfs,
google-cloud-storage and TensorStore ask of it. It keeps objects in memory."""

import base64
import contextlib
import json
import re
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

BUCKET = "bucket"
OBJECT = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)")
COPY = re.compile(OBJECT.pattern + r"/(?:rewriteTo/b/[^/]+|moveTo)/o/([^/]+)")


@dataclass
class Store:
    # Name -> data and generation.
    objects: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    uploads: dict[str, tuple[str, bytearray]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    generation: int = 1_000
    failures: int = 0  # so many requests are answered by 503
    requests: int = 0

    def put(self, name: str, data: bytes) -> dict:
        with self.lock:
            self.generation += 1
            self.objects[name] = data, self.generation
        return self.resource(name)

    def resource(self, name: str) -> dict:
        data, generation = self.objects[name]
        return {
            "kind": "storage#object",
            "id": f"{BUCKET}/{name}/{generation}",
            "name": name,
            "bucket": BUCKET,
            "generation": str(generation),
            "metageneration": "1",
            "size": str(len(data)),
            "crc32c": base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode(),
            "updated": "2024-01-01T00:00:00.000Z",
            "timeCreated": "2024-01-01T00:00:00.000Z",
            "etag": str(generation),
            "storageClass": "STANDARD",
        }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: Store

    def log_message(self, *_) -> None:
        pass

    def answer(self, code: int, body: bytes | dict = b"", **headers: str) -> None:
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        self.send_response(code)
        if isinstance(body, dict):
            self.send_header("Content-Type", "application/json")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def handle_one(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        store = self.store
        with store.lock:
            store.requests += 1
            failing, store.failures = store.failures > 0, max(store.failures - 1, 0)
        if failing:
            return self.answer(503, {"error": {"code": 503, "message": "try again"}})
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        path = url.path.removeprefix("/download")
        if path.startswith("/upload/"):
            return self.upload(query, body)
        if path.startswith("/batch/"):
            return self.batch(body)
        if found := COPY.fullmatch(path):
            name = unquote(found[2])
            if name not in store.objects:
                return self.missing(name)
            resource = store.put(unquote(found[3]), store.objects[name][0])
            if "/moveTo/" in path:
                store.objects.pop(name)
                return self.answer(200, resource)
            return self.answer(200, {"done": True, "resource": resource})
        if found := OBJECT.fullmatch(path):
            return self.object(unquote(found[2]), query)
        if path == f"/storage/v1/b/{BUCKET}/o":
            return self.listing(query)
        if path == f"/storage/v1/b/{BUCKET}":
            return self.answer(200, {"kind": "storage#bucket", "id": BUCKET, "name": BUCKET})
        return self.missing(path)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = handle_one

    def missing(self, name: str) -> None:
        self.answer(404, {"error": {"code": 404, "message": f"No such object: {name}"}})

    def object(self, name: str, query: dict[str, str]) -> None:
        found = self.store.objects.get(name)
        if found is None:
            return self.missing(name)
        data, generation = found
        if query.get("ifGenerationNotMatch") == str(generation):
            return self.answer(304)
        if query.get("ifGenerationMatch", str(generation)) != str(generation):
            return self.answer(412, {"error": {"code": 412, "message": "conditionNotMet"}})
        if self.command == "DELETE":
            with self.store.lock:
                self.store.objects.pop(name, None)
            return self.answer(204)
        if query.get("alt") != "media":
            return self.answer(200, self.store.resource(name))
        tags = {"x_goog_generation": str(generation), "ETag": str(generation)}
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            return self.answer(200, data, **tags)
        if not wanted[1]:
            first, last = max(len(data) - int(wanted[2]), 0), len(data) - 1
        else:
            first = int(wanted[1])
            last = min(int(wanted[2]) if wanted[2] else len(data) - 1, len(data) - 1)
        if first >= len(data):
            return self.answer(416)
        tags["Content_Range"] = f"bytes {first}-{last}/{len(data)}"
        return self.answer(206, data[first : last + 1], **tags)

    def listing(self, query: dict[str, str]) -> None:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        items, prefixes = [], set()
        for name in sorted(self.store.objects):
            if not name.startswith(prefix) or name < query.get("startOffset", ""):
                continue
            if "endOffset" in query and name >= query["endOffset"]:
                continue
            head, cut, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name, "", "")
            if cut:
                prefixes.add(prefix + head + cut)
            else:
                items.append(self.store.resource(name))
        self.answer(200, {"kind": "storage#objects", "items": items, "prefixes": sorted(prefixes)})

    def upload(self, query: dict[str, str], body: bytes) -> None:
        store, kind = self.store, query.get("uploadType")
        if "upload_id" in query:
            name, data = store.uploads[query["upload_id"]]
            data.extend(body)
            if (self.headers.get("Content-Range") or "/0").endswith("/*"):
                return self.answer(308, Range=f"bytes=0-{len(data) - 1}")
            return self.answer(200, store.put(name, bytes(data)))
        if kind == "resumable":
            name = query.get("name") or json.loads(body)["name"]
            number = str(len(store.uploads))
            store.uploads[number] = name, bytearray()
            here = f"http://{self.headers['Host']}/upload/storage/v1/b/{BUCKET}/o"
            return self.answer(200, Location=f"{here}?uploadType=resumable&upload_id={number}")
        if kind == "multipart":
            boundary = re.search(r'boundary="?([^";]+)', self.headers["Content-Type"])
            assert boundary
            parts = body.split(b"--" + boundary[1].encode())[1:3]
            about, data = (part.lstrip(b"\r\n").split(b"\n\n", 1)[-1] for part in parts)
            if b"\r\n\r\n" in parts[0]:
                about, data = (part.split(b"\r\n\r\n", 1)[1] for part in parts)
            data = data.removesuffix(b"\n").removesuffix(b"\r")
            return self.answer(200, store.put(json.loads(about)["name"], data))
        found = store.objects.get(query["name"])
        wanted = query.get("ifGenerationMatch")
        if wanted is not None and wanted != str(found[1] if found else 0):
            return self.answer(412, {"error": {"code": 412, "message": "conditionNotMet"}})
        return self.answer(200, store.put(query["name"], body))

    def batch(self, body: bytes) -> None:
        """Deletions, which is all that gcsfs does by batches."""
        answers = []
        for found in re.finditer(rb"DELETE (\S+) HTTP", body):
            name = unquote(found[1].decode().rpartition("/o/")[2].partition("?")[0])
            with self.store.lock:
                gone = self.store.objects.pop(name, None) is not None
            answers.append("HTTP/1.1 204 No Content" if gone else "HTTP/1.1 404 Not Found")
        parts = "".join(
            f"--b\r\nContent-Type: application/http\r\nContent-ID: <response-{i}>\r\n\r\n"
            f"{line}\r\n\r\n\r\n"
            for i, line in enumerate(answers, start=1)
        )
        self.answer(200, f"{parts}--b--".encode(), Content_Type="multipart/mixed; boundary=b")


@contextlib.contextmanager
def serving() -> Iterator[tuple[Store, dict[str, str]]]:
    """The store and what the environment must say so that the libraries find it."""
    handler = type("Bound", (Handler,), {"store": Store()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda *_: None  # a client that goes away, as TensorStore does
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield (
            handler.store,
            {
                "STORAGE_EMULATOR_HOST": address,
                "TENSORSTORE_GCS_HTTP_URL": address,
                "GOOGLE_AUTH_TOKEN_FOR_TESTING": "none",
                "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
                "FSSPEC_GCS": '{"token": "anon"}',  # else credentials are looked for in the network
            },
        )
    finally:
        server.shutdown()
        server.server_close()
