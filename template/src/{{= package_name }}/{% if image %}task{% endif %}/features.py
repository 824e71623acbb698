"""One image to what the model sees: training, calibration, server and device all call these."""

import io

import numpy as np
from PIL import Image

from ..refusal import Refusal

SIDE_PX = 48
MAX_SIDE_PX = 8192  # checked before a pixel is decoded: small files can unpack to gigabytes
MAX_PAYLOAD_BYTES = 8_000_000
CONTENT_TYPES = {"image/png": ".png", "image/jpeg": ".jpg"}
FEATURES_VERSION = 1  # raise it when `features` changes what it returns

Raw = Image.Image


def decode(payload: bytes) -> Raw:
    """Open a PNG or JPEG.

    Raises:
        Refusal: it is neither, it is cut short, or a side is too long.
    """
    try:
        image = Image.open(io.BytesIO(payload), formats=["PNG", "JPEG"])
        if max(image.size) > MAX_SIDE_PX:
            raise Refusal("size_px", image.size, f"at most {MAX_SIDE_PX} a side", (640, 480))
        return image.convert("RGB")
    except Refusal:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        rule = f"a whole PNG or JPEG image ({type(error).__name__})"
        raise Refusal("payload", payload[:8], rule, b"\x89PNG\r\n\x1a\n") from error


def features(image: Raw) -> np.ndarray:
    """Return float32 (3, SIDE_PX, SIDE_PX): resized, centred, in units of its own contrast."""
    small = image.resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR)
    pixels = np.asarray(small, dtype=np.float32).transpose(2, 0, 1) / 255
    pixels -= pixels.mean()
    pixels /= pixels.std() + 0.02  # keeps the noise of a blank image small
    return pixels


def describe(image: Raw) -> dict[str, float]:
    """Return the facts that the contract limits and the drift monitor follows."""
    grey = np.asarray(image.convert("L"), dtype=np.float32) / 255
    return {
        "width_px": float(image.width),
        "height_px": float(image.height),
        "brightness": float(grey.mean()),
        "contrast": float(grey.std()),
        "sharpness": float(np.abs(np.diff(grey, axis=1)).mean()),
    }
