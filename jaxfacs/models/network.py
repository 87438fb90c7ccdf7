"""A network is a backbone and a head; here they are put together and registered by name.

    backbone  pictures (N, H, W, C) or clips (B, T, H, W, C) in, named taps out
    head      taps in, answers about AUs, emotions or affect out

Parameter paths begin with `backbone/` and `head/`, and go on with the names that the published
weights have: `layer1.0.conv1.weight` of torchvision is `backbone/layer1/0/conv1/kernel`.
"""

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

import jax
import jax.numpy as jnp
from flax import nnx

from jaxfacs.errors import UserError
from jaxfacs.models.heads import HEADS
from jaxfacs.models.registry import Card, register

Taps = dict[str, jax.Array]

# What not every head can answer, and what it is called.
SOME_ANSWER = {
    "valence_arousal": "valence and arousal",
    "landmarks": "landmarks",
    "confidence": "confidence",
}


class Backbone(Protocol):
    """What `Network` wants of a backbone, an `nnx.Module`.

    Attributes:
      images: True if it takes pictures (N, H, W, C), and so runs frame by frame; False if it takes
        clips (B, T, H, W, C).
      channels: colour or flow channels of its input.
      min_size: the smallest height and width that leave every layer something to see.
      taps: name -> channels of everything it answers. Always there: `map`, the last one that has
        places (N, h, w, C), and `features` (N, F), what the original's classifier was given.
        A clip backbone has (B, T', h, w, C) and (B, T', F).
    """

    images: ClassVar[bool]
    channels: int
    min_size: int
    taps: Mapping[str, int]

    def __call__(self, x: jax.Array, *, train: bool, dropout_key: jax.Array | None) -> Taps:
        """Answers every tap; XLA drops the work for those that nobody reads."""
        ...


