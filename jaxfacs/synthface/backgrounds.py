"""What is behind a face: pictures as busy as photographs, made of what they are made of.

A photograph's background is a few large surfaces, things on them, edges of every sharpness, light
from windows and lamps, other people. Each layer here paints one of those on a small picture;
which of them, in which order and how far out of focus is drawn. Colours are display values 0..1.
"""

import cv2
import numpy as np

SIDE = 104  # pixels: sharper than that no background need be

Rgb = np.ndarray


def busy(rng: np.random.Generator, first: Rgb, second: Rgb, layers: tuple[str, ...]) -> np.ndarray:
    """float32 SIDE×SIDE×3; `layers` are keys of LAYERS, painted in that order."""
    image = np.empty((SIDE, SIDE, 3), np.float32)
    _surface(rng, image, first, second)
    for name in layers:
        LAYERS[name](rng, image, first, second)
    return image


def _surface(rng, image, first, second) -> None:
    """A wall, sky or floor: a slope of light over it, and unevenness of all sizes."""
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / (SIDE - 1)
    angle = rng.uniform(0, 2 * np.pi)
    slope = 1 + rng.uniform(0, 0.5) * ((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle))
    uneven = 1 + rng.uniform(0.02, 0.15) * _cloud(rng, (3, 6, 12, 24, 48))
    image[:] = first * (slope * uneven)[..., None]


