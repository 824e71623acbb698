"""The answer of a device where there is no prediction."""

from pydantic import BaseModel, Field


class SafeAnswer(BaseModel, frozen=True, extra="forbid"):
    """The number of such a decision."""

    value: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="Number of a decision without a prediction, or `null`. Programs that read "
        "decisions must know it.",
    )
