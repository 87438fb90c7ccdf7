"""From what a backbone sees to answers: the heads, by name."""

from typing import Any

from jaxfacs.models.heads.linear import LinearHead

# Each is made with (taps, *, num_aus, num_emotions, intensity, dropout, rngs), where `taps` is the
# backbone's name -> channels, says in `reads` which taps it is given, and is called with
# (taps, train=, dropout_key=), whose arrays have leading axes (B,) or, per frame, (B, T).
HEADS: dict[str, Any] = {
    "linear": LinearHead,
}
