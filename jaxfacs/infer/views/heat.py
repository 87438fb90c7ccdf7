"""The face as a map: AU regions coloured by how long or how strongly the AUs were there."""

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from jaxfacs import facs
from jaxfacs.errors import UserError
from jaxfacs.infer.views import course as courses
from jaxfacs.infer.views import origin as origins
from jaxfacs.infer.views.course import Course, Face
from jaxfacs.infer.views.overlay import regions
from jaxfacs.infer.views.plots import FAINT, INK, counted, picture_kind, plain, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Measure = Literal["presence", "intensity"]

# (what is said beside the bar, highest value, how a value is written)
_MEASURES: dict[Measure, tuple[str, float, str]] = {
    "presence": ("share of frames with the AU, %", 100.0, "{:.0f} %"),
    "intensity": ("mean intensity while present (0-5)", 5.0, "{:.1f}"),
}
_MAP = "YlOrRd"  # its lightness falls all the way: the order shows in grey and to all eyes
_STEPS = (0.05, 0.1, 0.25, 0.5, 1.0)  # of the highest value: where the bar may end
_HALF_WIDTH, _TOP, _BOTTOM = 1.02, -0.36, 1.36  # in sides of the face's square
_PICTURE = (-0.19, 1.19)  # so much of a frame is shown, from side to side
_SKIN, _SHADE, _LINE, _HAIR = "#f6ede6", "#eee2d9", "#6d625b", "#cbbfb6"

# Outlines of the picture's right half in shares of the face's square (see overlay.regions): a
# point, then two controls and a point for each part. The other half is mirrored.
_Curve = tuple[tuple[float, float], ...]
_HEAD: _Curve = (
    *((0.5, -0.2), (0.8, -0.2), (0.96, 0.02), (0.95, 0.38)),
    *((0.94, 0.66), (0.9, 0.86), (0.76, 1.02)),
    *((0.68, 1.12), (0.6, 1.17), (0.5, 1.17)),
)
_HAIR_TOP: _Curve = (
    *((0.5, -0.31), (0.9, -0.31), (1.08, -0.05), (0.99, 0.34)),
    *((0.975, 0.36), (0.955, 0.36), (0.95, 0.34)),
    *((0.93, 0.1), (0.82, -0.03), (0.5, -0.01)),
)
_NECK: _Curve = (
    *((0.5, 0.8), (0.6, 0.8), (0.74, 0.8), (0.77, 0.98)),
    *((0.775, 1.12), (0.77, 1.22), (0.82, 1.27)),
    *((0.94, 1.33), (1.06, 1.34), (1.16, 1.4)),
    *((0.9, 1.4), (0.7, 1.4), (0.5, 1.4)),
)
_EYE: _Curve = (
    *((0.575, 0.4), (0.62, 0.34), (0.745, 0.335), (0.805, 0.385)),
    *((0.75, 0.43), (0.64, 0.435), (0.575, 0.4)),
)
_BROW: _Curve = ((0.55, 0.275), (0.64, 0.205), (0.78, 0.205), (0.88, 0.285))
_NOSE: _Curve = (
    *((0.545, 0.43), (0.55, 0.52), (0.6, 0.57), (0.605, 0.61)),
    *((0.605, 0.66), (0.55, 0.645), (0.5, 0.665)),
)
_UPPER_LIP: _Curve = (
    *((0.5, 0.75), (0.53, 0.725), (0.57, 0.725), (0.67, 0.785)),
    *((0.6, 0.785), (0.55, 0.79), (0.5, 0.79)),
)
_LOWER_LIP: _Curve = (
    *((0.5, 0.79), (0.55, 0.79), (0.6, 0.785), (0.67, 0.785)),
    *((0.62, 0.845), (0.56, 0.855), (0.5, 0.855)),
)
_EAR: _Curve = ((0.95, 0.36), (1.04, 0.32), (1.03, 0.6), (0.93, 0.6))
_FOLD: _Curve = ((0.62, 0.62), (0.68, 0.65), (0.715, 0.7), (0.725, 0.755))


