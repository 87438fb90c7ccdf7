"""Drawing what was read onto its frame: boxes, ids, AU bars, active regions of the face."""

from collections.abc import Iterator

import cv2
import numpy as np

from jaxfacs import facs
from jaxfacs.infer.results import FaceResult, FrameResult

# Where an AU shows, as ellipses (centre x, centre y, radius x, radius y) in shares of the face's
# square, in which the eyes lie at x 0.31 and 0.69, y 0.39 and the mouth at (0.5, 0.78): medians
# over 143 real faces. Paired regions are given for the picture's left half, the SUBJECT'S
# RIGHT, and mirrored for the other; centred ones have centre x 0.5.
_MOUTH = (0.5, 0.78, 0.18, 0.09)
_EYE = (0.31, 0.39, 0.12, 0.06)
_REGIONS: dict[int, tuple[tuple[float, float, float, float], ...]] = {
    1: ((0.40, 0.25, 0.08, 0.05),),
    2: ((0.22, 0.26, 0.08, 0.05),),
    4: ((0.5, 0.28, 0.10, 0.06), (0.36, 0.28, 0.09, 0.04)),
    5: ((0.31, 0.35, 0.11, 0.04),),
    6: ((0.26, 0.50, 0.12, 0.06),),
    7: (_EYE,),
    9: ((0.5, 0.46, 0.10, 0.08), (0.42, 0.58, 0.05, 0.05)),
    10: ((0.42, 0.68, 0.08, 0.05),),
    11: ((0.36, 0.64, 0.05, 0.07),),
    12: ((0.32, 0.76, 0.07, 0.07),),
    13: ((0.32, 0.71, 0.06, 0.07),),
    14: ((0.30, 0.79, 0.05, 0.05),),
    15: ((0.34, 0.85, 0.06, 0.06),),
    16: ((0.5, 0.87, 0.12, 0.05),),
    17: ((0.5, 0.96, 0.14, 0.06),),
    20: ((0.30, 0.79, 0.08, 0.05),),
    21: ((0.30, 1.08, 0.12, 0.08),),
    26: ((0.5, 0.96, 0.20, 0.09),),
    27: ((0.5, 0.94, 0.22, 0.12),),
    33: ((0.24, 0.72, 0.10, 0.10),),
    34: ((0.24, 0.72, 0.10, 0.10),),
    35: ((0.24, 0.72, 0.08, 0.10),),
    38: ((0.43, 0.60, 0.05, 0.04),),
    39: ((0.43, 0.60, 0.05, 0.04),),
    43: (_EYE,),
    45: (_EYE,),
    46: (_EYE,),
}
# AUs that are not listed: of the lower face about the mouth, of the upper on the forehead.
_BY_REGION = {"lower": (_MOUTH,), "upper": ((0.36, 0.20, 0.16, 0.06),)}
_COLOURS = {"upper": (64, 160, 255), "lower": (255, 112, 64)}  # RGB
_INK, _PAPER, _FAINT = (235, 235, 235), (24, 26, 30), (90, 94, 100)
_BOX_COLOURS = ((80, 220, 120), (255, 200, 60), (120, 170, 255), (240, 120, 200))
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_PANEL = 230  # px, a column of the panel
_MOST_COLUMNS = 2
_PITCH, _LEAST_PITCH = 18.0, 13.0  # px from bar to bar: a smaller one cannot be read
_HEAD = 34  # px above the bars
_ZOOMED = 720  # px: in higher pictures letters and lines grow with the height
# The frame is brought between these heights, and below this width; 480 px hold forty bars.
_LOWEST, _HIGHEST, _WIDEST = 480, 1080, 1920


def draw(
    frame_HWC: np.ndarray, result: FrameResult, *, aus: tuple[str, ...], emotions: tuple[str, ...]
) -> np.ndarray:
    """The frame with its results and a panel of bars for its largest face; RGB uint8, even sides.

    A frame's result belongs to its own picture: boxes are in its pixels.
    """
    height, width = frame_HWC.shape[:2]
    scale = min(max(1.0, _LOWEST / height), _HIGHEST / height, _WIDEST / width)
    size = tuple(2 * max(1, round(n * scale / 2)) for n in (width, height))
    picture = cv2.resize(frame_HWC, size, interpolation=cv2.INTER_AREA if scale < 1 else 1)
    missing = max(0, _LOWEST - picture.shape[0])  # of a very wide picture
    picture = cv2.copyMakeBorder(picture, 0, missing, 0, 0, cv2.BORDER_CONSTANT, value=_PAPER)
    for face in result.faces:
        _draw_regions(picture, face, aus, scale)
    zoom = max(1.0, picture.shape[0] / _ZOOMED)
    for face in reversed(result.faces):
        _draw_box(picture, face, scale, zoom)
    taken: list[tuple[int, int, int, int]] = []
    for face in result.faces:
        _draw_title(picture, face, aus, scale, taken, zoom)
    columns = _columns(picture.shape[0] / zoom, len(aus) + 2 + len(emotions))
    width = 2 * round(columns * _PANEL * zoom / 2)
    panel = np.full((picture.shape[0], width, 3), _PAPER, np.uint8)
    _draw_panel(panel, result, aus, emotions, columns, zoom)
    return np.concatenate([picture, panel], axis=1)


