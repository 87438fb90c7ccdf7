"""`jaxfacs predict` as its users meet it: files, columns, exit codes."""

import csv
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from tiny_bundle import AUS, THRESHOLDS, write_tiny

from jaxfacs.cli import main
from jaxfacs.emotion import RuleMapper

EMOTIONS = RuleMapper("facs_manual").emotions


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
    assert header[-1] == EMOTIONS[-1] and len(rows) == 1 and (out / "00.overlay.jpg").exists()
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


def test_a_full_disk_leaves_no_table(model, film, tmp_path, capfd, monkeypatch):
    import errno

    from jaxfacs.infer import table

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(table, "rows", full)
    assert run(film, "--model", model, "--out", tmp_path / "o") == 2
    assert "No space left on device" in capfd.readouterr().err
    assert not list((tmp_path / "o").iterdir())
