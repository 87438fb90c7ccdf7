"""One data set a file; these tables are what `jaxfacs data build` and `jaxfacs data list` know."""

from dataclasses import dataclass
from importlib import import_module

from jaxfacs.data.delivery import Builder


@dataclass(frozen=True)
class Made:
    """A set that no owner delivers: it is rendered, or made of one's own files.

    Attributes:
      module, function: what is called; its keyword arguments are the options.
      task, labels, licence, obtain: as in `delivery.Builder`.
    """

    module: str
    function: str
    task: str
    labels: str
    licence: str
    obtain: str


MADE: dict[str, Made] = {
    "synthface": Made(
        module="jaxfacs.data.builders.synthface",
        function="build",
        task="AUs and emotions in rendered films",
        labels="34 AUs and their sides, occurrence and intensity, exactly known; emotions",
        licence="yours: every picture is made on your machine",
        obtain="nothing to download",
    ),
}

# Each is the name of a module here with a `BUILDER`: of one's own, of AUs, of emotions, of faces.
DELIVERED: tuple[str, ...] = (
    "folder",
    "tfrecord",
    "bp4d",
    "bp4d_plus",
    "eb_plus",
    "fera2015",
    "fera2017",
    "gft",
    "disfa",
    "disfa_plus",
    "unbc",
    "ck_plus",
    "mmi",
    "emotionet",
    "samm",
    "casme2",
    "cas_me2",
    "aff_wild2",
    "raf_au",
    "raf_db",
    "affectnet",
    "caer",
    "caer_s",
    "fer2013",
    "ferg_db",
    "jaffe",
    "smic",
    "emotic",
    "ravdess",
    "cew",
    "mrl_eye",
    "w300",
    "wider_face",
)  # fmt: skip


def builder(name: str) -> Builder:
    """What is known of a delivered set. Loads its module."""
    return import_module(f"jaxfacs.data.builders.{name}").BUILDER
