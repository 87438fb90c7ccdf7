"""The downloader of pictures against a server that misbehaves in each way that the web has."""

import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import misbehaving as bad
import numpy as np
import pytest
from PIL import Image

from jaxfacs.data import download_pictures, download_request
from jaxfacs.data.download_journal import Journal, picture_path
from jaxfacs.data.download_pictures import download
from jaxfacs.data.download_queue import PoliteQueue
from jaxfacs.errors import UserError


@pytest.fixture
def server():
    with bad.Server() as running:
        yield running


def decoded(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "JPEG"
        return np.asarray(image)


def refused_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


# path -> (what the server does, kind in the table, HTTP code, requests)
FAILURES = {
    "404": (bad.status(404), "http", 404, 1),
    "400": (bad.status(400), "http", 400, 1),
    "401": (bad.status(401), "http", 401, 1),
    "403": (bad.status(403), "http", 403, 1),
    "410": (bad.status(410), "http", 410, 1),
    "501": (bad.status(501), "http", 501, 1),
    "204": (bad.status(204), "http", 204, 1),
    "500": (bad.status(500), "http", 500, 3),
    "502": (bad.status(502), "http", 502, 3),
    "503": (bad.status(503), "http", 503, 3),
    "504": (bad.status(504), "http", 504, 3),
    "429": (bad.status(429), "http", 429, 3),
    "301": (bad.status(301), "bad redirect", 301, 1),
    "302-ftp": (bad.redirect("ftp://example.org/x"), "bad redirect", 302, 1),
    "302-file": (bad.redirect("file://localhost/secret"), "bad redirect", 302, 1),
    "302-circle": (bad.redirect("/302-circle"), "bad redirect", 302, 6),
    "reset": (bad.reset, "connection reset", 0, 3),
    "silent": (bad.silent, "timeout", 0, 3),
    "dripping": (bad.dripping, "timeout", 0, 3),
    "dripping-headers": (bad.dripping_headers, "timeout", 0, 3),
    "cut-off": (bad.cut_off(bad.jpeg(1)), "cut off", 200, 3),
    "cut-off-unannounced": (
        bad.cut_off(bad.jpeg(1), announced=False), "damaged picture", 200, 3
    ),
    "truncated": (bad.jpeg(1)[:-200], "damaged picture", 200, 1),
    "truncated-png": (
        bad.encoded(bad.colours(1), "PNG")[:-30], "damaged picture", 200, 1
    ),
    "truncated-gif": (
        bad.encoded(Image.effect_noise((64, 64), 90), "GIF")[:-900], "damaged picture", 200, 1
    ),
    "truncated-webp": (
        bad.encoded(Image.effect_noise((64, 64), 90), "WEBP")[:-900], "damaged picture", 200, 1
    ),
    "html": (bad.typed(b"<!DOCTYPE html><p>sold", "text/html"), "HTML page", 200, 1),
    "html-as-jpeg": (b"\n <html><p>login", "HTML page", 200, 1),
    "svg": (bad.typed(b"<svg xmlns='x'/>", "image/svg+xml"), "not a picture", 200, 1),
    "empty": (b"", "empty", 200, 1),
    "announced-large": (
        lambda handler, _: bad.send(handler, b"", length=10**12), "too large", 200, 1
    ),
    "endless": (bad.endless, "too large", 200, 1),
    "many-pixels": (
        bad.encoded(Image.new("1", (4000, 4000)), "PNG"), "too many pixels", 200, 1
    ),
    "pixel-bomb": (
        bad.encoded(Image.new("1", (20000, 20000)), "PNG"), "too many pixels", 200, 1
    ),
    "pixel": (bad.encoded(Image.new("RGB", (1, 1)), "GIF"), "tiny picture", 200, 1),
    "no-http": (bad.no_http, "not HTTP", 0, 1),
}  # fmt: skip


def test_every_way_to_fail_is_told_apart_tried_as_often_as_it_may_help_and_recorded(
    server, tmp_path
):
    server.answers = {f"/{name}": row[0] for name, row in FAILURES.items()}
    server.answers["/good.jpg"] = bad.jpeg(0)
    urls = [f"{server.url}/{name}" for name in FAILURES]
    out = bad.fetch(
        tmp_path, [*urls, f"{server.url}/good.jpg"], max_bytes=1_000_000, max_pixels=1_000_000
    )
    rows = {row["url"].rpartition("/")[2]: row for row in bad.table(out, "failures.csv")}
    found = {
        name: (row["kind"], int(row["http_code"]), server.asked[f"/{name}"])
        for name, row in rows.items()
    }
    assert found == {name: row[1:] for name, row in FAILURES.items()}
    for number, (name, row) in enumerate(rows.items(), start=1):
        expected = 1 if name == "302-circle" else FAILURES[name][3]  # hops are of one attempt
        assert int(row["attempts"]) == expected
        assert row["row"] == str(number) and row["list"] == "list.txt" and row["time"][-1] == "Z"
        assert row["picture"] == "none"
    assert [row["url"] for row in bad.table(out, "names.csv")] == [f"{server.url}/good.jpg"]
    kept = [p for p in (out / "pictures").rglob("*") if p.is_file()]
    assert [p.read_bytes() for p in kept] == [bad.jpeg(0)]  # nothing half written either


def test_addresses_that_no_server_answers_for(tmp_path, monkeypatch):
    real = socket.getaddrinfo

    def resolve(host, *args, **options):
        codes = {"gone.example": socket.EAI_NONAME, "later.example": socket.EAI_AGAIN}
        if host in codes:
            asked.append(host)
            raise socket.gaierror(codes[host], "as the resolver says")
        return real(host, *args, **options)

    def connect(address, *args, **options):
        if address[0] == "far.example":
            raise OSError(113, "No route to host")
        return real_connect(address, *args, **options)

    asked: list[str] = []
    real_connect = socket.create_connection
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    port = refused_port()
    urls = {
        "http://gone.example/1.jpg": ("unknown host", 1),
        "http://later.example/1.jpg": ("DNS temporary failure", 3),
        "http://far.example/1.jpg": ("no route to host", 3),
        f"http://127.0.0.1:{port}/1.jpg": ("connection refused", 3),
        "http://[::1/x.jpg": ("bad address", 0),
        "http://a.example:99999/x.jpg": ("bad address", 0),
        "ftp://127.0.0.1/x.jpg": ("bad address", 0),
        "file://localhost/secret": ("bad address", 0),
    }
    out = bad.fetch(tmp_path, list(urls))
    found = {r["url"]: (r["kind"], int(r["attempts"])) for r in bad.table(out, "failures.csv")}
    assert found == urls
    assert asked.count("gone.example") == 1 and asked.count("later.example") == 3


def test_certificates_are_checked(tmp_path, monkeypatch):
    """Signed by nobody: refused; the same certificate among the trusted: the picture comes."""
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificate and is not here")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes".split(),
            *"-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -days 2".split(),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    with bad.Server({"/x.jpg": bad.jpeg(1), "/slow.jpg": bad.dripping}) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
        urls = [f"https://{server.host}/{name}.jpg" for name in ("x", "slow")]
        out = bad.fetch(tmp_path, urls)
        rows = bad.table(out, "failures.csv")
        assert [(r["kind"], r["attempts"]) for r in rows] == [("bad certificate", "1")] * 2
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        bad.fetch(tmp_path, urls, again=True)
        assert [r["url"] for r in bad.table(out, "names.csv")] == urls[:1]
        assert [r["kind"] for r in bad.table(out, "failures.csv")] == ["timeout"]


def test_a_server_without_tls_behind_https(server, tmp_path):
    out = bad.fetch(tmp_path, [f"https://{server.host}/x.jpg"])
    assert bad.table(out, "failures.csv")[0]["kind"] == "TLS failure"


def test_what_passes_is_overcome(server, tmp_path):
    good = bad.jpeg(3)
    ways = {
        "503": bad.status(503),
        "429": bad.status(429, Retry_After="0"),
        "reset": bad.reset,
        "silent": bad.silent,
        "cut-off": bad.cut_off(good),
    }
    server.answers = {f"/{name}": bad.in_turn(way, way, good) for name, way in ways.items()}
    out = bad.fetch(tmp_path, [f"{server.url}/{name}" for name in ways])
    assert bad.table(out, "failures.csv") == []
    assert len(bad.table(out, "names.csv")) == len(ways)
    assert set(server.asked.values()) == {3}


def test_retry_after_leaves_the_whole_host_alone(server, tmp_path):
    server.answers = {
        "/1.jpg": bad.in_turn(bad.status(429, Retry_After="1"), bad.jpeg(1)),
        "/2.jpg": bad.jpeg(2),
    }
    bad.fetch(tmp_path, [f"{server.url}/1.jpg", f"{server.url}/2.jpg"], per_host=1)
    assert server.times[1] - server.times[0] > 0.9


def test_retry_after_is_bounded_and_may_be_a_date():
    assert download_request._retry_after("12") == 12
    soon = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60))
    assert 55 < download_request._retry_after(soon) <= 60
    assert download_request._retry_after("soon") == download_request._retry_after("-5") == 0
    assert download_pictures.MAX_PAUSE_S <= 600


