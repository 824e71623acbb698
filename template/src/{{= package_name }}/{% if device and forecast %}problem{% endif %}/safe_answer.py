"""The answer of a device where there is no prediction."""

from pydantic import BaseModel, Field

from .answer import Number


class SafeAnswer(BaseModel, frozen=True, extra="forbid"):
    """The values of such a decision."""

    values: list[Number] | None = Field(
        default=None,
        description="Values of a decision without a prediction, or `null`. Programs that read "
        "decisions must know them.",
    )
