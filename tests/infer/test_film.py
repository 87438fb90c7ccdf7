"""Films' times, turns, parts and damage."""

import os

import numpy as np
import pytest
from film_maker import ffmpeg, retimed, shown, turned, white_corner, write_film

from jaxfacs.errors import UserError
from jaxfacs.infer.sources import film as films
from jaxfacs.infer.sources import limits
from jaxfacs.infer.sources import source as sources

GAPS = [33, 100, 7, 7, 7, 500, 40, 41, 33, 1000, 20, 33]
TIMES = np.cumsum([0, *GAPS[:-1]]) / 1000


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """30 frames, 30 a second."""
    return write_film(tmp_path_factory.mktemp("films") / "plain.mp4")


def read(path, **options):
    (source,) = sources.find([str(path)], **options)
    return source, list(source.frames())


@pytest.mark.parametrize("kind", ["mp4", "mov", "mkv", "webm"])
def test_uneven_times_are_the_containers(tmp_path, kind):
    path = write_film(tmp_path / "even.mp4", count=len(GAPS))
    path = retimed(path, tmp_path / "uneven.mp4", GAPS)
    if kind != "mp4":
        vp8 = ["-c:v", "libvpx", "-b:v", "1M", "-enc_time_base", "1:1000"]
        codec = vp8 if kind == "webm" else ["-c", "copy"]
        ffmpeg("-i", path, "-fps_mode", "passthrough", *codec, path.with_suffix(f".{kind}"))
        path = path.with_suffix(f".{kind}")
    source, frames = read(path)
    np.testing.assert_allclose([t for _, t, _ in frames], TIMES, atol=0.0011)
    assert [shown(f) for _, _, f in frames] == list(range(len(GAPS)))
    # .mkv counts frames by time and rate: more than there are, and still nothing is missing.
    assert not sources.ends_early(source, len(frames)) and source.warnings == []


def test_a_start_that_is_not_zero(tmp_path, plain):
    for name, options in {
        "late.mp4": [],
        "late.mkv": [],
        "copied.mkv": ["-copyts"],
        "cut.mp4": ["-ss", "0.3"],
        "negative.mkv": ["-ss", "0.3", "-avoid_negative_ts", "disabled"],
    }.items():
        before = ["-itsoffset", "7"] if "late" in name or "copied" in name else []
        ffmpeg(*before, "-i", plain, *options, "-c", "copy", tmp_path / name)
        source, frames = read(tmp_path / name)
        times = np.array([t for _, t, _ in frames])
        assert times[0] == 0 and len(frames) >= 15, name
        np.testing.assert_allclose(np.diff(times), 1 / 30, atol=0.0011, err_msg=name)
        assert not sources.ends_early(source, len(frames)), name


def test_no_times_or_times_that_run_back(tmp_path, plain, monkeypatch):
    ffmpeg("-i", plain, "-c:v", "libx264", tmp_path / "bare.h264")
    _, frames = read(tmp_path / "bare.h264")  # no container at all
    np.testing.assert_allclose([t for _, t, _ in frames], np.arange(30) / 25, atol=1e-9)

    class Capture:
        def __init__(self, times):
            self._times, self._now = list(times), np.nan

        def grab(self):
            if self._times:
                self._now = self._times.pop(0)
                return True
            return False

        def get(self, prop):
            return 1000 * self._now

        def retrieve(self):
            return True, np.zeros((4, 4, 3), np.uint8)

        def release(self): ...

    about = films.Header(10.0, None, 4, 4)
    for given, expected in {
        (np.nan, np.nan, np.nan): (0, 0.1, 0.2),
        (-0.5, -0.4, 0.3): (0, 0.1, 0.3),
        (0.0, 0.2, 0.1, 0.15, 0.9): (0, 0.2, 0.25, 0.35, 0.9),
        (3.0, np.inf, 3.4): (3, 3.1, 3.4),
    }.items():
        seen = films.glimpses(Capture(given), "x", about, [], films.Progress())
        np.testing.assert_allclose([g.timestamp for g in seen], expected, atol=1e-9)