def face_map(
    table_path: str | Path,
    out: str | Path,
    *,
    measure: Measure = "presence",
    face_id: int | None = None,
    film: str | Path | None = None,
    frame: int | None = None,
) -> None:
    """Draws a face whose regions are coloured by the table's AUs, left and right apart.

    The picture's left is the subject's right. Where regions overlap, the AU with more lies on top;
    each AU is named with its number beside the face. AUs without a region (gaze, head, posture) are
    named below.

    Args:
      table_path: a table as `jaxfacs.infer.tables.read` takes it.
      out: ends in .png or .svg; written whole or not at all.
      measure: "presence", the share of the face's frames with the AU, or "intensity", the mean
        while it is present.
      face_id: which face; None: the one of the most frames.
      film: draw over a frame of this film, for tables with box columns, instead of a drawn face.
      frame: its number; None: the frame in which the box is nearest to the middle of the time.

    Raises:
      UserError: no table, no such face, no intensity, no box in that frame.
    """
    kind = picture_kind(out)
    thresholds = origins.thresholds(origins.beside(table_path))
    course = courses.read(table_path, bins=1, most_faces=1, face_id=face_id, thresholds=thresholds)
    if not course.faces:
        raise UserError(f"{table_path} has no frame with a face; there is nothing to map")
    face = course.faces[0]
    scale = 100.0 if measure == "presence" else 1.0
    value_A = scale * (face.present_A if measure == "presence" else face.intensity_A)
    if measure == "intensity" and not _graded(course, face):
        raise UserError(f"{table_path} has no intensity columns (AU12_r); map the presence instead")
    back = None if film is None else _face_of(film, table_path, face.face_id, frame)
    title = f"{Path(table_path).name}, face {face.face_id}: {counted(face.frames, 'frame')}"
    save(_figure(course.values.aus, value_A, measure, title, back), Path(out), kind)


def _graded(course: Course, face: Face) -> bool:
    return bool((~np.isnan(face.mean_BK[:, course.values.r])).any())


def _figure(
    aus: Sequence[str],
    value_A: np.ndarray,
    measure: Measure,
    title: str,
    back: tuple[np.ndarray, tuple[float, float, float, float]] | None,
) -> Any:
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    said, full, form = _MEASURES[measure]
    rows = [(au, v) for au, v in zip(aus, value_A.tolist(), strict=True) if not _by_side(au, aus)]
    there = [(au, v) for au, v in rows if v > 0]
    named = [row for row in there if list(regions(row[0]))]
    most = max((v for _, v in named), default=full)
    norm = Normalize(0, next(full * step for step in _STEPS if full * step >= min(most, full)))
    colours = matplotlib.colormaps[_MAP]
    figure = Figure(figsize=(8.0, 6.9))
    axes = figure.add_axes((0.01, 0.1, 0.86, 0.85))
    axes.set(xlim=(0.5 - _HALF_WIDTH, 0.5 + _HALF_WIDTH), ylim=(_BOTTOM, _TOP), aspect="equal")
    axes.set_axis_off()
    if back is None:
        _draw_face(axes)
    else:
        _draw_picture(axes, *back)
    _draw_regions(axes, named, lambda v: colours(norm(v)), opacity=0.9 if back is None else 0.6)
    if back is None:
        _draw_lines(axes)
    _draw_names(axes, named, form.format)
    bar = figure.add_axes((0.9, 0.22, 0.022, 0.56))
    figure.colorbar(ScalarMappable(norm, colours), cax=bar)
    bar.tick_params(labelsize=7, color=FAINT)
    bar.set_ylabel(said, fontsize=8, color=INK)
    figure.text(0.03, 0.965, plain(title)[:90], fontsize=9, color=INK)
    figure.text(0.03, 0.03, _below(rows, form), fontsize=7, color="#555555", va="bottom")
    return figure


