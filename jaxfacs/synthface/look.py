"""What a person looks like, apart from the shape of the face: a pure function of the subject.

Skin colour follows the two pigments that make it: melanin in the epidermis and haemoglobin below.
Each takes away light exponentially, channel by channel, so every draw is a tone that people have
(a straight mix of RGB ends in grey or green). The coefficients are fitted by eye to published
swatches of Fitzpatrick types I-VI.
"""

from dataclasses import dataclass

import numpy as np

from jaxfacs.synthface.variation import EVERYTHING, Variation

# Linear RGB reflectance of skin without pigment, and absorbance per unit of either pigment.
_DERMIS = np.array([0.84, 0.70, 0.575], np.float32)
_MELANIN = np.array([0.31, 0.47, 0.69], np.float32)
_HAEMOGLOBIN = np.array([0.06, 0.48, 0.40], np.float32)

# Hair: (name, linear RGB, how melanin-rich the skin may be for it to be drawn).
_HAIR = (
    ("black", (0.012, 0.010, 0.010), 9.0),
    ("dark brown", (0.034, 0.020, 0.013), 9.0),
    ("brown", (0.085, 0.046, 0.024), 2.2),
    ("light brown", (0.17, 0.10, 0.052), 1.2),
    ("blond", (0.36, 0.25, 0.125), 0.9),
    ("red", (0.24, 0.075, 0.026), 0.7),
    ("grey", (0.30, 0.29, 0.28), 2.6),
    ("dyed", (0.16, 0.03, 0.04), 9.0),
)
_HAIR_SHARE = np.array([0.25, 0.24, 0.17, 0.11, 0.09, 0.04, 0.09, 0.01])

# Iris: (linear RGB, greatest melanin).
_IRIS = (
    ((0.055, 0.026, 0.012), 9.0),  # dark brown
    ((0.13, 0.062, 0.022), 9.0),  # brown
    ((0.17, 0.115, 0.038), 1.5),  # hazel
    ((0.12, 0.16, 0.07), 1.0),  # green
    ((0.12, 0.20, 0.30), 0.9),  # blue
    ((0.20, 0.24, 0.26), 0.9),  # grey
)
_IRIS_SHARE = np.array([0.32, 0.26, 0.13, 0.08, 0.14, 0.07])

HAIR_STYLES = ("bald", "shaved", "short", "full", "long", "cap")
_HAIR_STYLE_SHARE = np.array([0.07, 0.12, 0.33, 0.2, 0.21, 0.07])
BEARDS = ("none", "shadow", "stubble", "moustache", "full")
_BEARD_SHARE = np.array([0.58, 0.14, 0.14, 0.05, 0.09])


@dataclass(frozen=True, eq=False)
class Look:
    """Colours are linear RGB reflectances; amounts are 0..1 unless said otherwise.

    Attributes:
      seed: of all that is painted (freckles, hairs, blotches).
      melanin: 0.2 (very fair) .. 5.5 (deep).
      haemoglobin: 0.15 (pale) .. 0.75 (ruddy).
      freckles, blotches, pores: strength of each kind of spot.
      oil: strength of the shine of the skin.
      age: depth of the creases that are there at rest, and how deep expression makes them.
      lip_rgb: None, or lipstick; lip_paint: how much it covers.
      brow_rgb, brow_density, brow_width: width in cm.
      lash: darkness of the lash line; liner: make-up along it; shadow_rgb, shadow: on the lids.
      blush: rouge.
      iris_rgb, pupil (share of the iris radius), limbus (darkness of its edge), sclera_rgb.
      teeth_rgb.
      hair: one of HAIR_STYLES; hair_rgb; hair_thickness in cm; hairline: cm up from the usual.
      beard: one of BEARDS; beard_amount.
      glasses: None or (half width, half height, roundness 0..1, rim radius) in cm; glasses_rgb.
      clothes_rgb.
    """

    seed: int
    melanin: float
    haemoglobin: float
    freckles: float
    blotches: float
    pores: float
    oil: float
    age: float
    lip_rgb: tuple[float, float, float] | None
    lip_paint: float
    brow_rgb: tuple[float, float, float]
    brow_density: float
    brow_width: float
    lash: float
    liner: float
    shadow_rgb: tuple[float, float, float]
    shadow: float
    blush: float
    iris_rgb: tuple[float, float, float]
    pupil: float
    limbus: float
    sclera_rgb: tuple[float, float, float]
    teeth_rgb: tuple[float, float, float]
    hair: str
    hair_rgb: tuple[float, float, float]
    hair_thickness: float
    hairline: float
    beard: str
    beard_amount: float
    glasses: tuple[float, float, float, float] | None
    glasses_rgb: tuple[float, float, float]
    clothes_rgb: tuple[float, float, float]


def skin_rgb(melanin: np.ndarray | float, haemoglobin: np.ndarray | float) -> np.ndarray:
    """Linear RGB reflectance of skin; broadcasts, and adds a last axis of 3."""
    m, h = np.asarray(melanin, np.float32), np.asarray(haemoglobin, np.float32)
    return _DERMIS * np.exp(-(m[..., None] * _MELANIN + h[..., None] * _HAEMOGLOBIN))


