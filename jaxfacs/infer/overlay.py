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
_PANEL = 230  # px
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
    for face in reversed(result.faces):
        _draw_box(picture, face, aus, scale)
    panel = np.full((picture.shape[0], _PANEL, 3), _PAPER, np.uint8)
    _draw_panel(panel, result, aus, emotions)
    return np.concatenate([picture, panel], axis=1)


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
    layer = picture.copy()
    strength = np.zeros(picture.shape[:2], np.uint8)
    for label, present, intensity in zip(aus, face.present_A, face.intensity_A, strict=True):
        if not present:
            continue
        unit = facs.ACTION_UNITS.get(facs.split_label(label)[1])
        colour = _COLOURS.get(unit.region if unit else "", _INK)
        for cx, cy, rx, ry in regions(label):
            centre = (round(x + cx * w), round(y + cy * h))
            axes = (max(1, round(rx * w)), max(1, round(ry * h)))
            cv2.ellipse(layer, centre, axes, 0, 0, 360, colour, -1, cv2.LINE_AA)
            opacity = int(60 + 26 * min(float(intensity), 5.0))
            cv2.ellipse(strength, centre, axes, 0, 0, 360, opacity, -1, cv2.LINE_AA)
    share = cv2.GaussianBlur(strength, (0, 0), max(1.0, 0.015 * float(w)))[..., None] / 255
    picture[:] = np.round(picture * (1 - share) + layer * share).astype(np.uint8)


def _draw_box(picture: np.ndarray, face: FaceResult, aus: tuple[str, ...], scale: float) -> None:
    x, y, w, h = (round(float(v)) for v in face.box_4 * scale)
    colour = _BOX_COLOURS[face.face_id % len(_BOX_COLOURS)]
    thick = 2 if face.confidence > 0.5 else 1
    cv2.rectangle(picture, (x, y), (x + w, y + h), colour, thick, cv2.LINE_AA)
    active = [label for label, present in zip(aus, face.present_A, strict=True) if present]
    title = f"{face.face_id}: {'+'.join(active) or '0'}" if aus else str(face.face_id)
    _text(picture, title, (x, max(12, y - 6)), 0.45, colour)


def _draw_panel(
    panel: np.ndarray, result: FrameResult, aus: tuple[str, ...], emotions: tuple[str, ...]
) -> None:
    _text(panel, f"{result.timestamp:8.2f} s", (10, 18), 0.45, _INK)
    if not result.faces:
        _text(panel, "no face" if result.readable else "unreadable frame", (10, 40), 0.45, _FAINT)
        return
    face = result.faces[0]
    bars = [
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
    pitch = min(18.0, (panel.shape[0] - 34) / max(1, len(bars)))
    for i, (name, share, number, active, colour) in enumerate(bars):
        low = round(30 + i * pitch)
        high = max(low + 1, round(30 + (i + 1) * pitch) - 2)
        length = round(100 * min(max(share, 0.0), 1.0))
        cv2.rectangle(panel, (84, low), (184, high), (44, 47, 52), -1)
        if length:
            cv2.rectangle(panel, (84, low), (84 + length, high), colour if active else _FAINT, -1)
        ink, font = (_INK if active else (150, 154, 160)), min(0.42, pitch / 30)
        _text(panel, name[:11], (6, high - 2), font, ink)
        _text(panel, number, (189, high - 2), font, ink)


def _au_colour(label: str) -> tuple[int, int, int]:
    unit = facs.ACTION_UNITS.get(facs.split_label(label)[1])
    return _COLOURS.get(unit.region if unit else "", _INK)


def _text(picture: np.ndarray, text: str, at: tuple[int, int], size: float, colour) -> None:
    cv2.putText(picture, text, at, _FONT, size, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(picture, text, at, _FONT, size, colour, 1, cv2.LINE_AA)
