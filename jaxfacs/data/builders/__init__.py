"""One data set a file; this table is what `jaxfacs data list` prints."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Builder:
    """Where a builder is, and what one should know before using it.

    Attributes:
      module, function: what `jaxfacs data build NAME` calls; its keyword arguments are the options.
      content: what the set holds, in a line.
      licence: of the data.
      source: where the data come from.
    """

    module: str
    function: str
    content: str
    licence: str
    source: str


BUILDERS: dict[str, Builder] = {
    "synthface": Builder(
        module="jaxfacs.data.builders.synthface",
        function="build",
        content="rendered faces with exactly known AUs, intensities, sides and emotions",
        licence="yours: every picture is made on your machine",
        source="nothing to download",
    ),
    "folder": Builder(
        module="jaxfacs.data.builders.folder",
        function="build",
        content="your own pictures or films with a CSV of AU labels, one row a frame",
        licence="that of your data",
        source="--source DIR",
    ),
}
