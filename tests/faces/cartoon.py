"""A drawn face, so that tests need no real one."""

import cv2
import numpy as np


def cartoon_face(size: int = 240, centre=(120, 120), side: int = 110) -> np.ndarray:
    """A face that the cascades accept: skin, dark brows and eyes, nose shadow, mouth."""
    picture = np.full((size, size, 3), (150, 160, 175), np.uint8)
    x, y, u = centre[0], centre[1], side / 110
    skin, dark = (205, 165, 140), (60, 40, 35)

    def ellipse(dx, dy, w, h, colour):
        place = (round(x + u * dx), round(y + u * dy))
        cv2.ellipse(
            picture, place, (round(u * w), round(u * h)), 0, 0, 360, colour, -1, cv2.LINE_AA
        )

    ellipse(0, -18, 58, 78, dark)
    ellipse(0, 5, 50, 70, skin)
    for s in (-1, 1):
        ellipse(22 * s, -28, 16, 4, dark)
        ellipse(22 * s, -14, 13, 8, (170, 120, 100))
        ellipse(22 * s, -13, 10, 5, (235, 235, 235))
        ellipse(22 * s, -13, 5, 5, dark)
        ellipse(24 * s, 14, 14, 10, (220, 180, 155))
    ellipse(0, 16, 10, 5, (165, 120, 100))
    ellipse(0, 38, 20, 6, (140, 60, 60))
    return cv2.GaussianBlur(picture, (0, 0), 2 * u)