def sample_look(rng: np.random.Generator, variation: Variation = EVERYTHING) -> Look:
    """Draws a person. Every draw is made whatever the branch, so that no trait shifts the next."""
    # Even over the logarithm: tones differ by ratio of pigment.
    melanin = float(np.exp(rng.uniform(np.log(0.2), np.log(5.5))))
    haemoglobin = float(rng.uniform(0.18, 0.5))
    hair_rgb = _draw_pigment(rng, [(rgb, most) for _, rgb, most in _HAIR], _HAIR_SHARE, melanin)
    iris_rgb = _draw_pigment(rng, _IRIS, _IRIS_SHARE, melanin)
    hair = str(rng.choice(HAIR_STYLES, p=_HAIR_STYLE_SHARE))
    beard = str(rng.choice(BEARDS, p=_BEARD_SHARE))
    if hair == "long":  # plays safe: most who wear it long wear no beard
        beard = "none"
    made_up = rng.random() < (0.6 if hair == "long" else 0.2) and beard == "none"
    paints = ((0.30, 0.02, 0.03), (0.42, 0.09, 0.10), (0.22, 0.03, 0.05), (0.48, 0.16, 0.13))
    lip_rgb = paints[rng.integers(len(paints))]
    lip_paint = float(rng.uniform(0.25, 0.85)) * made_up
    shadows = ((0.16, 0.09, 0.07), (0.10, 0.07, 0.10), (0.06, 0.09, 0.14), (0.3, 0.16, 0.12))
    shadow_rgb = shadows[rng.integers(len(shadows))]
    shadow = float(rng.uniform(0, 0.6)) * made_up
    liner = float(rng.uniform(0, 0.8)) * made_up
    blush = float(rng.uniform(0, 0.5)) * made_up
    darker = float(rng.uniform(0.35, 0.9))
    freckled = rng.random() < 0.3 and melanin < 1.0
    white = rng.uniform(0.48, 0.64)
    glasses = None
    frame = (
        float(rng.uniform(2.0, 2.6)),
        float(rng.uniform(1.5, 2.1)),
        float(rng.uniform(0.1, 1.0)),
        float(rng.uniform(0.05, 0.14)),
    )
    if rng.random() < 0.17:
        glasses = frame
    metal = rng.random() < 0.3
    rim = rng.uniform(0.08, 0.25) if metal else rng.uniform(0.005, 0.06)
    tint = rng.uniform(0.7, 1.0, 3)
    clothes = rng.uniform(0.02, 0.6) * rng.uniform(0.35, 1.0, 3)
    return Look(
        seed=int(rng.integers(1 << 31)),
        melanin=melanin,
        haemoglobin=haemoglobin,
        freckles=float(rng.uniform(0.3, 1.0)) * freckled,
        blotches=float(rng.uniform(0.2, 1.0)),
        pores=float(rng.uniform(0.3, 1.0)),
        oil=float(rng.uniform(0.3, 1.0)),
        age=float(rng.beta(1.6, 2.0)),
        lip_rgb=lip_rgb if made_up else None,
        lip_paint=lip_paint,
        brow_rgb=_scaled(hair_rgb, darker * _contrast(hair_rgb, melanin, haemoglobin)),
        brow_density=float(rng.uniform(0.5, 1.0)),
        brow_width=float(rng.uniform(0.55, 1.05)),
        lash=float(rng.uniform(0.45, 1.0)),
        liner=liner,
        shadow_rgb=shadow_rgb,
        shadow=shadow,
        blush=blush,
        iris_rgb=iris_rgb,
        pupil=float(rng.uniform(0.28, 0.48)),
        limbus=float(rng.uniform(0.3, 0.8)),
        sclera_rgb=(float(white), float(white * rng.uniform(0.9, 0.97)), float(white * 0.9)),
        teeth_rgb=_scaled((0.70, 0.64, 0.53), float(rng.uniform(0.75, 1.0))),
        hair=hair,
        hair_rgb=hair_rgb,
        hair_thickness=float(rng.uniform(0.4, 1.6)),
        hairline=float(rng.normal(0.0, 0.5)),
        beard=beard,
        beard_amount=float(rng.uniform(0.5, 1.0)),
        glasses=glasses,
        glasses_rgb=_scaled(tint, float(rim)),
        clothes_rgb=_scaled(clothes, 1.0),
    )


def _draw_pigment(rng, choices, share, melanin):
    """One colour among those that skin of this melanin goes with, a little varied."""
    share = share * np.array([melanin < most for _, most in choices])
    rgb = np.array(choices[rng.choice(len(choices), p=share / share.sum())][0])
    return _scaled(rgb * rng.uniform(0.95, 1.05, 3), float(rng.uniform(0.75, 1.3)))


def _contrast(hair_rgb, melanin: float, haemoglobin: float) -> float:
    """Factor that keeps brows darker than the skin, as they are on nearly everybody."""
    most = 0.4 * float(skin_rgb(melanin, haemoglobin).mean())
    return min(1.0, most / float(np.mean(hair_rgb)))


def _scaled(rgb, by: float) -> tuple[float, float, float]:
    r, g, b = (float(c) * by for c in rgb)
    return r, g, b