def test_redirects_are_followed(server, tmp_path):
    server.answers = {
        "/a": bad.redirect("/b", 301),
        "/b": bad.redirect(f"{server.url}/dir/c d.jpg", 307),
        "/dir/c%20d.jpg": bad.jpeg(4),
    }
    out = bad.fetch(tmp_path, [f"{server.url}/a"])
    (row,) = bad.table(out, "names.csv")
    assert row["file"] == picture_path(f"{server.url}/a")
    assert (out / row["file"]).read_bytes() == bad.jpeg(4)


def test_another_try_begins_at_the_listed_address(server, tmp_path):
    """What redirects are given out for may change from one request to the next."""
    server.answers = {
        "/a": bad.in_turn(bad.redirect("/dead"), bad.redirect("/b")),
        "/dead": bad.status(503),
        "/b": bad.jpeg(4),
    }
    out = bad.fetch(tmp_path, [f"{server.url}/a"])
    assert len(bad.table(out, "names.csv")) == 1
    assert server.asked == {"/a": 2, "/dead": 1, "/b": 1}


def test_the_second_address_stands_in(server, tmp_path):
    server.answers = {"/kept/1.jpg": bad.jpeg(1), "/2.jpg": bad.jpeg(2)}
    path = tmp_path / "sheet.csv"
    path.write_text(
        "URL,URL orig,'AU 1'\n"
        f"'{server.url}/gone.jpg','{server.url}/kept/1.jpg',1\n"
        f"'{server.url}/2.jpg','{server.url}/never.jpg',0\n"
        f"'{server.url}/3.jpg','{server.url}/4.jpg',999\n"
    )
    summary = download((path,), tmp_path / "out", bad.quick())
    names = {r["url"].rpartition("/")[2]: r for r in bad.table(tmp_path / "out", "names.csv")}
    assert names.keys() == {"gone.jpg", "2.jpg"}
    assert names["gone.jpg"]["address"].endswith("/kept/1.jpg")
    assert names["gone.jpg"]["file"] == picture_path(f"{server.url}/gone.jpg")
    assert (tmp_path / "out" / names["gone.jpg"]["file"]).read_bytes() == bad.jpeg(1)
    rows = [
        (r["address"].rpartition("/")[2], r["kind"], r["picture"])
        for r in bad.table(tmp_path / "out", "failures.csv")
    ]
    assert rows == [
        ("gone.jpg", "http", "from the other address"),
        ("3.jpg", "http", "none"),
        ("4.jpg", "http", "none"),
    ]
    assert "/never.jpg" not in server.asked
    counts = {line[:-9].strip(): int(line[-9:]) for line in summary.splitlines()}
    assert counts == {"pictures": 2, "of them from the second address": 1, "HTTP 404": 1}


