"""What reports say about one number."""

import math
from collections.abc import Iterator
from typing import Any

from .keys import ProblemScope
from .units import describe_range, in_unit, show

# A network that only learned the mean has a Huber loss this close to that of the mean itself.
NO_BETTER = 0.99
LOSS_OF_THE_MEAN = 0.42  # of standardised normal answers, by simulation
METRIC_MEANINGS = {
    "mae": "the mean absolute error",
    "wape": "the sum of the absolute errors, divided by the sum of the correct answers",
    "mape": "the absolute error as a share of the correct answer, averaged",
    "pinball": "the mean loss of a 90 % quantile: too little costs nine times as much as too much",
}
CONSTANT_BASELINE = "mean"


def purpose(inputs: str, quality: dict[str, Any], limits: ProblemScope) -> str:
    """Return what the model does, in one sentence; `inputs` is one input, like `image`."""
    in_unit = f" in {limits.answer_unit}" if limits.answer_unit else ""
    return f"Predicts a number{in_unit} for each {inputs}, with an interval around it."


def describe_answers(data: dict[str, Any]) -> str:
    """Return the answers in the data, from `reports/ingest.json`."""
    return describe_range("Answers", data)


def evidence_table(quality: dict[str, Any]) -> dict[str, Any]:
    """Return a table for the model card: its caption, head and rows."""
    rows = []
    for row in quality["by_truth"]:
        low, high, *errors = (show(row[key]) for key in ("from", "to", "error", "bias"))
        rows.append([f"{low} to {high}", *errors])
    return {
        "caption": "Held-out examples by tenth of the correct answer",
        "head": ["correct answer", "mean absolute error", "mean error"],
        "rows": rows,
    }


def describe_errors(quality: dict[str, Any], limits: ProblemScope) -> Iterator[str]:
    """Yield sentences about the size of the errors."""
    n = quality["score"]["examples"]
    p90 = in_unit(quality["error_p90"], limits)
    yield f"On {n:,} held-out examples, 9 of 10 answers are wrong by less than {p90}."
    bias = quality["bias"]
    if math.isfinite(bias) and quality["rmse"] > 0:
        word = "much" if bias > 0 else "little"
        if abs(bias) > quality["rmse"] / 4:
            yield f"It answers too {word}, by {in_unit(abs(bias), limits)} on average."
    rows = quality["by_truth"]
    worst = max(rows, key=lambda row: row["error"])
    if worst["error"] > 2 * min(row["error"] for row in rows):
        ends = f"{show(worst['from'])} and {show(worst['to'])}"
        yield f"Its error is largest for correct answers between {ends}."
    yield f"Root mean square error {in_unit(quality['rmse'], limits)}, R² {quality['r2']:.3f}."
    coverage = quality["coverage"]
    yield (
        f"{100 * coverage['value']:.1f} % of the intervals, which are"
        f" ± {in_unit(coverage['half_width'], limits)}, contain the correct answer."
    )


def explain_predictions(quality: dict[str, Any]) -> Iterator[str]:
    """Yield possible reasons for a weak model that its predictions show."""
    rows = quality.get("by_answer", [])
    answers = {row["answer"] for row in rows}
    if len(rows) > 1 and len(answers) == 1:
        yield f"The model answers {show(answers.pop())} for all held-out examples."


def explain_loss(training: dict[str, Any], best: float, epoch: int) -> Iterator[str]:
    """Yield whether the lowest validation loss is that of a model that learned nothing."""
    if best > NO_BETTER * LOSS_OF_THE_MEAN:
        yield (
            f"The model learned nothing: its lowest validation loss, {best:.4g} after epoch"
            f" {epoch}, is about that of always answering the mean ({LOSS_OF_THE_MEAN:.4g})."
        )
