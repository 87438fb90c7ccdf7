"""The steps of preparing a face, by name: found, aligned, masked, cut to one size.

A preparation is a few words, kept with the record set, so that prediction does the same:

    where the face is   haar · PATH.onnx (YuNet) · boxes · landmarks (both given) · none (the
                        picture is a face crop already)
    how it is laid      box:MARGIN (the square around it, the default) · eyes-mouth · scc ·
                        openface (see `align.ALIGNMENTS`)
    what is blacked out ellipse (openface brings a mask of its own)

or the name of one of `PRESETS`, of which single words may be replaced: `me-graphau yunet.onnx`.
"""

import difflib
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from jaxfacs.errors import UserError
from jaxfacs.faces import align
from jaxfacs.faces.crop import crop
from jaxfacs.faces.detect import create
from jaxfacs.faces.points import AVERAGE_68x2, as_68

DETECTIONS = ("haar", "boxes", "landmarks", "none")
MASKS = ("ellipse",)
DEFAULT_MARGIN, DEFAULT_SIZE = 0.1, 112
# The smallest and largest crop, and the widest margin: beyond them somebody mistyped.
SIZES, MOST_MARGIN = (16, 1024), 2.0


@dataclass(frozen=True)
class Preset:
    """A preparation that has a name: its words, the side of its crops, and whose it is."""

    words: tuple[str, ...]
    size: int
    about: str


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "haar": Preset(("haar", "box:0.1"), 112, "square of the Haar cascade, 10 % wider a side"),
        "whole": Preset(("none",), 112, "the pictures are face crops already"),
        "me-graphau": Preset(
            ("landmarks", "eyes-mouth"), 256, "ME-GraphAU: eyes and mouth at fixed places"
        ),
        "scc": Preset(("landmarks", "scc"), 256, "SCC-Heatmap: chin and eye corners, affine"),
        # Their box is the face-alignment package's, forehead to chin, cut to its own width and
        # height and squeezed into a square (github.com/forever208/FMAE-IAT, issue 9). Ours is the
        # Haar cascade's square, or with `boxes` the given one, unsqueezed.
        "fmae-iat": Preset(("haar", "box:0.05"), 224, "FMAE-IAT: the box, 5 % wider a side"),
        "openface": Preset(
            ("landmarks", "openface"), 112, "OpenFace 2: similarity to its mean face, masked"
        ),
        # 227 px is what their network reads (their table 1); the margin is ours.
        "bocklisch": Preset(
            ("haar", "box:0.1", "ellipse"), 227, "Bocklisch et al. 2015: Haar square, ellipse"
        ),
    }
)