def _by_side(au: str, aus: Sequence[str]) -> bool:
    """Whether the table has both sides of it, which say more."""
    return f"L{au}" in aus and f"R{au}" in aus


def _below(rows: list[tuple[str, float]], form: str) -> str:
    """What the face does not show, in lines."""
    apart = [f"{au} {form.format(v)}" for au, v in rows if v > 0 and not list(regions(au))]
    never = [au for au, v in rows if v <= 0 or np.isnan(v)]
    lines = ["The picture's left is the subject's right."]
    lines += [f"Without a place on the face: {', '.join(apart)}"] if apart else []
    lines += [f"Not seen: {', '.join(never)}"] if never else []
    return "\n".join(textwrap.fill(line, 130) for line in lines)


def _draw_picture(
    axes: "Axes", picture_HWC: np.ndarray, edges: tuple[float, float, float, float]
) -> None:
    from matplotlib.patches import Rectangle

    first, last = _PICTURE
    shown = axes.imshow(picture_HWC, extent=edges, interpolation="bilinear", zorder=0)
    window = Rectangle((first, _TOP), last - first, _BOTTOM - _TOP, transform=axes.transData)
    shown.set_clip_path(window)
    axes.set(xlim=(0.5 - _HALF_WIDTH, 0.5 + _HALF_WIDTH), ylim=(_BOTTOM, _TOP))


def _draw_regions(
    axes: "Axes", named: list[tuple[str, float]], colour: Callable[[float], Any], opacity: float
) -> None:
    from matplotlib.patches import Ellipse

    for au, value in sorted(named, key=lambda item: item[1]):
        for x, y, rx, ry in regions(au):
            axes.add_patch(
                Ellipse(
                    (x, y), 2 * rx, 2 * ry, fc=colour(value), ec="white", lw=0.6, alpha=opacity,
                    zorder=2,
                )
            )  # fmt: skip


def _draw_names(
    axes: "Axes", named: list[tuple[str, float]], written: Callable[[float], str]
) -> None:
    """Names in two columns beside the face, each with a line to its region, none over another."""
    sides: dict[int, list[tuple[float, float, str, float]]] = {-1: [], 1: []}
    for au, value in named:
        side = {"R": -1, "L": 1}.get(facs.split_label(au)[0], 0)
        side = side or (-1 if len(sides[-1]) <= len(sides[1]) else 1)
        x, y, rx, _ = max(regions(au), key=lambda spot: side * spot[0])
        sides[side].append((y, x + 0.7 * side * rx, au, value))
    for side, found in sides.items():
        found.sort()
        pitch = min(0.075, 0.96 * (_BOTTOM - _TOP) / max(1, len(found)))
        heights = _spread([y for y, *_ in found], pitch)
        edge = 0.5 + side * 0.76
        for (y, x, au, value), at in zip(found, heights, strict=True):
            points = [x, edge - side * 0.06, edge - side * 0.015], [y, at, at]
            axes.plot(*points, color="white", lw=1.8, alpha=0.7, zorder=3)  # seen on any picture
            axes.plot(*points, color=_LINE, lw=0.6, zorder=3)
            axes.text(
                *(edge, at, f"{au}  {written(value)}"),
                ha="left" if side > 0 else "right",
                va="center",
                fontsize=max(4.0, min(8.5, 140 * pitch)),
                color=INK,
                zorder=4,
            )


def _spread(wanted: Sequence[float], pitch: float) -> list[float]:
    """Heights at least a pitch apart, in order, each as near to what is wanted as that leaves."""
    at = list(wanted)
    for n in range(1, len(at)):
        at[n] = max(at[n], at[n - 1] + pitch)
    last = _BOTTOM - 0.03
    for n in reversed(range(len(at))):
        at[n] = min(at[n], last)
        last = at[n] - pitch
    return at


