"""What reports say about numbers: sentences for people who did not build the model."""

import math
from collections.abc import Iterator
from typing import Any

from .keys import RELATIVE, ProblemScope

# A slice is named if its error is this many times that of all examples.
NOTABLE = 1.25
# A network that only learned the mean has a Huber loss this close to that of the mean itself.
NO_BETTER = 0.99
LOSS_OF_THE_MEAN = 0.42  # of standardised normal answers, by simulation
METRIC_MEANINGS = {
    "mae": "the mean absolute error",
    "wape": "the sum of the absolute errors, divided by the sum of the correct answers",
    "mape": "the absolute error as a share of the correct answer, averaged",
    "pinball": "the mean loss of a 90 % quantile: too little costs nine times as much as too much",
}
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
CONSTANT_BASELINE = "mean"


def format_value(value: float) -> str:
    """Return a value of the metric as text."""
    return f"{value:.4g}"


def format_calibration(value: float) -> str:
    return f"at most {100 * value:.1f} %"


def unit(gate_id: str, limits: ProblemScope) -> str:
    """Return the unit of a gate about quality."""
    has_unit = gate_id in ("quality", "worst_slice") and limits.metric not in RELATIVE
    return limits.answer_unit if has_unit else ""


def purpose(inputs: str, quality: dict[str, Any], limits: ProblemScope) -> str:
    """Return what the model does, in one sentence; `inputs` is one input, like `image`."""
    in_unit = f" in {limits.answer_unit}" if limits.answer_unit else ""
    return f"Predicts a number{in_unit} for each {inputs}, with an interval around it."


def describe_answers(data: dict[str, Any]) -> str:
    """Return the answers in the data, from `reports/ingest.json`."""
    spread = data["answers"]
    return (
        f"Answers: {spread['smallest']:g} to {spread['largest']:g}, half of them between"
        f" {spread['quarter']:g} and {spread['three_quarters']:g}."
    )


def evidence_table(quality: dict[str, Any]) -> dict[str, Any]:
    """Return a table for the model card: its caption, head and rows."""
    rows = []
    for row in quality["by_truth"]:
        low, high, *errors = (_format(row[key]) for key in ("from", "to", "error", "bias"))
        rows.append([f"{low} to {high}", *errors])
    return {
        "caption": "Held-out examples by tenth of the correct answer",
        "head": ["correct answer", "mean absolute error", "mean error"],
        "rows": rows,
    }


def findings(quality: dict[str, Any], limits: ProblemScope) -> Iterator[str]:
    """Yield sentences about strengths and weaknesses, most important first."""
    yield from _errors(quality, limits)
    yield from _weakest_slice(quality, limits)
    yield from _bounds(quality, limits)


def _errors(quality: dict[str, Any], limits: ProblemScope) -> Iterator[str]:
    n = quality["score"]["examples"]
    p90 = _in_unit(quality["error_p90"], limits)
    yield f"On {n:,} held-out examples, 9 of 10 answers are wrong by less than {p90}."
    bias = quality["bias"]
    if math.isfinite(bias) and quality["rmse"] > 0:
        word = "much" if bias > 0 else "little"
        if abs(bias) > quality["rmse"] / 4:
            yield f"It answers too {word}, by {_in_unit(abs(bias), limits)} on average."
    rows = quality["by_truth"]
    worst = max(rows, key=lambda row: row["error"])
    if worst["error"] > 2 * min(row["error"] for row in rows):
        ends = f"{_format(worst['from'])} and {_format(worst['to'])}"
        yield f"Its error is largest for correct answers between {ends}."
    coverage = quality["coverage"]
    yield (
        f"{100 * coverage['value']:.1f} % of the intervals, which are"
        f" ± {_in_unit(coverage['half_width'], limits)}, contain the correct answer."
    )


def _weakest_slice(quality: dict[str, Any], limits: ProblemScope) -> Iterator[str]:
    slices = {name: s for name, s in quality["slices"].items() if math.isfinite(s["value"])}
    if not slices:
        return
    worst = max(slices, key=lambda name: slices[name]["value"])
    if slices[worst]["value"] > NOTABLE * quality["score"]["value"]:
        error, n = _metric(slices[worst]["value"], limits), slices[worst]["examples"]
        yield f"It is weakest in slice “{worst}”: {quality['metric']} {error} on {n:,} examples."


def _bounds(quality: dict[str, Any], limits: ProblemScope) -> Iterator[str]:
    bound = quality["score"]["upper_bound"]
    if not math.isfinite(bound):
        return
    yield (
        f"With {100 * limits.confidence:g} % confidence, its {quality['metric']} on similar new"
        f" inputs is at most {_metric(bound, limits)}; the limit is"
        f" {_metric(limits.max_error, limits)}."
    )
    simple = quality.get("baseline", {}).get("value", math.nan)
    if math.isfinite(simple):
        value = _metric(quality["score"]["value"], limits)
        yield f"Measured: {value}. The baseline ({limits.baseline}) has {_metric(simple, limits)}."
    yield f"Root mean square error {_in_unit(quality['rmse'], limits)}, R² {quality['r2']:.3f}."


def explain_predictions(quality: dict[str, Any]) -> Iterator[str]:
    """Yield possible reasons for a weak model that its predictions show."""
    rows = quality.get("by_answer", [])
    answers = {row["answer"] for row in rows}
    if len(rows) > 1 and len(answers) == 1:
        yield f"The model answers {_format(answers.pop())} for all held-out examples."


def explain_loss(training: dict[str, Any], best: float, epoch: int) -> Iterator[str]:
    """Yield whether the lowest validation loss is that of a model that learned nothing."""
    if best > NO_BETTER * LOSS_OF_THE_MEAN:
        yield (
            f"The model learned nothing: its lowest validation loss, {best:.4g} after epoch"
            f" {epoch}, is about that of always answering the mean ({LOSS_OF_THE_MEAN:.4g})."
        )


def _metric(value: float, limits: ProblemScope) -> str:
    """Return a value of the metric with its unit."""
    return _format(value) if limits.metric in RELATIVE else _in_unit(value, limits)


def _in_unit(value: float, limits: ProblemScope) -> str:
    return f"{_format(value)} {limits.answer_unit}".strip()


def _format(value: float) -> str:
    return f"{value:.4g}".replace("-", "−", 1)
