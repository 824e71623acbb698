"""Which decisions of a device are sent to the server for a second opinion."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field


class DoubtScope(BaseModel, frozen=True, extra="forbid"):
    """The key of scope.yaml that sets it."""

    ask_server_below: float = Field(
        0,
        ge=0,
        le=1,
        description="Confidence below which a device also asks the server, to compare the two.",
    )


class SecondAnswer(BaseModel):
    """The fields of the server's reply that are recorded."""

    label: str = Field(max_length=1000)
    confidence: float = Field(ge=0, le=1)


def is_doubtful(decision: Mapping[str, Any], scope: DoubtScope) -> bool:
    """Whether a decision of the model needs a second opinion."""
    return bool(decision.get("confidence", 1) < scope.ask_server_below)
