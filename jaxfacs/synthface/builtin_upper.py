"""Actions of the upper face: lids and brows. A function gives the action of both sides."""

import numpy as np

from jaxfacs.synthface import builtin_surface as surface
from jaxfacs.synthface.builtin_skin import Skin
from jaxfacs.synthface.builtin_surface import smoothstep

# --- lids ----------------------------------------------------------------------------------


def _lid_parts(k: Skin) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Weights of the upper and the lower lid, the gape between them at x, and t along them."""
    inner, outer = surface.INNER_CANTHUS, surface.OUTER_CANTHUS
    t = (k.x - inner[0]) / (outer[0] - inner[0])
    inside = np.clip(t, 0, 1)
    top, bottom = surface.lid_line(inside, True)[:, 1], surface.lid_line(inside, False)[:, 1]
    chord = inner[1] + inside * (outer[1] - inner[1])
    above = np.clip((k.y - top) / 0.95, 0, 1)
    below = np.clip((bottom - k.y) / 1.0, 0, 1)
    near = smoothstep(t, -0.25, 0.02) * smoothstep(t, 1.25, 0.98)
    is_upper = k.y >= np.minimum(chord + 1e-9, top - 1e-6)
    upper = np.where(is_upper & (k.y > top - 0.02), (1 - smoothstep(above, 0.05, 1.0)) * near, 0)
    lower = np.where(
        ~is_upper & (k.y < bottom + 0.02), (1 - smoothstep(below, 0.05, 1.0)) * near, 0
    )
    return upper, lower, top - bottom, inside


def upper_lid(k: Skin) -> tuple[np.ndarray, np.ndarray]:
    """How far each vertex goes with the upper lid, and how far along it is (0 inner, 1 outer)."""
    weight, _, _, t = _lid_parts(k)
    return weight, t


def _on_ball(k: Skin, dy: np.ndarray) -> np.ndarray:
    """Displacement V×3 of skin that moves by dy over the eyeball."""
    dx = k.x - surface.EYE[0]
    here = surface.lid_depth(dx, k.y - surface.EYE[1])
    there = surface.lid_depth(dx, k.y + dy - surface.EYE[1])
    reach = surface.eye_reach(dx, k.y - surface.EYE[1])
    return np.stack([0 * dy, dy, (there - here) * smoothstep(reach, 1.12, 0.62)], axis=1)


def move_lids(k: Skin, upper_cm: float = 0, lower_cm: float = 0, close: float = 0) -> np.ndarray:
    """Moves the lid margins up by cm at their middle; `close` lets the upper meet the lower."""
    upper, lower, gape, t = _lid_parts(k)
    hump = (4 * t * (1 - t)) ** 0.75
    dy = (
        upper * (upper_cm * hump - close * np.maximum(gape - 0.07 * hump, 0))
        + lower * (lower_cm + 0.07 * close) * hump
    )
    return _on_ball(k, dy)


def blink(k: Skin) -> np.ndarray:
    """43: the upper lid slides down over the eyeball until it meets the lower."""
    fold = k.at(3.1, 1.15, 1.2, 0.35)
    return move_lids(k, close=1.0) + k.push(fold, up=-0.10, outwards=-0.06)


def upper_lid_raiser(k: Skin) -> np.ndarray:
    """5: more of the eyeball shows above the iris; the fold of the lid goes deeper."""
    return move_lids(k, upper_cm=0.33, lower_cm=-0.03) + k.push(
        k.at(3.1, 1.25, 1.2, 0.3), up=0.08, outwards=-0.08
    )


def lid_tightener(k: Skin) -> np.ndarray:
    """7: the lower lid rises and bulges, the upper comes down a little."""
    d = move_lids(k, upper_cm=-0.19, lower_cm=0.27)
    d += k.pull(k.at(3.2, -0.95, 1.3, 0.35), up=0.12, out=-0.04)
    return (
        d
        + k.push(k.at(3.1, -0.62, 1.1, 0.16), outwards=0.08)
        - k.push(k.at(3.1, -1.15, 1.2, 0.15), outwards=0.05)
    )


def cheek_raiser(k: Skin) -> np.ndarray:
    """6: the cheeks rise, the skin about the eye is drawn in, bags and crow's feet form."""
    d = k.pull(k.at(3.7, -2.7, 1.5, 1.35, 8), up=0.55, out=-0.08)
    d += k.push(k.at(3.8, -2.0, 1.35, 0.85, 12), outwards=0.30)
    d += move_lids(k, upper_cm=-0.08, lower_cm=0.20)
    d += k.pull(k.at(5.3, 0.2, 0.6, 1.1), out=-0.22)
    d += k.pull(k.at(4.6, 1.7, 1.1, 0.6), up=-0.18)
    d += k.push(k.at(3.1, -0.70, 1.2, 0.18), outwards=0.10) - k.push(
        k.at(3.1, -1.18, 1.4, 0.13, 6), outwards=0.12
    )
    return d


