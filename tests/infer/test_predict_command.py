"""`jaxfacs predict` as its users meet it: files, columns, exit codes."""

import csv
import json
import os
import resource
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest
from tiny_bundle import AUS, THRESHOLDS, write_tiny

from jaxfacs.cli import main
from jaxfacs.emotion import RuleMapper
from jaxfacs.errors import UserError
from jaxfacs.infer.sources import source as sources
from jaxfacs.infer.sources.source import Source, Timed

EMOTIONS = RuleMapper("facs_manual").emotions
BOX = ("box_x", "box_y", "box_w", "box_h")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.jaxfacs"
    return write_tiny(path, per_frame=True, mapper=RuleMapper("facs_manual").to_json())


def read(path):
    with path.open() as file:
        return list(csv.reader(file))


def run(*words):
    return main(["predict", *map(str, words)])


def test_film_to_table_origin_and_overlay(model, film, tmp_path, capfd):
    assert run(film, "--model", model, "--out", tmp_path / "o", "--overlay") == 0
    out = tmp_path / "o"
    assert sorted(p.name for p in out.iterdir()) == [
        "drawn.csv",
        "drawn.json",
        "drawn.overlay.mp4",
    ]
    header, *rows = read(out / "drawn.csv")
    names = ["AU01", "AU04", "AU12", "AU14L"]
    assert header == [
        *("frame", "face_id", "timestamp", "confidence", "success"),
        *(f"{n}_{kind}" for kind in "rcp" for n in names),
        *EMOTIONS,
        *BOX,
    ]
    assert [row[0] for row in rows] == [str(i) for i in range(1, 41)]
    assert [row[2] for row in rows[:3]] == ["0.000", "0.050", "0.100"]
    for row in rows:
        cells = dict(zip(header, row, strict=True))
        if cells["success"] == "0":
            assert cells["face_id"] == "-1" and cells["confidence"] == "0.00"
            assert all(v == "" for k, v in cells.items() if k.startswith("AU"))
            continue
        for au, name in zip(AUS, names, strict=True):
            p, r, c = (float(cells[f"{name}_{kind}"]) for kind in "prc")
            assert (p >= THRESHOLDS[au]) == (c == 1.0) == (r >= 1)
        assert abs(sum(float(cells[e]) for e in EMOTIONS) - 1) < 0.01
    assert [row[4] for row in rows] == ["1"] * 20 + ["0"] * 10 + ["1"] * 10
    origin = json.loads((out / "drawn.json").read_text())
    assert origin["frames"] == 40 and origin["frames_with_face"] == 30 and origin["faces"] == 1
    assert origin["settings"]["thresholds"] == THRESHOLDS
    assert origin["model"]["about"] == {"note": "a test"} and len(origin["model"]["sha256"]) == 64
    overlay = cv2.VideoCapture(str(out / "drawn.overlay.mp4"))
    count = 0
    while overlay.read()[0]:
        count += 1
    assert count == 40 and overlay.get(cv2.CAP_PROP_FPS) == 20
    printed = capfd.readouterr()
    assert "40 frames, 30 with a face" in printed.out and "Traceback" not in printed.err


def test_no_overlay_changes_no_number(model, film, tmp_path):
    assert run(film, "--model", model, "--out", tmp_path / "a") == 0
    assert run(film, "--model", model, "--out", tmp_path / "b", "--overlay", "--batch", "3") == 0
    a, b = read(tmp_path / "a" / "drawn.csv"), read(tmp_path / "b" / "drawn.csv")
    assert a[0] == b[0] and len(a) == len(b)
    for row_a, row_b in zip(a[1:], b[1:], strict=True):
        assert row_a[:5] == row_b[:5]
        numbers = [np.float64(["nan" if v == "" else v for v in row[5:]]) for row in (row_a, row_b)]
        np.testing.assert_allclose(*numbers, atol=0.011)


def test_pictures_and_folders(model, tmp_path, frames):
    folder = tmp_path / "faces"
    folder.mkdir()
    for i in (0, 25):
        cv2.imwrite(str(folder / f"{i:02d}.png"), frames[i][..., ::-1])
    (folder / "bad.jpg").write_text("not a picture")
    out = tmp_path / "out"
    assert run(folder, folder / "00.png", "--model", model, "--out", out, "--overlay") == 0
    header, *rows = read(out / "faces.csv")
    assert header[-1] == "input"
    assert [(r[4], r[-1]) for r in rows] == [("1", "00.png"), ("0", "25.png"), ("0", "bad.jpg")]
    assert sorted(p.name for p in (out / "faces.overlay").iterdir())[0] == "00.png.jpg"
    header, *rows = read(out / "00.csv")
    assert header[-1] == BOX[-1] and len(rows) == 1 and (out / "00.overlay.jpg").exists()
    assert json.loads((out / "faces.json").read_text())["unreadable_frames"] == 1


