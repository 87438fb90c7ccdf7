"""The downloader of pictures stopped, killed, damaged and given again."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import misbehaving as bad
import pytest

from jaxfacs import cli
from jaxfacs.data.download_journal import Ending, Journal, picture_path
from jaxfacs.errors import UserError


@pytest.fixture
def server():
    with bad.Server() as running:
        yield running


def test_the_same_command_fetches_nothing_twice(server, tmp_path):
    server.answers = {f"/{i}.jpg": bad.jpeg(i) for i in range(5)}
    urls = [f"{server.url}/{i}.jpg" for i in range(6)]
    out = bad.fetch(tmp_path, [*urls, urls[0]])
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    asked = server.asked.copy()
    bad.fetch(tmp_path, [*urls, urls[0]])
    assert server.asked == asked and set(asked.values()) == {1}
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    server.answers["/5.jpg"] = bad.jpeg(5)  # it came back
    bad.fetch(tmp_path, urls, again=True)
    assert len(bad.table(out, "names.csv")) == 6 and bad.table(out, "failures.csv") == []
    assert server.asked["/5.jpg"] == 2 and server.asked["/0.jpg"] == 1


def test_damage_to_the_folder_is_mended(server, tmp_path):
    server.answers = {f"/{i}.jpg": bad.jpeg(i) for i in range(5)}
    urls = [f"{server.url}/{i}.jpg" for i in range(5)]
    out = bad.fetch(tmp_path, urls)
    lost, short, orphan = (out / picture_path(url) for url in urls[:3])
    lost.unlink()
    short.write_bytes(short.read_bytes()[:50])
    journal = out / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if b"/2.jpg" not in line]  # as if killed before that line
    torn = next(line for line in kept if b"/4.jpg" in line)
    kept = [line for line in kept if line is not torn] + [torn[:30]]
    journal.write_bytes(b"".join(kept))
    (out / "pictures" / "00").mkdir(exist_ok=True)
    part = out / "pictures" / "00" / ".part-1-x.jpg"
    part.write_bytes(b"half")
    bad.fetch(tmp_path, urls)
    assert server.asked == {"/0.jpg": 2, "/1.jpg": 2, "/2.jpg": 1, "/3.jpg": 1, "/4.jpg": 1}
    assert [r["file"] for r in bad.table(out, "names.csv")] == [picture_path(url) for url in urls]
    assert all((out / picture_path(url)).read_bytes() == bad.jpeg(i) for i, url in enumerate(urls))
    assert orphan.exists() and not part.exists()


def _command(path: Path, out: Path, *options: str) -> list[str]:
    quickly = ["--rate", "1000", "--allow-private", *options]
    return [sys.executable, "-m", "jaxfacs", "data", "download", "emotionet", str(path),
            "--out", str(out), *quickly]  # fmt: skip


def _wait_until(condition, timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_a_stopped_download_loses_nothing_and_repeats_only_what_was_on_its_way(
    server, tmp_path, how
):
    def slowly(seed):
        def answer(handler, _):
            time.sleep(0.04)  # 0.7 s are left when the signal is sent
            bad.send(handler, bad.jpeg(seed))

        return answer

    gone = set(range(0, 90, 3))  # 404: recorded in the journal alone
    server.answers = {f"/{i}.jpg": slowly(i) for i in range(90) if i not in gone}
    urls = [f"{server.url}/{i}.jpg" for i in range(90)]
    path, out = bad.write_list(tmp_path, urls), tmp_path / "out"
    process = subprocess.Popen(
        _command(path, out, "--connections", "3"),
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    _wait_until(lambda: len(server.times) >= 40)
    process.send_signal(how)
    stdout, _ = process.communicate(timeout=20)
    assert process.returncode == (-9 if how == signal.SIGKILL else 130)
    assert 40 <= len(server.asked) < 90
    if how == signal.SIGINT:
        assert "not yet fetched" in stdout and len(bad.table(out, "names.csv")) >= 15
    assert cli.main(_command(path, out)[3:]) == 0
    named = {r["url"] for r in bad.table(out, "names.csv")}
    failed = {r["url"] for r in bad.table(out, "failures.csv")}
    assert failed == {urls[i] for i in gone} and named == set(urls) - failed
    for i in set(range(90)) - gone:
        assert (out / picture_path(urls[i])).read_bytes() == bad.jpeg(i)
    repeated = {url for url, count in server.asked.items() if count > 1}
    # One for each connection. A picture is found again on the disk; a 404 that had been told but
    # not yet written down is asked again, one for each connection at most as well.
    assert len(repeated - {f"/{i}.jpg" for i in gone}) <= 3 and len(repeated) <= 6
    assert not list(out.rglob(".part-*"))


def test_two_commands_do_not_share_a_folder(server, tmp_path):
    (tmp_path / "out").mkdir()
    journal = Journal(tmp_path / "out")
    with pytest.raises(UserError, match="another download works"):
        bad.fetch(tmp_path, [f"{server.url}/1"])
    journal.close()


def test_a_folder_with_something_else_in_it_is_left_alone(server, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.doc").touch()
    with pytest.raises(UserError, match="not empty"):
        bad.fetch(tmp_path, [f"{server.url}/1"])


def test_a_full_disk_is_said(server, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    server.answers = {"/1": bad.jpeg(1)}
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"disk of .* is full"):
        bad.fetch(tmp_path, [f"{server.url}/1"])


def test_the_command(server, tmp_path, capsys):
    server.answers = {f"/{i}.jpg": bad.jpeg(i) for i in range(3)}
    urls = [f"{server.url}/{i}.jpg" for i in range(3)]
    path = bad.write_list(tmp_path, ["# mine", *urls, "junk"])
    words = _command(path, tmp_path / "out", "--user-agent", "lab (a@b.example)")[3:]
    assert cli.main([*words, "--limit", "2"]) == 0
    assert len(bad.table(tmp_path / "out", "names.csv")) == 2
    assert cli.main(words) == 0
    said = capsys.readouterr()
    assert "pictures" in said.out and "rows not understood" in said.out
    assert "downloading: 1 pictures" in said.err
    assert server.headers[0]["User-Agent"] == "lab (a@b.example)"
    (row,) = bad.table(tmp_path / "out", "failures.csv")
    assert (row["kind"], row["row"]) == ("bad row", "5")
    for wrong, word in ((["--rate", "0"], "rate"), (["--retries", "-1"], "retries")):
        assert cli.main([*words, *wrong]) == 2
        assert word in capsys.readouterr().err
    assert cli.main(["data", "download", "emotionet", "--out", str(tmp_path / "x")]) == 2
    assert cli.main(["data", "download", "imagenet", "--out", str(tmp_path / "x")]) == 2


def test_header_of_failures_is_safe_to_print(server, tmp_path):
    def hostile(handler, _):
        handler.send_response(418, "\x1b]0;owned\x07")
        handler.end_headers()

    server.answers = {"/1": hostile}
    out = bad.fetch(tmp_path, [f"{server.url}/1"])
    assert b"\x1b" not in (out / "failures.csv").read_bytes()


@pytest.mark.parametrize("cut", [1, 20, 0])
def test_a_journal_cut_anywhere_is_gone_on_with(tmp_path, cut):
    """Killed within the first line (1, 20 bytes are left), or before it."""
    journal = Journal(tmp_path / "out")
    journal.append(Ending("http://x/1.jpg", "list", 1))
    journal.close()
    path = tmp_path / "out" / "journal.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    for _ in range(2):
        again = Journal(tmp_path / "out")
        assert again.endings == {}
        again.close()
    path.write_bytes(whole + b"\x00\x00\n[1]\n" + whole.splitlines()[1] + b"\n" + b'{"url"')
    again = Journal(tmp_path / "out")
    assert list(again.endings) == ["http://x/1.jpg"] and again.damaged_lines == 2
    again.append(Ending("http://x/2.jpg", "list", 2))
    again.close()
    last = Journal(tmp_path / "out")
    assert len(last.endings) == 2
    last.close()


def test_a_journal_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_text('{"event": "lunch"}\n')
    with pytest.raises(UserError, match="no journal of this version"):
        Journal(tmp_path)
    assert path.read_text() == '{"event": "lunch"}\n'
