"""`jaxfacs report` and `jaxfacs plot`: a finished table as a page, as pictures."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxfacs.errors import UserError


def report(
    table: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    out: Path,
    film: Path | None = None,
    embed: Literal["auto", "always", "never"] = "auto",
) -> None:
    """Write one HTML page of a film: player, timelines, segments, summary; needs no network.

    A click on a timeline, or on a time in the tables, goes to that moment of the film. What
    NAME.json beside the table tells (warnings, thresholds, the emotion mapper) is used.

    Args:
      table: what `jaxfacs predict` wrote, or a table of OpenFace or py-feat.
      out: the page, ending in .html.
      film: the film or picture that the table was read from.
      embed: auto puts films up to 25 MB into the page and links longer ones; always, never. What
        browsers do not play is copied to VP8, small and without sound.
    """
    from jaxfacs.infer.views.report import write

    path = write(table, film, out, embed=embed)
    print(f"{table} -> {path} ({path.stat().st_size / 1e6:.1f} MB)")


def plot(
    table: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    out: Path,
    kind: Literal["timeline", "face"] = "timeline",
    face: int | None = None,
    measure: Literal["presence", "intensity"] = "presence",
    film: Path | None = None,
    frame: int | None = None,
) -> None:
    """Draw a table as a picture: AUs and emotions over time, or a face with its AUs as regions.

    Args:
      table: what `jaxfacs predict` wrote, or a table of OpenFace or py-feat.
      out: the picture, ending in .png or .svg.
      kind: timeline, or face: regions coloured by how much the AUs were there.
      face: only the face of this id; without it the timeline shows the four of the most frames, the
        map the one.
      measure: of the map: presence is the share of frames, intensity the mean while present.
      film: of the map: draw over a frame of this film instead of a drawn face.
      frame: of the film; without it, one with the face.
    """
    if kind == "timeline":
        from jaxfacs.infer.views.plots import timeline

        if film is not None or frame is not None:
            raise UserError("--film and --frame are for --kind face; leave them out")
        timeline(table, out, face_id=face)
    else:
        from jaxfacs.infer.views.heat import face_map

        if frame is not None and film is None:
            raise UserError("--frame needs --film, the film whose frame it is")
        face_map(table, out, measure=measure, face_id=face, film=film, frame=frame)
    print(f"{table} -> {out}")