@pytest.mark.parametrize(
    ("degrees", "corner"), [(90, "top right"), (180, "bottom right"), (270, "bottom left")]
)
def test_a_turned_film_is_upright(tmp_path, plain, degrees, corner):
    source, frames = read(turned(plain, tmp_path / "turned.mp4", degrees))
    assert frames[0].frame_HWC.shape == ((48, 64, 3) if degrees == 180 else (64, 48, 3))
    assert white_corner(frames[0].frame_HWC) == corner
    assert source.warnings == []
    assert white_corner(read(plain)[1][0].frame_HWC) == "top left"


def test_parts_and_every_kth(plain):
    assert [n for n, _, _ in read(plain, every=7)[1]] == [1, 8, 15, 22, 29]
    source, frames = read(plain, start="0:0.5", end=0.8)
    assert [n for n, _, _ in frames] == list(range(16, 25)) and source.total == 9
    assert [shown(f) for _, _, f in frames] == list(range(15, 24))
    assert not sources.ends_early(source, 9)
    source, frames = read(plain, start=0.5, every=5)
    assert [n for n, _, _ in frames] == [16, 21, 26] and source.total == 3 and source.fps == 6
    with pytest.raises(UserError, match=r"no frame from 5 s to 9 s; it ends at 0\.97"):
        read(plain, start=5, end=9)


def test_a_slower_rate_takes_the_nearest_frames(tmp_path, plain):
    source, frames = read(plain, fps=10)
    assert (source.fps, source.total) == (10, 10)
    assert [n for n, _, _ in frames] == list(range(1, 31, 3))
    assert len(read(plain, fps=29.97)[1]) >= 29 and len(read(plain, fps=200)[1]) == 30
    _, frames = read(retimed(plain, tmp_path / "uneven.mp4", (GAPS * 3)[:30]), fps=8)
    times = np.cumsum([0, *(GAPS * 3)[:29]]) / 1000
    ticks = np.arange(0, times[-1] + 1 / 16, 1 / 8)
    nearest = sorted({int(np.abs(times - tick).argmin()) for tick in ticks})
    assert [n - 1 for n, _, _ in frames] == nearest


@pytest.mark.parametrize("options", [{}, {"every": 3}, {"fps": 7}, {"start": 0.3, "end": 0.9}])
def test_leaving_out_the_first_is_exact_and_decodes_nothing(plain, options, monkeypatch):
    source, whole = read(plain, **options)
    for first in (0, 1, 4, len(whole), len(whole) + 3):
        decoded = []
        kept = films._decoded
        monkeypatch.setattr(films, "_decoded", lambda f, d=decoded, k=kept: d.append(1) or k(f))
        rest = list(source.frames(first))
        monkeypatch.setattr(films, "_decoded", kept)
        assert [t[:2] for t in rest] == [t[:2] for t in whole[first:]]
        for a, b in zip(rest, whole[first:], strict=True):
            np.testing.assert_array_equal(a.frame_HWC, b.frame_HWC)
        if "fps" not in options:
            assert len(decoded) == len(rest)


def test_damage_in_the_middle_is_rows_and_not_the_end(tmp_path):
    path = tmp_path / "whole.mp4"
    pattern = "testsrc=size=96x64:rate=30:duration=2"
    ffmpeg("-f", "lavfi", "-i", pattern, "-pix_fmt", "yuv420p", "-c:v", "libx264", "-g", 10, path)
    raw = bytearray(path.read_bytes())
    low = raw.index(b"mdat")
    raw[low + 4000 : low + 6000] = bytes(2000)
    (tmp_path / "hurt.mp4").write_bytes(raw)
    source, frames = read(tmp_path / "hurt.mp4")
    lost = [n for n, _, f in frames if f is None]
    assert 1 <= len(lost) <= 40 and frames[-1].frame_HWC is not None
    assert [n for n, _, _ in frames] == list(range(1, len(frames) + 1))
    times = [t for _, t, _ in frames]
    assert (np.diff(times) > 0).all() and times[-1] == pytest.approx(59 / 30, abs=0.001)
    assert any("do not decode; their rows have success 0" in w for w in source.warnings)


def test_lost_packets_are_named(tmp_path):
    path = tmp_path / "whole.ts"
    pattern = "testsrc=size=96x64:rate=30:duration=2"
    ffmpeg("-f", "lavfi", "-i", pattern, "-c:v", "mpeg2video", "-g", 6, path)
    raw = path.read_bytes()
    half = len(raw) // 2 // 188 * 188
    path.write_bytes(raw[:half] + raw[half + 188 * 60 :])
    source, frames = read(path)
    assert 30 < len(frames) < 60
    assert any("no frame from" in w for w in source.warnings), source.warnings