# --- brows ---------------------------------------------------------------------------------


def inner_brow_raiser(k: Skin) -> np.ndarray:
    """1: the inner ends of the brows rise."""
    # Falls off quickly to the side: the brows become oblique.
    inner = np.exp(-0.5 * (np.maximum(k.x - 0.9, 0) / 1.15) ** 2)
    rise = np.exp(-0.5 * (np.where(k.y > 1.9, (k.y - 1.9) / 2.1, (k.y - 1.9) / 0.85)) ** 2)
    d = k.pull(inner * rise, up=0.85, out=-0.05)
    return d + move_lids(k, upper_cm=0.03) + k.push(inner * k.at(0.6, 2.6, 2.2, 0.5), outwards=0.06)


def outer_brow_raiser(k: Skin) -> np.ndarray:
    """2: the outer parts of the brows rise and arch."""
    outer = np.exp(-0.5 * (np.where(k.x < 4.0, (k.x - 4.0) / 1.35, (k.x - 4.0) / 1.6)) ** 2)
    rise = np.exp(-0.5 * (np.where(k.y > 2.0, (k.y - 2.0) / 2.0, (k.y - 2.0) / 0.8)) ** 2)
    return k.pull(outer * rise, up=0.95, out=0.03) + k.pull(k.at(3.9, 1.05, 0.9, 0.35), up=0.10)


def brow_lowerer(k: Skin) -> np.ndarray:
    """4: the brows sink and come together, with upright folds between them."""
    band = np.exp(-0.5 * (np.where(k.y > 1.8, (k.y - 1.8) / 1.25, (k.y - 1.8) / 0.75)) ** 2)
    inner = np.exp(-0.5 * (np.maximum(k.x - 1.2, 0) / 1.6) ** 2)
    together = smoothstep(k.x, 0.0, 0.9) * np.exp(-0.5 * (np.maximum(k.x - 1.3, 0) / 1.2) ** 2)
    d = k.pull(inner * band, up=-0.62) + k.pull(together * band, out=-0.50)
    d += k.push(k.at(1.0, 1.55, 0.5, 0.5), outwards=0.20) + k.push(
        k.at(2.2, 1.5, 1.2, 0.35), outwards=0.14
    )
    d -= k.push(k.at(0.42, 1.9, 0.12, 0.6), outwards=0.10) + k.push(
        k.at(0, 0.75, 0.8, 0.18), outwards=0.08
    )
    return d + move_lids(k, upper_cm=-0.10)


def oblique_brows(k: Skin) -> np.ndarray:
    """1 and 4 together: the raised inner corners are drawn up further than the sum of both."""
    inner = np.exp(-0.5 * (np.maximum(k.x - 0.8, 0) / 0.75) ** 2)
    band = np.exp(-0.5 * (np.where(k.y > 1.9, (k.y - 1.9) / 1.6, (k.y - 1.9) / 0.7)) ** 2)
    return k.pull(inner * band, up=0.34) + k.push(k.at(0.9, 2.3, 0.5, 0.4), outwards=0.08)
