"""A sound as one picture: its log-mel spectrogram, for networks that look at pictures.

Mel scale: 2595·log10(1 + f/700) (O'Shaughnessy 1987, as in HTK); overlapping triangular bands whose
centres are evenly spaced on it (Davis & Mermelstein 1980); power in dB.
"""

import wave
from pathlib import Path

import numpy as np

ROWS = COLUMNS = 128  # square: a picture that is taken whole loses nothing
HOP_S, WINDOW_S = 0.04, 0.064
SECONDS = COLUMNS * HOP_S  # 5.12: nearly every take of RAVDESS, which last 3 to 6 seconds
LOW_HZ, HIGH_HZ = 50.0, 8000.0
FLOOR_DB = -100.0  # grey level 0; 255 is 0 dB
RATES = (8000, 192000)


def picture(path: Path) -> np.ndarray:
    """The middle 5.12 seconds of a .wav file as a picture, silence around a shorter one.

    Columns are 40 ms apart, each a Hann window of 64 ms. Rows are 128 mel bands from 50 to 8000 Hz
    (or half the rate), the lowest at the bottom. Levels are relative to full scale, not to the
    file's loudest moment, so that loud and soft speech differ: a sine of amplitude 1 is 0 dB.

    Returns:
      uint8 128×128; 0 is −100 dB or less, 255 is 0 dB or more.

    Raises:
      ValueError: no 16-bit PCM of one or two channels at 8 to 192 kHz, or a damaged file.
      OSError: the file cannot be read.
    """
    samples_N, rate = middle(path)
    power_FT, frequency_F = spectrum(samples_N, rate)
    band_RT = bands(frequency_F) @ power_FT
    level_RT = 10 * np.log10(np.maximum(band_RT, 1e-30))
    grey_RT = np.clip(255 * (1 - level_RT / FLOOR_DB), 0, 255)
    return np.rint(grey_RT[::-1]).astype(np.uint8)


def middle(path: Path) -> tuple[np.ndarray, int]:
    """Samples in [−1, 1) of the middle 5.12 s and half a window on both sides, and their rate.

    Only these are read, however long the file is. Two channels are averaged.
    """
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate, total = file.getparams()[:4]
            if width != 2 or channels not in (1, 2) or not RATES[0] <= rate <= RATES[1]:
                raise ValueError(
                    f"{8 * width} bits, {channels} channels, {rate} Hz; 16-bit PCM of one or two "
                    "channels at 8 to 192 kHz is needed"
                )
            wanted = _hop(rate) * (COLUMNS - 1) + _window(rate)
            first = max(0, (total - wanted) // 2)
            file.setpos(first)
            raw = file.readframes(min(wanted, total))
    except (wave.Error, EOFError) as error:
        raise ValueError(f"no whole PCM .wav file ({str(error) or 'it ends too soon'})") from error
    whole = len(raw) - len(raw) % (2 * channels)
    samples_NC = np.frombuffer(raw[:whole], "<i2").reshape(-1, channels) / 32768
    if not len(samples_NC):
        raise ValueError("the file holds no samples")
    lacking = wanted - len(samples_NC)
    return np.pad(samples_NC.mean(1), (lacking // 2, lacking - lacking // 2)), rate


def spectrum(samples_N: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Power of each frequency in each window, F×128, and the frequencies in Hz.

    A sine of amplitude 1 whose frequency is one of them has power 1 there.
    """
    hop, length = _hop(rate), _window(rate)
    window_N = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    cut_TN = np.lib.stride_tricks.sliding_window_view(samples_N, length)[::hop]
    size = 1 << (length - 1).bit_length()
    power_TF = np.abs(np.fft.rfft(cut_TN * window_N, size)) ** 2 * (2 / window_N.sum()) ** 2
    return power_TF.T, np.fft.rfftfreq(size, 1 / rate)


def bands(frequency_F: np.ndarray) -> np.ndarray:
    """Weights of the 128 mel bands, lowest first, R×F: triangles of height 1."""
    high = min(HIGH_HZ, float(frequency_F[-1]))
    edge_E = _hertz(np.linspace(_mel(LOW_HZ), _mel(high), ROWS + 2))
    rise = (frequency_F - edge_E[:-2, None]) / (edge_E[1:-1] - edge_E[:-2])[:, None]
    fall = (edge_E[2:, None] - frequency_F) / (edge_E[2:] - edge_E[1:-1])[:, None]
    return np.maximum(0, np.minimum(rise, fall))


def _mel(hertz):
    return 2595 * np.log10(1 + np.asarray(hertz) / 700)


def _hertz(mel: np.ndarray) -> np.ndarray:
    return 700 * (10 ** (mel / 2595) - 1)


def _hop(rate: int) -> int:
    return round(rate * HOP_S)


def _window(rate: int) -> int:
    return round(rate * WINDOW_S)
