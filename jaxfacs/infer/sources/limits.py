"""How much of one input is read at most, in one place: beyond these it is refused by name."""

from jaxfacs.errors import UserError

# 8K (7680×4320) is 33 million pixels, a 200-megapixel telephone bins to 50. One such frame takes
# 200 MB as RGB; what claims more is a mistake or an attack.
MAX_PIXELS = 8192 * 8192
MAX_SIDE = 16_384
MAX_PICTURE_BYTES = 512 << 20
MAX_JPEG_BYTES = 64 << 20  # of one picture of a pipe: more is no camera's frame
MAX_RATE = 10_000  # frames a second; a header that says more is nonsense
MAX_WARNINGS = 20  # of one source; the rest is counted


def too_large(width: float, height: float) -> bool:
    """Whether frames of this size are refused."""
    return width * height > MAX_PIXELS or max(width, height) > MAX_SIDE


def refuse_large(name: object, width: float, height: float) -> None:
    """Raises UserError for a picture or film whose frames are too large to be read."""
    if too_large(width, height):
        raise UserError(
            f"{name} is {width:.0f}×{height:.0f} pixels; at most {MAX_PIXELS / 1e6:.0f} million, "
            f"and {MAX_SIDE} on a side, are read; make it smaller: ffmpeg -i IN -vf scale=1920:-2 "
            "OUT"
        )
