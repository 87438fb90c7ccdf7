"""Where a face is seen: camera, lights, background, and what the camera does to the picture."""

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from jaxfacs.synthface import backgrounds
from jaxfacs.synthface import camera as cameras
from jaxfacs.synthface.camera import Camera
from jaxfacs.synthface.things import Thing, sample_things
from jaxfacs.synthface.variation import EVERYTHING, Variation

BACKGROUNDS = ("plain", "gradient", *backgrounds.PLACES)
_BACKGROUND_SHARE = np.array(
    [0.13, 0.10, *[0.77 / len(backgrounds.PLACES)] * len(backgrounds.PLACES)]
)

# How people are lit, and how often. See `_lit`.
LIGHTINGS = (
    "soft",
    "side",
    "window",
    "top",
    "under",
    "back",
    "sun",
    "flash",
    "low key",
    "overcast",
)
_LIGHTING_SHARE = np.array([0.24, 0.11, 0.13, 0.09, 0.03, 0.07, 0.1, 0.09, 0.05, 0.09])

# Shadows that things outside the picture throw into it.
PATTERNS = ("", "blinds", "leaves", "edge", "window")
_PATTERN_SHARE = np.array([0.84, 0.04, 0.04, 0.05, 0.03])


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
      ambient_shadow: 0..1, how far folds and hollows of the skin darken.
      pattern: one of PATTERNS; pattern_depth: how much light it takes away, 0..1.
      background: one of BACKGROUNDS; background_rgb: two colours of it, display values 0..1.
      exposure: factor on all light; gamma: of the display curve (2.2 is plain);
      saturation: 1 is plain, 0 is a grey picture.
      blur: σ of the lens in pixels of a 192-pixel picture.
      noise: σ of the sensor in display values 0..1; grain: σ of its blur, pixels.
      jpeg: quality of one JPEG round trip, 0: none.
      camera: all else that it does.
      things: what is held or comes before the face.
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
    jpeg: int
    ambient_shadow: float = 1.0
    pattern: str = ""
    pattern_depth: float = 0.0
    camera: Camera = cameras.PLAIN
    things: tuple[Thing, ...] = field(default=())


def sample_scene(rng: np.random.Generator, variation: Variation = EVERYTHING) -> Scene:
    """Draws a scene. Each part has a stream of its own, so that none moves the others."""
    place, light, lens, held = rng.spawn(4)
    grade = cameras.sample_grade(lens)
    lighting = str(light.choice(LIGHTINGS, p=_LIGHTING_SHARE))
    lights, sky, ground = _lit(light, lighting)
    pattern = str(light.choice(PATTERNS, p=_PATTERN_SHARE))
    pattern_depth = float(light.uniform(0.2, 0.6))
    hues = place.uniform(0, 1, (2, 3))
    tones = place.uniform(0.05, 0.95, (2, 1))
    # Walls and clothes are pale or greyish far more often than they are bright.
    colours = tones * (1 - place.beta(1.2, 2.0, (2, 1)) * (1 - hues))
    if lighting == "back":
        colours[0] = 0.6 + 0.4 * colours[0]
    elif lighting in ("low key", "flash"):
        colours *= 0.35
    background = str(place.choice(BACKGROUNDS, p=_BACKGROUND_SHARE / _BACKGROUND_SHARE.sum()))
    view = Scene(
        seed=int(place.integers(1 << 31)),
        distance=float(np.exp(lens.uniform(np.log(32), np.log(190)))),
        fill=float(lens.uniform(0.48, 0.76)),
        centre_2=(float(lens.normal(0, 0.035)), float(lens.normal(0, 0.035))),
        lights=lights,
        sky_rgb=sky,
        ground_rgb=ground,
        background=background,
        background_rgb=(_three(colours[0]), _three(colours[1])),
        exposure=float(np.exp(lens.normal(0, 0.28) * max(grade, 0.5))),
        gamma=float(lens.uniform(1.9, 2.5)),
        saturation=_saturation(lens, grade),
        blur=float(np.exp(lens.uniform(np.log(0.25), np.log(1.5) - 1.5 * (1 - grade)))),
        noise=float(np.exp(lens.uniform(np.log(0.0015), np.log(0.03)))) * grade,
        grain=float(lens.uniform(0.0, 1.0)),
        # Low qualities are those of films.
        jpeg=int(100 - 85 * grade * lens.beta(1.3, 2.0)) if lens.random() < 0.75 else 0,
        pattern=pattern,
        pattern_depth=pattern_depth if pattern else 0.0,
        camera=cameras.sample_camera(lens, grade),
        things=sample_things(held),
    )
    # A face that fills the picture, down to a chin or a forehead that is cut off.
    close, fill = lens.random() < 0.10, float(lens.uniform(0.76, 1.0))
    centre = (float(lens.normal(0, 0.05)), float(lens.normal(0, 0.06)))
    if close:
        view = replace(view, fill=fill, centre_2=centre)
    return _plainer(view, variation)


