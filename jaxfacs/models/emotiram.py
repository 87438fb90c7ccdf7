"""EmotiRAM-FAU (Masur 2022): emotions out of what an AU network sees, with its AUs kept or lost.

Parameter paths are those of the encoder's own network, its head moved one level down:
`backbone/...` stays, `head/...` becomes `head/encoder/...`, and `head/bottleneck/...` is new. So a
trained `scc` or `me_graphau` checkpoint starts the encoder by one rule, ^head/ -> head/encoder/.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxfacs.errors import UserError
from jaxfacs.models import heatmaps
from jaxfacs.models.graph_au import me_graphau
from jaxfacs.models.heads.linear import check_sizes, dropout
from jaxfacs.models.heads.scc import Layout
from jaxfacs.models.layers2d import Linear
from jaxfacs.models.network import Network
from jaxfacs.models.normalisation import NORMALISATIONS
from jaxfacs.models.registry import Card, register
from jaxfacs.models.scc import scc

# Thesis, section 4.3; "Out 102" of its second line is a slip for 1024, which the third line reads.
BOTTLENECK = (2048, 1024, 512, 256)

_CARD = Card(
    frames=1,
    size=96,
    mean=NORMALISATIONS["imagenet"][0],
    std=NORMALISATIONS["imagenet"][1],
    paper="Masur, EmotiRam-FAU: Leveraging Facial Action Units Activation Knowledge for Emotion "
    "Recognition on Faces, 2022",
    source="(no code published)",
    licence="none given",
)


class EmotiRAMHead(nnx.Module):
    """An AU head, and fully connected layers from its answer to emotions.

    Args:
      encoder: answers `heatmap` or `probability`.
      inputs: numbers that the encoder answers for a frame.
      widths: of the hidden layers.
      dropout: before each layer but the first.
    """

    def __init__(
        self,
        encoder: Any,
        *,
        inputs: int,
        widths: Sequence[int],
        num_emotions: int,
        dropout: float,
        rngs: nnx.Rngs,
    ):
        self.encoder = encoder
        self.reads = encoder.reads
        sizes = (inputs, *widths, num_emotions)
        self.bottleneck = nnx.Dict(
            {
                str(n): Linear(i, o, std=(2.0 / i) ** 0.5, rngs=rngs)
                for n, (i, o) in enumerate(itertools.pairwise(sizes))
            }
        )
        self.dropout = dropout

    def __call__(
        self,
        taps: Mapping[str, jax.Array],
        *,
        train: bool,
        dropout_key: jax.Array | None = None,
    ) -> dict[str, jax.Array]:
        """Answers all that the encoder does, and `emotion` logits (B, E), one row a clip."""
        outputs = self.encoder(taps, train=train, dropout_key=None)
        x = _features(outputs)
        x = x if x.ndim == 2 else x.mean(axis=1)
        for n in range(len(self.bottleneck)):
            if n:
                key = None if dropout_key is None else jax.random.fold_in(dropout_key, n)
                x = dropout(jax.nn.relu(x), self.dropout, key=key, train=train)
            x = self.bottleneck[str(n)](x)
        return {**outputs, "emotion": x}


@register("emotiram", _CARD)
def emotiram(
    *,
    rngs: nnx.Rngs,
    num_aus: int,
    aus: Sequence[str],
    num_emotions: int = 0,
    encoder: str = "scc",
    backbone: str = "resnet50",
    form: str = "",
    size: int = 96,
    k: int = 7,
    layout: Layout = "channels",
    present_from: float = 1.0,
    merge: heatmaps.Merge = "mean",
    stage: int = 2,
    neighbors: int = 4,
    dropout: float = 0.0,
    per_frame: bool = False,
    frozen: bool = False,
    frozen_bn: bool = False,
    dtype: Any = jnp.float32,
) -> Network:
    """Makes EmotiRAM-FAU; it answers `emotion` and all that its encoder answers.

    Whether the AUs are kept while emotions are learned is the loss's choice: the scales of the AU
    terms (heatmap, occurrence, intensity, edge) say how much they count, 0 drops them.

    Args:
      num_aus: as many as `aus`.
      aus: of the encoder; the thesis has the five of `heatmaps.BP4D` at 96 pixels, 10 maps of
        24 x 24, so 5760 numbers.
      num_emotions: 7 in CAER-S.
      encoder: "scc", whose heatmaps are read by 5 fully connected layers, or "me_graphau", whose
        probabilities are read by one.
      backbone, per_frame, frozen, frozen_bn, dtype: as in `scc` and `me_graphau`.
      form, size, k, layout, present_from, merge: of the encoder "scc".
      stage, neighbors: of the encoder "me_graphau".
      dropout: before each fully connected layer but the first. The thesis names neither dropout
        nor an activation; without one the five layers would be a single one, so ReLU is used.
    """
    check_sizes(num_aus, num_emotions, dropout)
    if num_emotions < 2:
        raise UserError(
            f"emotiram: num_emotions is {num_emotions}; give records with 2 emotions or more, and "
            "--model.emotion True"
        )
    if len(aus) != num_aus:
        raise UserError(f"emotiram: {len(aus)} AUs ({' '.join(aus)}) for num_aus {num_aus}")
    shared: dict[str, Any] = {
        "rngs": rngs,
        "num_aus": num_aus,
        "aus": aus,
        "backbone": backbone,
        "per_frame": per_frame,
        "frozen_bn": frozen_bn,
        "dtype": dtype,
    }
    if encoder == "scc":
        options = {"size": size, "k": k, "layout": layout, "merge": merge}
        net = scc(**shared, form=form, present_from=present_from, **options)
        inputs, widths = net.head.num_maps * net.head.map_size**2, BOTTLENECK
    elif encoder == "me_graphau":
        net = me_graphau(**shared, stage=stage, neighbors=neighbors)
        inputs, widths = num_aus, ()
    else:
        raise UserError(f"emotiram: no encoder '{encoder}'; give scc or me_graphau")
    head = EmotiRAMHead(
        net.head,
        inputs=inputs,
        widths=widths,
        num_emotions=num_emotions,
        dropout=dropout,
        rngs=rngs,
    )
    return Network(net.backbone, head, per_frame=per_frame, frozen=frozen)


def _features(outputs: Mapping[str, jax.Array]) -> jax.Array:
    """What the bottleneck reads, (B, F) or (B, T, F): heatmaps in units of intensity, or p."""
    if "heatmap" not in outputs:
        return outputs["probability"]
    maps = outputs["heatmap"] / heatmaps.SCALE
    h, w, p = maps.shape[-3:]
    return maps.reshape(*maps.shape[:-3], h * w * p)
