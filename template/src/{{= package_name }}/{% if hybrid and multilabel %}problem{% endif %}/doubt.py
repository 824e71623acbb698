"""Which decisions of a device are sent to the server for a second opinion."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field

Name = Annotated[str, Field(max_length=1000)]
Share = Annotated[float, Field(ge=0, le=1)]


class DoubtScope(BaseModel, frozen=True, extra="forbid"):
    """The key of scope.yaml that sets it."""

    ask_server_below: float = Field(
        0,
        ge=0,
        le=1,
        description="Confidence of the least sure label below which a device also asks the server, "
        "to compare the two. It is 0.5 or more.",
    )


class SecondAnswer(BaseModel):
    """The fields of the server's reply that are recorded."""

    labels: list[Name]
    scores: dict[Name, Share]


def is_doubtful(decision: Mapping[str, Any], scope: DoubtScope) -> bool:
    """Whether a decision of the model needs a second opinion: one label is near its threshold."""
    scores = decision.get("scores", {}).values()
    sure = min((max(score, 1 - score) for score in scores), default=1)
    return bool(sure < scope.ask_server_below)
