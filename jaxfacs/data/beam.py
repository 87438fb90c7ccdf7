"""Shards built through Apache Beam: one element a shard, so that any runner can spread them.

Beam's bounds on numpy and protobuf are older than what training uses, so it lives in an
environment of its own: pip install jaxfacs apache-beam.
"""

from collections.abc import Sequence
from pathlib import Path

from jaxfacs.data import assemble, writer
from jaxfacs.data.cutting import Cutter
from jaxfacs.errors import UserError


def build_shards(
    folder: Path,
    shards: Sequence[assemble.Shard],
    info: writer.SetInfo,
    cutter: Cutter,
    *,
    options: Sequence[str] = (),
) -> None:
    """Builds those shards that `folder` does not hold yet.

    Args:
      folder: must be, like the delivery, where every worker sees it under the same path.
      shards, info, cutter: as in `assemble.build_shards`.
      options: Beam's, as NAME=VALUE.

    Raises:
      UserError: Beam is not installed.
    """
    try:
        import apache_beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise UserError("--beam needs Apache Beam: pip install apache-beam") from error
    wanted = [shard for shard in shards if assemble.load(folder, shard, info) is None]
    work = _Work(str(folder), info, cutter)
    chosen = PipelineOptions([f"--{option}" for option in options])
    with apache_beam.Pipeline(options=chosen) as pipeline:
        _ = (
            pipeline
            | "Shards" >> apache_beam.Create(wanted, reshuffle=True)
            | "Build" >> apache_beam.Map(work)
        )


class _Work:
    """From a shard to its file, on whatever machine. Picklable."""

    def __init__(self, folder: str, info: writer.SetInfo, cutter: Cutter):
        self.folder, self.info, self.cutter = folder, info, cutter

    def __call__(self, shard: assemble.Shard) -> str:
        cuts = map(self.cutter, shard.recordings)
        assemble.build_shard(Path(self.folder), shard, self.info, cuts)
        return shard.name
