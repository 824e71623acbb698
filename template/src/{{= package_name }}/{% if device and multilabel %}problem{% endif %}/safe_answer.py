"""The answer of a device where there is no prediction."""

from pydantic import BaseModel, Field


class SafeAnswer(BaseModel, frozen=True, extra="forbid"):
    """The labels of such a decision."""

    labels: list[str] = Field(
        default=["review"],
        max_length=64,
        description="Labels of a decision without a prediction. Programs that read decisions must "
        "know them.",
    )
