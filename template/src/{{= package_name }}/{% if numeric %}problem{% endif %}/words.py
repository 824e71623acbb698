"""What reports say about numbers: sentences for people who did not build the model."""

import math
from collections.abc import Iterator
from typing import Any

from .keys import RELATIVE, ProblemScope
from .phrases import CONSTANT_BASELINE as CONSTANT_BASELINE
from .phrases import METRIC_MEANINGS as METRIC_MEANINGS
from .phrases import describe_answers as describe_answers
from .phrases import describe_errors
from .phrases import evidence_table as evidence_table
from .phrases import explain_loss as explain_loss
from .phrases import explain_predictions as explain_predictions
from .phrases import purpose as purpose
from .units import metric_text

# A slice is named if its error is this many times that of all examples.
NOTABLE = 1.25
# The meaning of gates, by id.
MEANINGS = {
    "split_labels": "The training, validation and test splits have enough examples.",
    "label_conflicts": "No input has two correct answers that are more than same_within apart.",
    "quality": "With {confidence} confidence, {metric} on similar new inputs is at most this.",
    "baseline_gain": "With {confidence} confidence, the model removes at least this share of the"
    " error of the baseline ({baseline}).",
    "coverage": "With {confidence} confidence, the interval of at least this share of the answers"
    " contains the correct one.",
    "finite_answers": "All answers are finite numbers.",
    "onnx_parity": "The largest difference in any answer between the original model and the ONNX"
    " file of the pipeline, as a share of the spread of the answers.",
    "int8_drop": "The increase of {metric} through compression, as a share of its limit.",
    "batch_parity": "The largest change of an answer through other inputs in the batch, as a share"
    " of the spread of the answers.",
    "parity": "The largest difference in any answer between this file and the ONNX file, as a share"
    " of the spread of the answers.",
}
GATES = {  # names of gates in the list of all limits
    "split_labels": "examples missing from a split",
    "label_conflicts": "inputs with conflicting answers",
    "int8_drop": "error added to float32, share of limit",
}
SLICES = (
    "The dark bar is the measured value, the light one its upper bound ({confidence} confidence)"
)
HIDDEN_SLICES = "more slices have lower bounds"
BOUND_MEANS = "With {confidence} confidence, the true metric is at most the upper bound."
AT_BEST_GAUGE = (
    "labelled_quality_at_least",
    "Lower bound of labelled_quality at the confidence of scope.yaml",
)
CALIBRATION_GAUGE = (
    "interval_coverage_at_most",
    "Upper bound of the share of correct answers inside their interval, on labelled requests",
)
SAID_COUNTER: tuple[str, str] | None = None  # of the labels in answers that have several
CALIBRATION_ROW = "Answers inside intervals"
ESTIMATE = "estimated from the confidence"
AT_LEAST, AT_BEST = "at most", "lower bound"  # of the metric, in lists of limits
LOSS_NAME = "loss"  # on the axis of a picture


def format_value(value: float) -> str:
    """Return a value of the metric as text."""
    return f"{value:.4g}"


def format_calibration(value: float) -> str:
    return f"at most {100 * value:.1f} %"


def unit(gate_id: str, limits: ProblemScope) -> str:
    """Return the unit of a gate about quality."""
    has_unit = gate_id in ("quality", "worst_slice") and limits.metric not in RELATIVE
    return limits.answer_unit if has_unit else ""


def findings(quality: dict[str, Any], limits: ProblemScope) -> Iterator[str]:
    """Yield sentences about strengths and weaknesses, most important first."""
    yield from describe_errors(quality, limits)
    yield from _weakest_slice(quality, limits)
    yield from _bounds(quality, limits)


def _weakest_slice(quality: dict[str, Any], limits: ProblemScope) -> Iterator[str]:
    slices = {name: s for name, s in quality["slices"].items() if math.isfinite(s["value"])}
    if not slices:
        return
    worst = max(slices, key=lambda name: slices[name]["value"])
    if slices[worst]["value"] > NOTABLE * quality["score"]["value"]:
        error, n = metric_text(slices[worst]["value"], limits), slices[worst]["examples"]
        yield f"It is weakest in slice “{worst}”: {quality['metric']} {error} on {n:,} examples."


def _bounds(quality: dict[str, Any], limits: ProblemScope) -> Iterator[str]:
    bound = quality["score"]["upper_bound"]
    if not math.isfinite(bound):
        return
    yield (
        f"With {100 * limits.confidence:g} % confidence, its {quality['metric']} on similar new"
        f" inputs is at most {metric_text(bound, limits)}; the limit is"
        f" {metric_text(limits.max_error, limits)}."
    )
    simple = quality.get("baseline", {}).get("value", math.nan)
    if math.isfinite(simple):
        value = metric_text(quality["score"]["value"], limits)
        other = metric_text(simple, limits)
        yield f"Measured: {value}. The baseline ({limits.baseline}) has {other}."
