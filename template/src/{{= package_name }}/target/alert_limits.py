"""Limits that alert rules read: a section of scope.yaml that is exported to Prometheus."""

from pydantic import BaseModel
from pydantic_core import PydanticCustomError

# The rules in deploy/alerts/ look back a week at most; Prometheus keeps 15 days by default.
LOOK_BACK_S = 7 * 86_400


class AlertLimits(BaseModel, frozen=True, extra="forbid"):
    """Base class of the sections that `monitoring.scope_limits` exports."""


def never_fires(rule: str, example: object) -> PydanticCustomError:
    """Return the error for a limit that an alert could never exceed."""
    words = f"{rule}, for example {example!r}; otherwise its alert could never fire"
    return PydanticCustomError("never_fires", "{words}", {"words": words})
