"""What is drawn over a finished picture: things before the face, masks, glare, patterns of shade.

    over = prepare(head, neutral_V3, sheet, look, view, size)   # once a clip
    covered_68 = draw(over, image, marks_68x2, project, frame)  # once a frame, in place

The picture is flat here: what lies in front covers what is behind. `covered_68` says which of the
landmarks cannot be seen, because a thing hides them or because they lie outside the picture.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from jaxfacs.synthface import props, scene, things
from jaxfacs.synthface.canvas import Canvas
from jaxfacs.synthface.heads import Head
from jaxfacs.synthface.look import Look, skin_rgb
from jaxfacs.synthface.scene import Scene
from jaxfacs.synthface.things import TARGETS, Thing

FACE_CM = 18.0  # from the chin to the top of the forehead, which `Scene.fill` measures


@dataclass(frozen=True, eq=False)
class Overlay:
    """Made by `prepare`.

    Attributes:
      size: of the picture, pixels; pixels_per_cm: at the distance of the face.
      view: the scene.
      moved: things with their pictures (uint8 H×W×4, RGB times cover, and cover) and the point of
        each that lies on its target.
      worn: masks and scarves, which follow the landmarks.
      light_HW: None, or the factor of `scene.light_map`.
      lenses: the outlines of clear glasses, N×3; glare: how much light they throw back.
    """

    size: int
    pixels_per_cm: float
    view: Scene
    moved: tuple[tuple[Thing, np.ndarray, tuple[float, float]], ...]
    worn: tuple[tuple[Thing, np.ndarray], ...]
    light_HW: np.ndarray | None
    lenses: tuple[np.ndarray, ...]
    glare: float


def prepare(
    head: Head, neutral_V3: np.ndarray, sheet: Canvas, look: Look, view: Scene, size: int
) -> Overlay:
    """Draws the things of a scene once; arguments as in `render.prepare`."""
    per_cm = view.fill * size / FACE_CM
    skin = skin_rgb(look.melanin, look.haemoglobin)
    moved, worn = [], []
    for thing in view.things:
        if thing.kind in ("mask", "scarf"):
            worn.append((thing, _cloth(thing, size)))
            continue
        drawn = things.sprite(thing, per_cm, skin)
        moved.append((thing, _lit(drawn, view, thing.defocus * per_cm), drawn.at_2))
    lenses = props.lenses(head, neutral_V3, sheet, look) if look.glare else ()
    return Overlay(
        size=size,
        pixels_per_cm=per_cm,
        view=view,
        moved=tuple(moved),
        worn=tuple(worn),
        light_HW=scene.light_map(view, size),
        lenses=tuple(lenses),
        glare=look.glare,
    )


def draw(
    over: Overlay,
    image_HW3: np.ndarray,
    marks_68x2: np.ndarray,
    project: Callable[[np.ndarray], np.ndarray],
    frame: int,
) -> np.ndarray:
    """Paints over the uint8 picture in place; bool 68: what of the face is not to be seen.

    Args:
      over: from `prepare`.
      image_HW3: uint8 size×size×3, changed.
      marks_68x2: where the landmarks are in it.
      project: points that move with the head (N×3, its coordinates) -> N×2 pixels.
      frame: number of the frame in its clip.
    """
    size = over.size
    for ring in over.lenses:
        _glare(image_HW3, project(ring), over.glare)
    covered = np.zeros(68, bool)
    at = np.clip(np.round(marks_68x2).astype(int), 0, size - 1)
    for thing, cloth in over.worn:
        cover = _wear(thing, cloth, image_HW3, marks_68x2)
        covered |= cover[at[:, 1], at[:, 0]] > 127
    for thing, picture, hold in over.moved:
        cover = _hold(over, thing, picture, hold, image_HW3, marks_68x2, frame)
        covered |= cover[at[:, 1], at[:, 0]] > 127
    if over.light_HW is not None:
        image_HW3[:] = cv2.multiply(image_HW3, cv2.merge([over.light_HW] * 3), dtype=cv2.CV_8U)
    left, top, right, bottom = np.array(over.view.camera.border_4) * size
    inside = (marks_68x2 > (left, top)) & (marks_68x2 < (size - right, size - bottom))
    covered |= ~inside.all(axis=1)  # also those outside of the picture
    return covered


def _glare(image_HW3: np.ndarray, ring_N2: np.ndarray, amount: float) -> None:
    """A window or a lamp in a lens: a slanting band of light, and a veil over the rest."""
    cover = np.zeros(image_HW3.shape[:2], np.uint8)
    cv2.fillPoly(cover, [np.round(ring_N2 * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    low, high = ring_N2.min(axis=0), ring_N2.max(axis=0)
    part = tuple(slice(max(int(low[k]), 0), max(int(high[k]) + 2, 0)) for k in (1, 0))
    inside = cover[part].astype(np.float32) / 255
    if not inside.size:
        return
    y, x = np.mgrid[0 : inside.shape[0], 0 : inside.shape[1]].astype(np.float32)
    across = (x + 0.7 * y) / max(high[0] - low[0] + 0.7 * (high[1] - low[1]), 1)
    band = 0.15 + 0.85 * np.clip(1 - np.abs(across - 0.35) / 0.16, 0, 1)
    share = (amount * inside * band)[..., None]
    image_HW3[part] = (image_HW3[part] + share * (250.0 - image_HW3[part])).astype(np.uint8)


def _lit(drawn: things.Sprite, view: Scene, blur: float) -> np.ndarray:
    """Albedo and normals -> display RGB times cover, and cover: uint8 H×W×4."""
    normal = drawn.normal_HW3
    sky, ground = np.array(view.sky_rgb, np.float32), np.array(view.ground_rgb, np.float32)
    light = ground + (0.5 + 0.5 * normal[..., 1:2]) * (sky - ground)
    shine = np.zeros_like(light)
    for lamp in view.lights:
        towards = np.array(lamp.towards_3, np.float32)
        between = towards + np.array([0, 0, 1], np.float32)
        between /= np.linalg.norm(between)
        rgb = np.array(lamp.rgb, np.float32)
        light = light + np.clip((normal @ towards + 0.15) / 1.15, 0, 1)[..., None] * rgb
        shine = shine + 0.1 * np.clip(normal @ between, 0, 1)[..., None] ** 20 * rgb
    rgb = scene.expose((drawn.albedo_HW3 * light + shine).reshape(-1, 3), view)
    rgb = rgb.reshape(drawn.albedo_HW3.shape).astype(np.float32) * drawn.cover_HW[..., None]
    picture = np.concatenate([rgb, drawn.cover_HW[..., None] * 255], axis=-1).astype(np.float32)
    if blur > 0.4:
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
    return (picture + 0.5).astype(np.uint8)


def _hold(over: Overlay, thing: Thing, picture, hold, image_HW3, marks_68x2, frame) -> np.ndarray:
    """Blends a thing over the picture where it is in this frame; its cover, uint8."""
    size, per_cm = over.size, over.pixels_per_cm
    if thing.follows:
        place = marks_68x2[list(TARGETS[thing.target])].mean(axis=0)
    else:  # where that part of a face is that looks straight ahead
        place = np.array(over.view.centre_2) * size + size / 2
        place = place + np.array(_USUAL[thing.target]) * per_cm
    beat = np.sin(2 * np.pi * thing.swing * frame / 25 + thing.phase)
    aside = np.array(thing.aside_2) + np.array(thing.sway_2) * beat + (0, thing.leaves * frame)
    place = place + aside * per_cm
    turn = np.deg2rad(thing.turn)
    c, s = np.cos(turn), np.sin(turn)
    move = np.array([[c, -s, 0], [s, c, 0]], np.float32)
    move[:, 2] = place - move[:, :2] @ np.array(hold)
    over_HW4 = cv2.warpAffine(picture, move, (size, size), flags=cv2.INTER_LINEAR)
    cover = over_HW4[..., 3]
    if not cover.any():
        return cover
    # A soft shadow on what is behind, as of something held close to the skin.
    near = cv2.GaussianBlur(cover, (0, 0), 0.7 * per_cm)
    shadow = np.maximum(near, cover).astype(np.float32) * (0.3 / 255)
    shown = image_HW3 * (1 - shadow)[..., None]
    shown *= (255 - cover.astype(np.float32))[..., None] * np.float32(1 / 255)
    shown += over_HW4[..., :3]
    image_HW3[:] = np.minimum(shown, 255).astype(np.uint8)
    return cover


# cm from the middle of a face that looks straight ahead to each target, x right and y down.
_USUAL = {
    "mouth": (0.0, 4.5),
    "chin": (0.0, 8.5),
    "cheek right": (-4.0, 2.5),
    "cheek left": (4.0, 2.5),
    "eye right": (-3.2, -1.5),
    "eye left": (3.2, -1.5),
    "eyes": (0.0, -1.5),
    "nose": (0.0, 2.0),
    "forehead": (0.0, -4.0),
    "jaw right": (-5.5, 5.5),
    "jaw left": (5.5, 5.5),
    "ear right": (-7.0, -0.5),
    "ear left": (7.0, -0.5),
}


def _cloth(thing: Thing, size: int) -> np.ndarray:
    """Display colours of a cloth, float32 size×size×3."""
    rng = np.random.default_rng(thing.seed)
    if thing.kind == "mask" and rng.random() < 0.65:
        plain = ((0.80, 0.86, 0.90), (0.62, 0.76, 0.85), (0.9, 0.9, 0.88), (0.08, 0.08, 0.09))
        cloth = np.broadcast_to(np.array(plain[rng.integers(4)], np.float32), (size, size, 3))
        folds = np.sin(np.arange(size) / size * rng.uniform(90, 200))
        return (cloth * (1 + 0.06 * folds)[:, None, None]).astype(np.float32) * 255
    return np.sqrt(np.clip(things.texture(rng, size, size), 0, 1)) * 255


def _wear(thing: Thing, cloth_HW3, image_HW3, marks_68x2) -> np.ndarray:
    """A mask over nose and mouth, or a scarf up to the mouth or the chin; its cover, uint8.

    The light on the face, blurred, becomes the light on the cloth.
    """
    rng = np.random.default_rng((thing.seed, 1))
    size = image_HW3.shape[0]
    low = rng.random()
    if thing.kind == "mask":
        top = 28 if low < 0.7 else (30 if low < 0.85 else 33)  # worn well, slipped, below the nose
        upper = [marks_68x2[2], marks_68x2[top], marks_68x2[14]]
        lower = marks_68x2[[13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3]]
    else:
        edge = 8 if low < 0.4 else (57 if low < 0.7 else 33)
        jaw = marks_68x2[[4, 12]] + (marks_68x2[[4, 12]] - marks_68x2[8]) * 0.25
        upper = [jaw[0], marks_68x2[edge], jaw[1]]
        wide = np.ptp(marks_68x2[:, 0])
        lower = np.array([(jaw[1, 0] + wide * 0.3, size), (jaw[0, 0] - wide * 0.3, size)])
    middle = np.mean(marks_68x2[[30, 8]], axis=0)
    outline = np.concatenate([_curved(np.array(upper)), np.asarray(lower)])
    if thing.kind == "mask":
        outline = middle + (outline - middle) * 1.04
    cover = np.zeros((size, size), np.uint8)
    cv2.fillPoly(cover, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    grey = cv2.cvtColor(image_HW3, cv2.COLOR_RGB2GRAY)
    sigma = max(1.0, 0.08 * np.ptp(marks_68x2[:, 0]))
    weight = cv2.GaussianBlur((cover // 2) + 1, (0, 0), sigma).astype(np.float32)
    soft = cv2.GaussianBlur(cv2.multiply(grey, cover // 2 + 1, scale=1 / 128), (0, 0), sigma)
    light = np.clip(soft * 128.0 / np.maximum(weight, 1), 8, 255)
    inside = light[cover > 127]
    light = light / max(float(inside.mean()) if len(inside) else 128.0, 20.0)
    light = np.clip(light, 0.3, 1.6) * np.clip(float(grey.mean()) / 110, 0.4, 1.15)
    share = cover.astype(np.float32)[..., None] * np.float32(1 / 255)
    shown = image_HW3 + share * (np.clip(cloth_HW3 * light[..., None], 0, 255) - image_HW3)
    image_HW3[:] = shown.astype(np.uint8)
    return cover


def _curved(points_3x2: np.ndarray) -> np.ndarray:
    """A smooth line through three points."""
    t = np.linspace(0, 1, 9)[:, None]
    a, b, c = points_3x2
    control = 2 * b - (a + c) / 2
    return (1 - t) ** 2 * a + 2 * t * (1 - t) * control + t**2 * c
