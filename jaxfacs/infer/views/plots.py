"""Timelines: every AU and emotion of a table over time, as PNG or SVG."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxfacs import facs
from jaxfacs.errors import UserError
from jaxfacs.infer.files import replacing
from jaxfacs.infer.views import course as courses
from jaxfacs.infer.views import origin as origins
from jaxfacs.infer.views.course import Course, Face, Segment, Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which the colour-blind tell apart; a face keeps its colour.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
INK, FAINT = "#222222", "#9a9a9a"
GAP, _HATCH = ("#f6f6f6", "#cfcfcf"), "/////"
EMOTION_COLOURS = (
    *("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#666666"),
    *("#8c510a", "#80cdc1", "#b2abd2", "#1b7837"),
)
NEUTRAL = "#dddddd"
MOST_FACES = len(COLOURS)
_MOST_BINS, _FEWEST_BINS = 1000, 300  # about a picture's columns …
_MOST_CELLS = 30_000  # … and fewer where many rows would make an SVG of many megabytes
_ROW_INCHES, _LANE_INCHES, _WIDTH_INCHES = 0.24, 0.18, 10.0
_LEFT_INCHES, _RIGHT_INCHES, _TOP_INCHES, _BOTTOM_INCHES, _SPACE_INCHES = 2.1, 1.1, 0.5, 0.45, 0.12
_MOST_MARKS = 60  # onset-apex-offset marks of one AU of one face; more would be a smear
MEASURES = {"probability": "probability", "intensity": "intensity / 5", "presence": "presence"}
_KINDS = {".png": "png", ".svg": "svg"}


def timeline(table_path: str | Path, out: str | Path, *, face_id: int | None = None) -> Course:
    """Draws a table over time: a row for each AU, the emotions below.

    A row shows the AU's probability, or in tables without it the intensity: the dark line is the
    mean, the light area runs from the lowest to the highest value where several frames share a
    column of the picture. It is shaded where the AU is present in most of a column's frames. The
    threshold is a dashed line where NAME.json tells it; onset, apex and offset of each event are
    marks; times without the face are hatched. Several faces are lanes of a row, at most four, those
    of the most frames.

    Args:
      table_path: a table as `jaxfacs.infer.tables.read` takes it.
      out: ends in .png or .svg; written whole or not at all.
      face_id: only this face.

    Raises:
      UserError: another suffix, no table, no such face.
    """
    kind = picture_kind(out)
    table_path, out = Path(table_path), Path(out)
    origin = origins.beside(table_path)
    thresholds = origins.thresholds(origin)
    course = courses.read(
        table_path, bins=_bins, most_faces=MOST_FACES, face_id=face_id, thresholds=thresholds
    )
    save(_figure(course, thresholds, table_path.name), out, kind)
    return course


def _bins(values: Values, faces: int) -> int:
    cells = max(1, len(values.aus) * faces)
    return min(_MOST_BINS, max(_FEWEST_BINS, _MOST_CELLS // cells))


def picture_kind(out: str | Path) -> str:
    """ "png" or "svg", by the suffix."""
    kind = _KINDS.get(Path(out).suffix.lower())
    if kind is None:
        raise UserError(f"{out} ends neither in .png nor in .svg; give --out one of these")
    return kind


def save(figure: "Figure", out: Path, kind: str) -> None:
    """Writes a figure whole or not at all; the same figure gives the same bytes."""
    import matplotlib

    metadata: dict[str, Any] = {"Software": None} if kind == "png" else {"Date": None}
    # Text stays text: it can be searched, and the file is small.
    settings = {"svg.fonttype": "none", "svg.hashsalt": "jaxfacs", "path.simplify": True}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out.parent} cannot be a folder ({error.strerror})") from error
    with matplotlib.rc_context(settings), replacing(out) as temporary:
        figure.savefig(temporary, format=kind, dpi=130, metadata=metadata)


def plain(text: str) -> str:
    """Text that matplotlib does not take for mathematics, in one line."""
    return " ".join(text.replace("$", r"\$").split())


def named(label: str) -> str:
    """ "12  lip corner puller"; the label alone where the catalogue has no such AU."""
    side, number = facs.split_label(label)
    unit = facs.ACTION_UNITS.get(number)
    word = {"L": ", left", "R": ", right"}.get(side, "")
    return f"{label}  {unit.name.lower()}{word}" if unit else label


def _figure(course: Course, thresholds: dict[str, float], title: str) -> "Figure":
    from matplotlib.figure import Figure

    aus, emotions = course.values.aus, course.values.emotions
    lanes = max(1, len(course.faces))
    row = _ROW_INCHES if lanes == 1 else _LANE_INCHES * lanes + 0.06
    strips = ([1.2] if lanes == 1 else [0.8] * lanes) if emotions else []
    rows = max(row * len(aus), 0.5)
    height = _TOP_INCHES + rows + sum(strip + _SPACE_INCHES for strip in strips) + _BOTTOM_INCHES
    figure = Figure(figsize=(_WIDTH_INCHES, height))

    def placed(top: float, inches: float, **options: Any) -> "Axes":
        left, width = _LEFT_INCHES / _WIDTH_INCHES, _WIDTH_INCHES - _LEFT_INCHES - _RIGHT_INCHES
        box = left, 1 - (top + inches) / height, width / _WIDTH_INCHES, inches / height
        return figure.add_axes(box, **options)

    axes = first = placed(_TOP_INCHES, rows)
    _draw_rows(first, course, thresholds)
    top = _TOP_INCHES + rows
    for lane, strip in enumerate(strips):
        axes.tick_params(labelbottom=False)
        axes = placed(top + _SPACE_INCHES, strip, sharex=first)
        top += _SPACE_INCHES + strip
        _draw_emotions(axes, course, lane)
    axes.set_xlabel("time" if course.timed else "frame", fontsize=7)
    axes.tick_params(labelbottom=True, labelsize=7)
    if course.timed:
        axes.xaxis.set_major_formatter(lambda x, _: clock(x, course.end_s))
    else:
        axes.locator_params(axis="x", integer=True)
    first.set_xlim(course.start_s_B[0], course.end_s)
    figure.text(
        *(_LEFT_INCHES / _WIDTH_INCHES, 1 - 0.2 / height),
        f"{_shortened(plain(title), 60)}   {_facts(course)}",
        fontsize=8,
        color=INK,
    )
    return figure


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def clock(seconds: float, longest_s: float) -> str:
    """A time as its film's length asks for: "3.2 s", "1:05", "1:02:05"."""
    if longest_s < 120:
        return f"{seconds:g} s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    if longest_s < 3600:
        return f"{minutes}:{rest:02d}"
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _facts(course: Course) -> str:
    parts = [f"{counted(course.frames, 'frame')}, {course.frames_with_face} with a face"]
    if not course.every_frame:
        parts.append(f"{-(-course.frames // len(course.frame_B))} frames in a column")
    if len(course.faces) < course.num_faces:
        shown = ", ".join(str(face.face_id) for face in course.faces)
        parts.append(f"shown: face {shown} of {course.num_faces} faces")
    return "; ".join(parts)


