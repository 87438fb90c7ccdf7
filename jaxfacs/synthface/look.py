"""What a person looks like, apart from the shape of the face: a pure function of the subject.

Skin colour follows the two pigments that make it: melanin in the epidermis and haemoglobin below.
Each takes away light exponentially, channel by channel, so every draw is a tone that people have
(a straight mix of RGB ends in grey or green). The coefficients are fitted by eye to published
swatches of Fitzpatrick types I-VI.
"""

from dataclasses import dataclass, replace

import numpy as np

from jaxfacs.synthface.variation import EVERYTHING, Variation

# Linear RGB reflectance of skin without pigment, and absorbance per unit of either pigment.
_DERMIS = np.array([0.84, 0.70, 0.575], np.float32)
MELANIN = np.array([0.335, 0.45, 0.60], np.float32)
HAEMOGLOBIN = np.array([0.06, 0.48, 0.40], np.float32)

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

_HAIR_STYLES = {
    "bald": 0.05, "shaved": 0.06, "receding": 0.06, "short": 0.12, "crop": 0.09, "full": 0.10,
    "fringe": 0.07, "bob": 0.09, "long": 0.14, "wavy": 0.08, "curly": 0.05, "afro": 0.03,
    "bun": 0.04, "ponytail": 0.02,
}  # fmt: skip
HAIR_STYLES = tuple(_HAIR_STYLES)
_HAIR_STYLE_SHARE = np.array(list(_HAIR_STYLES.values()))
_WORN_LONG = ("bob", "long", "wavy", "bun", "ponytail")
BEARDS = ("none", "shadow", "stubble", "moustache", "goatee", "full")
_BEARD_SHARE = np.array([0.56, 0.13, 0.13, 0.05, 0.04, 0.09])
HEADWEAR = ("none", "cap", "beanie", "hat", "scarf", "band", "hood", "helmet")
_HEADWEAR_SHARE = np.array([0.845, 0.035, 0.03, 0.02, 0.03, 0.015, 0.015, 0.01])
CLOTHES = ("round", "deep", "straps", "collar", "high")
_CLOTHES_SHARE = np.array([0.34, 0.16, 0.12, 0.26, 0.12])


@dataclass(frozen=True, eq=False)
class Look:
    """Colours are linear RGB reflectances; amounts are 0..1 unless said otherwise.

    Attributes:
      seed: of all that is painted (freckles, hairs, blotches).
      melanin: 0.2 (very fair) .. 5.5 (deep).
      haemoglobin: 0.15 (pale) .. 0.75 (ruddy).
      freckles, blotches, pores: strength of each kind of spot.
      spots: pimples, moles and scars; rings: the dark below the eyes; patches: how uneven the tone
        is over centimetres.
      oil: strength of the shine of the skin.
      age: 0..1, depth of the creases that are there at rest.
      crease: how deep expression folds the skin beside others of that age; 1 is the middle.
      lip_rgb: None, or lipstick; lip_paint: how much it covers.
      brow_rgb, brow_density, brow_width: width in cm.
      lash: darkness of the lash line; liner: make-up along it; shadow_rgb, shadow: on the lids.
      blush: rouge.
      lid_crease: darkness of the fold of the upper lid, 0 (single lid) .. 1.
      iris_rgb, pupil (share of the iris radius), limbus (darkness of its edge), sclera_rgb.
      catch_light: strength of the lamps' reflections in the eyes.
      teeth_rgb; wet: shine of lips and teeth; mouth_shadow: 0..1, how dark the open mouth is;
      lip_line: darkness of the line where the lips meet.
      hair: one of HAIR_STYLES; hair_rgb; hair_thickness in cm; hairline: cm up from the usual;
      hair_length: factor; part: cm to the subject's left of the middle; fringe: there is one that
        ends fringe_clear cm above the brows; loose: share of locks that fall into the face;
        tips: brightness of their ends; streaks: share of lighter locks.
      beard: one of BEARDS; beard_amount.
      headwear: one of HEADWEAR; headwear_rgb.
      glasses: None or (half width, half height, roundness 0..1, rim radius) in cm; glasses_rgb;
        dark_glasses: the lenses hide the eyes; glare: how much light clear lenses throw back.
      earrings: radius in cm, 0: none; earrings_rgb.
      clothes: one of CLOTHES; clothes_rgb, clothes_other_rgb: cloth and its pattern;
        clothes_pattern: 0 none .. 1 strong.
    """

    seed: int
    melanin: float
    haemoglobin: float
    freckles: float
    blotches: float
    pores: float
    spots: float
    rings: float
    patches: float
    oil: float
    age: float
    crease: float
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
    lid_crease: float
    iris_rgb: tuple[float, float, float]
    pupil: float
    limbus: float
    sclera_rgb: tuple[float, float, float]
    catch_light: float
    teeth_rgb: tuple[float, float, float]
    wet: float
    mouth_shadow: float
    lip_line: float
    hair: str
    hair_rgb: tuple[float, float, float]
    hair_thickness: float
    hairline: float
    hair_length: float
    part: float
    fringe: bool
    fringe_clear: float
    loose: float
    tips: float
    streaks: float
    beard: str
    beard_amount: float
    headwear: str
    headwear_rgb: tuple[float, float, float]
    glasses: tuple[float, float, float, float] | None
    glasses_rgb: tuple[float, float, float]
    dark_glasses: bool
    glare: float
    earrings: float
    earrings_rgb: tuple[float, float, float]
    clothes: str
    clothes_rgb: tuple[float, float, float]
    clothes_other_rgb: tuple[float, float, float]
    clothes_pattern: float


