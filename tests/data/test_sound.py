"""Log-mel pictures of sounds: tones in their row, levels in dB, scipy's spectrum, bad files."""

import wave
from pathlib import Path

import numpy as np
import pytest

from jaxfacs.data import sound


def write(path: Path, wave_N: np.ndarray, rate: int, *, channels: int = 1, width: int = 2) -> Path:
    """Writes samples in [−1, 1], N or N×C."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        kind = {1: np.uint8, 2: "<i2", 4: "<i4"}[width]
        file.writeframes((wave_N * 32767).astype(kind).tobytes())
    return path


def tone(hertz: float, rate: int, *, seconds: float, amplitude: float = 0.5) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def row_of(hertz: float, high: float) -> int:
    """The row of the picture whose triangle is highest there: counted in mel, from the top."""
    low, top, here = (2595 * np.log10(1 + f / 700) for f in (50.0, high, hertz))
    return sound.ROWS - round((here - low) / (top - low) * (sound.ROWS + 1))


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("hertz", [130.0, 1000.0, 3500.0])
def test_a_tone_is_in_its_row(tmp_path, rate, hertz):
    picture = sound.picture(write(tmp_path / "a.wav", tone(hertz, rate, seconds=6), rate))
    assert picture.shape == (128, 128) and picture.dtype == np.uint8
    wanted = row_of(hertz, min(8000, rate / 2))
    assert np.abs(picture.argmax(0).astype(int) - wanted).max() <= 1
    away = np.abs(np.arange(128) - wanted) > 12  # a Hann window's side lobes are 31 dB lower
    assert picture[away].max() < picture.max() - 75


def test_levels_are_decibels_below_full_scale(tmp_path):
    loud, soft = (
        sound.picture(write(tmp_path / "a.wav", tone(1000, 48000, seconds=6, amplitude=a), 48000))
        for a in (0.5, 0.005)
    )
    peak = int(loud.max())
    assert abs(peak - 255 * (1 - 6.02 / 100)) < 10  # the band's triangle spans several bins
    assert abs(int(soft.max()) - (peak - 255 * 40 / 100)) <= 1


def test_silence_is_black_and_short_sounds_are_in_the_middle(tmp_path):
    path = write(tmp_path / "a.wav", tone(1000, 16000, seconds=1), 16000)
    level = sound.picture(path).max(0)
    bright = np.flatnonzero(level > 100)
    assert abs((bright[0] + bright[-1]) / 2 - 63.5) <= 1 and 25 <= len(bright) <= 28
    assert not level[: bright[0] - 2].any() and not level[bright[-1] + 3 :].any()
    assert not sound.picture(write(tmp_path / "b.wav", np.zeros(5), 16000)).any()


def test_only_the_middle_of_a_long_file_is_read(tmp_path):
    rate = 8000
    parts = [tone(f, rate, seconds=10, amplitude=0.5) for f in (300, 1000, 2500)]
    picture = sound.picture(write(tmp_path / "a.wav", np.concatenate(parts), rate))
    assert np.abs(picture.argmax(0).astype(int) - row_of(1000, 4000)).max() <= 1


def test_two_channels_are_averaged(tmp_path):
    left = tone(1000, 16000, seconds=6)
    stereo = np.stack([left, -left], 1)
    silent = sound.picture(write(tmp_path / "a.wav", stereo, 16000, channels=2))
    assert silent.max() == 0
    both = sound.picture(write(tmp_path / "b.wav", np.stack([left, left], 1), 16000, channels=2))
    one = sound.picture(write(tmp_path / "c.wav", left, 16000))
    np.testing.assert_array_equal(both, one)


def test_spectrum_is_scipys():
    signal = pytest.importorskip("scipy.signal")
    rate, rng = 16000, np.random.default_rng(0)
    samples = rng.normal(size=640 * 127 + 1024)
    power_FT, frequency_F = sound.spectrum(samples, rate)
    frequency, _, other_FT = signal.spectrogram(
        samples, rate, "hann", 1024, 1024 - 640, 1024, detrend=False, scaling="spectrum"
    )
    np.testing.assert_allclose(frequency_F, frequency)
    # scipy's is the mean square of a sine (1/2), ours its square amplitude; the first and last
    # frequencies have no mirror image that scipy would add.
    np.testing.assert_allclose(power_FT[1:-1], 2 * other_FT[1:-1], rtol=1e-9)


def test_bands_are_triangles_that_add_up_to_one():
    frequency_F = np.fft.rfftfreq(4096, 1 / 48000)
    weight_RF = sound.bands(frequency_F)
    assert weight_RF.min() == 0 and weight_RF.max() <= 1 and (weight_RF.sum(1) > 0).all()
    centre = frequency_F[weight_RF.argmax(1)]
    between = (frequency_F > centre[0] + 12) & (frequency_F < centre[-1] - 120)
    np.testing.assert_allclose(weight_RF.sum(0)[between], 1, atol=1e-9)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda raw: raw[:30], "no whole PCM"),
        (lambda raw: b"RIFX" + raw[4:], "no whole PCM"),
        (lambda raw: raw[:44], "holds no samples"),
        (lambda raw: raw[:24] + (1000).to_bytes(4, "little") + raw[28:], "1000 Hz"),
        (lambda raw: raw[:34] + (8).to_bytes(2, "little") + raw[36:], "8 bits"),
        (lambda raw: b"", "no whole PCM"),
    ],
)
def test_bad_files_are_named(tmp_path, damage, text):
    path = write(tmp_path / "a.wav", tone(440, 16000, seconds=1), 16000)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=text):
        sound.picture(path)