def _draw_face(axes: "Axes") -> None:
    """Our own neutral face: what lies below the regions."""
    axes.add_patch(_whole(_NECK, fc=_SHADE, ec=_LINE, lw=0.8, zorder=0))
    for mirrored in (False, True):
        axes.add_patch(_curve(_EAR, mirrored, fc=_SKIN, ec=_LINE, lw=1.0, zorder=0.5))
    axes.add_patch(_whole(_HEAD, fc=_SKIN, ec=_LINE, lw=1.2, zorder=1))
    axes.add_patch(_whole(_HAIR_TOP, fc=_HAIR, ec=_LINE, lw=1.0, zorder=1.5))
    for mirrored in (False, True):
        axes.add_patch(_curve(_EYE, mirrored, fc="white", ec="none", zorder=1.5))
    for half in (_UPPER_LIP, _LOWER_LIP):
        for mirrored in (False, True):
            axes.add_patch(_curve(half, mirrored, fc="#e9d3c9", ec="none", zorder=1.5))


def _draw_lines(axes: "Axes") -> None:
    """Its features as lines, over the regions."""
    from matplotlib.patches import Ellipse

    for mirrored in (False, True):
        axes.add_patch(_curve(_EYE, mirrored, fc="none", ec=_LINE, lw=1.1, zorder=3))
        axes.add_patch(_curve(_BROW, mirrored, fc="none", ec=_LINE, lw=2.6, zorder=3))
        axes.add_patch(_curve(_FOLD, mirrored, fc="none", ec=_LINE, lw=0.7, alpha=0.6, zorder=3))
        for half in (_NOSE, _UPPER_LIP, _LOWER_LIP):
            axes.add_patch(_curve(half, mirrored, fc="none", ec=_LINE, lw=1.0, zorder=3))
        x = 0.31 if mirrored else 0.69
        axes.add_patch(Ellipse((x, 0.388), 0.075, 0.08, fc="none", ec=_LINE, lw=1.1, zorder=3))
        axes.add_patch(Ellipse((x, 0.388), 0.03, 0.03, fc=_LINE, ec="none", zorder=3))


def _curve(points: _Curve, mirrored: bool, **style: Any) -> Any:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Curve

    at = np.array(points, float)
    if mirrored:
        at[:, 0] = 1 - at[:, 0]
    return PathPatch(Curve(at, [Curve.MOVETO] + [Curve.CURVE4] * (len(at) - 1)), **style)


def _whole(half: _Curve, **style: Any) -> Any:
    back = [(1 - x, y) for x, y in reversed(half)]
    return _curve((*half, *back[1:]), False, **style)


def _face_of(
    film: str | Path, table_path: str | Path, face_id: int, frame: int | None
) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """A frame of a film and where its edges lie in the face's square: left, right, bottom, top."""
    from jaxfacs.infer import tables
    from jaxfacs.infer.sources import source

    box_4, number = None, frame
    for table in tables.chunks(table_path, rows=2000):
        known = (table.face_N == face_id) & ~np.isnan(table.boxes_N4).any(1)
        if frame is not None:
            known &= table.frame_N == frame
        rows = np.flatnonzero(known)
        if len(rows):
            middle = rows[len(rows) // 2]
            box_4, number = table.boxes_N4[middle], int(table.frame_N[middle])
            break
    if box_4 is None:
        where = f"frame {frame}" if frame is not None else "any frame"
        raise UserError(
            f"{table_path} tells no box of face {face_id} in {where}; read the film again with "
            "jaxfacs predict, or leave out --film"
        )
    found = source.find([str(film)])[0]
    for timed in found.frames():
        if timed.number == number and timed.frame_HWC is not None:
            x, y, w, h = (float(v) for v in box_4)
            height, width = timed.frame_HWC.shape[:2]
            return timed.frame_HWC, (-x / w, (width - x) / w, (height - y) / h, -y / h)
    raise UserError(f"{film} has no readable frame {number}; is it the film of {table_path}?")
