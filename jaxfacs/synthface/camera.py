"""What a camera, a phone's software and a file make of a picture.

The order is that of a real one: the lens and the shutter blur, the sensor has few or many pixels
and noise (which a dark picture that is brightened shows most), the software sets white, contrast
and sharpness, the file loses detail, and whoever looks at it scales it back up.
"""

from dataclasses import dataclass

import cv2
import numpy as np

# How a small picture is made larger again; players and crops use all of them.
_ENLARGE = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4, cv2.INTER_NEAREST)
LEAST_FACE = 20  # pixels: below, no expression is left to read


@dataclass(frozen=True)
class Camera:
    """What is done to the display values. The default leaves a picture as it is.

    Attributes:
      white_3: factors on red, green and blue (a wrong white balance, a tinted filter).
      contrast: factor about the middle grey; lift: what black is raised to (haze, old film).
      tone: exponent of the display values, below 1 brightens the dark.
      sepia: 0..1, how far towards brown monochrome.
      vignette: how much darker the corners are, 0..1.
      sharpen: strength of the unsharp mask that phones and cameras add.
      shake: length of the motion blur, in face heights; shake_deg: its direction.
      face_pixels: height of the face on the sensor where that is less than asked for; 0: no limit.
      enlarge: index of the interpolation that makes it large again.
      colour_noise: share of the noise that differs between the channels.
      smear: 0..1, how much a noise filter flattens skin (phones).
      quality_again: quality of a second JPEG, on another grid; 0: none.
      border_4: share of the picture that is black at its left, top, right and bottom edge.
    """

    white_3: tuple[float, float, float] = (1.0, 1.0, 1.0)
    contrast: float = 1.0
    lift: float = 0.0
    tone: float = 1.0
    sepia: float = 0.0
    vignette: float = 0.0
    sharpen: float = 0.0
    shake: float = 0.0
    shake_deg: float = 0.0
    face_pixels: float = 0.0
    enlarge: int = 0
    colour_noise: float = 1.0
    smear: float = 0.0
    quality_again: int = 0
    border_4: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


PLAIN = Camera()


# How bad pictures are, and how often: most people are photographed well.
_GRADES = (0.3, 0.65, 1.0)
_GRADE_SHARE = np.array([0.58, 0.30, 0.12])


def sample_grade(rng: np.random.Generator) -> float:
    """0..1, how far a camera's faults show; what they are is drawn apart."""
    return float(rng.choice(_GRADES, p=_GRADE_SHARE))


def sample_camera(rng: np.random.Generator, grade: float = 1.0) -> Camera:
    """Draws a camera; every draw is made whatever the grade (`sample_grade`).

    Bad pictures have several faults at once, as in a compressed film of a dark room.
    """
    bad, fair = grade == 1, grade > 0.5
    warm, tint = rng.normal(0, 0.09), rng.normal(0, 0.03)
    white = np.exp(np.array([warm, tint, -warm]) * grade)
    white /= white.mean()
    # Above 1 on average: cameras give their pictures more contrast than there was.
    contrast = float(np.exp(0.1 + rng.normal(0.0, 0.22) * max(grade, 0.5)))
    lift = float(rng.uniform(0, 0.16) * (rng.random() < 0.25)) * grade
    tone = float(np.exp(rng.normal(0, 0.26) * max(grade, 0.5)))
    sepia = float(rng.uniform(0.4, 1.0) * (rng.random() < 0.03))
    vignette = float(rng.uniform(0.1, 0.6) * (rng.random() < 0.25)) * grade
    sharpen = float(rng.uniform(0.2, 1.6) * (rng.random() < 0.4)) * max(grade, 0.5)
    shake = float(rng.uniform(0.012, 0.05) * (rng.random() < 0.4)) * grade * fair
    # Even over the logarithm between 24 and 110 pixels; good pictures have more.
    face_pixels = float(np.exp(rng.uniform(np.log(24), np.log(110)))) / grade
    face_pixels *= rng.random() < (0.7 if bad else 0.4)
    border = rng.uniform(0, 0.14, 4) * (rng.random(4) < 0.5) * (rng.random() < 0.05)
    left, top, right, bottom = border.tolist()
    enlarge = int(rng.choice(len(_ENLARGE), p=(0.45, 0.4, 0.1, 0.05)))
    return Camera(
        white_3=(float(white[0]), float(white[1]), float(white[2])),
        contrast=contrast,
        lift=lift,
        tone=tone,
        sepia=sepia,
        vignette=vignette,
        sharpen=sharpen,
        shake=shake,
        shake_deg=float(rng.uniform(0, 180)),
        face_pixels=face_pixels,
        enlarge=enlarge if bad else min(enlarge, 2),
        colour_noise=float(rng.uniform(0.1, 1.0)),
        smear=float(rng.uniform(0.3, 1.0) * (rng.random() < 0.15)) * grade * fair,
        quality_again=int(rng.integers(20, 80)) * int(rng.random() < 0.4 and bad),
        border_4=(left, top, right, bottom),
    )


