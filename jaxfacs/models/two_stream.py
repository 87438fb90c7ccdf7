"""The two-stream network: one stream sees a face, one sees how it moves; late fusion.

Bocklisch et al., "Facial Expression Detection in Videos using Convolutional Neural Networks", 2015,
sections 3.3 to 3.5, after Simonyan and Zisserman, NIPS 2014. Flow is computed here, from the frames
of the clip, so that training and an exported bundle are fed the same thing: RGB clips.
"""

from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx

from jaxfacs.errors import UserError
from jaxfacs.models.flow_input import Borders, Components, FlowStack, flow_stack
from jaxfacs.models.heads.linear import LinearHead, dropout
from jaxfacs.models.heads.tapped import Tapped
from jaxfacs.models.layers2d import Linear
from jaxfacs.models.network import Network, create_backbone
from jaxfacs.models.normalisation import NORMALISATIONS
from jaxfacs.models.normalisation import normalisation as scaling_named
from jaxfacs.models.registry import Card, register

Fusion = Literal["average", "weights", "fc"]
Streams = Literal["both", "rgb", "flow"]
Outputs = dict[str, jax.Array]

RGB = 3

_CARD = Card(
    frames=11,
    size=227,
    mean=NORMALISATIONS["caffe"][0],
    std=NORMALISATIONS["caffe"][1],
    paper="Bocklisch, Herold, Rzepka and Werkmeister, Facial Expression Detection in Videos using "
    "Convolutional Neural Networks, Hasso Plattner Institute, 2015",
    source="https://github.com/normanrz/face-vid",
    licence="none given (code); no weights are published",
)


class AverageFusion(nnx.Module):
    """The mean of the streams' answers, of which that of AUs and intensities may be weighted.

    Probabilities are averaged, not logits, as in the authors' predict.py. The answer is the logit
    of that average, computed without leaving the log domain.
    """

    def __init__(self, num_aus: int, *, learned: bool):
        # Two weights an AU, softmax of these: they stay convex. Zeros: the plain average.
        self.weight = nnx.Param(jnp.zeros((2, num_aus), jnp.float32)) if learned else None

    def __call__(
        self, spatial: Outputs, temporal: Outputs, *, train: bool, dropout_key: jax.Array | None
    ) -> Outputs:
        del train, dropout_key
        even = jnp.log(jnp.full((2, 1), 0.5, jnp.float32))
        log_2A = even if self.weight is None else jax.nn.log_softmax(self.weight[...], axis=0)
        outputs = {}
        for name, one in spatial.items():
            other = temporal[name]
            if name == "occurrence":
                present = _log_mean(log_2A, jax.nn.log_sigmoid(one), jax.nn.log_sigmoid(other))
                absent = _log_mean(log_2A, jax.nn.log_sigmoid(-one), jax.nn.log_sigmoid(-other))
                outputs[name] = present - absent
            elif name == "emotion":
                outputs[name] = _log_mean(even, jax.nn.log_softmax(one), jax.nn.log_softmax(other))
            else:
                share = jnp.exp(log_2A if name == "intensity" else even)
                outputs[name] = _along(share[0], one) * one + _along(share[1], other) * other
        return outputs


class DenseFusion(nnx.Module):
    """The features of both streams side by side, a hidden layer, and the plain head."""

    def __init__(self, inputs: int, hidden: int, *, head: dict[str, Any], rngs: nnx.Rngs):
        self.fc = Linear(inputs, hidden, rngs=rngs)
        self.head = LinearHead({"features": hidden}, rngs=rngs, **head)
        self.dropout = head["dropout"]

    def __call__(
        self, spatial: Outputs, temporal: Outputs, *, train: bool, dropout_key: jax.Array | None
    ) -> Outputs:
        keys = (None, None) if dropout_key is None else tuple(jax.random.split(dropout_key))
        both = jnp.concatenate(
            [s["features"].astype(jnp.float32) for s in (spatial, temporal)], axis=-1
        )
        hidden = jax.nn.relu(self.fc(dropout(both, self.dropout, key=keys[0], train=train)))
        return self.head({"features": hidden}, train=train, dropout_key=keys[1])