def test_names_that_clash_are_told_apart(model, tmp_path, frames):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "x.png"), frames[0][..., ::-1])
    inputs = [tmp_path / "a" / "x.png", tmp_path / "b" / "x.png"]
    assert run(*inputs, "--model", model, "--out", tmp_path / "o") == 0
    assert sorted(p.name for p in (tmp_path / "o").glob("*.csv")) == ["x.png-2.csv", "x.png.csv"]


def test_pipe_of_jpegs(model, tmp_path, frames):
    raw = b"".join(cv2.imencode(".jpg", f[..., ::-1])[1].tobytes() for f in frames[:12])
    command = [sys.executable, "-m", "jaxfacs", "predict", "-", "--fps", "10"]
    done = subprocess.run(
        [*command, "--model", str(model), "--out", str(tmp_path)],
        input=raw,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    rows = read(tmp_path / "pipe.csv")[1:]
    assert [(r[2], r[4]) for r in rows] == [(f"{i / 10:.3f}", "1") for i in range(12)]


@pytest.mark.long
def test_interrupt_while_a_pipe_is_silent(model, tmp_path):
    command = [sys.executable, "-m", "jaxfacs", "predict", "-", "--model", str(model)]
    reader = subprocess.Popen(
        [*command, "--out", str(tmp_path)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    with pytest.raises(subprocess.TimeoutExpired):
        reader.wait(12)
    reader.send_signal(signal.SIGINT)
    assert reader.wait(60) == 130
    told = reader.stderr.read().decode()
    assert "interrupted" in told and "Fatal" not in told and "Traceback" not in told


def test_a_film_that_breaks_off(model, film, tmp_path, capfd):
    cut = tmp_path / "cut.avi"
    cut.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    assert run(cut, "--model", model, "--out", tmp_path / "o") == 0
    rows = read(tmp_path / "o" / "cut.csv")[1:]
    assert 5 < len(rows) < 35
    err = capfd.readouterr().err
    assert f"cut.avi ends early: {len(rows)} of 40 frames" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone.mp4"], "no file or folder gone.mp4"),
        (["{tmp}"], "holds no film and no picture"),
        (["{text}"], "does not decode"),
        (["{film}", "--model", "gone.jaxfacs"], "no model file gone.jaxfacs"),
        (["{film}", "--model", "{text}"], "is damaged or no jaxfacs model"),
        (["{film}", "--detector", "mtcnn"], "no face detector 'mtcnn'"),
        (["{film}", "--hop", "0"], "hop is 0"),
        (["{film}", "--out", "{text}"], "cannot be a folder"),
        (["-", "--pipe-size", "640"], "is not WIDTHxHEIGHT"),
        (["-", "--overlay"], "a pipe cannot be read twice"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_left(model, film, tmp_path, capfd, words, message):
    (tmp_path / "empty").mkdir()
    text = tmp_path / "notes.txt"
    text.write_text("neither film nor model")
    places = {"tmp": tmp_path / "empty", "text": text, "film": film}
    words = [w.format(**places) for w in words]
    for flag, value in (("--model", model), ("--out", tmp_path / "o")):
        words += [] if flag in words else [flag, str(value)]
    assert run(*words) == 2
    err = capfd.readouterr().err.strip()
    assert message in err and "\n" not in err and "Traceback" not in err
    assert not list((tmp_path / "o").glob("*") if (tmp_path / "o").is_dir() else [])


def test_a_full_disk_leaves_no_table(model, film, tmp_path, capfd):
    """A limit on the size of files fails in the same calls as a disk without room."""
    out, before = tmp_path / "o", resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
        assert run(film, "--model", model, "--out", out) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    err = capfd.readouterr().err
    assert "drawn.csv cannot be written (File too large); make room" in err
    assert "Traceback" not in err and not list(out.iterdir())


def test_a_place_that_is_not_writable(model, film, capfd):
    assert run(film, "--model", model, "--out", "/proc") == 2
    assert "/proc is not writable" in capfd.readouterr().err


def test_one_input_that_fails_does_not_end_the_others(model, film, tmp_path, capfd, monkeypatch):
    other = tmp_path / "other.avi"
    other.write_bytes(film.read_bytes())
    whole, calls = Source.frames, []

    def frames(self, first=0):
        calls.append(self.name)
        for timed in whole(self, first):
            if self.name == "other" and timed.number == 9:
                raise UserError(f"{self.origin} vanished; look for it")
            yield timed

    monkeypatch.setattr(Source, "frames", frames)
    out = tmp_path / "o"
    assert run(other, film, "--model", model, "--out", out) == 2
    printed = capfd.readouterr()
    assert "other.avi vanished; look for it" in printed.err.splitlines()[0]
    assert "1 of 2 inputs failed" in printed.err.splitlines()[-1]
    assert "40 frames, 30 with a face" in printed.out
    assert sorted(p.name for p in out.iterdir()) == ["drawn.csv", "drawn.json"]
    assert sorted(calls) == ["drawn", "other"]


def test_what_was_read_is_not_read_again(model, film, tmp_path, capfd, monkeypatch):
    words = [film, "--model", model, "--out", tmp_path]
    table = tmp_path / "drawn.csv"
    assert run(*words) == 0
    first, made = table.read_bytes(), table.stat().st_mtime_ns
    capfd.readouterr()
    assert run(*words, "--segments") == 0  # of the table that is there
    assert "read before with this model and these settings" in capfd.readouterr().out
    assert table.stat().st_mtime_ns == made and (tmp_path / "drawn.segments.csv").exists()
    assert run(*words, "--overwrite") == 0
    assert table.stat().st_mtime_ns > made and table.read_bytes() == first
    for more in (["--every", "2"], ["--smooth", "0.2"], ["--columns", "py-feat"]):
        capfd.readouterr()
        assert run(*words, *more) == 0
        assert "read before" not in capfd.readouterr().out and table.read_bytes() != first
    assert run(*words) == 0
    assert table.read_bytes() == first
    table.write_bytes(first[:-5])
    assert run(*words) == 0 and table.read_bytes() == first


def test_options_reach_the_numbers(model, film, tmp_path):
    out = tmp_path / "o"
    words = ["--every", "3", "--start", "0.2", "--end", "1.0", "--format", "json"]
    answering = ["--baseline", "first:0.5", "--smooth", "0.1", "--detect-every", "2"]
    assert run(film, "--model", model, "--out", out, *words, *answering) == 0
    rows = [json.loads(line) for line in (out / "drawn.jsonl").read_text().splitlines()]
    assert [row["frame"] for row in rows] == [5, 8, 11, 14, 17, 20]
    settings = json.loads((out / "drawn.json").read_text())["settings"]
    assert settings["frames"]["every"] == 3 and settings["frames"]["start"] == "0.2"
    assert settings["baseline"] == "first:0.5" and settings["smooth_s"] == 0.1
    assert settings["detect_every"] == 2 and settings["platform"] == "cpu"


def test_everything_that_can_be_made_of_a_film(model, film, tmp_path, capfd):
    words = ["--overlay", "--segments", "--plots", "--heat-map", "--report"]
    assert run(film, "--model", model, "--out", tmp_path, *words) == 0
    made = {p.name.removeprefix("drawn.") for p in tmp_path.iterdir()}
    assert made == {
        *("csv", "json", "segments.csv", "overlay.mp4", "timeline.png", "timeline.svg"),
        *("face.png", "report.html"),
    }
    assert capfd.readouterr().err.count("Traceback") == 0


def test_a_film_of_nobody_has_no_face_map(model, frames, tmp_path):
    pictures = tmp_path / "empty"
    pictures.mkdir()
    for number in range(3):
        cv2.imwrite(str(pictures / f"{number}.png"), np.full_like(frames[0], 150))
    words = ["--fps", "5", "--heat-map", "--segments", "--plots"]
    assert run(pictures, "--model", model, "--out", tmp_path / "o", *words) == 0
    made = {p.name.removeprefix("empty.") for p in (tmp_path / "o").iterdir()}
    assert made == {"csv", "json", "segments.csv", "timeline.png", "timeline.svg"}


class Camera(Source):
    """Gives frames until somebody has had enough."""

    def __init__(self, frames, *, interrupt_at=None, breaks_at=None):
        super().__init__("camera-0", None, fps=20.0, live=True, camera=0)
        self._frames, self._interrupt_at, self._breaks_at = frames, interrupt_at, breaks_at

    def frames(self, first=0):
        for number in range(1, 2000):
            if number == self._interrupt_at:
                os.kill(os.getpid(), signal.SIGINT)
            if number == self._breaks_at:
                raise UserError("camera 0 vanished; plug it in")
            yield Timed(number, number / 20, self._frames[number % 20])


def test_ctrl_c_ends_a_camera_and_its_table_is_written(model, frames, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "find", lambda *a, **k: [Camera(frames, interrupt_at=30)])
    words = ["--camera", "0", "--model", model, "--out", tmp_path]
    for name in ("camera-0", "camera-0-2"):  # a recording is never replaced by the next one
        assert run(*words) == 0
        assert 29 <= len(read(tmp_path / f"{name}.csv")) - 1 < 200
    assert not list(tmp_path.glob(".*"))


def test_a_camera_that_vanishes_leaves_its_table(model, frames, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(sources, "find", lambda *a, **k: [Camera(frames, breaks_at=30)])
    assert run("--camera", "0", "--model", model, "--out", tmp_path) == 2
    assert len(read(tmp_path / "camera-0.csv")) - 1 == 29
    assert "camera 0 vanished; plug it in" in capfd.readouterr().err
    assert json.loads((tmp_path / "camera-0.json").read_text())["warnings"]


def test_help_teaches(capfd):
    with pytest.raises(SystemExit):
        run("--help")
    text = capfd.readouterr().out
    assert "jaxfacs predict film.mp4 --out results" in text
    for option in ("--camera", "--every", "--baseline", "--films-at-once", "--heat-map"):
        assert option in text
    assert len(text.splitlines()) < 120
