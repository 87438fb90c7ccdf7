"""From a clip to stacks of optical flow: what the temporal stream of `two_stream` sees.

Bocklisch et al. 2015, section 2.3: dense flow from each frame to its successor; for each frame the
five preceding and the five succeeding flows are stacked to ten channels: one number a flow, and
the paper does not say which. In its authors' code (normanrz/face-vid: extract_frames.py,
frameset.py) the horizontal and the vertical parts make stacks of their own, which alternate as
training examples; their deploy.prototxt takes both, twenty channels. Most AUs move skin up or
down, hence "y" here.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxfacs import ops
from jaxfacs.errors import UserError
from jaxfacs.faces.farneback import FARNEBACK

Components = Literal["y", "x", "magnitude", "xy"]
Borders = Literal["zero", "repeat"]

# cv2's RGB to grey of 8-bit pictures: (9798 R + 19235 G + 3735 B + 2^14) >> 15.
GREY_WEIGHTS, GREY_SHIFT = (9798, 19235, 3735), 15


@dataclass(frozen=True)
class FlowStack:
    """How flows become channels.

    Attributes:
      components: what is kept of each flow: its vertical part, its horizontal part, its length, or
        both parts, all horizontal channels before all vertical ones.
      preceding, succeeding: how many flows that end at or before a frame, and that begin at or
        after it. Five consecutive (u, v) pairs are components="xy", preceding=2, succeeding=3.
      borders: what stands for flows that the clip does not have: no motion, or the nearest one.
      limit: pixels a frame that become 1; what is faster is cut off.
      mean: subtracted afterwards, the mean of the training set's channels.
    """

    components: Components = "y"
    preceding: int = 5
    succeeding: int = 5
    borders: Borders = "zero"
    limit: float = 20.0
    mean: float = 0.0

    def __post_init__(self):
        if self.components not in get_args(Components):
            known = ", ".join(get_args(Components))
            raise UserError(f"no flow components '{self.components}'; give one of {known}")
        if self.borders not in get_args(Borders):
            raise UserError(f"no flow borders '{self.borders}'; give one of zero, repeat")
        if min(self.preceding, self.succeeding) < 0 or self.flows < 1:
            raise UserError(
                f"a stack of {self.preceding} preceding and {self.succeeding} succeeding flows has "
                "no channel; give 1 or more in all"
            )
        if not self.limit > 0.0:
            raise UserError(f"flow limit {self.limit} must be more than 0 pixels")

    @property
    def flows(self) -> int:
        return self.preceding + self.succeeding

    @property
    def channels(self) -> int:
        return self.flows * (2 if self.components == "xy" else 1)


def flow_stack(
    x_BTHWC: jax.Array,
    stack: FlowStack,
    *,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    frame: int | None = None,
) -> jax.Array:
    """Returns the flow stacks (B, T, H, W, F) of a clip, or (B, 1, H, W, F) of one frame.

    The flow is a constant: no gradient goes through it to the frames.

    Args:
      x_BTHWC: normalised RGB.
      stack: how flows become channels.
      mean, std: what the frames were normalised with; flow is found in the 8-bit pictures.
      frame: of which frame alone; flows outside its stack are not computed.

    Raises:
      UserError: fewer than two frames, in which nothing moves.
    """
    frames = x_BTHWC.shape[1]
    if frames < 2:
        raise UserError(
            "optical flow needs clips of 2 frames or more, and this one has 1; set --data.frames "
            f"to {stack.flows + 1}, or the network's streams to rgb"
        )
    wanted = np.arange(frames) if frame is None else np.array([frame])
    # Flow i leads from frame i to i + 1.
    index = wanted[:, None] + np.arange(-stack.preceding, stack.succeeding)[None]
    nearest = np.clip(index, 0, frames - 2)
    first, last = int(nearest.min()), int(nearest.max())
    flow = ops.farneback_clip(
        grey(x_BTHWC[:, first : last + 2], mean=mean, std=std), **FARNEBACK
    )  # fmt: skip
    parts = _parts(flow, stack.components)
    parts = jnp.clip(parts / stack.limit, -1.0, 1.0)
    stacked = parts[:, nearest - first]  # (B, T, flows, H, W, parts)
    if stack.borders == "zero":
        known = (index == nearest)[None, :, :, None, None, None]
        stacked = jnp.where(known, stacked, 0.0)
    stacked = jnp.moveaxis(stacked, (5, 2), (-2, -1))  # all of x before all of y
    return stacked.reshape(*stacked.shape[:4], stack.channels) - stack.mean


def grey(
    x_BTHWC: jax.Array, *, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> jax.Array:
    """The 8-bit grey levels (B, T, H, W) of normalised RGB, exactly as cv2.cvtColor has them."""
    channels = []
    for c in range(3):
        value = x_BTHWC[..., c].astype(jnp.float32) * std[c] + mean[c]
        channels.append(jnp.clip(jnp.round(value), 0, 255).astype(jnp.int32) * GREY_WEIGHTS[c])
    total = channels[0] + channels[1] + channels[2] + (1 << GREY_SHIFT - 1)
    return total >> GREY_SHIFT


def _parts(flow_BTHW2: jax.Array, components: Components) -> jax.Array:
    if components == "xy":
        return flow_BTHW2
    if components == "magnitude":
        return jnp.linalg.norm(flow_BTHW2, axis=-1, keepdims=True)
    return flow_BTHW2[..., :1] if components == "x" else flow_BTHW2[..., 1:]
