"""AU heatmaps: where on a face an AU is seen, targets that say how strong, and reading them back.

SCC (Fan et al., AAAI 2020) regresses one map for each place on the face where an AU shows. The
released code takes those places from its annotation files; how these were made was not released
(the author points to table 1 of Ntinou et al., arXiv 2004.06657). `CENTRES` follows the number of
places in the code's `datasets.py`, and was fitted to its `examples/train_example.json`.
"""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxfacs.errors import UserError

SCALE = 255.0  # of a map: the intensity times this at the centre (model_graph.py)
SIGMA = 2.0  # of the Gaussian, in cells of the map whatever its size (config.py)
MAX_INTENSITY = 5.0  # FACS letter E
UNKNOWN = -1.0  # the whole target of a map that cannot be drawn
SHIFT = 0.25  # of a cell, from the highest one towards its higher neighbour (test.py)

# AU -> its places, each the mean of landmarks in iBUG order (0 to 67), the subject's right side
# first. The number of places of each is the code's.
#   AU 12 and 17: agree with the released example annotation, up to its rounding.
#   AU 6, 10, 14: the points that come nearest to it, by a head posed in the same AUs.
#   The others: by the anatomy of the AU; no published annotation was at hand to check them.
CENTRES: dict[str, tuple[tuple[int, ...], ...]] = {
    "1": ((21,), (22,)),  # inner ends of the brows
    "2": ((18,), (25,)),  # outer thirds of the brows
    "4": ((21, 22),),  # between the brows
    "5": ((37, 38), (43, 44)),  # upper lids
    "6": ((2, 41), (14, 46)),  # cheeks, between the jaw line and the lower lid
    "9": ((31,), (28,), (35,)),  # wings and bridge of the nose
    "10": ((49,), (53,)),  # upper lip, halfway to the corners
    "12": ((48,), (54,)),  # corners of the mouth
    "14": ((3, 48), (13, 54)),  # between the corners and the jaw line
    "15": ((48, 59), (54, 55)),  # below the corners
    "17": ((57,), (8, 57)),  # lower lip, and between it and the chin
    "20": ((48, 5), (54, 11)),  # from the corners down to the jaw line
    "25": ((62,), (66,)),  # inner borders of both lips
    "26": ((57,), (8,)),  # lower lip and chin
}

# The experiments of the paper: 10 and 24 maps.
BP4D = ("6", "10", "12", "14", "17")
DISFA = ("1", "2", "4", "5", "6", "9", "12", "15", "17", "20", "25", "26")

Merge = Literal["mean", "max"]


