"""Light on a face: per-pixel shading of what the rasteriser found, float32 throughout.

Materials answer light through tables (cosine -> reflected share), because a look-up costs a fifth
of a power and lets skin be what it is: light that enters it comes out reddened past the
terminator, so its red wraps further round than its blue.

Arrays of pixels (N×3) are planar: each column lies together in memory, so that numpy runs through
it in one stretch.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from jaxfacs.synthface.canvas import HAIR, IRIS, LASHES, MOUTH, SCLERA, SKIN, TEETH
from jaxfacs.synthface.scene import Scene

CLOTH = HAIR + 1  # clothes, glasses, caps: plain
_STEPS = 512  # of a cosine in [-1, 1] for diffuse light
_FINE = 2048  # of a cosine in [0, 1] for highlights

# material -> how far red, green and blue wrap past the terminator.
_WRAP = {
    SKIN: (0.36, 0.17, 0.11),
    SCLERA: (0.45, 0.35, 0.32),
    IRIS: (0.5, 0.5, 0.5),
    TEETH: (0.4, 0.36, 0.32),
    MOUTH: (0.4, 0.2, 0.2),
    LASHES: (0.2, 0.2, 0.2),
    HAIR: (0.3, 0.3, 0.3),
    CLOTH: (0.05, 0.05, 0.05),
}
# material -> (strength, exponent) of a broad and a narrow highlight.
_SHINE = {
    SKIN: ((0.06, 9.0), (0.15, 34.0)),
    SCLERA: ((0.04, 20.0), (1.6, 300.0)),
    IRIS: ((0.04, 20.0), (2.6, 300.0)),
    TEETH: ((0.04, 12.0), (0.14, 80.0)),
    MOUTH: ((0.03, 12.0), (0.10, 60.0)),
    LASHES: ((0.0, 1.0), (0.0, 1.0)),
    HAIR: ((0.05, 8.0), (0.09, 26.0)),
    CLOTH: ((0.02, 6.0), (0.10, 50.0)),
}


@dataclass(frozen=True, eq=False)
class Materials:
    """diffuse: (material × step)×3, planar; shine: (material × fine step)."""

    diffuse_M3: np.ndarray
    shine_M: np.ndarray


def materials() -> Materials:
    cosine = np.linspace(-1, 1, _STEPS, dtype=np.float32)
    half = np.linspace(0, 1, _FINE, dtype=np.float32)
    diffuse = np.zeros((CLOTH + 1, _STEPS, 3), np.float32)
    shine = np.zeros((CLOTH + 1, _FINE), np.float32)
    for material, wrap in _WRAP.items():
        w = np.array(wrap, np.float32)
        diffuse[material] = np.clip((cosine[:, None] + w) / (1 + w), 0, 1) ** (1 + w)
        for strength, power in _SHINE[material]:
            shine[material] += strength * half**power
    return Materials(np.asfortranarray(diffuse.reshape(-1, 3)), shine.reshape(-1))


def shade(
    tables: Materials,
    scene: Scene,
    *,
    material_N: np.ndarray,
    normal_N3: np.ndarray,
    albedo_N3: np.ndarray,
    gloss_N: np.ndarray,
    open_N: np.ndarray,
    shadow_N: np.ndarray,
) -> np.ndarray:
    """Linear RGB that leaves each pixel towards the camera; N×3.

    Args:
      tables: from `materials`.
      scene: its lights and ambient light.
      material_N: part of the head, or CLOTH.
      normal_N3: unit normals, +z to the camera.
      albedo_N3: linear reflectance.
      gloss_N: factor on the highlights.
      open_N: share of the sky that the point sees.
      shadow_N: 0..1, how far the key light is blocked.
    """
    if scene.ambient_shadow < 1:
        hollow = np.where(material_N == SKIN, scene.ambient_shadow, 1.0).astype(np.float32)
        open_N = 1 - hollow * (1 - open_N)
    base = material_N.astype(np.intp)
    coarse, fine = base * _STEPS, base * _FINE
    normal_3N = np.ascontiguousarray(normal_N3.T)
    up = (normal_3N[1] * 0.5 + 0.5) * open_N
    light_3N = np.empty_like(normal_3N)
    for out, sky, ground in zip(light_3N, scene.sky_rgb, scene.ground_rgb, strict=True):
        np.multiply(up, np.float32(sky - ground), out=out)
        out += np.float32(ground) * open_N
    highlight_3N = np.zeros_like(light_3N)
    # Highlights die where the sky does not reach either: nostrils, lip line, folds.
    gloss = gloss_N * np.minimum(1.0, open_N * 1.3)
    # Creases and sockets take their share of direct light away, too, but less.
    direct = 0.35 + 0.65 * open_N
    part = np.empty_like(direct)
    for lamp in scene.lights:
        towards = np.array(lamp.towards_3, np.float32)
        between = towards + np.array([0, 0, 1], np.float32)
        between /= np.linalg.norm(between)
        cosine, half = np.stack([towards, between]) @ normal_3N
        through = 1 - np.float32(lamp.shadow) * shadow_N if lamp.shadow else np.float32(1)
        at = _steps(cosine, 1.0, 0.5 * (_STEPS - 1), _STEPS) + coarse
        reaching = direct * through
        for out, table, strength in zip(light_3N, tables.diffuse_M3.T, lamp.rgb, strict=True):
            np.take(table, at, out=part, mode="clip")
            part *= reaching
            part *= np.float32(strength)
            out += part
        at = _steps(half, 0.0, _FINE - 1, _FINE) + fine
        shine = tables.shine_M.take(at)
        shine *= gloss
        shine *= through
        for out, strength in zip(highlight_3N, lamp.rgb, strict=True):
            np.multiply(shine, np.float32(strength), out=part)
            out += part
    light_3N *= albedo_N3.T
    light_3N += highlight_3N
    return light_3N.T


def _steps(cosine_N: np.ndarray, shift: float, scale: float, steps: int) -> np.ndarray:
    """Places in a table of that many steps."""
    at = (cosine_N + np.float32(shift)) * np.float32(scale)
    return np.clip(at, 0, steps - 1, out=at).astype(np.intp)


def look_up(image_HWC: np.ndarray, uv_N2: np.ndarray) -> np.ndarray:
    """Bilinear samples of an image at N points (texels): planar N×C. Outside: 0."""
    n = len(uv_N2)
    # cv2.remap takes no picture wider than 32767, so the points are laid out as rows of 512.
    rows = -(-n // 512)
    x, y = np.zeros((2, rows * 512), np.float32)
    x[:n], y[:n] = uv_N2.T
    x, y = x.reshape(rows, 512), y.reshape(rows, 512)
    out = cv2.remap(image_HWC, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    planes = np.empty((image_HWC.shape[2], rows, 512), image_HWC.dtype)
    cv2.split(out, list(planes))
    return planes.reshape(len(planes), -1)[:, :n].T


def bend(normal_N3: np.ndarray, slope_N2: np.ndarray, up_3: np.ndarray) -> np.ndarray:
    """Tilts unit normals by the slopes of a height map along the head's turn and downwards."""
    x, y, z = normal_N3.T
    ux, uy, uz = up_3
    # along = up × normal, unit length; down = along × normal, which points down the face.
    ax, ay, az = uy * z - uz * y, uz * x - ux * z, ux * y - uy * x
    length = np.maximum(np.sqrt(ax * ax + ay * ay + az * az), 1e-3)
    scale, fall = slope_N2[:, 0] / length, slope_N2[:, 1] / length
    dx, dy, dz = ay * z - az * y, az * x - ax * z, ax * y - ay * x
    bent = np.stack(
        [x - scale * ax - fall * dx, y - scale * ay - fall * dy, z - scale * az - fall * dz]
    )
    bent /= np.sqrt(bent[0] ** 2 + bent[1] ** 2 + bent[2] ** 2)
    return bent.T


