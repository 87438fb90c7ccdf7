"""Paints a person: colour and gloss per vertex, and the fine detail in the atlas.

The colour of a point is vertex colour × atlas value: broad tints (lips, flush, nostrils) ride
on the mesh, hairs, freckles, stubble and the eye are drawn in the atlas.
"""

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from jaxfacs.synthface.canvas import (
    EYE_ROWS,
    EYE_SPAN,
    HAIR,
    HAIR_ROWS,
    HEIGHT,
    IRIS,
    IRIS_SPAN,
    LASHES,
    MOUTH,
    SCLERA,
    SKIN_ROWS,
    TEETH,
    WIDTH,
    Canvas,
)
from jaxfacs.synthface.heads import Head
from jaxfacs.synthface.look import HAEMOGLOBIN as _HAEMOGLOBIN
from jaxfacs.synthface.look import MELANIN as _MELANIN
from jaxfacs.synthface.look import Look, skin_rgb

ATLAS_ONE = 2048


@dataclass(frozen=True, eq=False)
class Paint:
    """albedo_V3 linear RGB, gloss_V strength of the shine, atlas uint16 RGB
    with ATLAS_ONE = 1 (fair hair over deep skin is many times brighter, so 8 bits are too few)."""

    albedo_V3: np.ndarray
    gloss_V: np.ndarray
    atlas_HW3: np.ndarray


def paint(head: Head, sheet: Canvas, look: Look) -> Paint:
    """Paints `look` on a head."""
    # Streams apart: more spots are no other brows.
    tone, skin, hairs, strands, eye = np.random.default_rng(look.seed).spawn(5)
    noise = _cloud(tone, head.vertices_V3 / sheet.unit)
    albedo, gloss = _vertices(head, sheet, look, noise)
    atlas = np.ones((HEIGHT, WIDTH, 3), np.float32)
    base = skin_rgb(look.melanin, look.haemoglobin)
    atlas[:SKIN_ROWS] = _skin_detail(skin, sheet, look)
    _paint_hairs(hairs, atlas[:SKIN_ROWS], sheet, look, base)
    atlas[SKIN_ROWS : SKIN_ROWS + HAIR_ROWS] = _strands(strands)[..., None]
    atlas[HEIGHT - EYE_ROWS :, :EYE_ROWS] = _eye(eye, look)
    atlas *= ATLAS_ONE
    return Paint(albedo, gloss, np.minimum(atlas, 65535, out=atlas).astype(np.uint16))


def _cloud(rng: np.random.Generator, points_V3: np.ndarray) -> np.ndarray:
    """Smooth 3D noise of two sizes (3 cm and 1 cm) at points: V×2, about N(0, 1)."""
    value = np.zeros((len(points_V3), 2), np.float32)
    for column, length in ((0, 3.0), (1, 1.0)):
        wave = rng.normal(size=(3, 12)) / length
        phase = rng.uniform(0, 2 * np.pi, 12).astype(np.float32)
        value[:, column] = np.cos(points_V3 @ wave.astype(np.float32) + phase).sum(axis=1)
    return value * np.float32(np.sqrt(2 / 12))