def places(aus: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """The places of `aus` in the order of their maps: all of the first AU, then of the next.

    Raises:
      UserError: an AU has no place in `CENTRES`, or there is none to draw.
    """
    if unknown := [au for au in aus if au not in CENTRES]:
        raise UserError(
            f"no place on the face is known for AU {', '.join(unknown)}; heatmaps can be drawn "
            f"for {', '.join(CENTRES)}; give data.aus of these"
        )
    if not aus:
        raise UserError(f"heatmaps need data.aus; they can be drawn for {', '.join(CENTRES)}")
    return tuple(place for au in aus for place in CENTRES[au])


def owners(aus: Sequence[str]) -> np.ndarray:
    """Index into `aus` of each map, int32 (P,)."""
    return np.repeat(np.arange(len(aus), dtype=np.int32), [len(CENTRES[au]) for au in aus])


def targets(
    landmarks_N682: jax.Array,
    intensity_NA: jax.Array,
    *,
    aus: Sequence[str],
    frame_size: int,
    map_size: int,
    sigma: float = SIGMA,
) -> jax.Array:
    """Draws the maps that a network should answer: float32 (N, map_size, map_size, P).

    A map is intensity * SCALE * exp(-d^2 / (2 sigma^2)), d the distance in cells to the cell in
    which the place lies: floor(x / frame_size * map_size + 0.5), as in the code. A map whose place
    or intensity is unknown, or whose place lies outside the frame, is UNKNOWN everywhere: what
    cannot be seen is not absent.

    Args:
      landmarks_N682: (x, y) in pixels of the frame, iBUG order; NaN where unknown.
      intensity_NA: 0 to 5 in the order of `aus`; negative where unknown.
      aus: labels such as "12".
      frame_size: side of the frame in pixels.
      map_size: side of the maps.
      sigma: in cells.
    """
    x, y = (landmarks_N682[..., axis] for axis in (0, 1))
    cell = [_cells(v, aus, map_size / frame_size) for v in (x, y)]  # of (N, P)
    intensity_NP = intensity_NA.astype(jnp.float32)[:, owners(aus)]
    inside = [(v >= 0) & (v < map_size) for v in cell]  # False for NaN
    known_NP = inside[0] & inside[1] & (intensity_NP >= 0)
    # NaN is put aside before it is computed with: its gradient would be NaN, even where unused.
    x_NP, y_NP = (jnp.where(known_NP, v, 0.0) for v in cell)
    axis = jnp.arange(map_size, dtype=jnp.float32)
    across = jnp.exp(-jnp.square(axis - x_NP[..., None]) / (2 * sigma**2))  # (N, P, w)
    down = jnp.exp(-jnp.square(axis - y_NP[..., None]) / (2 * sigma**2))  # (N, P, h)
    peak_NP = SCALE * jnp.where(known_NP, intensity_NP, 0.0)
    maps = jnp.einsum("nph,npw->nhwp", down * peak_NP[..., None], across)
    return jnp.where(known_NP[:, None, None], maps, UNKNOWN)


def peaks(maps_NhwP: jax.Array, *, aus: Sequence[str], merge: Merge = "mean") -> jax.Array:
    """The highest value of each map over SCALE, merged over an AU's maps: (N, A), unbounded.

    The code reads every map by itself; to merge them is ours. "mean" halves the noise of an AU that
    moves both sides alike, "max" sees one that moves one side alone.
    """
    highest_NP = maps_NhwP.astype(jnp.float32).max(axis=(1, 2)) / SCALE
    owner_P = owners(aus)
    columns = [highest_NP[:, owner_P == a] for a in range(len(aus))]
    merged = {"mean": jnp.mean, "max": jnp.max}[merge]
    return jnp.stack([merged(c, axis=1) for c in columns], axis=1)


def read(
    maps_NhwP: jax.Array, *, aus: Sequence[str], merge: Merge = "mean"
) -> tuple[jax.Array, jax.Array]:
    """Reads intensity and place off maps, as the code's `test.py` does.

    Returns:
      intensity (N, A), in 0..5 (the code does not bound it).
      location (N, P, 2): (x, y) of the highest cell in cells of the map, moved by SHIFT towards the
      higher of the two neighbours on each axis unless it lies within one cell of a border; times
      frame size over map size it is in pixels.
    """
    intensity_NA = jnp.clip(peaks(maps_NhwP, aus=aus, merge=merge), 0.0, MAX_INTENSITY)
    height, width, p = maps_NhwP.shape[1:]
    flat = maps_NhwP.reshape(-1, height * width, p)
    best_NP = flat.argmax(axis=1)
    x, y = best_NP % width, best_NP // width

    def value(x: jax.Array, y: jax.Array) -> jax.Array:
        cell = jnp.clip(y, 0, height - 1) * width + jnp.clip(x, 0, width - 1)
        return jnp.take_along_axis(flat, cell[:, None], axis=1)[:, 0]

    inner = (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)
    shift_x = jnp.sign(value(x + 1, y) - value(x - 1, y))
    shift_y = jnp.sign(value(x, y + 1) - value(x, y - 1))
    step = jnp.where(inner[..., None], SHIFT * jnp.stack((shift_x, shift_y), axis=-1), 0.0)
    return intensity_NA, jnp.stack((x, y), axis=-1).astype(jnp.float32) + step


def _cells(v_N68: jax.Array, aus: Sequence[str], cells_per_pixel: float) -> jax.Array:
    """The column or row in which each place lies, (N, P) float32; NaN stays."""
    means = [v_N68[:, np.asarray(place)].mean(axis=1) for place in places(aus)]
    return jnp.floor(jnp.stack(means, axis=1).astype(jnp.float32) * cells_per_pixel + 0.5)