@dataclass(frozen=True)
class FaceSteps:
    """A preparation, understood. Make one with `parse`.

    Attributes:
      detection: one of `DETECTIONS` or the path of a YuNet .onnx file.
      alignment: "box" or one of `align.ALIGNMENTS`.
      margin: of "box": added on each side, as a share of the face's square.
      mask: one of `MASKS`, or "".
      size: side of the crop in pixels.
    """

    detection: str = "haar"
    alignment: str = "box"
    margin: float = DEFAULT_MARGIN
    mask: str = ""
    size: int = DEFAULT_SIZE

    @classmethod
    def parse(cls, words: Sequence[str], *, size: int = 0) -> "FaceSteps":
        """Reads the words, in any order; a preset's are replaced by those of the same kind.

        Args:
          words: steps and at most one preset; none of them: the preset "haar".
          size: side of the crop in pixels; 0: the preset's, or 112.

        Raises:
          UserError: a word that is no step, two that say the same, or words that do not go
            together.
        """
        presets = [word for word in words if word in PRESETS and word not in DETECTIONS]
        if len(presets) > 1:
            raise UserError(f"face steps {' and '.join(presets)} are both whole; give one of them")
        preset = PRESETS[presets[0]] if presets else None
        told: dict[str, str] = {}
        for word in words:
            if word in presets:
                continue
            kind = _kind(word)
            if kind in told:
                raise UserError(
                    f"face steps '{told[kind]}' and '{word}' both say {_SAYS[kind]}; give one"
                )
            told[kind] = word
        if preset is not None:
            told = {_kind(word): word for word in preset.words} | told
        alignment, _, margin = told.get("alignment", "box").partition(":")
        steps = cls(
            detection=told.get("detection", "haar"),
            alignment=alignment,
            margin=_margin(margin) if margin else DEFAULT_MARGIN,
            mask=told.get("mask", ""),
            size=size or (preset.size if preset is not None else DEFAULT_SIZE),
        )
        if steps.detection == "none" and "alignment" in told:
            raise UserError(
                f"face steps 'none' and '{told['alignment']}' do not go together: with 'none' the "
                "whole picture is the crop; name a detector, 'boxes' or 'landmarks'"
            )
        steps._check()
        return steps

    @classmethod
    def boxed(cls, name: str, *, margin: float = DEFAULT_MARGIN, size: int) -> "FaceSteps":
        """The square that a detector ("none": the whole picture) draws; loads the detector.

        Raises:
          UserError: there is no such detector, or a number is out of its range.
        """
        if name not in DETECTIONS:
            detector(name)
        steps = cls.parse((name,) if name == "none" else (name, f"box:{margin}"), size=size)
        steps.require()
        return steps

    @property
    def words(self) -> tuple[str, ...]:
        """The steps as they are stored: a detector's file by its name alone."""
        detection = Path(self.detection).name if self.finds else self.detection
        if self.detection == "none":
            laid = ()
        else:
            laid = (f"box:{self.margin:g}",) if self.alignment == "box" else (self.alignment,)
        return (detection, *laid, *((self.mask,) if self.mask else ()))

    @property
    def card(self) -> dict[str, object]:
        """What a record set keeps as its `crop`; JSON-able."""
        return {
            "detector": self.words[0],
            "margin": self.margin,
            "size": self.size,
            "steps": list(self.words),
        }

    @property
    def finds(self) -> bool:
        """Whether a detector looks for the face."""
        return self.detection == "haar" or _is_file(self.detection)

    @property
    def needs_known(self) -> bool:
        """Whether every frame needs given boxes or landmarks."""
        return self.detection in ("boxes", "landmarks")

    def require(self) -> None:
        """Loads the detector's files now, before hours of work; UserError where that fails."""
        if self.finds:
            detector(self.detection)

    def require_given(self, *, boxes: bool, points: Sequence[int] = ()) -> None:
        """Whether pictures that come with these can be prepared so.

        Args:
          boxes: whether face boxes come with them.
          points: the numbers of landmarks that come with them.

        Raises:
          UserError: something is missing; says what.
        """
        if self.needs_known and not (boxes if self.detection == "boxes" else points):
            raise UserError(
                f"face step '{self.detection}' needs {self.detection} that come with the pictures, "
                "and there are none; use 'haar' or a YuNet .onnx file"
            )
        if self.detection == "landmarks" and self.alignment != "box":
            for count in points:
                self._require_points(count)

    def _require_points(self, count: int) -> None:
        chosen = align.ALIGNMENTS[self.alignment]
        if not np.isfinite(chosen.points(np.zeros((count, 2)))).all():
            raise UserError(
                f"face step '{self.alignment}' needs {chosen.needs}; {count} landmarks are given; "
                "use 'eyes-mouth' or 'box:0.1'"
            )

    def matrix(self, points_K2: np.ndarray) -> np.ndarray | None:
        """Of an aligned face's landmarks; None where they lie in one spot or hold NaN.

        Raises:
          UserError: the landmarks do not hold what the alignment needs.
        """
        self._require_points(len(points_K2))
        return align.ALIGNMENTS[self.alignment].matrix(points_K2, self.size)

    def typical(self, box_4: np.ndarray) -> np.ndarray | None:
        """The matrix that an upright average face in this square would get."""
        side = float(np.max(box_4[2:]))
        corner_2 = np.asarray(box_4[:2], np.float64) + (np.asarray(box_4[2:]) - side) / 2
        return self.matrix(corner_2 + side * AVERAGE_68x2)

    def cut(
        self,
        frame_HWC: np.ndarray,
        box_4: np.ndarray,
        points_K2: np.ndarray | None = None,
        *,
        matrix_23: np.ndarray | None = None,
        margin: float | None = None,
    ) -> np.ndarray:
        """The crop itself, uint8 size×size×3.

        Args:
          frame_HWC: uint8 RGB.
          box_4: the face's square, which `box` cuts.
          points_K2: the landmarks in the frame, for a mask that follows them; None: those of an
            average face.
          matrix_23: of an aligned face; None: the square is cut.
          margin: in place of the steps' own.
        """
        size = self.size
        if matrix_23 is None:
            wide = self.margin if margin is None else margin
            cut = crop(frame_HWC, box_4, size=size, margin=wide)
        else:
            cut = align.warp(frame_HWC, matrix_23, size)
        if self.mask == "ellipse":
            return align.masked(cut, align.ellipse(size))
        chosen = align.ALIGNMENTS.get(self.alignment)
        if chosen is None or chosen.lift is None:
            return cut
        ratio = size / chosen.side
        if matrix_23 is None or points_K2 is None:
            points = align.OPENFACE_68x2 * ratio
        else:
            points = align.moved(matrix_23, as_68(points_K2))
        return align.masked(cut, align.hull(points, size, chosen.lift * ratio))

    def _check(self) -> None:
        low, high = SIZES
        if not low <= self.size <= high:
            raise UserError(f"face crops of {self.size} pixels; give --size {low} to {high}")
        if self.alignment == "box":
            return
        chosen = align.ALIGNMENTS[self.alignment]
        if _is_file(self.detection) and not chosen.from_5:
            raise UserError(
                f"face step '{self.alignment}' needs {chosen.needs}, and YuNet finds 5 points; "
                "give them with the step 'landmarks', or use 'eyes-mouth'"
            )
        if self.detection in ("haar", "boxes"):
            remedy = " or a YuNet .onnx file" if chosen.from_5 else ""
            raise UserError(
                f"face step '{self.alignment}' needs {chosen.needs}, which '{self.detection}' "
                f"does not give; use the step 'landmarks'{remedy}"
            )
        if self.mask and chosen.lift is not None:
            raise UserError(
                f"face step '{self.alignment}' brings a mask of its own; leave out '{self.mask}'"
            )


