"""Keys of scope.yaml that depend on what an answer is."""

from typing import Literal

from pydantic import BaseModel, Field

# Metrics that are shares, of the correct answer or of their sum; the others are in answer_unit.
RELATIVE = ("wape", "mape")


class ProblemScope(BaseModel, frozen=True, extra="forbid"):
    """Limits of the quality of numbers."""

    answer_unit: str = Field(max_length=20, description="Unit of the answers.")
    metric: Literal["mae", "wape", "mape", "pinball"] = Field(
        description="Metric of max_error, max_int8_drop and max_slice_gap."
    )
    max_error: float = Field(
        gt=0,
        description="The metric on held-out examples: its upper bound, in answer_unit. For wape "
        "and mape, a share.",
    )
    confidence: float = Field(gt=0.5, lt=1, description="Confidence of every bound.")
    max_slice_gap: float = Field(
        ge=0, description="How far the worst slice may be above max_error, in its unit."
    )
    min_coverage: float = Field(
        gt=0, lt=1, description="Share of the intervals that contain the correct answer."
    )
    same_within: float = Field(
        gt=0,
        description="How far two answers may be apart that count as the same, in the unit of "
        "max_error.",
    )
    baseline: Literal["mean", "linear"] = Field(
        description="Simple model that the model has to beat."
    )
    min_gain_over_baseline: float = Field(
        description="Share of the error of the baseline that the model removes."
    )
    max_onnx_difference: float = Field(
        gt=0,
        description="Difference of any answer between the original model and the ONNX file, as a "
        "share of the standard deviation of the answers.",
    )
    min_int8_agreement: float = Field(
        gt=0, le=1, description="Share of predictions that are the same as before `compress`."
    )
    max_int8_drop: float = Field(
        description="Increase of the metric through `compress`, as a share of max_error."
    )

    def allow(self, limit: float, value: float) -> float:
        """Return a limit in answer_unit; limits of relative metrics are shares of the value."""
        return limit * abs(value) if self.metric in RELATIVE else limit