class Network(nnx.Module):
    """A backbone and a head.

    Args:
      per_frame: one answer a frame; else the taps are averaged over time before the head.
      frozen: the backbone answers as in inference, without dropout and with running statistics,
        and gets no gradient: its backward pass is not even compiled.
    """

    def __init__(self, backbone: Any, head: Any, *, per_frame: bool = False, frozen: bool = False):
        missing = set(head.reads) - set(backbone.taps)
        if missing:
            raise UserError(
                f"the head reads {', '.join(sorted(missing))}, which this backbone does not have; "
                f"it has {', '.join(backbone.taps)}"
            )
        self.backbone = backbone
        self.head = head
        self.per_frame = per_frame
        self.frozen = frozen

    def __call__(
        self, x_BTHWC: jax.Array, *, train: bool, dropout_key: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Maps normalised clips to the head's answers: (B, ...) a clip, or (B, T, ...) a frame."""
        channels = self.backbone.channels
        if x_BTHWC.ndim != 5 or x_BTHWC.shape[-1] != channels:
            raise ValueError(f"clips must be (B, T, H, W, {channels}), not {x_BTHWC.shape}")
        least = self.backbone.min_size
        if min(x_BTHWC.shape[2:4]) < least:
            height, width = x_BTHWC.shape[2:4]
            raise UserError(
                f"frames of {height} x {width} are too small for this network; give "
                f"--data.size {least} or more"
            )
        keys = (None, None) if dropout_key is None else tuple(jax.random.split(dropout_key))
        taps = self._see(x_BTHWC, train=train and not self.frozen, dropout_key=keys[0])
        if self.frozen:
            taps = jax.lax.stop_gradient(taps)
        if not self.per_frame:
            taps = {k: jnp.mean(v, axis=1, dtype=jnp.float32) for k, v in taps.items()}
        return self.head(taps, train=train, dropout_key=keys[1])

    def _see(self, x_BTHWC: jax.Array, *, train: bool, dropout_key: jax.Array | None) -> Taps:
        frames = x_BTHWC.shape[:2]
        x = x_BTHWC.reshape(-1, *x_BTHWC.shape[2:]) if self.backbone.images else x_BTHWC
        taps = self.backbone(x, train=train, dropout_key=dropout_key)
        read = {name: taps[name] for name in self.head.reads}
        if self.backbone.images:
            read = {name: tap.reshape(*frames, *tap.shape[1:]) for name, tap in read.items()}
        return read


_BACKBONES: dict[str, tuple[Callable[..., Any], Card]] = {}


def backbone(name: str, card: Card) -> Callable[[Callable], Callable]:
    """Decorates the function that makes a backbone; the network `name` is it with any head.

    The function takes `dtype`, `frozen_bn` and `rngs`, keyword-only options of its own with
    defaults, and `per_frame` if it is a clip backbone that must know.
    """

    def decorate(make: Callable[..., Any]) -> Callable[..., Any]:
        _BACKBONES[name] = make, card
        register(name, card)(_with_any_head(name, make))
        return make

    return decorate


def backbone_names() -> tuple[str, ...]:
    """Returns the names that `create_backbone` knows, in alphabetical order."""
    return tuple(sorted(_BACKBONES))


def create_backbone(
    name: str,
    *,
    dtype: Any = jnp.float32,
    frozen_bn: bool = False,
    per_frame: bool = False,
    rngs: nnx.Rngs,
    **own: Any,
) -> Any:
    """Makes a backbone by name; UserError lists near names, or the options it does have."""
    if name not in _BACKBONES:
        near = difflib.get_close_matches(name, backbone_names(), n=3) or backbone_names()
        raise UserError(f"no backbone '{name}'; did you mean: {', '.join(near)}?")
    make = _BACKBONES[name][0]
    known = inspect.signature(make).parameters
    if "per_frame" in known:
        own["per_frame"] = per_frame
    unknown = sorted(own.keys() - known.keys())
    if unknown:
        raise UserError(f"backbone {name} has no option '{unknown[0]}'; it has {', '.join(known)}")
    return make(dtype=check_dtype(dtype), frozen_bn=frozen_bn, rngs=rngs, **own)


def create_head(name: str, taps: Mapping[str, int], **options: Any) -> Any:
    """Makes a head by name for a backbone with these taps; UserError lists near names.

    What only some heads answer (`SOME_ANSWER`) may be given to any: the others refuse it if it is
    true. The names of the AUs (`aus`) go to those that ask for them.
    """
    if name not in HEADS:
        near = difflib.get_close_matches(name, HEADS, n=3) or sorted(HEADS)
        raise UserError(f"no head '{name}'; did you mean: {', '.join(near)}?")
    known = inspect.signature(HEADS[name].__init__).parameters  # of the class, nnx hides them
    for answer, told in SOME_ANSWER.items():
        if answer not in known and options.pop(answer, False):
            raise UserError(f"head {name} answers no {told}; take another --model.head")
    if "aus" not in known:
        options.pop("aus", None)
    return HEADS[name](taps, **options)


def check_dtype(dtype: Any) -> Any:
    """The dtype of a computation, or UserError if networks do not compute in it."""
    if str(dtype) not in ("float32", "bfloat16") and dtype not in (jnp.float32, jnp.bfloat16):
        raise UserError(f"dtype {dtype} is not one of float32, bfloat16")
    return jnp.dtype(dtype)


def _with_any_head(name: str, make: Callable[..., Any]) -> Callable[..., Network]:
    """The network function of a backbone, whose signature shows the backbone's options too."""

    def network(
        *,
        rngs: nnx.Rngs,
        num_aus: int,
        num_emotions: int = 0,
        intensity: bool = False,
        valence_arousal: bool = False,
        landmarks: bool = False,
        confidence: bool = False,
        aus: tuple[str, ...] = (),
        per_frame: bool = False,
        head: str = "linear",
        dropout: float = 0.2,
        frozen: bool = False,
        frozen_bn: bool = False,
        dtype: Any = jnp.float32,
        **own: Any,
    ) -> Network:
        body = create_backbone(
            name, dtype=dtype, frozen_bn=frozen_bn, per_frame=per_frame, rngs=rngs, **own
        )
        answers = create_head(
            head or "linear",
            body.taps,
            num_aus=num_aus,
            num_emotions=num_emotions,
            intensity=intensity,
            valence_arousal=valence_arousal,
            landmarks=landmarks,
            confidence=confidence,
            aus=aus,
            dropout=dropout,
            rngs=rngs,
        )
        return Network(body, answers, per_frame=per_frame, frozen=frozen)

    network.__doc__ = make.__doc__
    shared = dict(list(inspect.signature(network).parameters.items())[:-1])
    extra = {k: p for k, p in inspect.signature(make).parameters.items() if k not in shared}
    network.__signature__ = inspect.Signature([*shared.values(), *extra.values()])  # type: ignore[attr-defined]
    return network
