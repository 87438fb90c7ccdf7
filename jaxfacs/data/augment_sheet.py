"""Every random change that training may make, drawn on one face: what does the network see?"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from jaxfacs.data import rows, transforms
from jaxfacs.data.config import BOCKLISCH, NO_AUGMENT, Augment, DataConfig
from jaxfacs.data.records import RecordSet
from jaxfacs.data.schema import Clip
from jaxfacs.data.transforms import YIQ, Draw
from jaxfacs.errors import UserError
from jaxfacs.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWS = 64  # thrown for each option, of which a row shows SHOWN from the weakest to the strongest
SHOWN = 7
LOOKED_AT = 8  # clips, for one in which the face was found
# Of the sheet, in pixels: a picture, the room above it for its words, the room left for the option.
CELL, WORDS, NAME, GAP = 128, 16, 150, 5
COLUMNS = 2  # of options

Cell = tuple[np.ndarray, str]


@dataclass(frozen=True)
class Option:
    """A row of the sheet: what is switched on, and what a draw of it is called."""

    values: dict[str, Any]
    say: Callable[[Draw], str]


def _matrix(drawn: Draw) -> np.ndarray:
    return np.eye(3, 4) if drawn.colour_3x4 is None else drawn.colour_3x4


def _brightness(drawn: Draw) -> str:
    return f"{_matrix(drawn)[0, 3] / 255:+.0%}"


def _hue(drawn: Draw) -> str:
    turn = YIQ @ _matrix(drawn)[:, :3] @ np.linalg.inv(YIQ)
    return f"{np.degrees(np.arctan2(turn[2, 1], turn[1, 1])):+.0f}°"


def _tint(drawn: Draw) -> str:
    return "RGB " + " ".join(f"{gain:.2f}" for gain in _matrix(drawn)[:, :3].sum(1))


_USUAL = Augment()
# Probabilities are 1 and sizes those of `Augment`; what is off there has the size that papers use.
OPTIONS = {
    "flip": Option({"flip": 1.0}, lambda _: "mirrored"),
    "crop": Option({"crop": 0.875}, lambda d: f"at {d.crop[0]:.0%}, {d.crop[1]:.0%}"),
    "zoom": Option({"zoom": _USUAL.zoom}, lambda d: f"× {d.zoom:.2f}"),
    "shift": Option(
        {"shift": _USUAL.shift}, lambda d: "{:+.1%}, {:+.1%}".format(*d.shift_2.tolist())
    ),
    "rotate": Option({"rotate": _USUAL.rotate}, lambda d: f"{d.tilt:+.1f}°"),
    "tilts": Option({"tilts": BOCKLISCH.tilts}, lambda d: f"{d.tilt:+.0f}°"),
    "brightness": Option({"brightness": _USUAL.brightness}, _brightness),
    "brightness_steps": Option({"brightness_steps": BOCKLISCH.brightness_steps}, _brightness),
    "contrast": Option({"contrast": _USUAL.contrast}, lambda d: f"× {_matrix(d)[0, 0]:.2f}"),
    "saturation": Option(
        {"saturation": _USUAL.saturation}, lambda d: f"× {_matrix(d)[0, 0] - _matrix(d)[1, 0]:.2f}"
    ),
    "hue": Option({"hue": 18.0}, _hue),
    "tint": Option({"tint": _USUAL.tint}, _tint),
    "grey": Option({"grey": 1.0}, lambda _: "no colour"),
    "noise": Option({"noise": _USUAL.noise}, lambda d: f"σ {d.noise:.1f}"),
    "blur": Option({"blur": 1.0}, lambda d: f"σ {d.blur:.1f} px"),
    "jpeg": Option({"jpeg": 1.0}, lambda d: f"quality {d.jpeg}"),
    "cutout": Option(
        {"cutout": 1.0, "cutout_size": _USUAL.cutout_size},
        lambda d: f"{d.cut[2]:.0%} of the side" if d.cut else "",
    ),
}
ALL = {"hue": 18.0, "jpeg": 0.5, "crop": 0.875, "blur": 0.3, "cutout": 0.3}
PRESETS = {
    "as by default": _USUAL,
    "Bocklisch's": BOCKLISCH,
    "all together": replace(_USUAL, **ALL),
}
STRIDES, JITTER, MIXUP = (1, 2, 3), 1, 0.4


def write(records: RecordSet, path: Path) -> Path:
    """Writes the sheet as a PNG; returns `path`.

    One row an option, each alone: the picture as it is, and draws from the weakest to the strongest
    of many, with what was drawn. Then presets, mix-up, and the two that move frames in time.

    Raises:
      UserError: the set has no training clips that can be read, or the file cannot be written.
    """
    clips = _clips(records)
    picture = _middle(clips[0])
    table = {
        f"{name}\n{_written(option.values)}": _row(picture, option.values, option.say)
        for name, option in OPTIONS.items()
    }
    table |= {
        f"{name}\n{words}": _row(picture, preset, lambda _: "")
        for (name, preset), words in zip(
            PRESETS.items(), ("Augment()", "BOCKLISCH", _written(ALL)), strict=True
        )
    }
    table[f"mixup\n{MIXUP}"] = _mixed(picture, _middle(clips[-1]))
    if len(clips[0].frames) > 1:
        for name, value in (("strides", STRIDES), ("temporal_jitter", JITTER)):
            table[f"{name}\n{value}"] = _in_time(clips[0], {name: value})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            # At the usual effort compression takes longer than all else.
            _drawn(table, records.name).savefig(partial, dpi=100, pil_kwargs={"compress_level": 1})
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}); choose another --out"
        ) from error
    return path


def _clips(records: RecordSet) -> list[Clip]:
    """Two clips, of two subjects if there are two, whose middle frame has a face."""
    split = next(iter(records.splits))
    some = [records.clip(split, i) for i in range(min(LOOKED_AT, records.splits[split]))]
    found = [clip for clip in some if clip.found_T[len(clip.frames) // 2]] or some
    other = [clip for clip in found if clip.subject != found[0].subject] or found
    return [found[0], other[-1]]


def _middle(clip: Clip) -> np.ndarray:
    return _picture(clip, len(clip.frames) // 2)


def _picture(clip: Clip, place: int) -> np.ndarray:
    frame = cv2.imdecode(np.frombuffer(clip.frames[place], np.uint8), cv2.IMREAD_COLOR_RGB)
    if frame is None:
        raise UserError(f"frame {place} of {clip.clip_id} does not decode; build the set again")
    return frame


def _row(
    picture: np.ndarray, values: dict[str, Any] | Augment, say: Callable[[Draw], str]
) -> list[Cell]:
    augment = values if isinstance(values, Augment) else replace(NO_AUGMENT, **values)
    size = picture.shape[0]
    cells: dict[bytes, tuple[float, np.ndarray, str]] = {}
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        drawn = transforms.draw(augment, rng)
        seen = transforms.apply([picture], drawn, size=size, rng=rng)[0]
        difference = float(np.abs(seen.astype(np.int16) - picture).mean())
        cells[seen.tobytes()] = (difference, seen, say(drawn))
    ranked = sorted(cells.values(), key=lambda cell: cell[0])
    places = np.unique(np.linspace(0, len(ranked) - 1, SHOWN).round().astype(int)).tolist()
    return [(picture, "as it is"), *((ranked[i][1], ranked[i][2]) for i in places)]


def _mixed(picture: np.ndarray, other: np.ndarray) -> list[Cell]:
    drawn = np.random.default_rng(0).beta(MIXUP, MIXUP, 1000)
    shares = np.quantile(drawn, np.linspace(0.9, 0.1, SHOWN - 1)).tolist()
    blends = [cv2.addWeighted(picture, share, other, 1 - share, 0) for share in shares]
    named = [(blend, f"{share:.0%} of it") for blend, share in zip(blends, shares, strict=True)]
    return [(picture, "as it is"), *named, (other, "the other")]


def _in_time(clip: Clip, values: dict[str, Any]) -> list[Cell]:
    """The frames of one clip of the network."""
    rng = np.random.default_rng(1)
    config = DataConfig(frames=SHOWN + 1, augment=NO_AUGMENT, **values)
    _, places_T = rows.random_places(len(clip.frames), config, rng)
    inside = [place for place in places_T.tolist() if place < len(clip.frames)]
    return [(_picture(clip, place), f"frame {place}") for place in inside]


def _written(values: dict[str, Any]) -> str:
    def short(value: Any) -> str:
        if isinstance(value, tuple):
            return "(" + ", ".join(short(v) for v in value) + ")"
        return f"{value:.3g}"

    if len(values) == 1:
        return short(next(iter(values.values())))
    return "\n".join(f"{name} {short(value)}" for name, value in values.items())


def _drawn(table: dict[str, list[Cell]], name: str) -> "Figure":
    """One picture with words on it: a matplotlib axes for each cell would take ten seconds."""
    from matplotlib.figure import Figure

    lines = -(-len(table) // COLUMNS)
    step_y, step_x = CELL + WORDS + GAP, CELL + GAP
    width, height = NAME + (SHOWN + 1) * step_x + 4 * GAP, lines * step_y
    sheet = np.full((height + 2 * WORDS, COLUMNS * width, 3), 255, np.uint8)
    figure = Figure(figsize=(sheet.shape[1] / 100, sheet.shape[0] / 100), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.text(GAP, WORDS, f"{name}: augmentation, from weaker to stronger draws", fontsize=11)
    for i, (title, cells) in enumerate(table.items()):
        left, top = width * (i // lines) + GAP, 2 * WORDS + step_y * (i % lines)
        option, _, value = title.partition("\n")
        axes.text(left, top + WORDS + 14, option, fontsize=9, weight="bold")
        axes.text(left, top + WORDS + 22, value, fontsize=7, va="top")
        for j, (picture, words) in enumerate(cells):
            x, y = left + NAME + j * step_x, top + WORDS
            transforms.resize(picture, CELL, sheet[y : y + CELL, x : x + CELL])
            axes.text(x + CELL / 2, y - 4, words, fontsize=7, ha="center")
    axes.imshow(sheet)
    return figure
