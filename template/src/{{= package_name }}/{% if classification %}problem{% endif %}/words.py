"""What reports say about labels: sentences for people who did not build the model."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .keys import ProblemScope

NAMES_SHOWN = 3  # labels in one sentence
# A slice is named if it has this many times its share of the mistakes.
NOTABLE = 1.25
# A network that only learned the label frequencies has a loss this close to that of equal
# probabilities, if labels are about equally common.
NO_BETTER = 0.99
METRIC_MEANINGS = {
    "accuracy": "the share of predictions that are right",
    "macro_f1": "the F1 score of each label, averaged: rare labels count as much as frequent ones",
    "macro_recall": "the recall of each label, averaged: rare labels count as much as"
    " frequent ones",
}
# The meaning of gates, by id.
MEANINGS = {
    "split_labels": "The training, validation and test splits contain every label.",
    "label_conflicts": "No input has two different labels.",
    "quality": "With {confidence} confidence, {metric} on similar new inputs is at least this.",
    "baseline_gain": "With {confidence} confidence, the model beats the baseline ({baseline}) by at"
    " least this.",
    "finite_answers": "All predicted probabilities are finite numbers.",
    "onnx_parity": "The largest difference in any probability between the original model and the"
    " ONNX file of the pipeline.",
    "int8_drop": "The loss of {metric} through compression.",
    "batch_parity": "The largest change of a probability through other inputs in the batch.",
    "parity": "The largest difference in any probability between this file and the ONNX file.",
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
    "Calibration error of the confidence on labelled requests; 0 means perfectly calibrated",
)
SAID_COUNTER: tuple[str, str] | None = None  # of the labels in answers that have several
CALIBRATION_ROW = "Calibration error"
ESTIMATE = "estimated from the confidence"
AT_LEAST, AT_BEST = "at least", "upper bound"  # of the metric, in lists of limits
LOSS_NAME = "cross-entropy"  # on the axis of a picture
CONSTANT_BASELINE = "majority"


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
    names = f"one of {len(labels)} labels"
    if len(labels) <= NAMES_SHOWN:
        *others, last = [f"“{label}”" for label in labels]
        names = f"{', '.join(others)} or {last}"
    return f"Classifies each {inputs} as {names}."


def describe_answers(data: dict[str, Any]) -> str:
    """Return the answers in the data, from `reports/ingest.json`."""
    counts = (f"{label} ({count:,})" for label, count in data["labels"].items())
    return f"Labels: {', '.join(counts)}."


def evidence_table(quality: dict[str, Any]) -> dict[str, Any]:
    """Return a table for the model card: its caption, head and rows."""
    labels = [str(label) for label in quality["labels"]]
    table = zip(labels, quality["confusion"], strict=True)
    return {
        "caption": "Held-out examples by true label (rows) and predicted label (columns)",
        "head": ["", *labels],
        "rows": [[label, *map(str, counts)] for label, counts in table],
    }


def findings(quality: dict[str, Any], limits: ProblemScope) -> Iterator[str]:
    """Yield sentences about strengths and weaknesses, most important first."""
    yield from _hits(quality)
    yield from _mistakes(quality)
    yield from _bounds(quality, limits)


def _hits(quality: dict[str, Any]) -> Iterator[str]:
    labels, counts = quality["labels"], np.array(quality["confusion"])
    total, right = int(counts.sum()), int(np.trace(counts))
    predicted = [label for label, n in zip(labels, counts.sum(0), strict=True) if n]
    if len(predicted) == 1 < len(labels):
        yield f"It predicts “{predicted[0]}” for all {total:,} held-out examples."
        return
    if right == total:
        yield f"It labelled all {total:,} held-out examples correctly."
        return
    present = [i for i, n in enumerate(counts.sum(1)) if n]
    weakest_first = sorted(present, key=lambda i: counts[i, i] / counts[i].sum())
    parts = [f"{counts[i, i]:,} of {counts[i].sum():,} “{labels[i]}”" for i in weakest_first]
    found = f"It labelled {right:,} of {total:,} held-out examples correctly"
    if len(parts) > NAMES_SHOWN:
        yield f"{found}. It is weakest on “{labels[weakest_first[0]]}”: it found {parts[0]}."
    else:
        yield f"{found}: it found {' and '.join(parts)}."
    sure = [labels[i] for i in present if counts[:, i].sum() == counts[i, i] > 0]
    if sure:
        yield f"It was right each time it predicted {_enumerate(sure)}."


def _mistakes(quality: dict[str, Any]) -> Iterator[str]:
    labels, counts = quality["labels"], np.array(quality["confusion"])
    wrong = counts - np.diag(np.diag(counts))
    mistakes = int(wrong.sum())
    if not mistakes or (counts.sum(0) > 0).sum() == 1:
        return
    truth, predicted = np.unravel_index(wrong.argmax(), wrong.shape)
    if mistakes > 1 and len(labels) > 2:
        pair = f"“{labels[predicted]}” instead of “{labels[truth]}”"
        yield f"Its most frequent mistake: {pair} ({wrong.max():,} of {mistakes:,})."
    yield from _weakest_slice(quality, mistakes)


def _weakest_slice(quality: dict[str, Any], mistakes: int) -> Iterator[str]:
    slices = {name: s for name, s in quality["slices"].items() if math.isfinite(s["value"])}
    if not slices:
        return
    worst = min(slices, key=lambda name: slices[name]["value"])
    score, whole = slices[worst], quality["score"]
    missed = round(score["examples"] * (1 - score["value"]))
    if quality["metric"] != "accuracy":
        if score["value"] < whole["value"]:
            value = f"{quality['metric']} {_format(score['value'])}"
            yield f"It is weakest in slice “{worst}”: {value} on {score['examples']:,} examples."
    elif missed / mistakes > NOTABLE * score["examples"] / whole["examples"]:
        where = f"{missed:,} of its {mistakes:,} mistakes are"
        if missed == mistakes:
            where = f"All {mistakes:,} mistakes are" if mistakes > 1 else "Its only mistake is"
        yield f"{where} in slice “{worst}” ({score['examples']:,} examples)."


def _bounds(quality: dict[str, Any], limits: ProblemScope) -> Iterator[str]:
    bound = quality["score"]["lower_bound"]
    if not math.isfinite(bound):
        return
    sure = f"With {100 * limits.confidence:g} % confidence"
    limit = f"the limit is {_format(limits.min_metric)}"
    yield (
        f"{sure}, its {quality['metric']} on similar new inputs is at least"
        f" {_format(bound)}; {limit}."
    )
    ceiling = quality["score"].get("ceiling", 1)
    if ceiling < limits.min_metric:
        words = f"On {quality['score']['examples']:,} examples, even a perfect model would show"
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
    labels, confusion = quality.get("labels", []), quality.get("confusion", [])
    totals = [sum(column) for column in zip(*confusion, strict=True)]
    if sum(total > 0 for total in totals) == 1 < len(labels):
        label = labels[totals.index(sum(totals))]
        yield f"The model predicts {label} for all {sum(totals)} held-out examples."


def explain_loss(training: dict[str, Any], best: float, epoch: int) -> Iterator[str]:
    """Yield whether the lowest validation loss is that of a model that learned nothing."""
    guess = math.log(len(training["labels"]))
    if best > NO_BETTER * guess:
        yield (
            f"The model learned nothing: its lowest validation loss, {best:.4g} after epoch"
            f" {epoch}, is about that of equal probabilities for every label ({guess:.4g})."
        )


def _format(value: float) -> str:
    return f"{value:.4g}".replace("-", "−", 1)