def _columns(height: float, bars: int) -> int:
    """Columns of the panel; the same for every frame of a film."""
    return min(_MOST_COLUMNS, max(1, -(-bars // _in_column(height))))


def _in_column(height: float) -> int:
    return max(1, int((height - _HEAD) / _LEAST_PITCH))


def regions(label: str) -> Iterator[tuple[float, float, float, float]]:
    """The ellipses of an AU label in shares of the face's square; none for gaze and head codes."""
    side, number = facs.split_label(label)
    unit = facs.ACTION_UNITS.get(number)
    given = _REGIONS.get(number) or _BY_REGION.get(unit.region if unit else "", ())
    for x, y, rx, ry in given:
        if side != "L":
            yield x, y, rx, ry
        if side != "R" and x != 0.5:
            yield 1 - x, y, rx, ry
        elif side == "L":
            yield x, y, rx, ry


def _draw_regions(
    picture: np.ndarray, face: FaceResult, aus: tuple[str, ...], scale: float
) -> None:
    x, y, w, h = face.box_4 * scale
    if not face.present_A.any() or not (w >= 1 and h >= 1):
        return
    # Only about the face is anything mixed: a 1080p frame would take ten times as long.
    left, top = max(0, int(x - 0.1 * w)), max(0, int(y - 0.1 * h))
    part = picture[top : max(0, int(y + 1.25 * h)), left : max(0, int(x + 1.1 * w))]
    if not part.size:
        return
    layer, strength = part.copy(), np.zeros(part.shape[:2], np.uint8)
    for label, present, intensity in zip(aus, face.present_A, face.intensity_A, strict=True):
        if not present:
            continue
        colour = _au_colour(label)
        for cx, cy, rx, ry in regions(label):
            centre = (round(x + cx * w) - left, round(y + cy * h) - top)
            axes = (max(1, round(rx * w)), max(1, round(ry * h)))
            cv2.ellipse(layer, centre, axes, 0, 0, 360, colour, -1, cv2.LINE_AA)
            opacity = int(60 + 26 * min(float(intensity), 5.0))
            cv2.ellipse(strength, centre, axes, 0, 0, 360, opacity, -1, cv2.LINE_AA)
    share = cv2.GaussianBlur(strength, (0, 0), max(1.0, 0.015 * float(w)))
    share = share.astype(np.float32)[..., None] / 255
    part[:] = np.round(part * (1 - share) + layer * share).astype(np.uint8)


def _draw_box(picture: np.ndarray, face: FaceResult, scale: float, zoom: float) -> None:
    x, y, w, h = (round(float(v)) for v in face.box_4 * scale)
    colour = _BOX_COLOURS[face.face_id % len(_BOX_COLOURS)]
    thick = round((2 if face.confidence > 0.5 else 1) * zoom)
    cv2.rectangle(picture, (x, y), (x + w, y + h), colour, thick, cv2.LINE_AA)


def _draw_title(
    picture: np.ndarray,
    face: FaceResult,
    aus: tuple[str, ...],
    scale: float,
    taken: list[tuple[int, int, int, int]],
    zoom: float = 1.0,
) -> None:
    """The face's id and AUs above its box, or where no other face's title is, within the frame."""
    x, y, _, h = (round(float(v)) for v in face.box_4 * scale)
    active = [label for label, present in zip(aus, face.present_A, strict=True) if present]
    active = [a for a in active if a[0] not in "LR" or a[1:] not in active]  # said with the whole
    height, width = picture.shape[:2]
    start = f"{face.face_id}: " if active else f"{face.face_id}: 0" if aus else str(face.face_id)
    text, (text_width, text_height) = _fitting(start, active, width - 4, 0.45 * zoom)
    x = max(2, min(x, width - text_width - 4))
    step = text_height + 8
    turns = range(1, 7)
    places = [y - 6, *(y - 6 - n * step for n in turns), *(y + h + n * step for n in turns)]
    for low in places:
        spot = (x - 2, low - text_height - 3, x + text_width + 2, low + 4)
        inside = spot[1] >= 0 and spot[3] < height
        if inside and not any(_overlap(spot, other) for other in taken):
            break
    else:
        low = max(text_height + 4, min(places[0], height - 5))
        spot = (x - 2, low - text_height - 3, x + text_width + 2, low + 4)
    taken.append(spot)
    ground = picture[max(0, spot[1]) : spot[3], max(0, spot[0]) : spot[2]]
    ground[:] = (ground * 0.35).astype(np.uint8)
    colour = _BOX_COLOURS[face.face_id % len(_BOX_COLOURS)]
    _text(picture, text, (x, low), 0.45 * zoom, colour)


def _fitting(start: str, active: list[str], room: int, size: float) -> tuple[str, tuple[int, int]]:
    """As many of the AUs as the width has room for, and the text's size in pixels."""
    for count in range(len(active), -1, -1):
        names = "+".join(active[:count])
        text = start + names + ("+..." if count < len(active) else "")
        width, height = cv2.getTextSize(text, _FONT, size, 1)[0]
        if width <= room:
            break
    return text, (width, height)


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _draw_panel(
    panel: np.ndarray,
    result: FrameResult,
    aus: tuple[str, ...],
    emotions: tuple[str, ...],
    columns: int,
    zoom: float,
) -> None:
    def write(text: str, x: float, y: float, size: float, ink: tuple[int, int, int]) -> None:
        _text(panel, text, (round(x * zoom), round(y * zoom)), size * zoom, ink)

    height = panel.shape[0] / zoom
    time = "" if np.isnan(result.timestamp) else f"{result.timestamp:.2f} s"
    if not result.faces:
        write(time, 10, 20, 0.45, _INK)
        write("no face" if result.readable else "unreadable frame", 10, 42, 0.45, _FAINT)
        return
    face = result.faces[0]
    write(f"{time}   face {face.face_id}" if len(result.faces) > 1 else time, 10, 20, 0.45, _INK)
    bars = _bars(face, aus, emotions)
    room = columns * _in_column(height)
    if len(bars) > room:  # a long list in a low picture: the weakest are left out, order is kept
        weakest = sorted(range(len(bars)), key=lambda n: (bars[n][3], bars[n][1]))
        left_out = set(weakest[: len(bars) - room])
        bars = [bar for n, bar in enumerate(bars) if n not in left_out]
        write(f"{len(left_out)} weaker ones not shown", _PANEL - 60, 20, 0.38, _FAINT)
    rows = -(-len(bars) // columns)
    pitch = min(_PITCH, (height - _HEAD) / max(1, rows))
    for n, bar in enumerate(bars):
        left = round(_PANEL * (n // rows) * zoom)
        _draw_bar(panel[:, left:], _HEAD - 4 + n % rows * pitch, pitch, zoom, *bar)


def _bars(face: FaceResult, aus: tuple[str, ...], emotions: tuple[str, ...]) -> list[tuple]:
    """(name, length 0-1, number, whether it is lit, colour) of everything that is told."""
    bars: list[tuple] = [
        (facs.column(label, "r")[:-2], r / 5, f"{r:.2f}", bool(c), _au_colour(label))
        for label, r, c in zip(aus, face.intensity_A, face.present_A, strict=True)
    ]
    if face.valence_arousal_2 is not None:
        bars += [
            (name, (1 + float(v)) / 2, f"{v:+.2f}", True, _INK)
            for name, v in zip(("valence", "arousal"), face.valence_arousal_2, strict=True)
        ]
    top = int(np.argmax(face.emotion_E)) if emotions else -1
    bars += [
        (name, float(v), f"{v:.2f}", i == top and v > 0, (150, 220, 150))
        for i, (name, v) in enumerate(zip(emotions, face.emotion_E, strict=True))
    ]
    return bars


def _draw_bar(
    panel: np.ndarray,
    top: float,
    pitch: float,
    zoom: float,
    name: str,
    share: float,
    number: str,
    lit: bool,
    colour: tuple[int, int, int],
) -> None:
    """One line of the panel; lengths are those of a low picture, times `zoom`."""
    low = round(top * zoom)
    high = max(low + 1, round((top + pitch - 2) * zoom))
    first, last = round(84 * zoom), round(184 * zoom)
    length = round((last - first) * min(max(share, 0.0), 1.0))
    cv2.rectangle(panel, (first, low), (last, high), (44, 47, 52), -1)
    if length:
        cv2.rectangle(panel, (first, low), (first + length, high), colour if lit else _FAINT, -1)
    ink, font = (_INK if lit else (150, 154, 160)), min(0.4, pitch / 33) * zoom
    printable = name.encode("ascii", "replace").decode()  # OpenCV's letters are ASCII
    _text(panel, printable[:11], (round(6 * zoom), high - 2), font, ink)
    _text(panel, number, (round(187 * zoom), high - 2), font, ink)


def _au_colour(label: str) -> tuple[int, int, int]:
    unit = facs.ACTION_UNITS.get(facs.split_label(label)[1])
    return _COLOURS.get(unit.region if unit else "", _INK)


def _text(
    picture: np.ndarray, text: str, at: tuple[int, int], size: float, colour: tuple[int, int, int]
) -> None:
    cv2.putText(picture, text, at, _FONT, size, colour, 1, cv2.LINE_AA)
