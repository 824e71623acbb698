"""From an image to the input of the model, with the same code in training and production."""

import numpy as np
from PIL import Image

from ..decoding.image import read_image

SIDE_PX = 48
MAX_PAYLOAD_BYTES = 8_000_000
CONTENT_TYPES = {"image/png": ".png", "image/jpeg": ".jpg"}
FEATURES_VERSION = 2  # increase it when you change `decode` or `features`

Raw = Image.Image


def decode(payload: bytes) -> Raw:
    """Return a PNG or JPEG as a viewer shows it, in RGB.

    Large images are reduced, to at least 512 px: for a larger `SIDE_PX`, pass `kept_px`.

    Raises:
        Refusal: it is another format, damaged, ambiguous, or too large.
    """
    return read_image(payload)


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
    width_px, height_px = image.info.get("size_px", image.size)  # before it was reduced
    return {
        "width_px": float(width_px),
        "height_px": float(height_px),
        "brightness": float(grey.mean()),
        "contrast": float(grey.std()),
        "sharpness": float(np.abs(np.diff(grey, axis=1)).mean()),
    }
