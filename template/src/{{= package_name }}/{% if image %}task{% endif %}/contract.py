"""What an image must look like, in training data and in requests alike."""

from pydantic import BaseModel, Field


class Facts(BaseModel, allow_inf_nan=False):
    """The limits of what `describe` finds."""

    width_px: float = Field(ge=8)  # smaller is no photo, but an icon or a tracking pixel
    height_px: float = Field(ge=8)
    brightness: float = Field(ge=0.01, le=0.99)  # outside: a covered lens, or overexposed
    contrast: float = Field(ge=0.002)  # below half a grey level: one colour
    sharpness: float = Field(ge=0)


EXAMPLE = {"width_px": 640, "height_px": 480, "brightness": 0.4, "contrast": 0.1, "sharpness": 0.02}


def contract() -> type[BaseModel]:
    """Return the model that checks the facts of one example."""
    return Facts
