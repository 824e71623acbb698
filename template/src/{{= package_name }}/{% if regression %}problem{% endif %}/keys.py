"""Keys of scope.yaml and schema.yaml that depend on what an answer is."""

from typing import Literal

from pydantic import Field

from .limits import NumberSchema, NumberScope

# Metrics that are shares, of the correct answer or of their sum; the others are in answer_unit.
RELATIVE = ("wape", "mape")


class ProblemScope(NumberScope, frozen=True, extra="forbid"):
    """Limits of the quality of numbers."""

    metric: Literal["mae", "wape", "mape", "pinball"] = Field(
        description="Metric of max_error, max_int8_drop and max_slice_gap."
    )
    same_within: float = Field(
        gt=0,
        description="How far two answers may be apart that count as the same, in the unit of "
        "max_error.",
    )
    baseline: Literal["mean", "linear"] = Field(
        description="Simple model that the model has to beat."
    )

    def allow(self, limit: float, value: float) -> float:
        """Return a limit in answer_unit; limits of relative metrics are shares of the value."""
        return limit * abs(value) if self.metric in RELATIVE else limit


class ProblemSchema(NumberSchema, frozen=True, extra="forbid"):
    """Numbers have no keys of their own."""