def _saturation(rng: np.random.Generator, grade: float) -> float:
    """A tenth of all pictures is grey."""
    grey, amount = rng.random() < 0.1, 1 + rng.normal(0, 0.28) * max(grade, 0.4)
    return 0.0 if grey else float(np.clip(amount, 0.2, 1.7))


def _plainer(view: Scene, variation: Variation) -> Scene:
    """Leaves out the kinds of variety that are switched off."""
    if not variation.camera:
        view = replace(
            view, distance=90.0, fill=0.62, centre_2=(0.0, 0.0), exposure=1.0, gamma=2.2,
            saturation=1.0, blur=0.3, noise=0.0, grain=0.0, jpeg=0, camera=cameras.PLAIN,
        )  # fmt: skip
    if not variation.shadow:
        lights = tuple(replace(light, shadow=0.0) for light in view.lights)
        view = replace(view, lights=lights, ambient_shadow=0.0, pattern="", pattern_depth=0.0)
    if not variation.background:
        view = replace(view, background="plain")
    if not variation.occlusion:
        view = replace(view, things=())
    return view


def _lit(rng: np.random.Generator, kind: str):
    """(lights, sky, ground) of one of LIGHTINGS, at the level that a camera would expose for.

    The same draws are made for every kind; the kind says what they mean.
    """
    side, a, b, c = float(rng.choice([-1, 1])), *rng.uniform(0, 1, 3).tolist()
    warm = float(np.clip(rng.normal(0.01, 0.07), -0.15, 0.2))
    white = np.array([1 + warm, 1.0, 1 - warm])
    # azimuth, elevation of the key (degrees); its shadow; fill, rim and ambient as shares of it.
    az, el, hard, fill, rim, ambient = {
        "soft": (side * 45 * a, 5 + 45 * b, 0.15 + 0.4 * c, 0.3 + 0.4 * a, 0.0, 0.5 + 0.5 * b),
        "side": (side * (55 + 40 * a), 35 * b, 0.5 + 0.45 * c, 0.15 * a, 0.2 * b, 0.1 + 0.3 * c),
        "window": (side * (40 + 45 * a), 30 * b, 0.15 + 0.3 * c, 0.1, 0.0, 0.25 + 0.4 * c),
        "top": (side * 40 * a, 55 + 28 * b, 0.4 + 0.5 * c, 0.2 * a, 0.1, 0.3 + 0.4 * b),
        "under": (side * 40 * a, -15 - 40 * b, 0.3 + 0.5 * c, 0.2, 0.0, 0.15 + 0.4 * b),
        "back": (side * (115 + 50 * a), 15 + 30 * b, 0.6, 0.35 + 0.4 * c, 0.0, 0.4 + 0.4 * b),
        "sun": (side * 75 * a, 25 + 45 * b, 0.75 + 0.25 * c, 0.0, 0.0, 0.2 + 0.35 * b),
        "flash": (8 * side * a, 8 * b, 0.1, 0.0, 0.0, 0.05 + 0.2 * c),
        "low key": (side * (30 + 60 * a), 40 * b, 0.5 + 0.5 * c, 0.0, 0.3 * a, 0.04 + 0.1 * b),
        "overcast": (side * 60 * a, 30 + 50 * b, 0.1, 0.0, 0.0, 1.0 + 1.2 * c),
    }[kind]
    towards, colour = _light(rng, azimuth=az, elevation=el, white=white)
    other = white * np.exp(rng.normal(0, 0.1, 3))  # a second lamp, or a window behind
    aside = -np.sign(towards[0]) * rng.uniform(10, 70)
    fill_at, fill_rgb = _light(rng, azimuth=aside, elevation=rng.uniform(-15, 40), white=other)
    beyond = rng.choice([-1, 1]) * rng.uniform(100, 150)
    rim_at, rim_rgb = _light(
        rng, azimuth=beyond, elevation=rng.uniform(0, 40), white=np.exp(rng.normal(0, 0.3, 3))
    )
    drawn = rng.random() < 0.15, rng.uniform(0.1, 0.6)
    rim = rim + drawn[1] * drawn[0]
    sky = white * np.exp(rng.normal(0, 0.07, 3)) * ambient
    if kind in ("sun", "overcast"):
        sky *= np.array([0.88, 0.98, 1.14])
    ground = sky * rng.uniform(0.25, 0.85) * np.array([1.06, 1.0, 0.92])
    # What cheeks, forehead and nose get of it on average decides how far all is turned up.
    normals = np.array([[0, 0, 1], [0.6, 0, 0.8], [-0.6, 0, 0.8], [0, 0.5, 0.87], [0, -0.4, 0.92]])
    key, second = (np.clip(normals @ np.array(d), 0, 1) for d in (towards, fill_at))
    got = (key + fill * second + ambient * 0.7).mean() * 0.6 + (key + fill * second).max() * 0.25
    level = np.exp(rng.normal(0, 0.12)) * 0.95 / max(got, 0.3)
    lamps = [
        (towards, colour, 1.0, hard),
        (fill_at, fill_rgb, fill, 0.0),
        (rim_at, rim_rgb, rim, 0.0),
    ]
    lights = tuple(
        Light(towards_3=at, rgb=_three(rgb * share * level), shadow=float(shadow))
        for at, rgb, share, shadow in lamps
        if share > 0.02
    )
    return lights, _three(sky * level), _three(ground * level)