class TwoStream(nnx.Module):
    """Two networks and their fusion, or one of the two alone.

    Parameter paths are those of single-stream networks after `spatial/` and `temporal/`.
    """

    def __init__(
        self,
        spatial: Network | None,
        temporal: Network | None,
        fusion: AverageFusion | DenseFusion | None,
        *,
        stack: FlowStack,
        scaling: tuple[tuple[float, float, float], tuple[float, float, float]],
        per_frame: bool,
    ):
        self.spatial, self.temporal, self.fusion = spatial, temporal, fusion
        self.stack, self.mean, self.std = stack, scaling[0], scaling[1]
        self.per_frame = per_frame

    def __call__(
        self, x_BTHWC: jax.Array, *, train: bool, dropout_key: jax.Array | None = None
    ) -> Outputs:
        """Maps normalised RGB clips, or RGB with flow stacks, to answers.

        Args:
          x_BTHWC: (B, T, H, W, 3); or (B, T, H, W, 3 + F) with the F channels of each frame's flow
            stack after its colours, as `flow_input.flow_stack` gives them.
          train, dropout_key: as of any network.

        Returns:
          Answers (B, ...) about the centre frame T // 2, or with `per_frame` (B, T, ...).
        """
        channels = x_BTHWC.shape[-1]
        if x_BTHWC.ndim != 5 or channels not in (RGB, RGB + self.stack.channels):
            raise UserError(
                f"two_stream takes clips (B, T, H, W, {RGB}), or with stored flow "
                f"{RGB + self.stack.channels} channels; it was given {x_BTHWC.shape}"
            )
        centre = None if self.per_frame else x_BTHWC.shape[1] // 2
        keys = (None,) * 3 if dropout_key is None else tuple(jax.random.split(dropout_key, 3))
        answers = []
        if self.spatial is not None:
            seen = _frame(x_BTHWC[..., :RGB], centre)
            answers.append(self.spatial(seen, train=train, dropout_key=keys[0]))
        if self.temporal is not None:
            if channels > RGB:
                flow = _frame(x_BTHWC[..., RGB:], centre)
            else:
                flow = flow_stack(x_BTHWC, self.stack, mean=self.mean, std=self.std, frame=centre)
            answers.append(self.temporal(flow, train=train, dropout_key=keys[1]))
        if self.fusion is None:
            return answers[0]
        return self.fusion(*answers, train=train, dropout_key=keys[2])


