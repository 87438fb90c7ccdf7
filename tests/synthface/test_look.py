"""People are drawn from a seed, in tones that people have."""

import dataclasses

import numpy as np

from jaxfacs.synthface.look import (
    BEARDS,
    CLOTHES,
    HAIR_STYLES,
    HEADWEAR,
    aged,
    sample_look,
    skin_rgb,
)
from jaxfacs.synthface.variation import KINDS, Variation


def test_a_look_is_a_pure_function_of_its_seed():
    one, same, other = (sample_look(np.random.default_rng(s)) for s in (3, 3, 4))
    assert dataclasses.asdict(one) == dataclasses.asdict(same)
    assert dataclasses.asdict(one) != dataclasses.asdict(other)


def test_tones_are_ordered_as_pigments_order_them():
    melanin = np.linspace(0.1, 5.5, 20)
    tone = skin_rgb(melanin, 0.3)
    assert np.all(np.diff(tone.sum(axis=1)) < 0)
    # Skin is never green or blue: red leads, then green, then blue, at every tone and flush.
    for flush in (0.1, 0.5, 1.0):
        red, green, blue = skin_rgb(melanin, flush).T
        assert np.all(red > green)
        assert np.all(green > blue)
    assert skin_rgb(0.2, 0.2).mean() > 6 * skin_rgb(5.5, 0.2).mean()


def test_looks_cover_the_range_and_stay_in_it():
    looks = [sample_look(np.random.default_rng(s)) for s in range(400)]
    assert {look.hair for look in looks} == set(HAIR_STYLES)
    assert {look.beard for look in looks} == set(BEARDS)
    assert {look.headwear for look in looks} == set(HEADWEAR)
    assert {look.clothes for look in looks} == set(CLOTHES)
    share = np.mean([look.glasses is not None for look in looks])
    assert 0.15 < share < 0.33
    melanin = np.array([look.melanin for look in looks])
    assert melanin.min() < 0.3
    assert melanin.max() > 4.5
    for look in looks:
        colours = (look.brow_rgb, look.iris_rgb, look.sclera_rgb, look.teeth_rgb, look.hair_rgb)
        assert all(0 <= value <= 1 for rgb in colours for value in rgb)
        # Brows must show on the skin: AU 1, 2 and 4 are read from them.
        skin = skin_rgb(look.melanin, look.haemoglobin).mean()
        assert np.mean(look.brow_rgb) < 0.5 * skin


def test_what_is_switched_off_leaves_the_other_traits():
    belongs = {
        "hair": {"hair", "hair_rgb", "hairline", "brow_rgb"},
        "wear": {"beard", "headwear", "glasses", "dark_glasses", "glare", "earrings", "lip_rgb"}
        | {"lip_paint", "shadow", "liner", "blush"},
        "skin": {"freckles", "blotches", "pores", "spots", "rings", "patches", "age", "crease"},
        "eyes": {"lash", "lid_crease", "catch_light", "iris_rgb", "pupil", "limbus", "sclera_rgb"},
        "mouth": {"teeth_rgb", "wet", "mouth_shadow", "lip_line"},
        "occlusion": {"loose"},
    }
    changed = {kind: set() for kind in KINDS}
    for seed in range(40):
        whole = dataclasses.asdict(sample_look(np.random.default_rng(seed)))
        for kind in KINDS:
            one = sample_look(np.random.default_rng(seed), Variation.without(kind))
            changed[kind] |= {k for k, v in dataclasses.asdict(one).items() if v != whole[k]}
    for kind in KINDS:
        assert changed[kind] == belongs.get(kind, set()), kind


def test_looks_go_with_age_and_shape():
    looks = [sample_look(np.random.default_rng(s)) for s in range(300)]
    child, woman, man, old = (
        [aged(look, years, male) for look in looks]
        for years, male in ((8, 0.0), (30, -0.8), (30, 0.8), (75, 0.8))
    )
    again = [aged(look, 30, 0.8) for look in looks]
    assert [dataclasses.asdict(a) for a in again] == [dataclasses.asdict(b) for b in man]
    assert all(look.beard == "none" and look.lip_rgb is None for look in child)
    assert all(look.hair not in ("bald", "receding") for look in [*child, *woman])

    def share(seen, kinds):
        return np.mean([look.hair in kinds for look in seen])

    assert share(old, ("bald", "receding")) > share(man, ("bald", "receding")) + 0.2
    assert share(woman, ("long", "bob", "wavy", "bun", "ponytail")) > 0.5
    assert np.mean([look.beard != "none" for look in man]) > 0.3
    assert np.mean([look.beard != "none" for look in woman]) < 0.05
    naive = Variation.naive()
    plain = aged(sample_look(np.random.default_rng(0), naive), 80, 1.0, naive)
    assert (plain.hair, plain.beard, plain.age) == ("shaved", "none", 0.0)
    light = [np.mean(look.hair_rgb) for look in old]
    assert np.median(light) > 2 * np.median([np.mean(look.hair_rgb) for look in child])
    assert np.mean([look.age for look in old]) > 0.6 > 0.3 > np.mean([look.age for look in man])
    for look in old:
        assert np.mean(look.brow_rgb) < 0.5 * skin_rgb(look.melanin, look.haemoglobin).mean()