def skin_rgb(melanin: np.ndarray | float, haemoglobin: np.ndarray | float) -> np.ndarray:
    """Linear RGB reflectance of skin; broadcasts, and adds a last axis of 3."""
    m, h = np.asarray(melanin, np.float32), np.asarray(haemoglobin, np.float32)
    return _DERMIS * np.exp(-(m[..., None] * MELANIN + h[..., None] * HAEMOGLOBIN))


def sample_look(rng: np.random.Generator, variation: Variation = EVERYTHING) -> Look:
    """Draws a person. Each part has a stream of its own, so that no trait shifts the next."""
    tone, skin, eyes, mouth, crop, wear = rng.spawn(6)
    # Even over the logarithm: tones differ by ratio of pigment.
    melanin = float(np.exp(tone.uniform(np.log(0.2), np.log(5.5))))
    haemoglobin = float(tone.uniform(0.15, 0.6))
    age = float(tone.beta(1.2, 1.5))
    hair_rgb = _draw_pigment(crop, [(rgb, most) for _, rgb, most in _HAIR], _HAIR_SHARE, melanin)
    grey = crop.random() < 0.75 * np.clip((age - 0.6) / 0.35, 0, 1)
    if grey:
        hair_rgb = _scaled((0.34, 0.335, 0.325), float(crop.uniform(0.5, 1.5)))
    iris_rgb = _draw_pigment(eyes, _IRIS, _IRIS_SHARE, melanin)
    hair = str(crop.choice(HAIR_STYLES, p=_HAIR_STYLE_SHARE / _HAIR_STYLE_SHARE.sum()))
    beard = str(wear.choice(BEARDS, p=_BEARD_SHARE))
    if hair in _WORN_LONG:  # plays safe: most who wear it long wear no beard
        beard = "none"
    darker = float(crop.uniform(0.35, 0.9))
    # Many are hardly seen beside the skin; all are darker than it.
    brow = _scaled(hair_rgb, darker * _contrast(hair_rgb, melanin, haemoglobin))
    white = float(eyes.uniform(0.30, 0.60))
    freckled = skin.random() < 0.25 and melanin < 1.2
    lashes = float(eyes.uniform(0.2, 1.0))
    paint = _make_up(wear, likely=hair in _WORN_LONG, bearded=beard != "none")
    look = Look(
        seed=int(tone.integers(1 << 31)),
        melanin=melanin,
        haemoglobin=haemoglobin,
        freckles=float(skin.uniform(0.3, 1.0)) * freckled,
        blotches=float(skin.uniform(0.2, 1.3)),
        pores=float(skin.uniform(0.2, 1.3)),
        spots=float(skin.uniform(0, 1) ** 2),
        rings=float(skin.uniform(0, 1) * (0.4 + 0.6 * age)),
        patches=float(skin.uniform(0, 1)),
        oil=float(np.exp(skin.uniform(np.log(0.2), np.log(1.7)))),
        age=age,
        crease=float(np.exp(skin.normal(0, 0.35))),
        **paint,
        brow_rgb=brow,
        brow_density=float(crop.uniform(0.1, 1.0)),
        brow_width=float(crop.uniform(0.45, 1.15)),
        lash=lashes,
        lid_crease=float(eyes.uniform(0.25, 1.0) * (eyes.random() < 0.75)),
        iris_rgb=iris_rgb,
        pupil=float(eyes.uniform(0.22, 0.55)),
        limbus=float(eyes.uniform(0.2, 0.85)),
        sclera_rgb=(white, white * float(eyes.uniform(0.86, 0.97)), white * 0.88),
        catch_light=float(eyes.uniform(0.3, 1.3)),
        teeth_rgb=_scaled((0.70, 0.645, 0.545), float(mouth.uniform(0.6, 1.1))),
        wet=float(np.exp(mouth.uniform(np.log(0.4), np.log(2.2)))),
        mouth_shadow=1.0,
        lip_line=float(mouth.uniform(0.4, 1.0)),
        hair=hair,
        hair_rgb=hair_rgb,
        hair_thickness=float(crop.uniform(0.3, 1.6)),
        hairline=float(crop.normal(0.0, 0.6)) + (1.8 if hair == "receding" else 0.0),
        hair_length=float(crop.uniform(0.75, 1.3)),
        part=float(crop.choice([-1, 1]) * crop.uniform(0, 3.2)),
        fringe=bool(crop.random() < 0.5),
        fringe_clear=float(crop.uniform(-0.2, 3.0)),
        loose=float(crop.uniform(0.02, 0.12) * (crop.random() < 0.3)),
        tips=float(np.exp(crop.normal(0, 0.25))),
        streaks=float(crop.uniform(0.1, 0.5) * (crop.random() < 0.2)),
        beard=beard,
        beard_amount=float(wear.uniform(0.4, 1.0)),
        **_worn(wear),
    )
    return _plainer(look, variation)


