"""Where a face is seen: camera, lights, background, and what the camera does to the picture."""

from dataclasses import dataclass

import cv2
import numpy as np

from jaxfacs.synthface.variation import EVERYTHING, Variation

BACKGROUNDS = ("plain", "gradient", "room", "bokeh", "foliage", "stripes")


@dataclass(frozen=True, eq=False)
class Light:
    """A distant light.

    Attributes:
      towards_3: unit vector to the light (+x right in the picture, +y up, +z to the camera).
      rgb: linear strength.
      shadow: 0..1, how dark the shadow that the head throws on itself is.
    """

    towards_3: tuple[float, float, float]
    rgb: tuple[float, float, float]
    shadow: float


@dataclass(frozen=True, eq=False)
class Scene:
    """All of a picture but the person.

    Attributes:
      seed: of the background and of the noise.
      distance: from the eye level of the head to the camera, real cm (the perspective).
      fill: height of the face (chin to top of the forehead) as a share of the picture's.
      centre_2: where the middle of the face is, in picture sizes from its middle.
      lights: the first is the key light, the one that casts a shadow.
      sky_rgb, ground_rgb: ambient light from above and from below, linear.
      background: one of BACKGROUNDS; background_rgb: two colours of it, display values 0..1.
      exposure: factor on all light; gamma: of the display curve (2.2 is plain);
      saturation: 1 is plain, 0 is a grey picture.
      blur: σ of the lens in pixels of a 192-pixel picture.
      noise: σ of the sensor in display values 0..1; grain: σ of its blur, pixels.
      small: the picture is shrunk to this share of its size and back (1: not).
      jpeg: quality of one JPEG round trip, 0: none.
    """

    seed: int
    distance: float
    fill: float
    centre_2: tuple[float, float]
    lights: tuple[Light, ...]
    sky_rgb: tuple[float, float, float]
    ground_rgb: tuple[float, float, float]
    background: str
    background_rgb: tuple[tuple[float, float, float], tuple[float, float, float]]
    exposure: float
    gamma: float
    saturation: float
    blur: float
    noise: float
    grain: float
    small: float
    jpeg: int


def sample_scene(rng: np.random.Generator, variation: Variation = EVERYTHING) -> Scene:
    """Draws a scene. Light is normalised so that no face is lost in the dark or burnt out."""
    warm = float(np.clip(rng.normal(0.02, 0.09), -0.15, 0.25))
    white = np.array([1 + warm, 1.0, 1 - warm])
    key = _light(rng, azimuth=rng.normal(0, 38), elevation=rng.uniform(0, 55), white=white)
    fill_side = -np.sign(key[0][0]) or 1.0
    fill = _light(
        rng,
        azimuth=fill_side * rng.uniform(10, 70),
        elevation=rng.uniform(-15, 40),
        white=white * rng.uniform(0.9, 1.1, 3),
    )
    rim = _light(
        rng,
        azimuth=rng.choice([-1, 1]) * rng.uniform(100, 140),
        elevation=rng.uniform(0, 40),
        white=rng.uniform(0.6, 1.2, 3),
    )
    share = np.array([1.0, rng.uniform(0.05, 0.55), rng.uniform(0, 0.5) * (rng.random() < 0.4)])
    ambient = rng.uniform(0.22, 0.6)
    level = rng.uniform(0.85, 1.15)
    share *= level * (1.15 - 0.75 * ambient) / share[:2].sum() * 1.35
    hard = rng.random()
    lights = tuple(
        Light(
            towards_3=towards,
            rgb=_three(rgb * s),
            shadow=float(0.25 + 0.6 * hard) if i == 0 else 0.0,
        )
        for i, ((towards, rgb), s) in enumerate(zip((key, fill, rim), share, strict=True))
        if s > 0
    )
    sky = white * rng.uniform(0.85, 1.15, 3) * ambient * level
    ground = sky * rng.uniform(0.35, 0.8) * np.array([1.06, 1.0, 0.92])
    hues = rng.uniform(0, 1, (2, 3))
    tones = rng.uniform(0.08, 0.95, (2, 1))
    colours = tones * (0.45 + 0.55 * hues)
    return Scene(
        seed=int(rng.integers(1 << 31)),
        distance=float(np.exp(rng.uniform(np.log(45), np.log(160)))),
        fill=float(rng.uniform(0.5, 0.72)),
        centre_2=(float(rng.normal(0, 0.025)), float(rng.normal(0, 0.025))),
        lights=lights,
        sky_rgb=_three(sky),
        ground_rgb=_three(ground),
        background=str(rng.choice(BACKGROUNDS)),
        background_rgb=(_three(colours[0]), _three(colours[1])),
        exposure=float(np.exp(rng.normal(0, 0.12))),
        gamma=float(rng.uniform(1.95, 2.45)),
        saturation=0.0 if rng.random() < 0.06 else float(rng.uniform(0.8, 1.2)),
        blur=float(rng.uniform(0.25, 0.8)),
        noise=float(rng.uniform(0.002, 0.015)),
        grain=float(rng.uniform(0.0, 0.8)),
        small=float(rng.uniform(0.4, 0.8)) if rng.random() < 0.08 else 1.0,
        jpeg=int(rng.integers(45, 96)) if rng.random() < 0.5 else 0,
    )