def test_jpegs_stay_byte_for_byte_and_the_rest_becomes_upright_jpeg(server, tmp_path):
    rgb = bad.colours(5)
    rotated = Image.Exif()
    rotated[0x0112] = 6  # the camera was turned: rows run from top to bottom at the right
    see_through = rgb.convert("RGBA")
    see_through.putalpha(0)
    deep = Image.fromarray(np.full((30, 40), 128 << 8, np.uint16))
    sent = {
        "rgb.jpg": (bad.encoded(rgb, quality=90), None),
        "progressive.jpg": (bad.encoded(rgb, quality=90, progressive=True), None),
        "grey.jpg": (bad.encoded(rgb.convert("L"), quality=90), None),
        "cmyk.jpg": (bad.encoded(rgb.convert("CMYK"), quality=95), np.asarray(rgb)),
        "rotated.jpg": (
            bad.encoded(rgb, quality=95, exif=rotated.tobytes()), np.rot90(np.asarray(rgb), -1)
        ),
        "plain.png": (bad.encoded(rgb, "PNG"), np.asarray(rgb)),
        "see-through.png": (bad.encoded(see_through, "PNG"), np.full((30, 40, 3), 255)),
        "palette.png": (
            bad.encoded(rgb.convert("P", palette=Image.Palette.ADAPTIVE), "PNG"), np.asarray(rgb)
        ),
        "deep.png": (bad.encoded(deep, "PNG"), np.full((30, 40, 3), 128)),
        "moving.gif": (
            bad.encoded(rgb, "GIF", save_all=True, append_images=[bad.colours(6)]),
            np.asarray(rgb),
        ),
        "picture.webp": (bad.encoded(rgb, "WEBP", lossless=True), np.asarray(rgb)),
        "picture.bmp": (bad.encoded(rgb, "BMP"), np.asarray(rgb)),
    }  # fmt: skip
    server.answers = {f"/{name}": data for name, (data, _) in sent.items()}
    out = bad.fetch(tmp_path, [f"{server.url}/{name}" for name in sent])
    assert bad.table(out, "failures.csv") == []
    for row in bad.table(out, "names.csv"):
        data, expected = sent[row["url"].rpartition("/")[2]]
        path = out / row["file"]
        assert row["converted"] == str(int(expected is not None))
        if expected is None:
            assert path.read_bytes() == data
        else:
            got = decoded(path)
            assert got.shape == expected.shape == (int(row["height"]), int(row["width"]), 3)
            # Palettes and CMYK round; JPEG blurs where two patches meet.
            off = np.abs(got.astype(int) - expected)
            assert np.median(off) <= 3 and np.mean(off) < 6, row["url"]