def _draw_rows(axes: "Axes", course: Course, thresholds: dict[str, float]) -> None:
    aus, edge_s = course.values.aus, course.edge_s_B1
    lanes = max(1, len(course.faces))
    height = 0.86 / lanes
    for a, au in enumerate(aus):
        for lane, face in enumerate(course.faces):
            base = a + 0.07 + height * (lane + 1)  # the axis runs down
            _draw_lane(axes, course, face, a, (base, height * 0.9), COLOURS[lane])
            if au in thresholds:
                level = base - height * 0.9 * thresholds[au]
                axes.plot(edge_s[[0, -1]], [level] * 2, color=INK, lw=0.5, ls=(0, (4, 4)))
    for row in range(len(aus) + 1):
        axes.axhline(row, color="#cccccc", lw=0.5)
    axes.set_ylim(max(len(aus), 1), 0)
    axes.set_yticks(np.arange(len(aus)) + 0.5, [named(au) for au in aus])
    axes.tick_params(labelsize=7, length=0)
    axes.spines[:].set_visible(False)
    if not course.faces:
        axes.text(
            0.5, 0.5, "no face in any frame", transform=axes.transAxes, ha="center", color=FAINT
        )
    _draw_legend(axes, course, bool(thresholds))


def _draw_lane(
    axes: "Axes",
    course: Course,
    face: Face,
    a: int,
    place: tuple[float, float],
    colour: str,
) -> None:
    base, height = place
    edge_s, p, c = course.edge_s_B1, course.values.p.start + a, course.values.c.start + a
    low_B, high_B, mean_B = (
        base - height * v[:, p] for v in (face.low_BK, face.high_BK, face.mean_BK)
    )
    unknown_B = np.isnan(face.mean_BK[:, p])
    present_B = np.nan_to_num(face.mean_BK[:, c]) >= 0.5
    _shade(axes, edge_s, unknown_B, place)
    _spans(axes, edge_s, present_B, place, color=colour, alpha=0.16, lw=0)
    for first, last in runs(~unknown_B):
        x = edge_s[first : last + 1]
        mean = _ended(mean_B[first:last])
        axes.fill(np.r_[x[0], x, x[-1]], np.r_[base, mean, base], color=colour, alpha=0.3, lw=0)
        if not course.every_frame:
            low, high = _ended(low_B[first:last]), _ended(high_B[first:last])
            axes.fill(np.r_[x, x[::-1]], np.r_[low, high[::-1]], color=colour, alpha=0.3, lw=0)
        axes.plot(x, mean, color=colour, lw=0.8 if course.every_frame else 0.4)
    _draw_marks(axes, [s for s in face.segments if s.au == course.values.aus[a]], place, colour)


def _ended(values: np.ndarray) -> np.ndarray:
    """The last bin has a width too."""
    return np.append(values, values[-1])