def _cloud(rng, octaves, falls: float = 0.8) -> np.ndarray:
    """Noise whose detail falls with its size, as surfaces in photographs have it: SIDE×SIDE."""
    total = np.zeros((SIDE, SIDE), np.float32)
    weight = 1.0
    for octave in octaves:
        noise = rng.standard_normal((octave, octave)).astype(np.float32)
        total += weight * cv2.resize(noise, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        weight *= falls
    return total / total.std()


def _colour(rng, first, second) -> tuple[float, float, float]:
    mixed = first + (second - first) * rng.uniform(0, 1)
    if rng.random() < 0.3:  # things have colours of their own
        mixed = rng.uniform(0.03, 0.95) * rng.uniform(0.3, 1, 3)
    r, g, b = (mixed * rng.uniform(0.4, 1.4)).tolist()
    return r, g, b


def _furniture(rng, image, first, second) -> None:
    """Doors, shelves, frames: rectangles with an edge of light and one of shade."""
    for _ in range(rng.integers(3, 12)):
        x, y = rng.integers(-30, SIDE, 2).tolist()
        w, h = np.exp(rng.uniform(np.log(6), np.log(90), 2)).astype(int).tolist()
        colour = _colour(rng, first, second)
        cv2.rectangle(image, (x, y), (x + w, y + h), colour, -1)
        edge = rng.uniform(0.3, 1.5)
        side = tuple(c * edge for c in colour)
        cv2.rectangle(image, (x, y), (x + w, y + h), side, int(rng.integers(1, 4)))
        if rng.random() < 0.4:  # panels
            cv2.rectangle(image, (x + w // 5, y + h // 6), (x + w * 4 // 5, y + h * 2 // 5), side)


def _window(rng, image, first, second) -> None:
    """Panes with the bright outdoors behind."""
    x, y = rng.integers(-40, SIDE - 20, 2).tolist()
    w, h = rng.integers(40, 120, 2).tolist()
    light = np.clip(rng.uniform(0.75, 1.1) * np.array([0.95, 1.0, 1.05]), 0, 1)
    pane = image[max(y, 0) : y + h, max(x, 0) : x + w]
    outside = light * (1 - 0.35 * np.clip(_cloud(rng, (4, 8, 16)), 0, 1))[..., None]
    pane[:] = outside[: pane.shape[0], : pane.shape[1]]
    bar = _colour(rng, first, second)
    for k in range(rng.integers(1, 4)):
        at = x + w * (k + 1) // 4
        cv2.line(image, (at, y), (at, y + h), bar, int(rng.integers(1, 5)))
    cv2.line(image, (x, y + h // 2), (x + w, y + h // 2), bar, int(rng.integers(1, 4)))
    cv2.rectangle(image, (x, y), (x + w, y + h), bar, int(rng.integers(2, 7)))


def _curtain(rng, image, first, second) -> None:
    """Folds: waves whose width changes, over a part of the picture."""
    x = np.arange(SIDE, dtype=np.float32)
    phase = np.cumsum(np.exp(rng.normal(-1.3, 0.35) + 0.3 * np.sin(x / rng.uniform(8, 30))))
    folds = 0.55 + 0.45 * np.sin(phase + rng.uniform(0, 6)) * rng.uniform(0.4, 1)
    low, high = sorted(rng.uniform(-0.3, 1.3, 2) * SIDE)
    here = (x >= low) & (x < high)
    image[:, here] = (np.array(_colour(rng, first, second)) * folds[here, None])[None]


def _shelves(rng, image, first, second) -> None:
    """Books and boxes standing side by side."""
    y = int(rng.integers(-10, 30))
    while y < SIDE:
        height = int(rng.integers(16, 44))
        x = int(rng.integers(-20, 40))
        end = int(rng.integers(SIDE // 2, SIDE + 40))
        while x < end:
            width = int(rng.integers(2, 12))
            top = y + int(rng.integers(0, 8))
            colour = _colour(rng, first, second)
            cv2.rectangle(image, (x, top), (x + width, y + height), colour, -1)
            x += width + 1
        cv2.line(image, (0, y + height), (SIDE, y + height), _colour(rng, first, second), 2)
        y += height + 3


def _writing(rng, image, first, second) -> None:
    """A board, poster or screen with rows of marks like text."""
    x, y = rng.integers(-20, SIDE - 30, 2).tolist()
    w, h = rng.integers(30, 110, 2).tolist()
    light = rng.random() < 0.6
    ground, ink = ((0.9, 0.9, 0.86), (0.12, 0.12, 0.16))
    if not light:
        ground, ink = ink, ground
    cv2.rectangle(image, (x, y), (x + w, y + h), ground, -1)
    tall = int(rng.integers(2, 9))
    for row in range(y + tall, y + h - tall, int(tall * 1.9) + 1):
        at = x + 4
        while at < x + w - 6:
            word = int(rng.integers(2, 5) * tall * 0.7) + 1
            for k in range(at, min(at + word, x + w - 3), max(2, tall // 2)):
                lean = int(rng.integers(-tall // 2, tall // 2 + 1))
                cv2.line(image, (k, row), (k + lean, row + tall), ink, max(1, tall // 5))
            at += word + tall


def _lamps(rng, image, first, second) -> None:
    """Lights out of focus: discs, some of them at one size and close together."""
    radius = rng.uniform(1.0, 8)
    hue = rng.uniform(0.4, 1.0, 3)
    layer = np.zeros_like(image)
    for _ in range(rng.integers(6, 45)):
        x, y = rng.integers(0, SIDE, 2).tolist()
        own = max(1, int(radius * rng.uniform(0.6, 1.4)))
        r, g, b = (hue * rng.uniform(0.1, 0.9) * rng.uniform(0.5, 1.0, 3)).tolist()
        cv2.circle(layer, (x, y), own, (r, g, b), -1, cv2.LINE_AA)
    image += layer


def _leaves(rng, image, first, second) -> None:
    """Trees and grass: noise with detail, dark gaps and bright sky between."""
    total = _cloud(rng, (4, 8, 16, 32, 64, 128), rng.uniform(0.7, 1.0))
    green = np.array([0.22, 0.36, 0.12]) * rng.uniform(0.5, 1.8) * rng.uniform(0.8, 1.2, 3)
    share = 1 / (1 + np.exp(-2.2 * total))[..., None]
    y = np.linspace(0, 1, SIDE)[:, None, None]
    from_top, to_bottom = sorted(rng.uniform(-0.6, 1.6, 2))
    here = np.clip((y - from_top) / 0.15, 0, 1) * np.clip((to_bottom - y) / 0.15, 0, 1)
    bright = np.array([0.8, 0.88, 0.95]) * rng.uniform(0.3, 1.1)
    leaves = green * (0.3 + 1.4 * share) + bright * np.clip(total - 1.5, 0, 1)[..., None]
    image += (here * (leaves - image)).astype(np.float32)


def _street(rng, image, first, second) -> None:
    """Sky above, ground below, houses with rows of windows between."""
    horizon = int(SIDE * rng.uniform(0.3, 0.8))
    sky = np.array([0.62, 0.74, 0.9]) * rng.uniform(0.5, 1.25) + rng.uniform(0, 0.2)
    image[:horizon] = np.clip(sky, 0, 1) * np.linspace(0.85, 1.1, horizon)[:, None, None]
    image[horizon:] = np.array([0.42, 0.40, 0.37]) * rng.uniform(0.4, 1.5)
    x = -int(rng.integers(0, 30))
    while x < SIDE:
        width = int(rng.integers(15, 70))
        top = int(horizon * rng.uniform(0, 1))
        wall = _colour(rng, first, second)
        cv2.rectangle(image, (x, top), (x + width, horizon), wall, -1)
        dark = tuple(c * rng.uniform(0.25, 1.6) for c in wall)
        step = int(rng.integers(6, 16))
        for row in range(top + 4, horizon - 4, step):
            for column in range(x + 3, x + width - 4, step):
                far = (column + step // 2, row + step * 2 // 3)
                cv2.rectangle(image, (column, row), far, dark, -1)
        x += width + int(rng.integers(0, 8))


def _people(rng, image, first, second) -> None:
    """Others: bodies, heads in the colours of skin, hair on them, dark where eyes are."""
    for _ in range(rng.integers(1, 5)):
        tall = float(np.exp(rng.uniform(np.log(9), np.log(42))))
        x, y = rng.uniform(-0.1, 1.1) * SIDE, rng.uniform(0.1, 0.8) * SIDE
        skin = np.array([0.86, 0.66, 0.54]) ** rng.uniform(0.7, 4.0) * rng.uniform(0.7, 1.1)
        skin, cloth = tuple(skin.tolist()), _colour(rng, first, second)
        hair = tuple((rng.uniform(0.02, 0.45) * np.array([1, 0.85, 0.7])).tolist())
        body = (int(x), int(y + 2.3 * tall))
        cv2.ellipse(image, body, (int(1.3 * tall), int(1.5 * tall)), 0, 0, 360, cloth, -1)
        cv2.ellipse(
            image, (int(x), int(y)), (int(0.55 * tall), int(0.75 * tall)), 0, 0, 360, hair, -1
        )
        face = (int(x + rng.normal(0, 0.1) * tall), int(y + 0.15 * tall))
        cv2.ellipse(image, face, (int(0.44 * tall), int(0.58 * tall)), 0, 0, 360, skin, -1)
        shade = tuple(0.45 * c for c in skin)
        for dx, dy in ((-0.18, -0.1), (0.18, -0.1), (0.0, 0.28)):
            at = (int(face[0] + dx * tall), int(face[1] + dy * tall))
            cv2.ellipse(image, at, (max(1, int(0.1 * tall)), max(1, int(0.04 * tall))), 0, 0, 360,
                        shade, -1)  # fmt: skip


def _limbs(rng, image, first, second) -> None:
    """Arms, wood and sand: long shapes in the colours of skin."""
    for _ in range(rng.integers(1, 4)):
        skin = np.array([0.86, 0.66, 0.54]) ** rng.uniform(0.7, 3.5) * rng.uniform(0.6, 1.1)
        ends = rng.integers(-20, SIDE + 20, (2, 2)).tolist()
        r, g, b = skin.tolist()
        cv2.line(image, ends[0], ends[1], (r, g, b), int(rng.integers(5, 26)), cv2.LINE_AA)


def _pattern(rng, image, first, second) -> None:
    """Bricks, tiles, stripes, checks: what repeats."""
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    turn = rng.normal(0, 0.15) + (np.pi / 2) * rng.integers(2)
    a, b = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    width, height = np.exp(rng.uniform(np.log(4), np.log(26), 2))
    kind = rng.integers(4)
    row = np.floor(b / height)
    if kind == 0:  # bricks
        inside = ((a + row % 2 * width / 2) % width > 1.2) & (b % height > 1.2)
        tone = np.where(inside, 1.0, rng.uniform(0.4, 1.5))
    elif kind == 1:  # blinds and panelling
        tone = 1 - rng.uniform(0.1, 0.6) * (0.5 + 0.5 * np.sin(2 * np.pi * b / height))
    elif kind == 2:  # checks
        tone = 1 - rng.uniform(0.2, 0.7) * ((np.floor(a / width) + row) % 2)
    else:  # planks
        tone = np.where(b % height < 1.2, 0.5, 1.0) * (1 + 0.2 * np.sin(row * 12.9898))
    image *= tone.astype(np.float32)[..., None]
    if kind in (0, 3):
        image *= 1 + 0.12 * _cloud(rng, (8, 40, 100))[..., None]


LAYERS = {
    "furniture": _furniture,
    "window": _window,
    "curtain": _curtain,
    "shelves": _shelves,
    "writing": _writing,
    "lamps": _lamps,
    "leaves": _leaves,
    "street": _street,
    "people": _people,
    "limbs": _limbs,
    "pattern": _pattern,
}

# What is seen together, from the back to the front; each name after the first is left out by half.
PLACES = {
    "room": ("pattern", "furniture", "window", "curtain", "writing", "people", "lamps"),
    "office": ("furniture", "shelves", "writing", "people", "limbs"),
    "outdoors": ("street", "leaves", "people", "limbs"),
    "garden": ("leaves", "people", "furniture"),
    "crowd": ("furniture", "people", "people", "people", "limbs"),
    "night": ("lamps", "writing", "people"),
    "wall": ("pattern", "writing"),
}


def place(rng: np.random.Generator, kind: str, first: Rgb, second: Rgb) -> np.ndarray:
    """A picture of one of PLACES, in or out of focus: float32 SIDE×SIDE×3."""
    names = PLACES[kind]
    layers = tuple(n for i, n in enumerate(names) if (rng.random() < 0.55) or i == 0)
    dark = 0.3 if kind == "night" else 1.0
    image = busy(rng, first * dark, second, layers)
    focus = float(np.exp(rng.uniform(np.log(0.6), np.log(5.5))))
    return cv2.GaussianBlur(image, (0, 0), focus)
