"""One-vs-all: a binary network for each AU, all of them one batched program.

Bocklisch et al., "Facial Expression Detection in Videos using Convolutional Neural Networks", 2015,
sections 3.1.2 and 3.4: one AlexNet an AU. Theirs answer two numbers under a softmax; here it is the
one logit that their difference is. Parameters are those of one network with a leading axis of K
networks, under `bank/`; XLA compiles one network, not K.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxfacs.errors import UserError
from jaxfacs.models.functional import apply
from jaxfacs.models.heads.linear import LinearHead, dropout
from jaxfacs.models.heads.tapped import Tapped
from jaxfacs.models.layers2d import Linear
from jaxfacs.models.network import Network, create_backbone
from jaxfacs.models.normalisation import NORMALISATIONS
from jaxfacs.models.registry import Card, register

Outputs = dict[str, jax.Array]

_CARD = Card(
    frames=1,
    size=227,
    mean=NORMALISATIONS["caffe"][0],
    std=NORMALISATIONS["caffe"][1],
    paper="Bocklisch, Herold, Rzepka and Werkmeister, Facial Expression Detection in Videos using "
    "Convolutional Neural Networks, Hasso Plattner Institute, 2015",
    source="https://github.com/normanrz/face-vid",
    licence="none given (code); no weights are published",
)


class Binary(nnx.Module):
    """The layers of one binary network above a trunk that all share: fc7 and the last."""

    def __init__(self, inputs: int, hidden: int, *, dropout: float, rngs: nnx.Rngs):
        self.fc7 = Linear(inputs, hidden, rngs=rngs)
        self.head = LinearHead({"features": hidden}, num_aus=1, dropout=dropout, rngs=rngs)
        self.dropout = dropout

    def __call__(self, x: jax.Array, *, train: bool, dropout_key: jax.Array | None) -> Outputs:
        keys = (None, None) if dropout_key is None else tuple(jax.random.split(dropout_key))
        x = dropout(x.astype(jnp.float32), self.dropout, key=keys[0], train=train)
        hidden = jax.nn.relu(self.fc7(x))
        return self.head({"features": hidden}, train=train, dropout_key=keys[1])


class OneVsAll(nnx.Module):
    """K binary networks, whole or above a trunk that they share."""

    def __init__(self, trunk: Network | None, bank: Any, *, count: int, chunk: int):
        self.trunk, self.bank = trunk, bank
        self.count, self.chunk = count, chunk

    def __call__(
        self, x_BTHWC: jax.Array, *, train: bool, dropout_key: jax.Array | None = None
    ) -> Outputs:
        """Maps normalised clips to `occurrence` logits (B, K), or (B, T, K) per frame."""
        x = x_BTHWC
        if self.trunk is not None:  # frozen, so that it needs no key
            ((tap, x),) = self.trunk(x, train=False).items()
            if x.ndim > 3:
                raise UserError(f"one_vs_all: tap {tap} has places; give fc6, fc7 or features")
        graphdef, params, stats = nnx.split(self.bank, nnx.Param, nnx.BatchStat)
        keys = None if dropout_key is None else jax.random.split(dropout_key, self.count)

        def one(state: tuple[Any, Any, jax.Array | None]) -> tuple[Outputs, Any]:
            params, stats, key = state
            return apply(graphdef, params, stats, x, train=train, dropout_key=key)

        stacked = (nnx.to_pure_dict(params), nnx.to_pure_dict(stats), keys)
        if self.chunk:
            outputs, stats = jax.lax.map(jax.checkpoint(one), stacked, batch_size=self.chunk)
        else:
            outputs, stats = jax.vmap(one)(stacked)
        nnx.update(self.bank, stats)
        return {"occurrence": jnp.moveaxis(outputs["occurrence"][..., 0], 0, -1)}


def stacked(make: Callable[[], nnx.Module], count: int) -> Any:
    """A module whose every parameter and statistic has a leading axis: `count` made by `make`.

    It cannot be called as it is: `jax.vmap` takes it apart.
    """
    made = [nnx.split(make(), nnx.Param, nnx.BatchStat) for _ in range(count)]
    params, stats = (
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *(states[i] for states in made))
        for i in (1, 2)
    )
    return nnx.merge(made[0][0], params, stats)


@register("one_vs_all", _CARD)
def one_vs_all(
    *,
    rngs: nnx.Rngs,
    num_aus: int,
    per_frame: bool = False,
    backbone: str = "alexnet",
    shared_trunk: bool = False,
    tap: str = "",
    hidden: int = 512,
    chunk: int = 0,
    form: str = "",
    fc7: int = 0,
    fc_dropout: float = -1.0,
    dropout: float = 0.0,
    frozen: bool = False,
    frozen_bn: bool = False,
    dtype: Any = jnp.float32,
) -> OneVsAll:
    """Makes the bank of binary networks.

    Args:
      num_aus: K, how many there are.
      per_frame: one answer a frame; else features are averaged over time.
      backbone: of each network, or of the trunk.
      shared_trunk: the lower layers are frozen and computed once for all K; each network is a
        dense layer `bank/fc7` and a last one on top of them. Fine-tuning only those, as the paper
        does, this is exact, at a fraction of the memory (37 AlexNets: 2.2 G parameters; with one
        trunk 0.14 G).
      tap: with a trunk, which of its taps the networks read; "" is fc6 where there is one, else
        `features`.
      hidden: with a trunk, width of fc7: 512 in the paper's table, 4096 in the authors' code.
      chunk: how many networks run at a time; 0 is all in one batch. A number bounds the memory to
        that of so many, for a third more work: they are run forward again in the backward pass.
      form, fc7, fc_dropout: of AlexNet; "", 0 and -1 are the backbone's own.
      dropout: before the last layer, and with a trunk before fc7 as well.
      frozen: every network's backbone stays as it is.
      frozen_bn: BatchNorm keeps to its running statistics in training.
      dtype: of the backbones' computation; what is above them is float32.
    """
    if num_aus < 1:
        raise UserError(f"one_vs_all: num_aus {num_aus} must be 1 or more")
    if chunk < 0 or hidden < 1:
        raise UserError(f"one_vs_all: chunk {chunk} must be 0 or more, hidden {hidden} 1 or more")
    if tap and not shared_trunk:
        raise UserError(f"one_vs_all: tap '{tap}' is of a shared trunk; set shared_trunk as well")
    own: dict[str, Any] = {}
    own |= {"form": form} if form else {}
    own |= {"fc7": fc7} if fc7 else {}
    own |= {"fc_dropout": fc_dropout} if fc_dropout >= 0 else {}

    def network(read: str = "", **how: Any) -> Network:
        body = create_backbone(
            backbone, dtype=dtype, frozen_bn=frozen_bn, per_frame=per_frame, rngs=rngs, **own
        )
        reads = read or ("fc6" if "fc6" in body.taps else "features")
        plain = {"num_aus": 1, "dropout": dropout, "rngs": rngs}
        head = Tapped(reads) if shared_trunk else LinearHead(body.taps, **plain)
        return Network(body, head, per_frame=per_frame, **how)

    if not shared_trunk:
        bank = stacked(lambda: network(frozen=frozen), num_aus)
        return OneVsAll(None, bank, count=num_aus, chunk=chunk)
    trunk = network(tap, frozen=True)
    inputs = trunk.backbone.taps[trunk.head.reads[0]]
    bank = stacked(lambda: Binary(inputs, hidden, dropout=dropout, rngs=rngs), num_aus)
    return OneVsAll(trunk, bank, count=num_aus, chunk=chunk)