def metered(scene: Scene, reflectance: float) -> Scene:
    """The scene as a camera exposes it that looks at the face, as most do, but not all the way.

    Args:
      scene: from `sample_scene`.
      reflectance: of the skin, linear, mean over the channels.
    """
    exposure = scene.exposure * (0.36 / max(reflectance, 0.01)) ** 0.35
    return replace(scene, exposure=float(np.clip(exposure, 0.5, 2.6)))


def background(scene: Scene, size: int) -> np.ndarray:
    """The picture behind the head: uint8 size×size×3 RGB."""
    rng = np.random.default_rng((scene.seed, 1))
    first, second = (np.array(c, np.float32) for c in scene.background_rgb)
    if scene.background in backgrounds.PLACES:
        image = backgrounds.place(rng, scene.background, first, second)
    else:
        side = 64
        y, x = np.mgrid[0:side, 0:side].astype(np.float32) / (side - 1)
        angle = rng.uniform(0, 2 * np.pi)
        t = 0.5 + (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle)
        if scene.background == "plain":
            image = np.broadcast_to(first, (side, side, 3)) * (1.05 - 0.2 * y[..., None])
        else:
            image = first + (second - first) * np.clip(t, 0, 1)[..., None]
    image = cv2.resize(np.ascontiguousarray(image, np.float32), (size, size))
    return (np.clip(image * min(scene.exposure, 1.6), 0, 1) * 255).astype(np.uint8)


def light_map(scene: Scene, size: int) -> np.ndarray | None:
    """Factor on the display values from patterns of shade and the lens: size×size, or None."""
    total = None
    if scene.pattern_depth:
        rng = np.random.default_rng((scene.seed, 3))
        through = 1 - scene.pattern_depth * (1 - _PATTERN_OF[scene.pattern](rng, size))
        total = through ** np.float32(1 / 2.2)
    if scene.camera.vignette:
        corners = cameras.vignette(scene.camera, size)
        total = corners if total is None else total * corners
    return total


