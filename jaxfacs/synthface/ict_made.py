"""Displacements that the ICT Face Model Light lacks, made from its neutral mesh by formulas.

All fields are over the generic neutral face in cm (+x the subject's left, +y up, +z forward) and
were judged by eye on rendered people. `shapes` are terms for `ict_tables.RECIPES`; `traits` move a
person towards a child, an old face, or a man's (negative: a woman's).
"""

import numpy as np

_EYE_Y = 3.4
_EYE_CENTRES = ((3.15, 3.45, 7.9), (-3.15, 3.45, 7.9))
# Weights (σ) of the identity modes that look so, read off renders of each mode at ±2.8 σ.
_MODES_OF = {
    "child": {0: 0.9, 4: -0.5, 5: 0.9},
    "old": {2: 0.9, 0: -0.4},
    "male": {0: -1.5, 4: 1.0, 2: 0.3},
}
_BROW_L = ((1.17, 5.91), (2.41, 6.19), (3.79, 6.26), (4.93, 5.98), (5.82, 5.2))
_FOLD_L = ((1.5, -0.3), (2.2, -1.2), (2.9, -2.3), (3.3, -3.4))


def shapes(neutral_V3: np.ndarray, skin: slice, tongue: slice) -> dict[str, np.ndarray]:
    """Name -> float32 V×3: browKnit, browDrop, cheekFold (each _L, _R), tongueOut."""
    made = {}
    own = np.zeros(len(neutral_V3))
    own[skin] = 1.0
    for side, sign in (("L", 1.0), ("R", -1.0)):
        x, y, z = neutral_V3[:, 0] * sign, neutral_V3[:, 1], neutral_V3[:, 2]
        # Where a field of one side meets the midline it fades out over some millimetres.
        half = own * _step(-0.5, 0.5, x) * _step(3.0, 6.0, z)
        brow = half * _near(x, y, _BROW_L, above=1.6, below=0.95)
        inner = brow * (1 - _step(1.2, 4.2, x))
        outer = brow * _step(2.6, 4.6, x)
        # Corrugator: the heads of the brows together, and a swelling over them.
        made[f"browKnit_{side}"] = _field(-0.34 * sign * inner, -0.30 * inner, 0.10 * inner)
        made[f"browDrop_{side}"] = _field(0, -0.5 * brow, 0.04 * brow)
        # Oblique brows: the outer part sinks where the inner part rises.
        made[f"browTail_{side}"] = _field(0, -0.4 * outer, 0)
        hood = half * np.exp(-(((x - 3.7) / 1.5) ** 2) - ((y - 4.75) / 0.42) ** 2)
        made[f"lidHood_{side}"] = _field(0, -0.34 * hood, 0.10 * hood)
        fold = half * _groove(x, y, _FOLD_L, bank=0.16, furrow=0.12)
        made[f"cheekFold_{side}"] = _field(0, 0, fold)
        flare = half * np.exp(
            -(((x - 1.35) / 0.5) ** 2) - ((y + 0.35) / 0.7) ** 2 - ((z - 11.0) / 1.2) ** 2
        )
        made[f"nostril_{side}"] = _field(0.30 * sign * flare, 0.05 * flare, 0)
    made["tongueOut"] = _tongue_out(neutral_V3, tongue)
    return made


def _tongue_out(neutral_V3: np.ndarray, tongue: slice) -> np.ndarray:
    """Tongue over the lower lip: flat, forward, and down beyond it."""
    moved = np.zeros_like(neutral_V3)
    _, y, z = neutral_V3[tongue].T
    front = np.clip((z - 5.5) / 4.2, 0, 1)
    moved[tongue, 2] = 3.5 * front
    flat = -2.95 + 0.55 * (y + 3.75) - 1.5 * np.clip((z + 3.5 * front - 11.3) / 2.0, 0, 1) ** 2
    moved[tongue, 1] = (flat - y) * _step(0.15, 0.7, front)
    return moved


def traits(neutral_V3: np.ndarray, modes_M_V3: np.ndarray, skin: slice) -> dict[str, np.ndarray]:
    """ "child", "old" and "male" -> float32 V×3, for a clear case of each."""
    made = {
        name: sum(w * modes_M_V3[m] for m, w in weights.items())
        for name, weights in _MODES_OF.items()
    }
    made["child"] = made["child"] + _child(neutral_V3)
    made["old"] = made["old"] + _old(neutral_V3, skin)
    return {name: np.asarray(field, np.float32) for name, field in made.items()}