def _vertices(head: Head, sheet: Canvas, look: Look, noise_V2: np.ndarray):
    masks, at = head.masks, head.vertices_V3 / sheet.unit
    corners = at[head.landmarks_68]
    uneven = 0.04 * look.blotches + 0.07 * look.patches
    melanin = look.melanin * (1 + uneven * noise_V2[:, 0])
    blood = look.haemoglobin * (1 + (0.14 * look.blotches + 0.2 * look.patches) * noise_V2[:, 1])
    nose = np.exp(-(np.linalg.norm(at - corners[30], axis=1) ** 2) / 2 / 0.9**2)
    ear = np.clip((np.abs(at[:, 0]) - np.abs(corners[[0, 16], 0]).mean()) / 0.8, 0, 1)
    blood = blood + look.haemoglobin * (0.6 * masks["cheek"] + 0.6 * nose + 0.5 * ear)
    melanin = melanin * (1 + 0.14 * masks["lid"] - 0.1 * masks["cheek"])
    blood = blood + 0.08 * masks["lid"]
    for first in (36, 42):  # the skin below the eyes is thin, and what lies under it is dark
        below = corners[[first + 4, first + 5]].mean(axis=0) - [0, 0.75, 0]
        off = (at - below) * [0.75, 1.6, 0.5]
        ring = look.rings * np.exp(-(off**2).sum(axis=1))
        melanin, blood = melanin + 0.35 * ring, blood + 0.3 * ring
    lip = masks["lip"]
    # Lips: thin skin with little melanin over much blood.
    lip_melanin = 0.25 + 0.72 * look.melanin
    skin = skin_rgb(melanin, blood)
    red = skin_rgb(np.full(len(lip), lip_melanin), 1.15 + 0.8 * look.haemoglobin + 0 * lip)
    red = red * (0.9 + 0.05 * noise_V2[:, 1:])
    if look.lip_rgb is not None:
        red += look.lip_paint * (np.array(look.lip_rgb) - red)
    albedo = skin + lip[:, None] * (red - skin)
    albedo *= 1 - 0.75 * (masks["nostril"] ** 2 * sheet.holes_V)[:, None]
    rouge = (look.blush * 0.35 * masks["cheek"])[:, None]
    albedo *= 1 - rouge * np.array([0.05, 0.55, 0.45])
    upper = _above_eyes(head, sheet)
    shadow = (look.shadow * masks["lid"] * upper)[:, None]
    albedo += shadow * (np.array(look.shadow_rgb) * 1.2 - albedo) * 0.8
    gloss = 0.7 + 0.5 * nose + 0.25 * np.exp(-(at[:, 0] ** 2) / 8) * (at[:, 1] > corners[27, 1])
    gloss = look.oil * gloss * (1 - 0.5 * masks["neck"])
    gloss = gloss * (1 - lip) + lip * look.wet * (1.3 + 1.3 * look.lip_paint)
    part = sheet.part_V
    for kind, rgb, shine in (
        (SCLERA, (1.0, 1.0, 1.0), look.catch_light),
        (IRIS, (1.0, 1.0, 1.0), look.catch_light),
        (TEETH, look.teeth_rgb, 1.3 * look.wet),
        (MOUTH, (0.36, 0.10, 0.09), 1.2),
        (LASHES, tuple(0.5 * c for c in look.brow_rgb), 0.0),
        (HAIR, look.hair_rgb, 0.5),
    ):
        albedo[part == kind], gloss[part == kind] = rgb, shine
    return albedo.astype(np.float32), gloss.astype(np.float32)


def _above_eyes(head: Head, sheet: Canvas) -> np.ndarray:
    at, corners = head.vertices_V3, head.vertices_V3[head.landmarks_68]
    line = corners[[36, 39, 42, 45], 1].mean()
    return np.clip((at[:, 1] - line) / (0.3 * sheet.unit), 0, 1)


