"""Where the camera stands: from a head to its picture, and the picture laid about a face."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from jaxfacs.synthface.heads import Head, rotation
from jaxfacs.synthface.scene import Scene


@dataclass(frozen=True, eq=False)
class Lens:
    """A pinhole in front of the head: focal and shift_2 in samples, camera_z in the head's units.

    unit: the head's units per real centimetre.
    """

    focal: float
    camera_z: float
    shift_2: np.ndarray
    unit: float

    def inverse_depth(self, at_V3: np.ndarray) -> np.ndarray:
        return 1.0 / np.maximum(self.camera_z - at_V3[:, 2], 1e-3)

    def project(self, at_V3: np.ndarray, inverse_depth_V: np.ndarray) -> np.ndarray:
        """Placed points -> float32 V×2 samples, y down."""
        xy = np.empty((2, len(at_V3)), np.float32).T  # planar
        scale = self.focal * inverse_depth_V
        np.multiply(at_V3[:, 0], scale, out=xy[:, 0])
        np.multiply(at_V3[:, 1], -scale, out=xy[:, 1])
        xy += self.shift_2
        return xy


def lens(head: Head, neutral_V3: np.ndarray, view: Scene, unit: float, fine: int) -> Lens:
    """The camera of a scene.

    Args:
      head: the head model.
      neutral_V3: the person at rest.
      view: distance, fill and centre are used.
      unit: the head's units per real centimetre.
      fine: samples along a side of the picture.
    """
    marks = neutral_V3[head.landmarks_68]
    height = 1.5 * (marks[27, 1] - marks[8, 1])
    distance = view.distance * unit
    # The middle of the face is at the height of the tip of the nose, about.
    lift = view.fill * (marks[8, 1] + height / 2) / height
    shift_2 = (0.5 + view.centre_2[0], 0.5 + view.centre_2[1] + lift)
    return Lens(
        focal=float(view.fill * fine * distance / height),
        camera_z=float(marks[27, 2] + distance),
        shift_2=np.array(shift_2, np.float32) * np.float32(fine),
        unit=unit,
    )


Squares = Callable[[np.ndarray], np.ndarray]  # landmarks T×68×2 -> boxes T×4 (x, y, side, side)


def close_up(
    view: Scene, camera: Lens, about: Squares, marks_T68x3: np.ndarray, pose_T6: np.ndarray
) -> tuple[Scene, float]:
    """The same scene with the picture laid about a face; perspective stays as it was.

    Args:
      view: the scene.
      camera: its lens for a picture of one sample.
      about: the squares of the face, in whatever scale; the picture holds those of all frames.
      marks_T68x3: the landmarks in the head's coordinates.
      pose_T6: as in `render.draw`.

    Returns:
      the scene, and how many squares (the median one) the side of its picture is.
    """
    marks_T68x2 = []
    for marks, pose in zip(marks_T68x3, pose_T6, strict=True):
        at = marks @ rotation(pose[:3]).T
        at += np.asarray(pose[3:], np.float32) * np.float32(camera.unit)
        marks_T68x2.append(camera.project(at, camera.inverse_depth(at)))
    box_T4 = about(np.stack(marks_T68x2)).astype(np.float64)
    low, high = box_T4[:, :2].min(axis=0), (box_T4[:, :2] + box_T4[:, 2:]).max(axis=0)
    side = float((high - low).max())
    corner = (low + high - side) / 2
    centre_x, centre_y = ((0.5 + np.array(view.centre_2) - corner) / side - 0.5).tolist()
    # What is black at the edges of the whole picture is seen as far as the part reaches there.
    left, top, right, bottom = view.camera.border_4
    far = 1 - corner - side
    edges = ((left, corner[0]), (top, corner[1]), (right, far[0]), (bottom, far[1]))
    left, top, right, bottom = (
        float(np.clip((width - off) / side, 0, width)) for width, off in edges
    )
    close = dataclasses.replace(
        view,
        fill=view.fill / side,
        centre_2=(centre_x, centre_y),
        # The lens blurs the whole picture, of which this is a part.
        blur=view.blur / side,
        camera=dataclasses.replace(view.camera, border_4=(left, top, right, bottom)),
    )
    return close, side / float(np.median(box_T4[:, 2]))