def expose(linear_N3: np.ndarray, scene: Scene) -> np.ndarray:
    """Linear light -> display RGB uint8, with a shoulder so that highlights do not clip hard."""
    steps = np.linspace(0, 2.5, 4096)
    bright = steps * scene.exposure
    curve = np.where(bright < 0.6, bright, 0.6 + 0.4 * np.tanh((bright - 0.6) / 0.55) / 1.0)
    # A dim exposure still shows the brightest light there can be as white.
    curve = np.maximum(curve, np.clip((steps - 2.2) / 0.3, 0, 1))
    table = (np.clip(curve, 0, 1) ** (1 / scene.gamma) * 255 + 0.5).astype(np.uint8)
    index = np.clip(linear_N3 * (4095 / 2.5), 0, 4095).astype(np.uint16)
    return table[index]


def photograph(image_HW3: np.ndarray, scene: Scene, frame: int) -> np.ndarray:
    """Lens, sensor and file: uint8 RGB in, uint8 RGB out. `frame` picks the noise."""
    return cameras.take(
        image_HW3,
        scene.camera,
        face=scene.fill,
        blur=scene.blur * image_HW3.shape[0] / 192,
        saturation=scene.saturation,
        noise=scene.noise,
        grain=scene.grain,
        jpeg=scene.jpeg,
        rng=np.random.default_rng((scene.seed, 2, frame)),
    )


def _light(rng, *, azimuth: float, elevation: float, white: np.ndarray):
    a, e = np.deg2rad([azimuth, elevation])
    towards = (np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e))
    return _three(towards), white * rng.uniform(0.95, 1.05, 3)


def _three(rgb) -> tuple[float, float, float]:
    r, g, b = (float(c) for c in rgb)
    return r, g, b


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(*[(np.arange(size, dtype=np.float32) + 0.5) / size] * 2)
    return x, y


def _blinds(rng, size: int) -> np.ndarray:
    x, y = _grid(size)
    turn = rng.normal(0, 0.35)
    phase = (y * np.cos(turn) + x * np.sin(turn)) * rng.uniform(5, 16) + rng.uniform(0, 1)
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * phase)
    return np.clip((wave - rng.uniform(0.2, 0.6)) * rng.uniform(2, 8) + 0.5, 0, 1)


def _dapples(rng, size: int) -> np.ndarray:
    noise = rng.standard_normal((12, 12)).astype(np.float32)
    cloud = cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(cloud * rng.uniform(0.7, 2.2) + rng.uniform(0.1, 0.9), 0, 1)


def _edge(rng, size: int) -> np.ndarray:
    """The edge of a wall or of somebody's shadow."""
    x, y = _grid(size)
    turn = rng.uniform(0, 2 * np.pi)
    across = (x - 0.5) * np.cos(turn) + (y - 0.5) * np.sin(turn) + rng.normal(0, 0.12)
    across += 0.03 * np.sin(rng.uniform(5, 25) * (y * np.cos(turn) - x * np.sin(turn)))
    return np.clip(0.5 + across / rng.uniform(0.01, 0.2), 0, 1)


def _panes(rng, size: int) -> np.ndarray:
    """Light that falls through a window: bright panes, dark bars."""
    x, y = _grid(size)
    turn, width = rng.normal(0, 0.3), rng.uniform(0.25, 0.5)
    a = (x * np.cos(turn) + y * np.sin(turn) + rng.uniform(0, 1)) % width / width
    b = (y * np.cos(turn) - x * np.sin(turn) + rng.uniform(0, 1)) % (width * 1.2) / (width * 1.2)
    soft = rng.uniform(0.02, 0.08)
    bar = np.minimum(np.minimum(a, 1 - a), np.minimum(b, 1 - b))
    return np.clip((bar - rng.uniform(0.05, 0.12)) / soft, 0, 1)


_PATTERN_OF = {"blinds": _blinds, "leaves": _dapples, "edge": _edge, "window": _panes}