def under_lids(at_N3: np.ndarray, lids_63: np.ndarray, unit: float) -> np.ndarray:
    """How much light reaches the eyeball: the upper lid and its lashes shade the top of it."""
    upper = lids_63[:4][np.argsort(lids_63[:4, 0])]
    lower = lids_63[[0, 5, 4, 3]]
    lower = lower[np.argsort(lower[:, 0])]
    below = (np.interp(at_N3[:, 0], upper[:, 0], upper[:, 1]) - at_N3[:, 1]) / unit
    above = (at_N3[:, 1] - np.interp(at_N3[:, 0], lower[:, 0], lower[:, 1])) / unit
    side = np.minimum(at_N3[:, 0] - upper[0, 0], upper[-1, 0] - at_N3[:, 0]) / unit
    light = 0.38 + 0.62 * np.clip(below / 0.4 + 0.05, 0, 1)
    light *= 0.72 + 0.28 * np.clip(above / 0.2, 0, 1)
    return (light * (0.6 + 0.4 * np.clip(side / 0.45, 0, 1))).astype(np.float32)


def in_mouth(at_N3: np.ndarray, marks_68x3: np.ndarray, unit: float) -> np.ndarray:
    """How much light reaches teeth, tongue and throat through the open lips."""
    inner = marks_68x3[60:68]
    behind = (inner[[1, 2, 3, 5, 6, 7], 2].mean() - at_N3[:, 2]) / unit
    gap = np.linalg.norm(inner[2] - inner[6]) / unit
    light = np.exp(-np.maximum(behind, 0) / (0.75 + 0.25 * gap))
    return (light * (0.35 + 0.65 * np.minimum(gap / 1.0, 1))).astype(np.float32)
