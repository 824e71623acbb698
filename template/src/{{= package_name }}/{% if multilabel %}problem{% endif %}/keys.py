"""Keys of scope.yaml and schema.yaml that depend on what an answer is."""

from typing import Literal

from pydantic import BaseModel, Field


class ProblemScope(BaseModel, frozen=True, extra="forbid"):
    """Limits of the quality of sets of labels."""

    metric: Literal["macro_f1", "mean_ap"] = Field(
        description="Metric of min_metric, max_int8_drop, max_slice_gap and max_label_gap."
    )
    min_metric: float = Field(
        gt=0, lt=1, description="The metric on held-out examples: its lower bound."
    )
    confidence: float = Field(gt=0.5, lt=1, description="Confidence of every bound.")
    max_slice_gap: float = Field(
        ge=0, lt=1, description="How far the worst slice may be below min_metric."
    )
    max_label_gap: float = Field(
        ge=0, lt=1, description="How far the worst label may be below min_metric."
    )
    baseline: Literal["shares", "linear"] = Field(
        description="Simple model that the model has to beat."
    )
    min_gain_over_baseline: float = Field(description="Gain of the metric over the baseline.")
    max_onnx_difference: float = Field(
        gt=0,
        description="Difference of any probability between the original model and the ONNX file.",
    )
    min_int8_agreement: float = Field(
        gt=0, le=1, description="Share of predictions that are the same as before `compress`."
    )
    max_int8_drop: float = Field(description="Loss of the metric through `compress`.")


class ProblemSchema(BaseModel, frozen=True, extra="forbid"):
    """The labels."""

    labels: list[str] = Field(default=[], min_length=2, validate_default=True)