def _child(at_V3: np.ndarray) -> np.ndarray:
    """Large eyes and forehead, a short lower face, a small nose and chin, full cheeks."""
    x, y, z = at_V3.T.astype(np.float64)
    down = np.maximum(_EYE_Y - 1.2 - y, 0)
    lower = np.minimum(down, 10.0)
    front = _step(1.0, 6.0, z)
    nose = np.exp(-((x / 1.6) ** 2) - ((y - 0.3) / 2.2) ** 2) * _step(9.0, 12.5, z)
    out = np.zeros_like(at_V3, dtype=np.float64)
    out[:, 1] += 0.10 * lower + 0.35 * nose
    out[:, 2] -= 0.75 * nose
    out[:, 0] -= 0.25 * x * nose
    jaw = _step(1.0, 6.0, down)
    out[:, 0] -= 0.055 * x * jaw
    out[:, 0] -= 0.16 * x * _step(9.5, 12.0, down)  # the neck
    cheek = np.exp(-(((np.abs(x) - 4.2) / 1.8) ** 2) - ((y + 1.8) / 2.2) ** 2) * front
    out[:, 0] += 0.20 * np.sign(x) * cheek
    out[:, 2] += 0.30 * cheek
    out[:, 1] += 0.05 * np.maximum(y - 5.5, 0)
    out[:, 2] += 0.30 * np.exp(-((x / 4.5) ** 2) - ((y - 8.5) / 2.5) ** 2) * front
    for centre in _EYE_CENTRES:
        ray = at_V3 - np.array(centre)
        near = 1 - _step(1.75, 3.3, np.linalg.norm(ray, axis=1))
        out += 0.13 * ray * near[:, None]
    return out


def _old(at_V3: np.ndarray, skin: slice) -> np.ndarray:
    """Hooded lids, bags and jowls; the folds beside the nose stand out at rest."""
    own = np.zeros(len(at_V3))
    own[skin] = 1.0
    x, y, z = np.abs(at_V3[:, 0]), at_V3[:, 1], at_V3[:, 2]
    front = own * _step(3.0, 6.0, z)
    brow = front * _near(x, y, _BROW_L, above=1.6, below=0.95) * _step(1.0, 4.5, x)
    hood = front * np.exp(-(((x - 3.9) / 1.3) ** 2) - ((y - 4.6) / 0.45) ** 2)
    bag = front * np.exp(-(((x - 3.2) / 1.3) ** 2) - ((y - 1.9) / 0.4) ** 2)
    trough = front * np.exp(-(((x - 2.9) / 1.4) ** 2) - ((y - 1.2) / 0.3) ** 2)
    jowl = own * np.exp(-(((x - 3.9) / 1.2) ** 2) - ((y + 6.0) / 1.1) ** 2) * _step(2.0, 5.0, z)
    fold = _groove(x, y, _FOLD_L, bank=0.2, furrow=0.14)
    hollow = front * np.exp(-(((x - 4.6) / 1.1) ** 2) - ((y + 2.0) / 1.6) ** 2)
    up = -0.22 * brow - 0.25 * hood - 0.35 * jowl
    forward = 0.16 * bag - 0.14 * trough + front * fold + 0.12 * jowl - 0.28 * hollow + 0.05 * hood
    out = np.sign(at_V3[:, 0]) * (0.22 * jowl - 0.16 * hollow)
    return _field(out, up, forward)


def _field(out, up, forward) -> np.ndarray:
    return np.stack(np.broadcast_arrays(out, up, forward), axis=1).astype(np.float32)


def _step(low: float, high: float, x: np.ndarray) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def _near(x, y, line, *, above: float, below: float) -> np.ndarray:
    """1 on a line over x, falling off with the height over it and under it (σ, cm)."""
    at = np.array(line)
    height = y - np.interp(x, at[:, 0], at[:, 1])
    beside = np.maximum(x - at[-1, 0], 0)
    return np.exp(-((height / np.where(height > 0, above, below)) ** 2) - (beside / 0.9) ** 2)


def _groove(x, y, line, *, bank: float, furrow: float) -> np.ndarray:
    """A furrow (cm) down a line, with a bank on its outer side; both fade at its ends."""
    at = np.array(line)[::-1]  # y upwards for np.interp
    beyond = np.maximum(y - at[-1, 1], 0) + np.maximum(at[0, 1] + 0.5 - y, 0)
    across = x - np.interp(y, at[:, 1], at[:, 0])
    ends = np.exp(-((beyond / 0.55) ** 2))
    outside = np.exp(-(((across - 0.6) / 0.5) ** 2))
    return ends * (bank * outside - furrow * np.exp(-((across / 0.24) ** 2)))
