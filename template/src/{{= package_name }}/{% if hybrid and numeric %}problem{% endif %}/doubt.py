"""Which decisions of a device are sent to the server for a second opinion."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from .answer import Predicted

BUCKETS = 2**32


class DoubtScope(BaseModel, frozen=True, extra="forbid"):
    """The key of scope.yaml that sets it."""

    ask_server_share: float = Field(
        0,
        ge=0,
        le=1,
        description="Share of decisions about which a device also asks the server, to compare the "
        "two.",
    )


class SecondAnswer(Predicted):
    """The fields of the server's reply that are recorded."""


def is_doubtful(decision: Mapping[str, Any], scope: DoubtScope) -> bool:
    """Whether a decision of the model gets a second opinion.

    The width of an interval does not say how wrong its answer is: the hash of the payload chooses
    them, which makes the sample a fair one.
    """
    return int(decision["id"][:8], 16) < scope.ask_server_share * BUCKETS