def _make_up(rng: np.random.Generator, *, likely: bool, bearded: bool) -> dict:
    made_up = rng.random() < (0.55 if likely else 0.12) and not bearded
    paints = ((0.30, 0.02, 0.03), (0.42, 0.09, 0.10), (0.22, 0.03, 0.05), (0.48, 0.16, 0.13))
    lip_rgb = paints[rng.integers(len(paints))]
    shadows = ((0.16, 0.09, 0.07), (0.10, 0.07, 0.10), (0.06, 0.09, 0.14), (0.3, 0.16, 0.12))
    shadow_rgb = shadows[rng.integers(len(shadows))]
    return {
        "lip_rgb": lip_rgb if made_up else None,
        "lip_paint": float(rng.uniform(0.15, 0.85)) * made_up,
        "shadow_rgb": shadow_rgb,
        "shadow": float(rng.uniform(0, 0.6)) * made_up,
        "liner": float(rng.uniform(0, 0.8)) * made_up,
        "blush": float(rng.uniform(0, 0.5)) * made_up,
    }


def _worn(rng: np.random.Generator) -> dict:
    """Glasses, headwear, earrings and clothes."""
    frame = (
        float(rng.uniform(1.9, 2.8)),
        float(rng.uniform(1.3, 2.3)),
        float(rng.uniform(0.1, 1.0)),
        float(np.exp(rng.uniform(np.log(0.03), np.log(0.16)))),
    )
    kind = rng.random()  # a fifth wear clear ones, four in a hundred dark ones
    metal = rng.random() < 0.35
    rim = rng.uniform(0.08, 0.5) if metal else rng.uniform(0.005, 0.08)
    tint = rng.uniform(0.6, 1.0, 3)
    clothes, other, cloth = (rng.uniform(0.01, 0.7) * rng.uniform(0.3, 1.0, 3) for _ in range(3))
    glare = rng.uniform(0.05, 0.4) * (rng.random() < 0.4)
    return {
        "headwear": str(rng.choice(HEADWEAR, p=_HEADWEAR_SHARE)),
        "headwear_rgb": _scaled(cloth, 1.0),
        "glasses": frame if kind < 0.24 else None,
        "glasses_rgb": _scaled(tint, float(rim)),
        "dark_glasses": bool(kind < 0.04),
        "glare": float(glare) * (0.04 <= kind < 0.24),
        "earrings": float(rng.uniform(0.15, 0.7)) * (rng.random() < 0.15),
        "earrings_rgb": _scaled(rng.uniform(0.2, 0.9) * np.array([1.0, 0.85, 0.6]), 1.0),
        "clothes": str(rng.choice(CLOTHES, p=_CLOTHES_SHARE)),
        "clothes_rgb": _scaled(clothes, 1.0),
        "clothes_other_rgb": _scaled(other, 1.0),
        "clothes_pattern": float(rng.uniform(0.3, 1) * (rng.random() < 0.4)),
    }