_SAYS = {
    "detection": "where the face is",
    "alignment": "how it is laid",
    "mask": "what is blacked out",
}


def _is_file(word: str) -> bool:
    return word.lower().endswith(".onnx")


def _kind(word: str) -> str:
    """Which of `_SAYS` the word is about."""
    name = word.partition(":")[0]
    if word in DETECTIONS or _is_file(word):
        return "detection"
    if word in align.ALIGNMENTS or name == "box":
        return "alignment"
    if word in MASKS:
        return "mask"
    known = (*PRESETS, *DETECTIONS, "FILE.onnx", "box:0.1", *align.ALIGNMENTS, *MASKS)
    near = difflib.get_close_matches(word, known, n=2, cutoff=0.5)
    hint = (
        f"did you mean {' or '.join(near)}?" if near else f"use {', '.join(dict.fromkeys(known))}"
    )
    raise UserError(f"no face step '{word}'; {hint}")


def _margin(text: str) -> float:
    try:
        margin = float(text)
    except ValueError:
        margin = -1.0
    if not 0 <= margin <= MOST_MARGIN:
        raise UserError(
            f"face step 'box:{text}': the margin is a share of the box, 0 to {MOST_MARGIN:g}"
        )
    return float(f"{margin:g}")  # exactly what `words` says


# Loading three cascades takes longer than searching one picture.
detector = functools.cache(create)
