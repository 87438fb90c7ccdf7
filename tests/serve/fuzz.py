"""What a broken or hostile client sends, drawn from a seed."""

import json
import struct

PATHS = (
    "/", "/v1/films", "/v1/model", "/v1/jobs/x", "/v1/jobs/x/results", "/page/index.html",
    "/page/../../etc/passwd", "/page/%2e%2e%2fapp.py", "/v1/examples/../x", "/metrics", "/healthz",
    "/v1/live", "/\x01", "//", "/%00", "/v1/films?every=-1", "/v1/films?smooth_s=1e999",
    "/v1/films?baseline=first:-1", "/v1/films?baseline=profile:/etc/passwd",
    "/v1/films?name=%0d%0aX:y", "/v1/films?every=" + "9" * 500, "/page/" + "a" * 3000,
)  # fmt: skip
HEADS = (
    b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"\0\0\0\x18ftypmp42", b"\x1a\x45\xdf\xa3",
    b"RIFF\0\0\0\0AVI LIST", b"OggS", b"FLV\x01", b"\0\0\x01\xba", b"\0\0\x01\xb3",
    b"#EXTM3U\n", b"ffconcat version 1.0\n", b"<?xml", b"", b"--x\r\nContent-Disposition: ",
)  # fmt: skip
NUMBERS = (0, -1, 1e308, -1e308, float("nan"), float("inf"), 2**31, 2**63, 10**400, 0.1, True, None)
WORDS = (
    "",
    "start",
    "stop",
    "baseline",
    "jpeg",
    "raw",
    "first:1",
    "a\0b",
    "\ud800",
    "ü" * 50,
    "../x",
)


def harmless(draw, jpegs, sequence):
    """A binary message that a session survives: frames that are none."""
    jpeg = bytearray(draw.choice(jpegs))
    kind = draw.randrange(5)
    if kind == 0:
        data = draw.randbytes(draw.randrange(400))
    elif kind == 1:
        data = bytes(jpeg[: draw.randrange(len(jpeg))])
    elif kind == 2:  # noise in the middle
        for _ in range(draw.randrange(1, 40)):
            jpeg[draw.randrange(2, len(jpeg))] = draw.randrange(256)
        data = bytes(jpeg)
    elif kind == 3:  # a size that is a lie
        at = jpeg.index(b"\xff\xc0") + 5
        jpeg[at : at + 4] = struct.pack(">HH", draw.randrange(65536), draw.randrange(65536))
        data = bytes(jpeg)
    else:
        data = b"\xff\xd8\xff" + draw.randbytes(draw.randrange(2000))
    return struct.pack("<IdI", sequence, sequence / 30, len(data)) + data


def fatal(draw):
    """(message, whether it is text) that ends a session, or should."""
    kind = draw.randrange(7)
    if kind == 0:
        return draw.randbytes(draw.randrange(1, 300)), False
    if kind == 1:  # wrong lengths, sequences and times
        numbers = (draw.randrange(1 << 32), draw.choice((float("nan"), -1.0, 1e300, 0.0)))
        return struct.pack("<IdI", *numbers, draw.randrange(1 << 32)), False
    if kind == 2:
        return struct.pack("<IdI", 0, 0.0, 0) * draw.randrange(17, 200), False
    if kind == 3:
        return ("[" * draw.randrange(1, 100_000)).encode(), True
    if kind == 4:
        fields = {draw.choice(WORDS): draw.choice((*NUMBERS, *WORDS)) for _ in range(4)}
        return json.dumps({"type": draw.choice(WORDS), **fields}).encode(), True
    if kind == 5:
        fields = {name: draw.choice((*NUMBERS, *WORDS)) for name in ("width", "height", "smooth_s")}
        text = {"type": "start", "format": draw.choice(WORDS), **fields}
        return json.dumps(text).encode(), True
    return bytes(draw.choices(range(0x80, 0x100), k=draw.randrange(1, 50))), True  # no UTF-8


def upload(draw, film, jpegs):
    """The body of a film that is none."""
    kind = draw.randrange(5)
    if kind == 0:
        return draw.choice(HEADS) + draw.randbytes(draw.randrange(2000))
    if kind == 1:
        return film[: draw.randrange(len(film))]
    if kind == 2:
        broken = bytearray(film)
        for _ in range(draw.randrange(1, 200)):
            broken[draw.randrange(12, len(broken))] = draw.randrange(256)
        return bytes(broken)
    if kind == 3:
        jpeg = draw.choice(jpegs)
        return jpeg[: draw.randrange(4, len(jpeg))]
    return draw.choice(HEADS) + b"/etc/passwd\n" * draw.randrange(100)


def request(draw):
    """Bytes on a bare connection: nearly HTTP."""
    method = draw.choice(("GET", "POST", "DELETE", "PUT", "get", "G\0T", "", "CONNECT", "OPTIONS"))
    lines = [f"{method} {draw.choice(PATHS)} HTTP/{draw.choice(('1.1', '1.0', '2.0', '9', ''))}"]
    lines += draw.sample(
        (
            "Host: localhost",
            "Host: evil.example",
            "Content-Length: -1",
            "Content-Length: 99999999999999999999",
            "Content-Length: 5",
            "Transfer-Encoding: chunked",
            "Content-Type: multipart/form-data; boundary=",
            "Origin: null",
            "Expect: 100-continue",
            "Upgrade: websocket\r\nConnection: Upgrade",
            "Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 99",
            "Authorization: Bearer " + "x" * 2000,
            "X: \xff\xfe",
            " folded",
            "no colon",
        ),
        k=draw.randrange(6),
    )
    end = draw.choice(("\r\n\r\n", "\n\n", "", "\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "\r\n\r\nzz\r\n"))
    return "\r\n".join(lines).encode("latin-1") + end.encode() + draw.randbytes(draw.randrange(50))
