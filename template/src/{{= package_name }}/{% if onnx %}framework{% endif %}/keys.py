"""Keys of params.yaml for a model that exists."""

from pydantic import BaseModel, Field


class FrameworkParams(BaseModel, frozen=True, extra="forbid"):
    """Parameters of int8; the model is taken as it is."""

    calibration_examples: int = Field(
        ge=1, description="Examples that set the ranges of the int8 model."
    )