def background(scene: Scene, size: int) -> np.ndarray:
    """The blurred picture behind the head: uint8 size×size×3 RGB."""
    rng = np.random.default_rng((scene.seed, 1))
    first, second = (np.array(c, np.float32) for c in scene.background_rgb)
    small = 64  # everything here is out of focus
    y, x = np.mgrid[0:small, 0:small].astype(np.float32) / (small - 1)
    if scene.background == "plain":
        image = np.broadcast_to(first, (small, small, 3)) * (1.05 - 0.2 * y[..., None])
    elif scene.background == "gradient":
        angle = rng.uniform(0, 2 * np.pi)
        t = 0.5 + (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle)
        image = first + (second - first) * np.clip(t, 0, 1)[..., None]
    else:
        image = np.broadcast_to(first, (small, small, 3)).copy()
        _SUBJECTS[scene.background](rng, image, first, second)
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.6, 3.0))
    image = cv2.resize(np.ascontiguousarray(image, np.float32), (size, size))
    return (np.clip(image * scene.exposure, 0, 1) * 255).astype(np.uint8)


def expose(linear_N3: np.ndarray, scene: Scene) -> np.ndarray:
    """Linear light -> display RGB uint8, with a shoulder so that highlights do not clip hard."""
    steps = np.linspace(0, 2.5, 4096)
    bright = steps * scene.exposure
    curve = np.where(bright < 0.6, bright, 0.6 + 0.4 * np.tanh((bright - 0.6) / 0.55) / 1.0)
    table = (np.clip(curve, 0, 1) ** (1 / scene.gamma) * 255 + 0.5).astype(np.uint8)
    index = np.clip(linear_N3 * (4095 / 2.5), 0, 4095).astype(np.uint16)
    return table[index]


def photograph(image_HW3: np.ndarray, scene: Scene, frame: int) -> np.ndarray:
    """Lens, sensor and file: uint8 RGB in, uint8 RGB out. `frame` picks the noise."""
    size = image_HW3.shape[0]
    if scene.small < 1:
        side = max(8, round(size * scene.small))
        image_HW3 = cv2.resize(image_HW3, (side, side), interpolation=cv2.INTER_AREA)
        image_HW3 = cv2.resize(image_HW3, (size, size), interpolation=cv2.INTER_LINEAR)
    image_HW3 = cv2.GaussianBlur(image_HW3, (0, 0), scene.blur * size / 192)
    if scene.saturation != 1:
        image_HW3 = cv2.transform(image_HW3, _saturation(scene.saturation))
    rng = np.random.default_rng((scene.seed, 2, frame))
    noise = rng.standard_normal((size, size, 3 if scene.saturation else 1), np.float32)
    if scene.grain > 0.3:
        noise = cv2.GaussianBlur(noise, (0, 0), scene.grain) * (1 + scene.grain)
    noise = noise.reshape(size, size, -1) * (scene.noise * 255)
    image_HW3 = cv2.add(image_HW3, np.broadcast_to(noise, image_HW3.shape), dtype=cv2.CV_8U)
    if scene.jpeg:
        _, data = cv2.imencode(".jpg", image_HW3, [cv2.IMWRITE_JPEG_QUALITY, scene.jpeg])
        # OpenCV reads the channels as BGR; back and forth they keep their order.
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return image_HW3


def _saturation(amount: float) -> np.ndarray:
    luma = np.array([0.299, 0.587, 0.114], np.float32)
    return (amount * np.eye(3) + (1 - amount) * luma[None]).astype(np.float32)


def _light(rng, *, azimuth: float, elevation: float, white: np.ndarray):
    a, e = np.deg2rad([azimuth, elevation])
    towards = (np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e))
    return _three(towards), white * rng.uniform(0.95, 1.05, 3)


def _three(rgb) -> tuple[float, float, float]:
    r, g, b = (float(c) for c in rgb)
    return r, g, b


def _room(rng, image, first, second) -> None:
    """Rectangles: doors, shelves, windows, pictures."""
    side = len(image)
    for _ in range(rng.integers(4, 11)):
        x, y = rng.integers(-10, side, 2)
        w, h = rng.integers(6, 40, 2)
        colour = (first + (second - first) * rng.uniform(0, 1)) * rng.uniform(0.5, 1.4)
        cv2.rectangle(image, (int(x), int(y)), (int(x + w), int(y + h)), _three(colour), -1)


def _bokeh(rng, image, first, second) -> None:
    """Lights out of focus."""
    side = len(image)
    for _ in range(rng.integers(12, 40)):
        layer = np.zeros_like(image)
        x, y, r = rng.integers((0, 0, 2), (side, side, 8)).tolist()
        colour = second * rng.uniform(0.2, 0.9) + rng.uniform(0, 0.2, 3)
        cv2.circle(layer, (x, y), r, _three(colour), -1, cv2.LINE_AA)
        image += layer * rng.uniform(0.2, 0.8)


def _foliage(rng, image, first, second) -> None:
    """Noise of several sizes."""
    side = len(image)
    total = np.zeros((side, side), np.float32)
    for octave, weight in ((4, 1.0), (8, 0.7), (16, 0.5), (32, 0.35)):
        noise = rng.standard_normal((octave, octave)).astype(np.float32)
        total += weight * cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
    image += (second - first) * (1 / (1 + np.exp(-2 * total)))[..., None]


def _stripes(rng, image, first, second) -> None:
    """Curtains, blinds, panelling."""
    side = len(image)
    phase = np.arange(side) * rng.uniform(0.2, 0.9) + rng.uniform(0, 6)
    wave = (0.5 + 0.5 * np.sin(phase))[None, :, None]
    stripes = (second - first) * wave * rng.uniform(0.3, 1.0)
    image += stripes if rng.random() < 0.6 else stripes.transpose(1, 0, 2)


_SUBJECTS = {"room": _room, "bokeh": _bokeh, "foliage": _foliage, "stripes": _stripes}
