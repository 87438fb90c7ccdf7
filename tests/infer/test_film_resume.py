"""An interrupted film goes on, and its files are those of a film that nobody interrupted."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from drawn_film import film_frames
from tiny_bundle import write_tiny

from jaxfacs.cli import main
from jaxfacs.errors import UserError
from jaxfacs.infer import resume
from jaxfacs.infer.results_on_disk import Results

STATE = {
    "frames": 12,
    "nested": [{"a_N": np.arange(5, dtype=np.int16)}, [1.5, None, "x"], np.float32([[np.nan, 2]])],
    "number": np.float64(0.1),
    "empty": np.zeros((0, 3), bool),
}


def test_states_come_back_as_they_were(tmp_path):
    path = tmp_path / "s.npz"
    assert resume.load(path, {"film": 1}) is None
    resume.save(path, {"film": 1}, STATE)
    state = resume.load(path, {"film": 1})
    assert state["frames"] == 12 and state["number"] == 0.1
    assert state["nested"][1] == [1.5, None, "x"]
    for got, kept in (
        (state["nested"][0]["a_N"], STATE["nested"][0]["a_N"]),
        (state["nested"][2], STATE["nested"][2]),
        (state["empty"], STATE["empty"]),
    ):
        assert got.dtype == kept.dtype
        np.testing.assert_array_equal(got, kept)


def test_damage_and_another_film_are_refused(tmp_path):
    path = tmp_path / "s.npz"
    key = {"film": {"bytes": 3}, "settings": {"hop": None}}
    resume.save(path, key, STATE)
    for other, word in (
        ({**key, "film": {"bytes": 4}}, "the film changed since"),
        ({**key, "settings": {"hop": 1}}, "the settings changed since"),
        ({**key, "film": None, "more": 1}, "the film and the more changed since"),
    ):
        with pytest.raises(UserError, match=word):
            resume.load(path, other)
    whole = path.read_bytes()
    places = [*range(0, len(whole), 37), len(whole) - 1]
    for place in places:
        raw = bytearray(whole)
        raw[place] ^= 0x10
        path.write_bytes(raw)
        try:  # zip has bytes that nobody reads, as the time of a member
            state = resume.load(path, key)
        except UserError as error:
            assert "is damaged" in str(error) or "changed since" in str(error)
        else:
            assert state["frames"] == 12 and state["number"] == 0.1
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="is damaged"):
        resume.load(path, key)


def test_one_writer_at_a_time(tmp_path):
    path = tmp_path / ".x.lock"
    with resume.locked(path, "x.csv"):
        other = resume.locked(path, "x.csv")
        with pytest.raises(UserError, match=r"x\.csv is being written by another"), other:
            pass
        assert path.exists()
    assert not path.exists()
    with resume.locked(path, "x.csv"):
        pass


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("m") / "tiny.jaxfacs", per_frame=True)


@pytest.fixture(scope="module")
def films(tmp_path_factory, film, frames):
    """Three films; the second one is of two people."""
    folder = tmp_path_factory.mktemp("films")
    first, second, third = (folder / f"{name}.avi" for name in "abc")
    first.write_bytes(film.read_bytes())
    both = [
        np.concatenate([f, np.uint8(g * 0.6)], 1) for f, g in zip(frames, frames[::-1], strict=True)
    ]
    write(second, both)
    write(third, frames[5:30])
    return [first, second, third]


def write(path, pictures):
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20.0, (width, height))
    for picture in pictures:
        writer.write(picture[..., ::-1])
    writer.release()


def words(films, model, out, *more):
    return ["predict", *map(str, films), "--model", str(model), "--out", str(out), *more]


ANSWERS = ("--save-every", "6", "--baseline", "first:0.6", "--smooth", "0.2")


def digests(out):
    assert not list(out.glob(".*"))  # nothing hidden is left
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(out.iterdir())}


def interrupt(monkeypatch, at):
    """Ctrl-C when so many results were written."""
    add, count = Results.add, [0]

    def counted(self, result):
        count[0] += 1
        if count[0] == at:
            raise KeyboardInterrupt
        add(self, result)

    monkeypatch.setattr(Results, "add", counted)


def test_interrupted_anywhere_the_files_are_the_same(model, films, tmp_path, monkeypatch, capfd):
    out = tmp_path / "whole"
    assert main(words(films, model, out, *ANSWERS)) == 0
    expected = digests(out)
    assert {"a.csv", "b.csv", "c.csv"} <= expected.keys()
    rng, out, ends = random.Random(1), tmp_path / "broken", []
    for _ in range(30):
        with monkeypatch.context() as patch:
            interrupt(patch, rng.randint(9, 40))
            capfd.readouterr()
            ends.append(main(words(films, model, out, *ANSWERS)))
        if ends[-1] == 0:
            break
        err = capfd.readouterr().err.strip().splitlines()[-1]
        assert "interrupted; the same command " in err
    assert ends[-1] == 0 and set(ends[:-1]) == {130} and len(ends) > 3
    assert digests(out) == expected


def test_formats_that_are_made_at_the_end_go_on_too(model, films, tmp_path, monkeypatch):
    more = ("--format", "parquet", "--columns", "py-feat", "--save-every", "6", "--segments")
    assert main(words(films[:1], model, tmp_path / "whole", *more)) == 0
    with monkeypatch.context() as patch:
        interrupt(patch, 23)
        assert main(words(films[:1], model, tmp_path / "broken", *more)) == 130
    assert list((tmp_path / "broken").glob(".a.resume.npz"))
    assert main(words(films[:1], model, tmp_path / "broken", *more)) == 0
    assert digests(tmp_path / "whole") == digests(tmp_path / "broken")


def test_what_does_not_fit_is_read_from_the_beginning(model, films, tmp_path, monkeypatch, capfd):
    out, path = tmp_path / "o", tmp_path / "a.avi"
    path.write_bytes(films[0].read_bytes())
    more = ("--save-every", "6")
    assert main(words([path], model, out, *more)) == 0
    expected = (out / "a.csv").read_bytes()

    def broken_off():
        for file in out.iterdir():
            file.unlink()
        with monkeypatch.context() as patch:
            interrupt(patch, 23)
            assert main(words([path], model, out, *more)) == 130
        assert (out / ".a.resume.npz").exists() and (out / ".a.journal").exists()
        capfd.readouterr()

    def again(*options):
        assert main(words([path], model, out, *more, *options)) == 0
        err = capfd.readouterr().err
        return err.splitlines()[0] if err else ""

    broken_off()
    assert "from the beginning" not in again()
    broken_off()
    assert "a is read from the beginning: the settings changed since" in again("--every", "2")
    broken_off()
    os.utime(path, (1, 1))
    assert "a is read from the beginning: the film changed since" in again()
    broken_off()
    raw = bytearray((out / ".a.resume.npz").read_bytes())
    raw[len(raw) // 2] ^= 1
    (out / ".a.resume.npz").write_bytes(raw)
    assert "a is read from the beginning: what was kept of it is damaged" in again()
    assert (out / "a.csv").read_bytes() == expected
    broken_off()
    (out / ".a.journal").write_bytes((out / ".a.journal").read_bytes()[:100])
    assert "a is read from the beginning" in again()
    assert (out / "a.csv").read_bytes() == expected
    broken_off()
    assert "from the beginning" not in again("--overwrite")
    assert (out / "a.csv").read_bytes() == expected


def test_two_at_once_on_one_folder(model, films, tmp_path, capfd):
    tmp_path.joinpath("o").mkdir()
    with resume.locked(tmp_path / "o" / ".a.lock", "a"):
        assert main(words(films[:1], model, tmp_path / "o")) == 2
    assert "a.csv is being written by another jaxfacs predict" in capfd.readouterr().err
    assert main(words(films[:1], model, tmp_path / "o")) == 0


def start(arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "jaxfacs", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.long
def test_killed_and_started_again(model, tmp_path):
    """SIGKILL at moments that nobody chose, and at last Ctrl-C."""
    pictures = film_frames()
    film = tmp_path / "film.avi"
    write(film, (pictures + pictures[::-1]) * 12)
    more = ("--save-every", "40", "--smooth", "0.3")
    assert main(words([film], model, tmp_path / "whole", *more)) == 0
    expected = digests(tmp_path / "whole")
    out, rng = tmp_path / "killed", random.Random(7)
    arguments, kept, kills = words([film], model, out, *more), out / ".film.resume.npz", 0
    for how in (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGINT, None):
        process, before = start(arguments), kept.stat().st_mtime_ns if kept.exists() else 0
        while process.poll() is None and how is not None:
            if kept.exists() and kept.stat().st_mtime_ns != before:
                time.sleep(rng.uniform(0, 0.3))
                process.send_signal(how)
                break
            time.sleep(0.01)
        _, err = process.communicate(timeout=120)
        kills += process.returncode != 0
        if process.returncode == 130:
            assert "the same command goes on with film at frame" in err
    assert kills >= 3 and process.returncode == 0
    assert digests(out) == expected


@pytest.mark.long
def test_memory_is_flat_over_a_long_film(tmp_path):
    """20,000 rendered frames: a handful of pictures that come again and again."""
    from jaxfacs.synthface.clip import clip

    made = clip(0, frames=8, size=160, near_frontal=True)
    path = tmp_path / "long.avi"
    write(path, [*made.frames_THWC, *made.frames_THWC[::-1]] * 1250)
    model = write_tiny(tmp_path / "m.jaxfacs", per_frame=True)
    process = start(words([path], model, tmp_path / "o", "--detect-every", "8"))
    curve = []
    while process.poll() is None:
        curve.append(resident(process.pid))
        time.sleep(0.25)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "20000 frames" in out
    curve = [mib for mib in curve if mib]
    steady = curve[len(curve) // 4 :]
    print(json.dumps({"seconds": len(curve) / 4, "MiB": [round(m) for m in curve[::20]]}))
    assert len(steady) > 20 and max(steady) - min(steady) < 50


def resident(pid):
    """Resident memory in MiB; 0: the process has ended."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, ValueError, IndexError):
        return 0
