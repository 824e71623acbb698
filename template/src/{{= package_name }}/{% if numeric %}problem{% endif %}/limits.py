"""Keys of scope.yaml and schema.yaml that all answers without labels have."""

from pydantic import BaseModel, Field


class NumberScope(BaseModel, frozen=True, extra="forbid"):
    """Limits of the quality of numbers."""

    answer_unit: str = Field(max_length=20, description="Unit of the answers.")
    max_error: float = Field(
        gt=0,
        description="The metric on held-out examples: its upper bound, in answer_unit; for "
        "relative metrics, a share.",
    )
    confidence: float = Field(gt=0.5, lt=1, description="Confidence of every bound.")
    max_slice_gap: float = Field(
        ge=0, description="How far the worst slice may be above max_error, in its unit."
    )
    min_coverage: float = Field(
        gt=0, lt=1, description="Share of the intervals that contain the correct answer."
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


class NumberSchema(BaseModel, frozen=True, extra="forbid"):
    """Numbers have no labels."""

    labels: list[str] = []
