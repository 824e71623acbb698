"""Decode PNG and JPEG files as a viewer shows them, within the memory limits in `deploy/`.

Files that programs show differently are refused. Colour profiles are ignored.
"""

import io
from contextlib import suppress

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from ..refusal import Refusal

KEPT_PX = 512
MAX_SIDE_PX = 8192
MAX_DECODED_BYTES = 50_000_000  # of one image while decoding; the header is checked before
BACKGROUND = "white"  # behind transparent pixels, as on a web page
ORIENTATION = 0x0112  # in EXIF data
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = {5, 6, 7, 8}  # width and height are swapped


def read_image(payload: bytes, kept_px: int = KEPT_PX) -> Image.Image:
    """Return the first frame of a PNG or JPEG file, upright and in RGB.

    The longer side of large images is reduced to between `kept_px` and twice as many pixels.
    `info["size_px"]` is the upright size before. The result needs up to `16 * kept_px**2` bytes.

    Raises:
        Refusal: it is another format, damaged, ambiguous, or too large.
    """
    try:
        image, coefficient_bytes = _open(payload)
        size_px = image.size
        factor = max(1, max(size_px) // kept_px)
        image.draft(None, (max(1, size_px[0] // factor), max(1, size_px[1] // factor)))
        share = image.width * image.height / (size_px[0] * size_px[1])  # below 1 only for JPEG
        _check_size(size_px, max(1, coefficient_bytes + int(4 * share)))
        small = _reduce(image, kept_px)
    except Refusal:
        raise
    except Exception as error:  # Pillow's errors about damaged files have no narrower base class
        rule = f"a whole PNG or JPEG image ({type(error).__name__})"
        raise Refusal("payload", payload[:8], rule, b"\x89PNG\r\n\x1a\n") from error
    orientation = 1
    with suppress(Exception):  # viewers ignore damaged EXIF data
        orientation = image.getexif()[ORIENTATION]
    if orientation in TURNS:
        small = small.transpose(TURNS[orientation])
    small.info["size_px"] = size_px[::-1] if orientation in SIDEWAYS else size_px
    return small


def _open(payload: bytes) -> tuple[JpegImageFile | PngImageFile, int]:
    """Read the header. The second value is the memory for coefficients, in bytes per pixel."""
    if payload.startswith(b"\x89PNG"):
        return _open_png(payload), 0
    return _open_jpeg(payload)


def _open_png(payload: bytes) -> PngImageFile:
    image = PngImageFile(io.BytesIO(payload))
    # Pillow compares the transparent colour of a tRNS chunk with pixels scaled to 8 bits.
    if image.mode != "P" and "transparency" in image.info and (bits := payload[24]) != 8:
        raise Refusal("bits", bits, "8 bits in a PNG with a transparent colour", 8)
    PngImageFile(io.BytesIO(payload)).verify()  # checksums, which decoding ignores
    return image


def _open_jpeg(payload: bytes) -> tuple[JpegImageFile, int]:
    file = io.BytesIO(payload)
    image = JpegImageFile(file)
    start = file.tell()  # of the first scan
    if image.mode == "CMYK" and "adobe" not in image.info:
        raise Refusal("mode", image.mode, "CMYK with an Adobe marker, or RGB", "RGB")
    bands = len(image.getbands())
    one_scan = b"\xff\xda\x00" + bytes((6 + 2 * bands, bands))
    if "progressive" in image.info or not payload.startswith(one_scan, start - 8 - 2 * bands):
        return image, 2 * bands  # of the whole image, until the last scan
    # At an early end marker, libjpeg fills the rest with grey. Without a marker, it fails.
    if (end := payload.find(b"\xff\xd9", start)) > 0:
        image.fp = io.BytesIO(payload[:end] + bytes(8))
    return image, 0


def _check_size(size_px: tuple[int, int], pixel_bytes: int) -> None:
    limit = MAX_DECODED_BYTES // pixel_bytes
    if max(size_px) > MAX_SIDE_PX or size_px[0] * size_px[1] > limit:
        limits = f"at most {MAX_SIDE_PX} per side and {limit} pixels"
        rule = f"{limits} (PNG or progressive JPEG: fewer than JPEG)"
        raise Refusal("size_px", size_px, rule, (640, 480))


def _reduce(image: Image.Image, kept_px: int) -> Image.Image:
    """Decode, and return a smaller image in RGB. Strips need less memory than whole copies."""
    factor = max(1, max(image.size) // kept_px)
    rows = max(1, 256 // factor) * factor
    small = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        if strip.mode == "I;16":
            strip = Image.fromarray((np.asarray(strip) >> 8).astype(np.uint8))
        if strip.has_transparency_data:
            strip = strip.convert("RGBA")
            strip = Image.alpha_composite(Image.new("RGBA", strip.size, BACKGROUND), strip)
        small.paste(strip.convert("RGB").reduce(factor), (0, top // factor))
    return small
