"""What a server sent as a picture: decoded whole, and made an upright RGB JPEG where it is none."""

import io
import os
import threading
from dataclasses import dataclass

from PIL import Image, ImageOps

from jaxfacs.data.download_request import Body, Failure

# Pillow knows many more; some start other programs, and none is on the web as a photograph.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP")
MIN_SIDE = 16  # below: counting pixels and spacers, no face
QUALITY = 95
_ORIENTATION = 0x0112  # EXIF 2.32, table 4
_UPRIGHT = 1
# A picture of 50 megapixels takes some 300 MB while it is converted: one a core at a time.
_decoding = threading.BoundedSemaphore(os.cpu_count() or 1)


@dataclass(frozen=True)
class Picture:
    """A JPEG as it is stored; `original` is the format that was sent, "JPEG" also where the bytes
    had to be written anew (`converted`)."""

    data: bytes
    width: int
    height: int
    original: str
    converted: bool


def verified(body: Body, *, max_pixels: int) -> Picture:
    """Decodes all of a picture (of an animation the first frame) and returns it as JPEG.

    An upright JPEG in RGB or grey stays as it is, byte for byte. Others are written anew in
    quality 95 without thinning of colour: rotated as EXIF says, transparent parts on white, CMYK as
    RGB. The same bytes in give the same bytes out.

    Raises:
      Failure: "empty", "HTML page", "not a picture", "damaged picture", "too many pixels" or
        "tiny picture".
    """
    if not body.data:
        raise Failure("empty", "0 bytes", code=200)
    with _decoding:
        try:
            return _jpeg(body.data, max_pixels)
        except Failure:
            raise
        except Image.DecompressionBombError as error:
            raise Failure("too many pixels", str(error), code=200) from error
        except Exception as error:  # Pillow raises whatever its many decoders do
            raise _unreadable(body, error) from error


def _unreadable(body: Body, error: Exception) -> Failure:
    start = body.data[:512].lstrip()
    text = start.lower()
    if body.content_type == "text/html" or text.startswith((b"<!doctype html", b"<html")):
        return Failure("HTML page", f"{body.content_type}, {len(body.data)} bytes", code=200)
    if start.startswith((b"\xff\xd8", b"\x89PNG", b"GIF8", b"RIFF", b"BM")):
        # Without an announced length a broken connection looks like the end: worth another try.
        message = f"{type(error).__name__}: {error}"[:200]
        return Failure("damaged picture", message, code=200, passing=not body.whole)
    return Failure("not a picture", f"{body.content_type}, begins {start[:16]!r}", code=200)


def _jpeg(data: bytes, max_pixels: int) -> Picture:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise Failure("too many pixels", f"{width}×{height}", code=200)
        image.load()
        if min(width, height) < MIN_SIDE:
            raise Failure("tiny picture", f"{width}×{height}", code=200)
        original = "JPEG" if image.format == "MPO" else str(image.format)
        if original == "JPEG" and image.mode in ("RGB", "L") and _orientation(image) == _UPRIGHT:
            return Picture(data, width, height, original, converted=False)
        upright = _rgb(image) if _orientation(image) == _UPRIGHT else _rgb(_transposed(image))
    buffer = io.BytesIO()
    upright.save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return Picture(buffer.getvalue(), *upright.size, original, converted=True)


def _orientation(image: Image.Image) -> int:
    """1 to 8 as in EXIF; anything else, and EXIF that cannot be read, counts as upright."""
    try:
        value = image.getexif().get(_ORIENTATION, _UPRIGHT)
    except Exception:
        return _UPRIGHT
    return value if value in range(1, 9) else _UPRIGHT


def _transposed(image: Image.Image) -> Image.Image:
    return ImageOps.exif_transpose(image)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits of grey, which `convert` would clip
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
