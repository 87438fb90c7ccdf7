"""From what a backbone sees to answers: the heads, by name."""

from typing import Any

from jaxfacs.models.heads.attention import AttentionHead
from jaxfacs.models.heads.graph import CooccurrenceGraphHead, KnnGraphHead
from jaxfacs.models.heads.joint import JointHead
from jaxfacs.models.heads.linear import LinearHead
from jaxfacs.models.heads.mlp import MlpHead
from jaxfacs.models.heads.ordinal import OrdinalHead

# Each is made with (taps, *, num_aus, num_emotions, intensity, dropout, rngs) and, where it can
# answer it, valence_arousal; `taps` is the backbone's name -> channels. It says in `reads` which
# taps it is given, and is called with (taps, train=, dropout_key=), whose arrays have leading axes
# (B,) or, per frame, (B, T).
HEADS: dict[str, Any] = {
    "attention": AttentionHead,
    "cooccurrence_graph": CooccurrenceGraphHead,
    "joint": JointHead,
    "knn_graph": KnnGraphHead,
    "linear": LinearHead,
    "mlp": MlpHead,
    "ordinal": OrdinalHead,
}
