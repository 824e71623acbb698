"""Limits for images, in training data and in production."""

from pydantic import BaseModel, Field


class Facts(BaseModel, allow_inf_nan=False):
    """Limits for the facts of `describe`."""

    width_px: float = Field(ge=8)  # smaller: an icon or a tracking pixel
    height_px: float = Field(ge=8)
    brightness: float = Field(ge=0.01, le=0.99)  # outside: covered lens, or overexposed
    contrast: float = Field(ge=0.002)  # lower, half a grey level: a single colour
    sharpness: float = Field(ge=0)


EXAMPLE = {"width_px": 640, "height_px": 480, "brightness": 0.4, "contrast": 0.1, "sharpness": 0.02}


def contract() -> type[BaseModel]:
    """Return the pydantic model that validates the facts of one example."""
    return Facts