def test_duplicates_are_kept_once_under_every_name(server, tmp_path):
    same = bad.jpeg(7)
    server.answers = {"/a.jpg": same, "/b.jpg": same, "/c.jpg": bad.jpeg(8)}
    out = bad.fetch(tmp_path, [f"{server.url}/{n}.jpg" for n in "abc"])
    rows = bad.table(out, "duplicates.csv")
    assert [r["url"][-5:] for r in rows] == ["a.jpg", "b.jpg"]
    assert {r["copies"] for r in rows} == {"2"} and {r["placeholder"] for r in rows} == {"0"}
    a, b = (out / r["file"] for r in rows)
    assert a.samefile(b) and a.read_bytes() == same


def test_file_systems_without_hard_links_get_copies(server, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    server.answers = {"/a.jpg": bad.jpeg(7), "/b.jpg": bad.jpeg(7)}
    out = bad.fetch(tmp_path, [f"{server.url}/{n}.jpg" for n in "ab"])
    assert all((out / r["file"]).read_bytes() == bad.jpeg(7) for r in bad.table(out, "names.csv"))


def test_placeholders_are_put_aside_and_come_back_with_another_threshold(server, tmp_path):
    server.answers = {f"/{i}.gif": bad.encoded(bad.colours(9), "GIF") for i in range(4)}
    server.answers["/real.jpg"] = bad.jpeg(1)
    urls = [f"{server.url}{path}" for path in server.answers]
    out = bad.fetch(tmp_path, urls, placeholder_from=4)
    assert [r["url"][-8:] for r in bad.table(out, "names.csv")] == ["real.jpg"]
    assert [r["kind"] for r in bad.table(out, "failures.csv")] == ["placeholder"] * 4
    assert len(list((out / "placeholders").iterdir())) == 1
    asked = sum(server.asked.values())
    bad.fetch(tmp_path, urls, placeholder_from=5)
    assert sum(server.asked.values()) == asked  # nothing is fetched for that
    assert len(bad.table(out, "names.csv")) == 5 and bad.table(out, "failures.csv") == []
    assert all((out / r["file"]).is_file() for r in bad.table(out, "names.csv"))
    assert not any((out / "placeholders").iterdir())


NASTY = [
    "http://h/../../../etc/passwd",
    "http://h/..%2f..%2fx.jpg",
    "http://h/a/b.jpg?size=200x200",
    "http://h/a/b.jpg?size=100x100",
    "http://h/A/B.jpg",
    "http://h/a_b.jpg",
    "http://h/a/b",
    "http://h/" + "x" * 5000 + ".jpg",
    "http://h/con.jpg",
    "http://h/ü\u202e\x00.jpg",
    "http://h/",
    "http://[h/",
    "http://h/\udcff.jpg",
]


def test_names_are_one_to_one_short_and_safe(tmp_path):
    names = [picture_path(url) for url in NASTY]
    assert len({name.lower() for name in names}) == len(NASTY)
    for name in names:
        folder, sub, file = name.split("/")
        assert folder == "pictures" and len(sub) == 2 and len(file) <= 77
        assert file.isascii() and file.replace("-", "").replace(".jpg", "").isalnum()
    assert picture_path("http://h/A%20nice-face.png").startswith("pictures/")
    assert "/A-nice-face-" in picture_path("http://h/A%20nice-face.png?x=1")


def test_politeness(server, tmp_path):
    def slow(handler, _):
        time.sleep(0.02)
        bad.send(handler, bad.jpeg(1))

    with bad.Server() as other:
        server.answers = other.answers = {f"/{i}": slow for i in range(12)}
        urls = [f"{s.url}/{i}" for i in range(12) for s in (server, other)]
        bad.fetch(tmp_path, urls, per_host=2, rate=60.0, placeholder_from=0)
    for host in (server, other):
        assert host.most_at_once <= 2
        gaps = np.diff(sorted(host.times))
        assert len(gaps) == 11 and gaps.sum() > 11 / 60 * 0.9
    # The hosts did not wait for each other.
    assert min(other.times) < max(server.times) and min(server.times) < max(other.times)
    assert server.headers[0]["User-Agent"].startswith("jaxfacs/")


def test_each_free_host_has_a_thread_that_watches_for_it():
    jobs: PoliteQueue[int] = PoliteQueue(per_host=1, rate=1000.0)
    taken: list[float] = []
    both = threading.Barrier(2, timeout=2)

    def work():
        assert jobs.take() is not None
        taken.append(time.monotonic())
        both.wait()  # neither is done before the other has begun

    threads = [threading.Thread(target=work, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.02)  # both sleep without an end
    start = time.monotonic()
    for host in "ab":
        jobs.add(host, 0, wait_s=0.05)
    for thread in threads:
        thread.join(2)
    jobs.stop()
    assert len(taken) == 2 and 0.04 < max(taken) - start < 1 and not both.broken


def test_connections_in_all_are_bounded(tmp_path):
    def slow(handler, _):
        time.sleep(0.03)
        bad.send(handler, bad.jpeg(1))

    servers = [bad.Server({"/1": slow, "/2": slow}) for _ in range(4)]
    bad.fetch(tmp_path, [f"{s.url}/{i}" for i in (1, 2) for s in servers], connections=1)
    times = sorted(t for s in servers for t in s.times)
    assert min(np.diff(times)) > 0.025
    for s in servers:
        s.close()


def test_a_host_that_is_down_is_not_waited_for_again_and_again(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download_pictures, "HOST_DOWN_AFTER", 2)
    server.answers = {f"/{i}": bad.silent for i in range(30)}
    rows = [f"'{server.url}/{i}'" for i in range(30)]
    with bad.Server({f"/{i}": bad.jpeg(i) for i in range(30)}) as alive:
        path = tmp_path / "sheet.csv"
        lines = [f"{row},{alive.url}/{i}" for i, row in enumerate(rows)]
        path.write_text("\n".join(["URL,URL orig", *lines]))
        started = time.monotonic()
        download((path,), tmp_path / "out", bad.quick(timeout_s=0.05, retries=0, per_host=1))
        assert time.monotonic() - started < 3
    assert len(bad.table(tmp_path / "out", "names.csv")) == 30
    kinds = [r["kind"] for r in bad.table(tmp_path / "out", "failures.csv")]
    assert sorted(set(kinds)) == ["host down", "timeout"] and kinds.count("timeout") == 2


def test_without_a_network_nothing_is_written_off(tmp_path, monkeypatch, capsys):
    def down(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(download_pictures, "OFFLINE_AFTER", 6)
    urls = [f"http://h{i}.example/{i}.jpg" for i in range(20)]
    with monkeypatch.context() as offline, pytest.raises(UserError, match="is there a network"):
        offline.setattr(socket, "getaddrinfo", down)
        bad.fetch(tmp_path, urls, allow_private=False)
    assert bad.table(tmp_path / "out", "failures.csv") == []
    journal = Journal(tmp_path / "out")
    assert journal.endings == {}
    journal.close()


def test_private_addresses_are_refused_unless_told(server, tmp_path):
    server.answers = {"/x.jpg": bad.jpeg(1)}
    urls = [f"{server.url}/x.jpg", "http://localhost/y.jpg", "http://[::ffff:10.0.0.1]/z.jpg"]
    out = bad.fetch(tmp_path, urls, allow_private=False)
    rows = bad.table(out, "failures.csv")
    assert [r["kind"] for r in rows] == ["private address"] * 3 and not server.asked