@register("two_stream", _CARD)
def two_stream(
    *,
    rngs: nnx.Rngs,
    num_aus: int,
    num_emotions: int = 0,
    intensity: bool = False,
    valence_arousal: bool = False,
    per_frame: bool = False,
    backbone: str = "alexnet",
    flow_backbone: str = "",
    streams: Streams = "both",
    fusion: Fusion = "average",
    fusion_width: int = 512,
    components: Components = "y",
    preceding: int = 5,
    succeeding: int = 5,
    borders: Borders = "zero",
    flow_limit: float = 20.0,
    flow_mean: float = 0.0,
    normalisation: str = "",
    form: str = "",
    fc7: int = 0,
    fc_dropout: float = -1.0,
    dropout: float = 0.0,
    frozen: bool = False,
    frozen_bn: bool = False,
    dtype: Any = jnp.float32,
) -> TwoStream:
    """Makes the two-stream network.

    Args:
      num_aus, num_emotions, intensity, valence_arousal: what is answered.
      per_frame: one answer a frame; else one a clip, about its centre frame: the spatial stream
        sees that frame alone, as in the paper, and no other flow is computed.
      backbone: of the spatial stream, any that takes pictures.
      flow_backbone: of the temporal stream, one with the option `channels`; "" is `backbone`.
      streams: "rgb" or "flow" is one stream alone, the paper's experiments (i) and (iii).
      fusion: "average" of the streams' probabilities; "weights": two learned weights an AU that sum
        to 1; "fc": the features of both, one hidden layer and a new head.
      fusion_width: of that hidden layer.
      components, preceding, succeeding, borders: of a flow stack, see `flow_input.FlowStack`. The
        default is ten channels, the vertical part of the five flows before and after a frame; the
        authors' last code has components "xy", 20 channels.
      flow_limit: pixels a frame that become 1 in a flow channel.
      flow_mean: subtracted from the flow channels, the paper's global mean.
      normalisation: of the frames, as `model.normalisation` of the experiment: grey levels are
        recovered with it.
      form, fc7, fc_dropout: of AlexNet, in both streams; "", 0 and -1 are the backbone's own. The
        paper's table has fc7 512 and fc_dropout 0.9 (the authors' code 0.5).
      dropout: before the last layer; AlexNet has its own after fc7.
      frozen: the spatial backbone stays as it is.
      frozen_bn: BatchNorm keeps to its running statistics in training.
      dtype: of the backbones' computation; flow, heads and fusion are float32.
    """
    _check(streams, fusion, fusion_width)
    stack = FlowStack(components, preceding, succeeding, borders, flow_limit, flow_mean)
    own: dict[str, Any] = {}
    own |= {"form": form} if form else {}
    own |= {"fc7": fc7} if fc7 else {}
    own |= {"fc_dropout": fc_dropout} if fc_dropout >= 0 else {}
    answers = {
        "num_aus": num_aus,
        "num_emotions": num_emotions,
        "intensity": intensity,
        "valence_arousal": valence_arousal,
        "dropout": dropout,
    }

    def stream(name: str, *, frozen: bool = False, **more: Any) -> Network:
        body = create_backbone(name, dtype=dtype, frozen_bn=frozen_bn, rngs=rngs, **own, **more)
        if not body.images:
            raise UserError(f"two_stream: backbone {name} takes clips, a stream sees pictures")
        head = Tapped("features") if fusion == "fc" else LinearHead(body.taps, rngs=rngs, **answers)
        return Network(body, head, per_frame=per_frame, frozen=frozen)

    spatial = stream(backbone, frozen=frozen) if streams != "flow" else None
    temporal = (
        stream(flow_backbone or backbone, channels=stack.channels) if streams != "rgb" else None
    )
    fused = None
    if spatial is not None and temporal is not None:
        if fusion == "fc":
            inputs = spatial.backbone.taps["features"] + temporal.backbone.taps["features"]
            fused = DenseFusion(inputs, fusion_width, head=answers, rngs=rngs)
        else:
            fused = AverageFusion(num_aus, learned=fusion == "weights")
    scaling = scaling_named(normalisation, model="two_stream")
    return TwoStream(spatial, temporal, fused, stack=stack, scaling=scaling, per_frame=per_frame)


def _check(streams: str, fusion: str, fusion_width: int) -> None:
    for what, value, known in (("streams", streams, Streams), ("fusion", fusion, Fusion)):
        if value not in get_args(known):
            raise UserError(f"two_stream: no {what} '{value}'; give one of {get_args(known)}")
    if streams != "both" and fusion != "average":
        raise UserError(f"two_stream: streams {streams} has nothing to fuse; leave fusion out")
    if fusion_width < 1:
        raise UserError(f"two_stream: fusion_width {fusion_width} must be 1 or more")


def _frame(x_BTHWC: jax.Array, frame: int | None) -> jax.Array:
    return x_BTHWC if frame is None else x_BTHWC[:, frame : frame + 1]


def _log_mean(log_2A: jax.Array, one: jax.Array, other: jax.Array) -> jax.Array:
    """The log of the mean, with these weights' logs, of two things' exponentials."""
    return jnp.logaddexp(one + _along(log_2A[0], one), other + _along(log_2A[1], other))


def _along(values_A: jax.Array, like: jax.Array) -> jax.Array:
    return values_A.reshape((1,) * (like.ndim - 1) + (-1,))
