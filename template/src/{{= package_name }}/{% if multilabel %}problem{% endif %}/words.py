"""What reports say about sets of labels: sentences for people who did not build the model."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from .by_label import RANKED_EXAMPLES
from .keys import ProblemScope

NAMES_SHOWN = 3  # labels in one sentence
# A model that learned nothing has a loss this close to that of one half for every label.
NO_BETTER = 0.99
METRIC_MEANINGS = {
    "macro_f1": "the F1 score of each label, averaged: rare labels count as much as frequent ones",
    "mean_ap": "the average precision of each label, averaged: how well its score ranks examples,"
    " without a threshold",
}
# The meaning of gates, by id.
MEANINGS = {
    "split_labels": "The training, validation and test splits contain every label.",
    "label_conflicts": "No input has two different sets of labels.",
    "quality": "With {confidence} confidence, {metric} on similar new inputs is at least this.",
    "worst_label": "The same bound for the weakest label alone.",
    "baseline_gain": "With {confidence} confidence, the model beats the baseline ({baseline}) by at"
    " least this.",
    "finite_answers": "All predicted probabilities are finite numbers.",
    "onnx_parity": "The largest difference in any probability between the original model and"
    " the ONNX file.",
    "int8_drop": "The loss of {metric} through compression.",
    "batch_parity": "The largest change of a score through other inputs in the batch.",
    "parity": "The largest difference in any score between this file and the ONNX file.",
}
GATES = {  # names of gates in the list of all limits
    "split_labels": "labels missing from a split",
    "label_conflicts": "inputs with conflicting labels",
    "int8_drop": "score drop from float32",
}
SLICES = (
    "The dark bar is the lower bound ({confidence} confidence), the light one the measured value"
)
HIDDEN_SLICES = "more slices have higher bounds"
BOUND_MEANS = "With {confidence} confidence, the true metric is at least the lower bound."
AT_BEST_GAUGE = (
    "labelled_quality_at_most",
    "Upper bound of labelled_quality at the confidence of scope.yaml",
)
CALIBRATION_GAUGE = (
    "calibration_error",
    "Calibration error of the probabilities on labelled requests; 0 means perfectly calibrated",
)
SAID_COUNTER: tuple[str, str] | None = (
    "labels_said_total",
    "Labels in predictions; one prediction may have several, or none",
)
CALIBRATION_ROW = "Calibration error"
ESTIMATE = "share of right sets, estimated from the confidence"
AT_LEAST, AT_BEST = "at least", "upper bound"  # of the metric, in lists of limits
LOSS_NAME = "binary cross-entropy"  # on the axis of a picture
CONSTANT_BASELINE = "shares"


def format_value(value: float) -> str:
    """Return a value of the metric as text."""
    return f"{value:.3f}"


def format_calibration(value: float) -> str:
    return f"{value:.3f} (0 = perfectly calibrated)"


def unit(gate_id: str, limits: ProblemScope) -> str:
    """Return the unit of a gate about quality: labels have none."""
    return ""


def purpose(inputs: str, quality: dict[str, Any], limits: ProblemScope) -> str:
    """Return what the model does, in one sentence; `inputs` is one input, like `image`."""
    labels: Sequence[str] = quality["labels"]
    names = f"{len(labels)} labels"
    if len(labels) <= NAMES_SHOWN:
        *others, last = [f"“{label}”" for label in labels]
        names = f"the labels {', '.join(others)} and {last}"
    return f"Says which of {names} each {inputs} has: any number of them, or none."


def describe_answers(data: dict[str, Any]) -> str:
    """Return the answers in the data, from `reports/ingest.json`."""
    counts = (f"{label} ({count:,})" for label, count in data["labels"].items())
    sizes = data.get("labels_per_example", {})
    without = f" {sizes['0']:,} examples have none." if "0" in sizes else ""
    return f"Labels: {', '.join(counts)}.{without}"


def evidence_table(quality: dict[str, Any]) -> dict[str, Any]:
    """Return a table for the model card: its caption, head and rows."""
    kinds = ("hit", "missed", "false")
    at = dict(zip(quality["labels"], quality["thresholds"], strict=False))
    rows = []
    for name in quality["labels"]:
        counts = [str(quality["counts"][name][kind]) for kind in kinds]
        score = quality["by_label"].get(name, {})
        values = [_format(score.get(key, math.nan)) for key in ("value", "lower_bound")]
        rows.append([name, *counts, *values, _format(at.get(name, math.nan))])
    return {
        "caption": "Held-out examples by label",
        "head": ["label", *kinds, quality["metric"], "lower bound", "threshold"],
        "rows": rows,
    }


def findings(quality: dict[str, Any], limits: ProblemScope) -> Iterator[str]:
    """Yield sentences about strengths and weaknesses, most important first."""
    yield from _hits(quality)
    yield from _weakest_label(quality, limits)
    yield from _weakest_slice(quality)
    yield from _bounds(quality, limits)


def _hits(quality: dict[str, Any]) -> Iterator[str]:
    total, right = quality["score"]["examples"], quality["right_sets"]
    counts = quality["counts"]
    if silent := [name for name, count in counts.items() if not count["hit"] + count["false"]]:
        yield f"It never says {_enumerate(silent)} on {total:,} held-out examples."
    if right == total:
        yield f"It gave exactly the right labels to all {total:,} held-out examples."
        return
    missed = sum(count["missed"] for count in counts.values())
    false = sum(count["false"] for count in counts.values())
    yield (
        f"It gave exactly the right labels to {right:,} of {total:,} held-out examples; in all, it"
        f" missed {missed:,} labels and gave {false:,} by mistake."
    )


def _weakest_label(quality: dict[str, Any], limits: ProblemScope) -> Iterator[str]:
    labels = {n: s for n, s in quality["by_label"].items() if math.isfinite(s["value"])}
    if not labels:
        return
    worst = min(labels, key=lambda name: labels[name]["value"])
    score, counts = labels[worst], quality["counts"][worst]
    if score["value"] == max(row["value"] for row in labels.values()):
        return
    yield (
        f"Its weakest label is “{worst}”: {quality['metric']} {_format(score['value'])}; it found"
        f" {counts['hit']:,} of {score['examples']:,} and gave it {counts['false']:,} times by"
        " mistake."
    )


def _weakest_slice(quality: dict[str, Any]) -> Iterator[str]:
    slices = {name: s for name, s in quality["slices"].items() if math.isfinite(s["value"])}
    if not slices:
        return
    worst = min(slices, key=lambda name: slices[name]["value"])
    score = slices[worst]
    if score["value"] < quality["score"]["value"]:
        value = f"{quality['metric']} {_format(score['value'])}"
        yield f"It is weakest in slice “{worst}”: {value} on {score['examples']:,} examples."


def _bounds(quality: dict[str, Any], limits: ProblemScope) -> Iterator[str]:
    bound, n = quality["score"]["lower_bound"], quality["score"]["examples"]
    if not math.isfinite(bound):
        return
    yield (
        f"With {100 * limits.confidence:g} % confidence, its {quality['metric']} on similar new"
        f" inputs is at least {_format(bound)}; the limit is {_format(limits.min_metric)}."
    )
    if quality["metric"] == "mean_ap" and n < RANKED_EXAMPLES:
        yield (
            f"On {n:,} examples, the bound of a weak model can be too high: mean_ap needs"
            f" {RANKED_EXAMPLES} held-out examples."
        )
    ceiling = quality["score"].get("ceiling", 1)
    if ceiling < limits.min_metric:
        words = f"On {n:,} examples, even a perfect model would show"
        yield f"{words} no more than {_format(ceiling)}: add examples."
    baseline = quality.get("baseline", {})
    simple = baseline.get("value", math.nan)
    if math.isfinite(simple):
        values = _format(quality["score"]["value"]), _format(simple)
        yield f"Measured: {values[0]}. The baseline ({limits.baseline}) reaches {values[1]}."
    if baseline.get("gain_ceiling", 1) < limits.min_gain_over_baseline:
        yield "Even a perfect model could not beat this baseline by the required margin."


def _enumerate(names: list[str]) -> str:
    shown = [f"“{name}”" for name in names[:NAMES_SHOWN]]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def explain_predictions(quality: dict[str, Any]) -> Iterator[str]:
    """Yield possible reasons for a weak model that its predictions show."""
    for name, counts in quality.get("counts", {}).items():
        said, total = counts["hit"] + counts["false"], sum(counts.values())
        if said in (0, total):
            how = "every" if said else "none"
            yield f"The model says {name} for {how} of {total} held-out examples."


def explain_loss(training: dict[str, Any], best: float, epoch: int) -> Iterator[str]:
    """Yield whether the lowest validation loss is that of a model that learned nothing."""
    guess = math.log(2)
    if best > NO_BETTER * guess:
        yield (
            f"The model learned nothing: its lowest validation loss, {best:.4g} after epoch"
            f" {epoch}, is about that of a probability of one half for every label ({guess:.4g})."
        )


def _format(value: float) -> str:
    return f"{value:.4g}".replace("-", "−", 1)
