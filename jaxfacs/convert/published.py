"""Which weights are published for which network, where, and under which licence.

Licences are what the owners' pages and repositories said when this was written; read them there
before you use the weights. Weights trained on BP4D, DISFA and the like carry the research-only
terms of those sets, whatever the licence of the code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxfacs.facs import DATASET_AUS

AUS = "AUs"


@dataclass(frozen=True)
class Published:
    """One release of weights.

    Attributes:
      networks: ours that take it.
      form: its name in `keymaps.KEYMAPS`.
      files: what they look like.
      page: where the owners publish it, or say who does.
      licence: in short.
      trained: what on.
      holds: number of outputs -> what they are; `AUS` where `aus` names them.
      aus: number of outputs -> their labels, in the order of the weights.
      input: how the owners cut and fed pictures.
    """

    networks: tuple[str, ...]
    form: str
    files: str
    page: str
    licence: str
    trained: str
    holds: Mapping[int, str] = field(default_factory=dict)
    aus: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    input: str = ""


_IMAGENET = {1000: "1000 ImageNet classes"}
_SLIM_IMAGENET = {**_IMAGENET, 1001: "1000 ImageNet classes and a background"}
_KINETICS = {600: "600 Kinetics classes", 400: "400 Kinetics classes", 101: "101 UCF classes"}
_PEOPLE = {2622: "2622 people"}
_IMAGENET_INPUT = "RGB, ImageNet mean and deviation, centre crop of a picture"
_CAFFE_INPUT = "BGR less its mean; the first kernel is turned round for RGB"
_TORCHVISION = "https://pytorch.org/vision/stable/models.html"
_KERAS = "https://keras.io/api/applications/"
_SLIM = "https://github.com/tensorflow/models/tree/master/research/slim"
_VGG_FACE = "https://www.robots.ox.ac.uk/~vgg/software/vgg_face/"
_ALIGNED = (
    "faces aligned by landmarks at 256 px, of which the centre 224 px are read; jaxfacs cuts "
    "squares around detected faces and does not turn them upright"
)


def _torchvision(*networks: str, files: str, input: str = _IMAGENET_INPUT) -> Published:
    return Published(
        networks=networks,
        form="torchvision",
        files=files,
        page=_TORCHVISION,
        licence="BSD-3-Clause; trained on ImageNet, whose terms are for research",
        trained="ImageNet-1k",
        holds=_IMAGENET,
        input=input,
    )


def _keras(network: str, *, files: str, licence: str, input: str) -> Published:
    return Published(
        networks=(network,),
        form="keras",
        files=files,
        page=_KERAS,
        licence=licence,
        trained="ImageNet-1k",
        holds=_IMAGENET,
        input=input,
    )


def _vgg_face(form: str, files: str, page: str, input: str) -> Published:
    return Published(
        networks=("vgg_face",),
        form=form,
        files=files,
        page=page,
        licence="as the owners' page states; research",
        trained="2.6 M pictures of 2622 people",
        holds=_PEOPLE,
        input=input,
    )


PUBLISHED: tuple[Published, ...] = (
    Published(
        networks=("me_graphau",),
        form="original",
        files="MEFARG_*_BP4D_fold*.pth, MEFARG_*_DISFA_fold*.pth",
        page="https://github.com/CVI-SZU/ME-GraphAU",
        licence="MIT (code); research-only terms of BP4D and DISFA (weights)",
        trained="BP4D or DISFA, one of three folds",
        holds={12: AUS, 8: AUS},
        aus={12: DATASET_AUS["bp4d"], 8: DATASET_AUS["disfa_8"]},
        input=_ALIGNED,
    ),
    Published(
        networks=("open_graphau",),
        form="original",
        files="OpenGprahAU-*_first_stage.pth, OpenGprahAU-*_second_stage.pth",
        page="https://github.com/lingjivoo/OpenGraphAU",
        licence="Apache-2.0 (code); research-only terms of six datasets (weights)",
        trained="BP4D, DISFA, RAF-AU, Aff-Wild2, CK+ and CASME II",
        holds={41: AUS},
        aus={41: DATASET_AUS["opengraphau"]},
        input=_ALIGNED,
    ),
    Published(
        networks=("scc",),
        form="original",
        files="snapshot_*.ckpt.index with its .data",
        page="https://github.com/EvelynFan/FAU",
        licence="none given (code); research-only terms of BP4D and DISFA (weights)",
        trained="BP4D or DISFA",
        holds={5: AUS, 12: AUS},
        aus={5: DATASET_AUS["bp4d_intensity"], 12: DATASET_AUS["disfa"]},
        input="faces registered by landmarks at 256 px, BGR less (123.68, 116.78, 103.94)",
    ),
    Published(
        networks=("mobilenet3d_v1", "mobilenet3d_v2"),
        form="efficient-3dcnns",
        files="kinetics_mobilenet*_RGB_16_best.pth",
        page="https://github.com/okankop/Efficient-3DCNNs",
        licence="MIT",
        trained="Kinetics-600, or fine-tuned on UCF-101 or Jester",
        holds=_KINETICS,
        input="16 frames of 112 px, RGB less the mean of ActivityNet",
    ),
    _vgg_face("torch7", "VGG_FACE.t7", _VGG_FACE, _CAFFE_INPUT),
    _vgg_face("mat", "vgg_face.mat", _VGG_FACE, "RGB less its mean"),
    _vgg_face("caffe", "the .pth that conversions of VGG_FACE.t7 save", _VGG_FACE, _CAFFE_INPUT),
    _vgg_face(
        "matconvnet",
        "vgg_face_dag.pth",
        "https://www.robots.ox.ac.uk/~albanie/mcn-models.html",
        "RGB less its mean",
    ),
    _torchvision("resnet18", "resnet50", "resnet101", files="resnet18-*.pth, ..."),
    _torchvision("vgg16", "alexnet", "mobilenet_v2", files="vgg16-*.pth, ..."),
    _torchvision("swin_t", "swin_s", "swin_b", files="swin_t-*.pth, ..."),
    _torchvision(
        "inception_v3",
        files="inception_v3_google-*.pth",
        input="RGB in [-1, 1] (torchvision turns its usual scaling into it), 299 px",
    ),
    Published(
        networks=("swin_t", "swin_s", "swin_b"),
        form="microsoft",
        files="swin_{tiny,small,base}_patch4_window7_224*.pth",
        page="https://github.com/microsoft/Swin-Transformer",
        licence="MIT; trained on ImageNet, whose terms are for research",
        trained="ImageNet-1k or 22k",
        holds={**_IMAGENET, 21841: "21841 ImageNet-22k classes"},
        input=_IMAGENET_INPUT,
    ),
    Published(
        networks=("alexnet",),
        form="caffe",
        files="bvlc_alexnet, its layers saved as conv1.weight ... fc8.bias",
        page="https://github.com/BVLC/caffe/tree/master/models/bvlc_alexnet",
        licence="unrestricted use",
        trained="ImageNet-1k",
        holds=_IMAGENET,
        input=_CAFFE_INPUT,
    ),
    _keras("vgg16", files="vgg16_weights_tf_*.h5", licence="CC BY 4.0", input=_CAFFE_INPUT),
    _keras("resnet50", files="resnet50_weights_tf_*.h5", licence="MIT", input=_CAFFE_INPUT),
    _keras("resnet101", files="resnet101_weights_tf_*.h5", licence="MIT", input=_CAFFE_INPUT),
    _keras(
        "inception_v3",
        files="inception_v3_weights_tf_*.h5",
        licence="Apache-2.0",
        input="RGB in [-1, 1], 299 px",
    ),
    _keras(
        "xception",
        files="xception_weights_tf_*.h5",
        licence="MIT",
        input="RGB in [-1, 1], 299 px",
    ),
    Published(
        networks=("resnet50", "resnet101"),
        form="slim",
        files="resnet_v1_50.ckpt (saved again in version 2), resnet_v1_50.npz",
        page=_SLIM,
        licence="Apache-2.0",
        trained="ImageNet-1k",
        holds=_SLIM_IMAGENET,
        input="RGB less its mean",
    ),
    Published(
        networks=("inception_v2",),
        form="slim",
        files="inception_v2.ckpt (saved again in version 2), inception_v2.npz",
        page=_SLIM,
        licence="Apache-2.0",
        trained="ImageNet-1k",
        holds=_SLIM_IMAGENET,
        input="RGB in [-1, 1], 224 px",
    ),
)


def find(network: str, form: str) -> Published | None:
    """The release that a network and a form belong to; None if it is nobody's we know."""
    matching = (p for p in PUBLISHED if network in p.networks and p.form == form)
    return next(matching, None)


def listing() -> str:
    """A table of all releases, for `jaxfacs convert list`."""
    lines = []
    for release in PUBLISHED:
        lines += [
            f"{', '.join(release.networks)}  (form {release.form})",
            f"    files    {release.files}",
            f"    trained  {release.trained}",
            f"    licence  {release.licence}",
            f"    page     {release.page}",
        ]
    return "\n".join(lines)