def take(
    image_HWC: np.ndarray,
    camera: Camera,
    *,
    face: float,
    blur: float,
    saturation: float,
    noise: float,
    grain: float,
    jpeg: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """uint8 RGB in, uint8 RGB of the same size out.

    Args:
      image_HWC: what reaches the lens.
      camera: which.
      face: height of the face as a share of the picture's.
      blur: σ of the lens in pixels of this picture.
      saturation, noise, grain, jpeg: as in `scene.Scene`.
      rng: of the noise of this frame.
    """
    size = image_HWC.shape[0]
    height = face * size
    if camera.shake * height > 1.2:
        image_HWC = _shaken(image_HWC, camera.shake * height, camera.shake_deg)
    side = size
    if 0 < camera.face_pixels < height:
        least = max(LEAST_FACE, camera.face_pixels) / height
        side = max(16, min(size, round(size * least)))
    if side < size:
        image_HWC = cv2.resize(image_HWC, (side, side), interpolation=cv2.INTER_AREA)
        blur *= (side / size) ** 0.5
    if blur > 0.2:
        image_HWC = cv2.GaussianBlur(image_HWC, (0, 0), blur)
    image_HWC = _noisy(image_HWC, noise, grain, camera.colour_noise * (saturation > 0), rng)
    if camera.smear:
        soft = cv2.bilateralFilter(image_HWC, 5, 28, 2.0)
        image_HWC = cv2.addWeighted(image_HWC, 1 - camera.smear, soft, camera.smear, 0)
    mix = _mix(saturation, camera.sepia)
    if mix is not None:
        image_HWC = cv2.transform(image_HWC, mix)
    table = _tones(camera)
    if table is not None:
        image_HWC = cv2.LUT(image_HWC, table)
    if camera.sharpen:
        soft = cv2.GaussianBlur(image_HWC, (0, 0), max(0.8, side / 160))
        image_HWC = cv2.addWeighted(image_HWC, 1 + camera.sharpen, soft, -camera.sharpen, 0)
    if camera.quality_again:
        shifted = np.roll(image_HWC, (3, 5), axis=(0, 1))
        image_HWC = np.roll(_compressed(shifted, camera.quality_again), (-3, -5), axis=(0, 1))
    if jpeg:
        image_HWC = _compressed(image_HWC, jpeg)
    if side < size:
        image_HWC = cv2.resize(image_HWC, (size, size), interpolation=_ENLARGE[camera.enlarge])
    return _bordered(image_HWC, camera.border_4)


def vignette(camera: Camera, size: int) -> np.ndarray:
    """Factor on the display values, float32 size×size."""
    at = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    off = (at[:, None] ** 2 + at[None] ** 2) / 2
    return 1 - np.float32(camera.vignette) * off


def _shaken(image_HWC: np.ndarray, length: float, degrees: float) -> np.ndarray:
    """Motion blur along a line of `length` pixels."""
    half = int(np.ceil(length / 2))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.uint8)
    along = np.array([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))]) * length / 2
    ends = [np.round((half + s * along) * 16).astype(int).tolist() for s in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 255, 1, cv2.LINE_AA, 4)
    weights = kernel.astype(np.float32)
    return cv2.filter2D(image_HWC, -1, weights / weights.sum(), borderType=cv2.BORDER_REPLICATE)


def _noisy(image_HWC, sigma: float, grain: float, colour: float, rng) -> np.ndarray:
    if sigma <= 0:
        return image_HWC
    side = image_HWC.shape[0]
    noise = rng.standard_normal((side, side, 1), np.float32)
    if colour > 0:
        noise = noise + colour * rng.standard_normal((side, side, 3), np.float32)
        noise *= np.float32(1 / np.sqrt(1 + colour**2))
    if grain > 0.3:
        noise = cv2.GaussianBlur(noise, (0, 0), grain) * (1 + grain)
    noise = noise.reshape(side, side, -1) * np.float32(sigma * 255)
    noise = np.ascontiguousarray(np.broadcast_to(noise, image_HWC.shape))
    return cv2.add(image_HWC, noise, dtype=cv2.CV_8U)


def _mix(saturation: float, sepia: float) -> np.ndarray | None:
    """The matrix on the channels, None where it would change nothing."""
    if saturation == 1 and not sepia:
        return None
    luma = np.array([0.299, 0.587, 0.114], np.float32)
    mix = saturation * np.eye(3) + (1 - saturation) * luma[None]
    brown = np.array([[1.08], [0.97], [0.80]]) * luma[None]
    return ((1 - sepia) * mix + sepia * brown).astype(np.float32)


def _tones(camera: Camera) -> np.ndarray | None:
    """256×1×3 display values in, display values out; None where nothing changes."""
    plain = (camera.contrast, camera.lift, camera.tone) == (1.0, 0.0, 1.0)
    if plain and camera.white_3 == (1.0, 1.0, 1.0):
        return None
    value = np.linspace(0, 1, 256)[:, None] * np.array(camera.white_3) ** (1 / 2.2)
    value = np.clip(value, 0, 1) ** camera.tone
    # A curve with soft ends: a straight factor would clip skin that is merely bright.
    middle = 0.45
    value = middle + (value - middle) * camera.contrast
    over = value > 0.85
    value[over] = 0.85 + 0.15 * np.tanh((value[over] - 0.85) / 0.15)
    value = camera.lift + (1 - camera.lift) * np.clip(value, 0, 1)
    return (value * 255 + 0.5).astype(np.uint8)[:, None]


def _compressed(image_HWC: np.ndarray, quality: int) -> np.ndarray:
    """One round trip through JPEG."""
    _, data = cv2.imencode(".jpg", image_HWC[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1])


def _bordered(image_HWC: np.ndarray, border_4: tuple[float, float, float, float]) -> np.ndarray:
    if not any(border_4):
        return image_HWC
    size = image_HWC.shape[0]
    left, top, right, bottom = (round(share * size) for share in border_4)
    framed = np.zeros_like(image_HWC)
    inside = (slice(top, size - bottom), slice(left, size - right))
    framed[inside] = image_HWC[inside]
    return framed
