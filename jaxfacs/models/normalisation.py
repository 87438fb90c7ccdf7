"""How pictures are scaled, by name: weights work only with the scaling they were trained with."""

from jaxfacs.errors import UserError
from jaxfacs.models.registry import card

Scaling = tuple[tuple[float, float, float], tuple[float, float, float]]

# name -> (mean, std) of RGB in 0..255: x = (RGB - mean) / std. Weights that were trained on BGR
# are turned round when they are converted, so that every network here sees RGB.
NORMALISATIONS: dict[str, Scaling] = {
    # torchvision: mean (.485, .456, .406), std (.229, .224, .225) of RGB in 0..1.
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    # Caffe's and Keras' VGG16 and ResNet: BGR less (103.939, 116.779, 123.68).
    "caffe": ((123.68, 116.779, 103.939), (1.0, 1.0, 1.0)),
    # Parkhi et al. 2015, averageImage of vgg_face.
    "vgg_face": ((129.1863, 104.7624, 93.5940), (1.0, 1.0, 1.0)),
    # TF-slim's and Keras' Inception and Xception: x / 127.5 - 1.
    "unit": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    # EvelynFan/FAU reads B, G, R and subtracts the mean of R, G, B from them.
    "scc": ((103.94, 116.78, 123.68), (1.0, 1.0, 1.0)),
    # Efficient-3DCNNs: the mean of ActivityNet, divided by nothing.
    "kinetics": ((114.77, 107.74, 99.48), (1.0, 1.0, 1.0)),
}


def normalisation(name: str, *, model: str) -> Scaling:
    """Returns (mean, std) of RGB in 0..255: those called `name`, or with "" those of `model`.

    A name may also be the six numbers, "R,G,B/R,G,B", as `jaxfacs data show` tells a set's.
    """
    if not name:
        return card(model).mean, card(model).std
    if "/" in name:
        return _numbers(name)
    if name not in NORMALISATIONS:
        known = ", ".join(NORMALISATIONS)
        raise UserError(f"no normalisation '{name}'; give one of {known}, or none for the model's")
    return NORMALISATIONS[name]


def _numbers(text: str) -> Scaling:
    try:
        mean, std = (tuple(map(float, part.split(","))) for part in text.split("/"))
    except ValueError:
        mean, std = (), ()
    if len(mean) != 3 or len(std) != 3 or not all(0 < v < 1e4 for v in std):
        raise UserError(
            f"normalisation '{text}' is not MEAN/STD as R,G,B/R,G,B in grey levels, such as "
            "131.1,103.9,91.5/58.4,57.1,57.4"
        )
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])
