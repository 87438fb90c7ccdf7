"""What `jaxfacs predict` makes of a finished table, if it is asked for."""

from collections.abc import Mapping
from pathlib import Path

from jaxfacs.infer.results_on_disk import Extra, Results
from jaxfacs.infer.sources.source import Source
from jaxfacs.progress import track


def _segments(results: Results, path: Path) -> None:
    from jaxfacs.infer import segments

    segments.write(results.table, path, thresholds=results.key["settings"]["thresholds"])


def _overlay(results: Results, path: Path) -> None:
    from jaxfacs.infer.views import overlay_file

    del path  # of several pictures it is a folder
    labels = {"aus": results.predictor.aus, "emotions": results.predictor.emotions}
    with overlay_file.writing(results.out, results.name, results.source, **labels) as draw:
        shown = overlay_file.results(results.table)
        label = f"drawing {results.name}"
        for result in track(shown, label=label, total=results.counts["frames"] or None):
            draw(result)


def _overlay_suffix(source: Source) -> str:
    if not source.still:
        return ".overlay.mp4"
    return ".overlay.jpg" if len(source.pictures) == 1 else ".overlay"


def _timeline(results: Results, path: Path) -> None:
    from jaxfacs.infer.views import plots

    plots.timeline(results.table, path)


def _face_map(results: Results, path: Path) -> None:
    from jaxfacs.infer.views import heat

    heat.face_map(results.table, path)


def _report(results: Results, path: Path) -> None:
    from jaxfacs.infer.views import report

    source = results.source
    film = source.path if source.path is not None and source.path.is_file() else None
    report.write(results.table, film, path)


# Field of `Writing` (with what tells several files of it apart) -> what is made of the table.
EXTRAS: Mapping[str, Extra] = {
    "segments": Extra(".segments.csv", _segments),
    "plots": Extra(".timeline.png", _timeline),
    "plots.svg": Extra(".timeline.svg", _timeline),
    "heat_map": Extra(".face.png", _face_map, of_stills=True, of_nobody=False),
    "overlay": Extra(_overlay_suffix, _overlay, of_stills=True),
    "report": Extra(".report.html", _report, of_stills=True),
}
