"""The answer of a device where there is no prediction."""

from pydantic import BaseModel, Field


class SafeAnswer(BaseModel, frozen=True, extra="forbid"):
    """The label of such a decision."""

    label: str = Field(
        default="review",
        min_length=1,
        max_length=64,
        description="Label of a decision without a prediction. Programs that read decisions must "
        "know it.",
    )