def aged(look: Look, years: float, male: float, variation: Variation = EVERYTHING) -> Look:
    """The look made to go with an age (years) and a face shape (male: -1 a woman's .. 1 a man's).

    Only likelihoods go with them: grey and thin hair come with age, beards and bald heads nearly
    only with men's shapes, make-up and long hair mostly with women's. A pure function.
    """
    rng = np.random.default_rng((look.seed, 11))
    by_year, turns, chance = rng.uniform(0, 1, 3), rng.uniform(0, 1, 3), rng.uniform(0, 1, 3)
    age = float(np.clip((years - 18) / 60, 0, 1)) ** 0.8 * (0.75 + 0.25 * look.age)
    changes: dict = {"age": max(age, 0.03)}
    if years > 38 + 45 * by_year[0] and look.hair != "shaved":
        grey = _scaled((0.34, 0.335, 0.325), 0.5 + float(turns[0]))
        share = float(np.clip((years - 38 - 45 * by_year[0]) / 15, 0.3, 1))
        mixed = np.array(look.hair_rgb) * (1 - share) + np.array(grey) * share
        darker = 0.75 * _contrast(mixed, look.melanin, look.haemoglobin)
        changes |= {"hair_rgb": _scaled(mixed, 1.0), "brow_rgb": _scaled(mixed, darker)}
    thin = look.hair in ("bald", "receding")
    if male > 0 and years > 30 + 70 * by_year[1] and look.hair not in _WORN_LONG:
        changes["hair"] = "bald" if turns[1] < 0.35 else "receding"
        changes["hairline"] = look.hairline + 1.5
    elif thin and (years < 25 or male < -0.2):
        changes["hair"] = ("short", "long", "bob", "wavy")[int(turns[1] * 4) if male < 0 else 0]
    elif male > 0.2 and look.hair in _WORN_LONG and chance[1] < 0.75:
        changes["hair"] = ("short", "crop", "full", "fringe")[int(turns[1] * 4)]
    elif male < -0.2 and look.hair in ("shaved", "short", "crop") and chance[1] < 0.75:
        changes["hair"] = ("long", "bob", "wavy", "bun")[int(turns[1] * 4)]
    if years < 16 or (male < -0.1 and chance[0] < 0.97):
        changes["beard"] = "none"
    elif male > 0.1 and look.beard == "none" and chance[0] < 0.35:
        changes["beard"] = BEARDS[1 + int(turns[0] * (len(BEARDS) - 1))]
    if years < 14 or (male > 0.1 and chance[2] < 0.93):
        changes |= {"lip_rgb": None, "lip_paint": 0.0, "liner": 0.0, "shadow": 0.0, "blush": 0.0}
    # A kind of variety that is switched off stays plain.
    return _plainer(replace(look, **changes), variation)


def _plainer(look: Look, variation: Variation) -> Look:
    """Leaves out the kinds of variety that are switched off."""
    if not variation.hair:
        brow = _contrast((0.034, 0.020, 0.013), look.melanin, look.haemoglobin)
        look = replace(
            look, hair="shaved", hair_rgb=(0.034, 0.020, 0.013), hairline=0.0,
            brow_rgb=_scaled((0.034, 0.020, 0.013), 0.7 * brow),
        )  # fmt: skip
    if not variation.wear:
        look = replace(
            look, beard="none", headwear="none", glasses=None, dark_glasses=False, glare=0.0,
            earrings=0.0, lip_rgb=None, lip_paint=0.0, shadow=0.0, liner=0.0, blush=0.0,
        )  # fmt: skip
    if not variation.occlusion:
        look = replace(look, loose=0.0)
    if not variation.skin:
        look = replace(
            look, freckles=0.0, blotches=0.0, pores=0.0, spots=0.0, rings=0.0, patches=0.0,
            age=0.0, crease=0.0,
        )  # fmt: skip
    if not variation.eyes:
        look = replace(
            look, lash=0.0, lid_crease=0.0, catch_light=0.0, iris_rgb=_IRIS[1][0], pupil=0.36,
            limbus=0.4, sclera_rgb=(0.6, 0.58, 0.55),
        )  # fmt: skip
    if not variation.mouth:
        look = replace(look, teeth_rgb=(0.7, 0.66, 0.58), wet=0.3, mouth_shadow=0.0, lip_line=0.0)
    return look


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
