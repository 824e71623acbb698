"""From an image to the input of the model, with the same code in training and production."""

import io
from contextlib import suppress

import numpy as np
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from ..refusal import Refusal

SIDE_PX = 48
KEPT_PX = 512  # the longer side is reduced to 512 to 1023; raise it with SIDE_PX
MAX_SIDE_PX = 8192
MAX_DECODED_BYTES = 50_000_000  # by one image while decoding; checked before
MAX_PAYLOAD_BYTES = 8_000_000
BACKGROUND = "white"  # behind transparent pixels, as on a web page
CONTENT_TYPES = {"image/png": ".png", "image/jpeg": ".jpg"}
FEATURES_VERSION = 2  # increase it when you change `decode` or `features`

ORIENTATION = 0x0112  # EXIF; from 5 on, width and height are swapped
Raw = Image.Image


def decode(payload: bytes) -> Raw:
    """Return the first frame of a PNG or JPEG as a viewer shows it, in RGB.

    Large images are reduced while decoding; `info["size_px"]` is the size before.

    Raises:
        Refusal: it is another format, damaged, ambiguous, or too large.
    """
    try:
        image = _open(payload)
        size_px = image.size
        factor = max(1, max(size_px) // KEPT_PX)
        image.draft(None, (max(1, size_px[0] // factor), max(1, size_px[1] // factor)))
        small = _reduce(image)
    except Refusal:
        raise
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        rule = f"a whole PNG or JPEG image ({type(error).__name__})"
        raise Refusal("payload", payload[:8], rule, b"\x89PNG\r\n\x1a\n") from error
    with suppress(Exception):  # viewers ignore damaged EXIF data
        small.getexif()[ORIENTATION] = image.getexif()[ORIENTATION]
    is_on_its_side = small.getexif().get(ORIENTATION) in (5, 6, 7, 8)
    small = ImageOps.exif_transpose(small)
    small.info["size_px"] = size_px[::-1] if is_on_its_side else size_px
    return small


def _open(payload: bytes) -> JpegImageFile | PngImageFile:
    """Read the header, and check what decoders ignore."""
    image: JpegImageFile | PngImageFile
    if payload.startswith(b"\x89PNG"):
        image, pixel_bytes = PngImageFile(io.BytesIO(payload)), 4
        # Pillow compares the transparent colour of a tRNS chunk with pixels scaled to 8 bits.
        if image.mode != "P" and "transparency" in image.info and (bits := payload[24]) != 8:
            raise Refusal("bits", bits, "8 bits in a PNG with a transparent colour", 8)
        PngImageFile(io.BytesIO(payload)).verify()  # checksums
    else:
        image = JpegImageFile(file := io.BytesIO(payload))
        pixel_bytes = _prepare_jpeg(image, payload, file.tell())
    limit = MAX_DECODED_BYTES // pixel_bytes
    if max(image.size) > MAX_SIDE_PX or image.width * image.height > limit:
        limits = f"at most {MAX_SIDE_PX} per side and {limit} pixels"
        rule = f"{limits} (PNG or progressive JPEG: fewer than JPEG)"
        raise Refusal("size_px", image.size, rule, (640, 480))
    return image


def _prepare_jpeg(image: JpegImageFile, payload: bytes, start: int) -> int:
    """Return how many bytes each pixel needs: progressive files are not reduced while decoding."""
    if image.mode == "CMYK" and "adobe" not in image.info:
        raise Refusal("mode", image.mode, "CMYK with an Adobe marker, or RGB", "RGB")
    bands = len(image.getbands())
    one_scan = b"\xff\xda\x00" + bytes((6 + 2 * bands, bands))
    if "progressive" in image.info or not payload.startswith(one_scan, start - 8 - 2 * bands):
        return 2 * bands  # all coefficients
    # At an early end marker, libjpeg fills the rest with grey. Without a marker, it fails.
    if (end := payload.find(b"\xff\xd9", start)) > 0:
        image.fp = io.BytesIO(payload[:end] + bytes(8))
    return 1


def _reduce(image: Raw) -> Raw:
    """Return at most 1023 x 1023 pixels in RGB. Strips need less memory than whole copies."""
    factor = max(1, max(image.size) // KEPT_PX)
    rows = 256 // factor * factor
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


def features(image: Raw) -> np.ndarray:
    """Return float32 (3, SIDE_PX, SIDE_PX): resized and standardized."""
    small = image.resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR)
    pixels = np.asarray(small, dtype=np.float32).transpose(2, 0, 1) / 255
    pixels -= pixels.mean()
    pixels /= pixels.std() + 0.02  # does not amplify the noise of blank images
    return pixels


def describe(image: Raw) -> dict[str, float]:
    """Return the facts that the contract validates and drift monitoring watches."""
    grey = np.asarray(image.convert("L"), dtype=np.float32) / 255
    width_px, height_px = image.info.get("size_px", image.size)
    return {
        "width_px": float(width_px),
        "height_px": float(height_px),
        "brightness": float(grey.mean()),
        "contrast": float(grey.std()),
        "sharpness": float(np.abs(np.diff(grey, axis=1)).mean()),
    }