def test_a_film_that_ends_before_its_header_says(tmp_path, plain):
    ffmpeg("-i", plain, "-c", "copy", tmp_path / "whole.mkv")
    raw = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(raw[: len(raw) * 6 // 10])
    source, frames = read(tmp_path / "cut.mkv")
    assert 5 < len(frames) < 28
    assert sources.ends_early(source, len(frames)) and "promises 1.0 s" in source.warnings[0]
    source, frames = read(tmp_path / "cut.mkv", end=0.2)
    assert len(frames) == 6 and not sources.ends_early(source, 6)


def test_what_has_no_pictures_is_refused(tmp_path):
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac", tmp_path / "sound.mp4")
    with pytest.raises(UserError, match="without a picture track"):
        sources.find([str(tmp_path / "sound.mp4")])


@pytest.mark.parametrize("pixels", ["gray", "yuva420p", "yuv420p10le"])
def test_grey_alpha_and_ten_bits(tmp_path, pixels):
    path = tmp_path / "film.mkv"
    pattern = "color=c=0x808080:size=64x48:rate=10:duration=0.5"
    ffmpeg("-f", "lavfi", "-i", pattern, "-pix_fmt", pixels, "-c:v", "ffv1", path)
    _, frames = read(path)
    assert len(frames) == 5 and frames[0].frame_HWC.shape == (48, 64, 3)
    assert abs(float(frames[0].frame_HWC.mean()) - 128) < 3


def test_a_rate_that_cannot_be_true_is_measured(plain, tmp_path):
    path = tmp_path / "browser.webm"  # as a browser records: no length, no number of frames
    ffmpeg("-i", plain, "-c:v", "libvpx", "-live", 1, "-f", "webm", path)
    source, frames = read(path)
    assert source.total is None and abs(source.fps - 30) < 1 and len(frames) == 30


def test_frames_too_large_are_refused_by_size(plain, monkeypatch):
    monkeypatch.setattr(limits, "MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(UserError, match=r"plain\.mp4 is 64×48 pixels; at most"):
        sources.find([str(plain)])


def test_texts_playlists_and_special_files(tmp_path, plain):
    for name, text in {
        "film.mp4": "this is text\n" * 100,
        "list.m3u8": "#EXTM3U\n#EXTINF:1,\nplain.mp4\n",
        "list.mp4": f"ffconcat version 1.0\nfile {plain}\n",
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match=rf"{name} does not decode.*text file"):
            sources.find([str(tmp_path / name)])
    os.mkfifo(tmp_path / "queue.mp4")  # must not wait for a writer
    for name in (str(tmp_path / "queue.mp4"), "/dev/null"):
        with pytest.raises(UserError, match="not a regular file"):
            sources.find([name])
    os.symlink(tmp_path / "loop.mp4", tmp_path / "loop.mp4")
    with pytest.raises(UserError, match=r"no file or folder|cannot be read"):
        sources.find([str(tmp_path / "loop.mp4")])
    with pytest.raises(UserError, match="cannot be read"):
        sources.find(["x" * 5000])
    with pytest.raises(UserError, match=r"cannot be read|no file"):
        sources.find(["a\0b.mp4"])


def test_permission_denied_is_named(plain, monkeypatch):
    def denied(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(plain), "open", denied)
    with pytest.raises(UserError, match=r"plain\.mp4 cannot be read \(Permission denied\)"):
        sources.find([str(plain)])


def test_odd_names(plain, tmp_path):
    for name in ("100 %d 50%.mp4", "Grüße 表情 🙂.mp4", "-film.mp4", "a;b'c\".mp4", "film"):
        path = tmp_path / name
        path.write_bytes(plain.read_bytes())
        assert len(read(path)[1]) == 30, name
    folder = tmp_path / "folder.mp4"  # a folder that is called like a film
    folder.mkdir()
    with pytest.raises(UserError, match="holds no film"):
        sources.find([str(folder)])
    (folder / "film.mp4").write_bytes(plain.read_bytes())
    (folder / "inner.mp4").mkdir()
    os.symlink(folder / "gone.mp4", folder / "dangling.mp4")
    os.mkfifo(folder / "queue.mp4")
    assert [s.name for s in sources.find([str(folder)])] == ["film"]
