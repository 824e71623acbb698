"""From an image to the input of the model, with the same code in training and production."""

import io

import numpy as np
from PIL import Image

from ..refusal import Refusal

SIDE_PX = 48
MAX_SIDE_PX = 8192  # checked before decoding: small files can unpack to gigabytes
MAX_PAYLOAD_BYTES = 8_000_000
CONTENT_TYPES = {"image/png": ".png", "image/jpeg": ".jpg"}
FEATURES_VERSION = 1  # increase it when you change `features`

Raw = Image.Image


def decode(payload: bytes) -> Raw:
    """Open a PNG or JPEG.

    Raises:
        Refusal: it is another format, truncated, or too large.
    """
    try:
        image = Image.open(io.BytesIO(payload), formats=["PNG", "JPEG"])
        if max(image.size) > MAX_SIDE_PX:
            raise Refusal("size_px", image.size, f"at most {MAX_SIDE_PX} per side", (640, 480))
        return image.convert("RGB")
    except Refusal:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        rule = f"a whole PNG or JPEG image ({type(error).__name__})"
        raise Refusal("payload", payload[:8], rule, b"\x89PNG\r\n\x1a\n") from error


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
    return {
        "width_px": float(image.width),
        "height_px": float(image.height),
        "brightness": float(grey.mean()),
        "contrast": float(grey.std()),
        "sharpness": float(np.abs(np.diff(grey, axis=1)).mean()),
    }