def _skin_detail(rng: np.random.Generator, sheet: Canvas, look: Look) -> np.ndarray:
    """Pores, fine mottling, freckles, moles and pimples as factors on the skin's colour."""
    shape = (SKIN_ROWS, WIDTH)
    fine = rng.standard_normal(shape, np.float32)
    coarse = rng.standard_normal((SKIN_ROWS // 4, WIDTH // 4), np.float32)
    middle = cv2.resize(coarse, (WIDTH, SKIN_ROWS), interpolation=cv2.INTER_CUBIC)
    melanin = 0.035 * look.pores * fine + 0.03 * look.blotches * middle
    brown, red = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    face = sheet.landmarks_68x2
    freckles, rng = rng.spawn(2)
    for _ in range(int(260 * look.freckles)):
        x = freckles.normal(face[30, 0], 3.4 * sheet.texel)
        y = freckles.normal(face[29, 1], 2.6 * sheet.texel)
        radius = freckles.uniform(0.04, 0.13) * sheet.texel
        _spot(brown, x, y, radius, freckles.uniform(0.1, 0.45))
    for _ in range(int(26 * look.spots)):
        x = rng.normal(face[30, 0], 4.5 * sheet.texel)
        y = rng.normal(face[30, 1], 4.0 * sheet.texel)
        mole = rng.random() < 0.35
        radius = rng.uniform(0.06, 0.22) * sheet.texel
        _spot(brown if mole else red, x, y, radius, rng.uniform(0.2, 1.4 if mole else 0.6))
    brown, red = cv2.GaussianBlur(brown, (0, 0), 0.8), cv2.GaussianBlur(red, (0, 0), 1.6)
    melanin += brown + 0.3 * red
    blood = 0.025 * middle + 0.5 * brown + red
    dark = [_MELANIN[k] * melanin + _HAEMOGLOBIN[k] * blood for k in range(3)]
    return cv2.exp(-cv2.merge(dark))


def _spot(image: np.ndarray, x: float, y: float, radius: float, value: float) -> None:
    centre = (round(x * 8), round(y * 8))
    cv2.circle(image, centre, round(radius * 8), value, -1, cv2.LINE_AA, 3)


def _paint_hairs(rng, skin_HW3, sheet: Canvas, look: Look, base: np.ndarray) -> None:
    """Scalp, brows, beard, the lash line and liner, blended over the skin in place."""
    hair = np.array(look.hair_rgb, np.float32)
    cover = scalp(sheet, look)
    _blend(skin_HW3, cover, hair / base)
    brows, beard = rng.spawn(2)
    cover = _brows(brows, sheet, look)
    _blend(skin_HW3, cover, np.array(look.brow_rgb, np.float32) / base)
    _blend(skin_HW3, _beard(beard, sheet, look), np.array(look.brow_rgb, np.float32) * 0.9 / base)
    line = np.zeros((SKIN_ROWS, WIDTH), np.uint8)
    for first in (36, 42):
        upper = sheet.landmarks_68x2[first : first + 4]
        lower = sheet.landmarks_68x2[[first + 3, first + 4, first + 5, first]]
        width = 0.11 + 0.14 * look.liner
        _line(line, upper, int(255 * min(1, 0.75 * look.lash + 0.5 * look.liner)), width, sheet)
        _line(line, lower, int(90 * look.lash + 90 * look.liner), 0.07, sheet)
    _soften(skin_HW3, line, np.array([0.02, 0.016, 0.014], np.float32) / base, 1.0)
    folds = np.zeros((SKIN_ROWS, WIDTH), np.uint8)
    for first in (36, 42):  # of the upper lid; a single lid has none
        lid = sheet.landmarks_68x2[first : first + 4] - (0, 0.42 * sheet.texel)
        lid[[0, 3], 1] += 0.2 * sheet.texel
        _line(folds, lid, int(150 * look.lid_crease), 0.07, sheet)
    _soften(skin_HW3, folds, np.array([0.42, 0.3, 0.27], np.float32), 1.0)
    meet = np.zeros((SKIN_ROWS, WIDTH), np.uint8)
    for row in ((60, 61, 62, 63, 64), (60, 67, 66, 65, 64)):
        _line(meet, sheet.landmarks_68x2[list(row)], int(170 * look.lip_line), 0.1, sheet)
    _soften(skin_HW3, meet, np.array([0.3, 0.16, 0.16], np.float32), 0.8)


def _soften(skin_HW3, line_HW, rgb: np.ndarray, sigma: float) -> None:
    """Blends a drawn line, blurred, over the skin in place; looks only where it is."""
    x, y, w, h = cv2.boundingRect(line_HW)
    if not w:
        return
    part = (slice(max(y - 4, 0), y + h + 4), slice(max(x - 4, 0), x + w + 4))
    cover = cv2.GaussianBlur(line_HW[part], (0, 0), sigma).astype(np.float32) / 255
    skin_HW3[part] += cover[..., None] * (rgb - skin_HW3[part])


def _blend(image_HW3: np.ndarray, cover_HW: np.ndarray, rgb: np.ndarray) -> None:
    x, y, w, h = cv2.boundingRect((cover_HW > 0.004).astype(np.uint8))
    part = image_HW3[y : y + h, x : x + w]
    part += cover_HW[y : y + h, x : x + w, None] * (rgb.astype(np.float32) - part)


def _line(image, points, value, width_cm, sheet) -> None:
    thickness = max(1, round(width_cm * sheet.texel))
    cv2.polylines(image, [np.round(points * 8).astype(np.int32)], False, value, thickness, 16, 3)


@functools.lru_cache(maxsize=2)
def scalp(sheet: Canvas, look: Look) -> np.ndarray:
    """How much hair covers each texel of the scalp, ragged along the hairline."""
    mask = sheet.masks["hair"]
    if look.hair == "bald":
        return mask * 0.04
    rng = np.random.default_rng((look.seed, 5))
    ragged = rng.standard_normal((SKIN_ROWS // 6, WIDTH // 2)).astype(np.float32)
    ragged = cv2.resize(ragged, (WIDTH, SKIN_ROWS), interpolation=cv2.INTER_LINEAR)
    # At half the resolution: it is blurred by five texels.
    half = cv2.resize(mask, (WIDTH // 2, SKIN_ROWS // 2), interpolation=cv2.INTER_AREA)
    half = cv2.GaussianBlur(half, (0, 0), 0.35 * sheet.texel / 2)
    half = _raised(half, sheet, look.hairline, 2.2 * (look.hair == "receding"))
    height = cv2.resize(half, (WIDTH, SKIN_ROWS), interpolation=cv2.INTER_LINEAR)
    cover = np.clip((height - 0.45 + 0.12 * ragged) / 0.3, 0, 1)
    return cover * (0.62 if look.hair == "shaved" else 0.97)


def _raised(mask_HW: np.ndarray, sheet: Canvas, hairline: float, temples: float) -> np.ndarray:
    """Moves the front of the hairline up by `hairline` cm, and at the temples by more."""
    rows, columns = mask_HW.shape
    shrink = columns / WIDTH
    middle = sheet.landmarks_68x2[27, 0] * shrink
    off = np.abs(np.arange(columns, dtype=np.float32) - np.float32(middle)) * (360 / columns)
    front = np.clip((75 - off) / 25, 0, 1)
    rise = hairline * front + temples * np.exp(-(((off - 34) / 13) ** 2))
    v = np.arange(rows, dtype=np.float32)[:, None] + (rise * sheet.texel * shrink).astype(
        np.float32
    )
    u = np.broadcast_to(np.arange(columns, dtype=np.float32), v.shape)
    return cv2.remap(mask_HW, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _brows(rng, sheet: Canvas, look: Look) -> np.ndarray:
    """Single hairs along the brow over a soft ground."""
    marks, texel = sheet.landmarks_68x2, sheet.texel
    hairs = np.zeros((SKIN_ROWS, WIDTH), np.uint8)
    ground = np.zeros((SKIN_ROWS, WIDTH), np.uint8)
    for points, outward in ((marks[21:16:-1], -1.0), (marks[22:27], 1.0)):
        t = np.linspace(0, 4, 60)
        u = np.interp(t, np.arange(5), points[:, 0])
        v = np.interp(t, np.arange(5), points[:, 1])
        v = cv2.GaussianBlur(v[None].astype(np.float32), (0, 0), 4)[0]
        # Thickest in the inner third, a point at the tail.
        half = (
            0.5 * look.brow_width * texel * np.interp(t, [0, 0.6, 1.6, 4], [0.55, 1.0, 0.95, 0.3])
        )
        outline = np.r_[np.c_[u, v - half], np.c_[u, v + half][::-1]]
        cv2.fillPoly(ground, [np.round(outline * 8).astype(np.int32)], 255, 16, 3)
        count = int(110 + 160 * look.brow_density)
        k = rng.integers(60, size=count)
        x = u[k] + rng.normal(0, 0.08, count) * texel
        y = v[k] + rng.uniform(-1, 1, count) * half[k]
        rise = np.interp(t[k], [0, 1, 4], [1.3, 0.5, -0.35]) + rng.normal(0, 0.2, count)
        # Hairs of the lower edge rise, those of the upper edge lie down.
        rise += 0.5 * (y - v[k]) / half[k]
        length = rng.uniform(0.3, 0.62, count) * texel / np.hypot(1, rise)
        ends = np.stack([np.c_[x, y], np.c_[x + outward * length, y - rise * length]], axis=1)
        ends = np.round(ends * 8).astype(np.int32)
        for grey, some in zip((100, 135, 170, 200, 228), np.array_split(ends, 5), strict=True):
            cv2.polylines(hairs, list(some), False, grey, 1, 16, 3)
    x, y, w, h = cv2.boundingRect(cv2.bitwise_or(ground, hairs))
    pad = int(texel)
    part = (slice(max(y - pad, 0), y + h + pad), slice(max(x - pad, 0), x + w + pad))
    soft = cv2.GaussianBlur(ground[part], (0, 0), 0.12 * texel).astype(np.float32) / 255
    near = cv2.GaussianBlur(ground[part], (0, 0), 0.2 * texel).astype(np.float32) / 255
    strokes = hairs[part].astype(np.float32) / 255
    density = 0.22 + 0.5 * look.brow_density
    cover = np.zeros((SKIN_ROWS, WIDTH), np.float32)
    cover[part] = np.clip(density * soft + 0.75 * strokes * np.minimum(1, 2.2 * near), 0, 0.95)
    return cover


def _beard_ground(sheet: Canvas) -> np.ndarray:
    """Where beards grow: jaw, chin, upper lip, the top of the neck; not the lips."""
    marks, texel = sheet.landmarks_68x2, sheet.texel
    cm = np.array([texel, texel], np.float32)
    below = [marks[i] + (0, 2.2 * texel) for i in range(13, 3, -1)]
    cheek_r = [marks[1], marks[2] + (0.8, 0.2) * cm, marks[48] + (-1.7, -0.3) * cm]
    cheek_l = [marks[54] + (1.7, -0.3) * cm, marks[14] + (-0.8, 0.2) * cm, marks[15]]
    moustache = [marks[48] + (-0.6, -0.9) * cm, marks[31] + (0.1, 0.35) * cm]
    moustache += [marks[33] + (0, 0.3) * cm, marks[35] + (-0.1, 0.35) * cm]
    moustache += [marks[54] + (0.6, -0.9) * cm]
    outline = np.array([*cheek_r, *moustache, *cheek_l, marks[14], *below, marks[2]])
    ground = np.zeros((SKIN_ROWS, WIDTH), np.uint8)
    cv2.fillPoly(ground, [np.round(outline * 8).astype(np.int32)], 255, 16, 3)
    lips = np.round(marks[48:60] * 8).astype(np.int32)
    cv2.fillPoly(ground, [lips], 0, 16, 3)
    cv2.polylines(ground, [lips], True, 0, max(1, round(0.22 * texel)), 16, 3)
    return cv2.GaussianBlur(ground, (0, 0), 0.16 * texel).astype(np.float32) / 255


def _beard(rng, sheet: Canvas, look: Look) -> np.ndarray:
    """How much beard covers each texel."""
    if look.beard == "none":
        return np.zeros((SKIN_ROWS, WIDTH), np.float32)
    mask = _beard_ground(sheet)
    x, y, w, h = cv2.boundingRect((mask > 0).astype(np.uint8))
    cover = np.zeros((SKIN_ROWS, WIDTH), np.float32)
    part = (slice(y, y + h), slice(x, x + w))
    cover[part] = _beard_hairs(rng, mask[part], sheet.landmarks_68x2 - (x, y), sheet.texel, look)
    return cover


def _beard_hairs(rng, mask_HW, marks_68x2, texel: float, look: Look) -> np.ndarray:
    """The cover inside a window that begins where the ground of beards does."""
    height, width = mask_HW.shape
    v, u = np.mgrid[0:height, 0:width].astype(np.float32)
    if look.beard == "moustache":
        middle = (marks_68x2[33] + marks_68x2[51]) / 2
        across, down = (u - middle[0]) / texel, (v - middle[1]) / texel - 0.1
        droop = down - 0.06 * across**2
        mask_HW = mask_HW * np.clip(1.4 - (droop / 0.75) ** 4 - (across / 2.9) ** 4, 0, 1)
    if look.beard == "goatee":
        across = np.abs(u - marks_68x2[57, 0]) / texel
        mask_HW = mask_HW * np.clip((3.3 - across) / 0.5, 0, 1)
    grain = rng.standard_normal((height, width), np.float32)
    coarse = rng.standard_normal((height // 8 + 1, width // 8 + 1), np.float32)
    ragged = 0.07 * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    if look.beard in ("full", "moustache", "goatee"):
        grain = cv2.GaussianBlur(grain, (0, 0), 0.7, sigmaY=2.5) * 3.2
        cover = np.clip((mask_HW - 0.42 + 1.6 * ragged) / 0.5, 0, 1)
        return cover * np.clip(0.74 + 0.16 * grain, 0, 0.97) * (0.6 + 0.4 * look.beard_amount)
    dots = np.clip(cv2.GaussianBlur(grain, (0, 0), 0.6) * 1.6 + 0.1, 0, 1)
    strength = {"shadow": 0.16, "stubble": 0.42}[look.beard] * look.beard_amount
    return mask_HW * np.clip(1 + 3 * ragged, 0.4, 1.5) * strength * (0.55 + 0.9 * dots)


def _strands(rng) -> np.ndarray:
    """Bands of lighter and darker hair across the band, drawn out along it."""
    fine = rng.standard_normal((HAIR_ROWS // 8, WIDTH)).astype(np.float32)
    fine = cv2.resize(fine, (WIDTH, HAIR_ROWS), interpolation=cv2.INTER_CUBIC)
    broad = rng.standard_normal((HAIR_ROWS // 16, WIDTH // 8)).astype(np.float32)
    broad = cv2.resize(broad, (WIDTH, HAIR_ROWS), interpolation=cv2.INTER_CUBIC)
    return np.clip(1 + 0.22 * fine + 0.14 * broad, 0.4, 1.7)


def _eye(rng, look: Look) -> np.ndarray:
    """The eyeball by angle from its axis: pupil, iris fibres, limbus, sclera with veins."""
    side = EYE_ROWS
    y, x = (np.mgrid[0:side, 0:side].astype(np.float32) + 0.5 - side / 2) / (side / 2)
    off = np.hypot(x, y) * np.float32(EYE_SPAN / IRIS_SPAN)  # 1 at the limbus
    around = np.arctan2(y, x)
    fibre = np.zeros_like(off)
    for k in rng.integers(9, 60, 14).tolist():
        fibre += np.cos(
            k * around + float(rng.uniform(0, 2 * np.pi)) + float(rng.normal(0, 2)) * off
        )
    fibre /= np.float32(np.sqrt(7))
    inner = np.exp(-(((off - look.pupil) / 0.16) ** 2))
    iris = np.array(look.iris_rgb, np.float32) * (1.15 + 0.2 * fibre)[..., None]
    warm = np.array([1.5, 1.15, 0.75], np.float32)
    iris = iris * (1 + 0.45 * inner[..., None] * (warm - 0.6))
    iris *= (1 - look.limbus * np.clip((off - 0.74) / 0.26, 0, 1) ** 2)[..., None]
    sclera = np.array(look.sclera_rgb, np.float32) * np.ones((side, side, 1), np.float32)
    veins = np.zeros((side, side), np.uint8)
    for _ in range(16):
        angle = rng.uniform(-0.9, 0.9) + np.pi * rng.integers(2)
        radius = np.linspace(1, rng.uniform(0.5, 0.75), 12)
        angles = angle + np.cumsum(rng.normal(0, 0.05, 12))
        path = np.c_[np.cos(angles), np.sin(angles)] * radius[:, None] * side / 2 + side / 2
        cv2.polylines(veins, [np.round(path * 8).astype(np.int32)], False, 120, 1, 16, 3)
    redness = cv2.GaussianBlur(veins, (0, 0), 0.7).astype(np.float32) / 255 * 0.5
    redness += 0.25 * np.clip((off - 1.5) / 1.0, 0, 1)
    sclera *= 1 - redness[..., None] * np.array([0.12, 0.5, 0.5], np.float32)
    edge = np.clip((off - 0.95) / 0.12, 0, 1)[..., None]
    eye = iris + edge * (sclera - iris)
    pupil = np.clip((off - look.pupil) / 0.07 + 0.5, 0, 1)[..., None]
    return 0.004 + pupil * (eye - 0.004)