def _spans(
    axes: "Axes", edge_s: np.ndarray, true_B: np.ndarray, place: tuple[float, float], **style: Any
) -> None:
    base, height = place
    spans = [(edge_s[first], edge_s[last] - edge_s[first]) for first, last in runs(true_B)]
    axes.broken_barh(spans, (base - height, height), **style)


def _shade(
    axes: "Axes", edge_s: np.ndarray, unknown_B: np.ndarray, place: tuple[float, float]
) -> None:
    _spans(axes, edge_s, unknown_B, place, fc=GAP[0], ec=GAP[1], hatch=_HATCH, lw=0)


def counted(count: int, unit: str) -> str:
    """ "1 frame", "2 frames"."""
    return f"{count} {unit}{'' if count == 1 else 's'}"


def runs(true_B: np.ndarray) -> list[tuple[int, int]]:
    """(first, one after the last) of each run of true values."""
    turns = np.flatnonzero(np.diff(np.r_[False, true_B, False]))
    return list(zip(turns[::2].tolist(), turns[1::2].tolist(), strict=True))


def _draw_marks(
    axes: "Axes", segments: Sequence[Segment], place: tuple[float, float], colour: str
) -> None:
    if len(segments) > _MOST_MARKS:
        return
    base, height = place
    for which, marker in (("onset_s", ">"), ("apex_s", "d"), ("offset_s", "<")):
        seen = {"onset_s": "begins", "offset_s": "ends"}.get(which)
        x = [getattr(s, which) for s in segments if seen is None or getattr(s, seen)]
        y = base - height if which == "apex_s" else base
        axes.plot(
            x, [y] * len(x), marker, ms=3.4, color=colour, mec="white", mew=0.3, clip_on=False
        )


def _draw_legend(axes: "Axes", course: Course, with_thresholds: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    first = COLOURS[0]
    handles: list[Any] = []
    if len(course.faces) > 1:
        handles += [
            Patch(color=COLOURS[lane], label=f"face {face.face_id}")
            for lane, face in enumerate(course.faces)
        ]
    handles += [
        Line2D([], [], color=first, lw=1, label=MEASURES[course.measure]),
        Patch(color=first, alpha=0.16, label="present"),
        Patch(fc=GAP[0], ec=GAP[1], hatch=_HATCH, lw=0, label="no face"),
        Line2D([], [], color=first, marker="d", ms=4, lw=0, label="apex"),
        Line2D([], [], color=first, marker=">", ms=4, lw=0, label="onset"),
        Line2D([], [], color=first, marker="<", ms=4, lw=0, label="offset"),
    ]
    if with_thresholds:
        handles.append(Line2D([], [], color=INK, lw=0.6, ls="--", label="threshold"))
    axes.legend(
        handles=handles,
        ncols=len(handles),
        loc="lower left",
        bbox_to_anchor=(0, 1),
        fontsize=6.5,
        frameon=False,
        handlelength=1.4,
        columnspacing=1.2,
        borderaxespad=0.2,
    )


def emotion_colours(emotions: Sequence[str]) -> list[str]:
    """A colour for each emotion; neutral is grey."""
    others = [emotion for emotion in emotions if emotion.lower() != "neutral"]
    return [
        NEUTRAL
        if emotion.lower() == "neutral"
        else EMOTION_COLOURS[others.index(emotion) % len(EMOTION_COLOURS)]
        for emotion in emotions
    ]


def _draw_emotions(axes: "Axes", course: Course, lane: int) -> None:
    if not course.faces:
        axes.set_axis_off()
        return
    face, edge_s = course.faces[lane], course.edge_s_B1
    emotions = course.values.emotions
    score_BE = face.mean_BK[:, course.values.emotion]
    known_B = np.asarray(~np.isnan(score_BE).any(axis=1))
    colours = emotion_colours(emotions)
    _shade(axes, edge_s, ~known_B, (1.0, 1.0))
    for first, last in runs(known_B):
        x = edge_s[first : last + 1]
        top = np.cumsum(score_BE[first:last], axis=1)
        below = np.zeros(last - first)
        for e, colour in enumerate(colours):
            axes.fill_between(x, _ended(below), _ended(top[:, e]), color=colour, lw=0)
            below = top[:, e]
    axes.set_ylim(0, max(1.0, float(np.nanmax(score_BE.sum(1), initial=0))))
    axes.tick_params(labelsize=7, length=2)
    axes.set_ylabel(
        f"face {face.face_id}" if len(course.faces) > 1 else "emotions",
        fontsize=7,
        color=COLOURS[lane] if len(course.faces) > 1 else INK,
    )
    axes.spines[["top", "right"]].set_visible(False)
    if lane == 0:
        from matplotlib.patches import Patch

        axes.legend(
            handles=[
                Patch(color=colour, label=plain(emotion)[:24])
                for colour, emotion in zip(colours, emotions, strict=True)
            ],
            ncols=1 if len(emotions) <= 9 else 2,
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            fontsize=6.5,
            frameon=False,
            handlelength=1.0,
        )
