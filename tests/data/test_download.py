import hashlib
import io
import tarfile
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jaxfacs.data import download
from jaxfacs.errors import UserError

MESH = b"v 0 0 0\n" * 3000


def archive(members: dict[str, bytes], *, links: dict[str, str] | None = None) -> bytes:
    """A .tar.gz as GitHub packs it: everything in one top folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return buffer.getvalue()


GOOD = archive(
    {
        "ICT-abc/FaceXModel/mesh.obj": MESH,
        "ICT-abc/LICENSE": b"MIT",
        "ICT-abc/figures/x.png": b"not wanted",
    }
)


class Server:
    """Answers request number n with `answers[n](handler)`, the last one again and again."""

    def __init__(self, *answers: Callable):
        self.ranges: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                number = len(outer.ranges)
                outer.ranges.append(self.headers.get("Range"))
                answers[min(number, len(answers) - 1)](self)

            def log_message(self, format: str, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/x.tar.gz"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


def whole(data: bytes, *, length: int | None = None, etag: str = '"1"'):
    """Sends all, or the part that was asked for when the version is the same."""

    def answer(handler):
        asked = handler.headers.get("Range")
        start = 0
        if asked and handler.headers.get("If-Range") == etag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        handler.send_response(206 if start else 200)
        handler.send_header("ETag", etag)
        handler.send_header("Content-Length", str((length or len(data)) - start))
        handler.end_headers()
        handler.wfile.write(data[start:])

    return answer


def cut_after(data: bytes, count: int, *, etag: str = '"1"'):
    """Announces all of `data` and breaks off."""

    def answer(handler):
        handler.send_response(200)
        handler.send_header("ETag", etag)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[:count])
        handler.wfile.flush()
        handler.connection.close()

    return answer


def refuse(code: int):
    return lambda handler: handler.send_error(code)


def endless(handler):
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(bytes(1 << 16))
    except OSError:
        pass


@pytest.fixture
def published(monkeypatch):
    """The real entry with small limits, a small list of files, and no pauses between tries."""
    real = download.PUBLISHED["ict-facekit"]
    files = {"FaceXModel/mesh.obj": hashlib.sha256(MESH).hexdigest()}
    small = download.Published(
        url=real.url, keep=real.keep, files=files, max_archive=1 << 20, max_unpacked=1 << 20,
        licence=real.licence,
    )  # fmt: skip
    monkeypatch.setitem(download.PUBLISHED, "ict-facekit", small)
    monkeypatch.setattr(download, "FIRST_PAUSE_S", 0.001)


def fetch(tmp_path: Path, *answers, **options) -> Server:
    server = Server(*answers)
    download.fetch("ict-facekit", tmp_path / "ict", url=server.url, **options)
    return server


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_the_wanted_part_arrives(published, tmp_path, capsys):
    fetch(tmp_path, whole(GOOD))
    assert names(tmp_path) == ["ict/FaceXModel/mesh.obj", "ict/LICENSE"]
    assert (tmp_path / "ict/FaceXModel/mesh.obj").read_bytes() == MESH
    assert "MIT" in capsys.readouterr().out


def test_the_archive_is_kept_when_asked_for(published, tmp_path):
    fetch(tmp_path, whole(GOOD), keep_archive=True)
    assert (tmp_path / "ict.tar.gz").read_bytes() == GOOD


def test_a_broken_connection_goes_on_where_it_stopped(published, tmp_path):
    server = fetch(tmp_path, cut_after(GOOD, 100), whole(GOOD))
    assert server.ranges == [None, "bytes=100-"]
    assert (tmp_path / "ict/FaceXModel/mesh.obj").read_bytes() == MESH


def test_an_interrupted_download_goes_on_with_the_next_command(published, tmp_path):
    with pytest.raises(UserError, match=r"again to go on from 60 bytes"):
        fetch(tmp_path, cut_after(GOOD, 60), refuse(503))
    assert not (tmp_path / "ict").exists()
    server = fetch(tmp_path, whole(GOOD))
    assert server.ranges == ["bytes=60-"]
    assert names(tmp_path) == ["ict/FaceXModel/mesh.obj", "ict/LICENSE"]


def test_a_file_that_changed_meanwhile_is_fetched_anew(published, tmp_path):
    fetch(tmp_path, cut_after(bytes(500), 100, etag='"0"'), whole(GOOD))
    assert (tmp_path / "ict/FaceXModel/mesh.obj").read_bytes() == MESH


def test_server_errors_are_tried_again(published, tmp_path):
    server = fetch(tmp_path, refuse(500), refuse(503), whole(GOOD))
    assert len(server.ranges) == 3


@pytest.mark.parametrize("code", [404, 403])
def test_a_refusal_is_final(published, tmp_path, code):
    server = Server(refuse(code))
    with pytest.raises(UserError, match=f"answers {code}.*--url"):
        download.fetch("ict-facekit", tmp_path / "ict", url=server.url)
    assert len(server.ranges) == 1 and names(tmp_path) == []


def test_an_address_that_is_none(published, tmp_path):
    with pytest.raises(UserError, match="5 times"):
        download.fetch("ict-facekit", tmp_path / "ict", url="http://127.0.0.1:1/x")
    with pytest.raises(UserError):
        download.fetch("ict-facekit", tmp_path / "ict", url="nonsense")


def test_too_large_by_announcement(published, tmp_path):
    with pytest.raises(UserError, match="offers 999999999 bytes"):
        fetch(tmp_path, whole(GOOD, length=999_999_999))
    assert names(tmp_path) == []


def test_too_large_without_announcement(published, tmp_path):
    with pytest.raises(UserError, match="sends more than"):
        fetch(tmp_path, endless)
    assert not (tmp_path / "ict.part").exists()


def test_a_bomb_is_not_unpacked(published, tmp_path):
    with pytest.raises(UserError, match="unpacks to more than"):
        fetch(tmp_path, whole(archive({"top/FaceXModel/big": bytes(3 << 20)})))
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["top/../../evil", "/tmp/evil", "../evil", "top/FaceXModel/../.."])
def test_members_that_leave_the_folder_refuse_the_archive(published, tmp_path, name):
    inner = tmp_path / "deep" / "er"
    with pytest.raises(UserError, match="leads out of it"):
        fetch(inner, whole(archive({"top/LICENSE": b"x", name: b"evil"})))
    assert names(tmp_path) == []


def test_links_are_left_out(published, tmp_path):
    data = archive(
        {"top/FaceXModel/mesh.obj": MESH}, links={"top/FaceXModel/passwd": "/etc/passwd"}
    )
    fetch(tmp_path, whole(data))
    assert names(tmp_path) == ["ict/FaceXModel/mesh.obj"]


@pytest.mark.parametrize("data", [b"no archive at all", GOOD[: len(GOOD) // 2], b""])
def test_a_damaged_archive_leaves_nothing(published, tmp_path, data):
    with pytest.raises(UserError, match=r"is damaged|holds nothing"):
        fetch(tmp_path, whole(data))
    assert names(tmp_path) == []


def test_another_content_is_noticed(published, tmp_path):
    with pytest.raises(UserError, match=r"mesh\.obj is not the file"):
        fetch(tmp_path, whole(archive({"top/FaceXModel/mesh.obj": b"other"})))
    with pytest.raises(UserError, match=r"lacks FaceXModel/mesh\.obj"):
        fetch(tmp_path, whole(archive({"top/LICENSE": b"MIT"})))
    assert names(tmp_path) == []


def test_a_folder_with_something_in_it_is_left_alone(published, tmp_path):
    (tmp_path / "ict").mkdir()
    (tmp_path / "ict/mine").touch()
    with pytest.raises(UserError, match="not empty"):
        fetch(tmp_path, whole(GOOD))


def test_an_unknown_name(tmp_path):
    with pytest.raises(UserError, match="there is: ict-facekit"):
        download.fetch("flame", tmp_path / "x")


def test_the_listed_digests_are_those_of_the_published_files(shared_data, tmp_path):
    """The real entry against the subset of the real files that lies beside the project."""
    files = download.PUBLISHED["ict-facekit"].files
    with tarfile.open(shared_data / "ICT-FaceKit.tar.xz") as tar:
        here = {name: data for name in files if (data := _member(tar, name)) is not None}
    assert "FaceXModel/generic_neutral_mesh.obj" in here
    for name, data in here.items():
        assert hashlib.sha256(data).hexdigest() == files[name]


def _member(tar: tarfile.TarFile, name: str) -> bytes | None:
    try:
        file = tar.extractfile(name)
    except KeyError:
        return None
    return None if file is None else file.read()
