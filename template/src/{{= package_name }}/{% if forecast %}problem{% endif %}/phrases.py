"""What reports say about forecasts."""

from collections.abc import Iterator
from typing import Any

from .keys import ProblemScope
from .units import describe_range, in_unit, show

LATER = 1.5  # a last step whose error is this many times that of the first is worth a sentence
FLAT = 0.1  # answers that vary this little, compared with the truth, are all the same
METRIC_MEANINGS = {
    "wape": "the sum of the absolute errors, divided by the sum of the correct values",
    "mase": "the mean absolute error, divided by that of repeating the last season in the training"
    " data (one scale for all series)",
    "mae": "the mean absolute error",
}
CONSTANT_BASELINE = ""  # both baselines are worth shipping


def purpose(inputs: str, quality: dict[str, Any], limits: ProblemScope) -> str:
    """Return what the model does, in one sentence."""
    steps = len(quality.get("by_step", ()))
    ahead = f"the next {steps} values" if steps > 1 else "the next value"
    in_its_unit = f" in {limits.answer_unit}" if limits.answer_unit else ""
    return f"Forecasts {ahead} of a series{in_its_unit}, with an interval around each."


def describe_answers(data: dict[str, Any]) -> str:
    """Return the answers in the data, from `reports/ingest.json`."""
    return describe_range("Values", data)


def evidence_table(quality: dict[str, Any]) -> dict[str, Any]:
    """Return a table for the model card: its caption, head and rows."""
    rows = [
        [f"{row['step']}", show(row["error"]), show(row["bias"]), f"{100 * row['inside']:.1f} %"]
        for row in quality["by_step"]
    ]
    return {
        "caption": "Held-out windows by step ahead",
        "head": ["step", "mean absolute error", "mean error", "inside the interval"],
        "rows": rows,
    }


def describe_errors(quality: dict[str, Any], limits: ProblemScope) -> Iterator[str]:
    """Yield sentences about the size of the errors."""
    n = quality["score"]["examples"]
    p90 = in_unit(quality["error_p90"], limits)
    yield f"On {n:,} held-out windows, 9 of 10 values are wrong by less than {p90}."
    first, *_, last = quality["by_step"][:1] + quality["by_step"]
    if last["error"] > LATER * first["error"]:
        errors = f"{in_unit(first['error'], limits)} to {in_unit(last['error'], limits)}"
        yield f"Its error grows from {errors} between the first and step {last['step']}."
    bias = quality["bias"]
    if abs(bias) > quality["rmse"] / 4:
        word = "much" if bias > 0 else "little"
        yield f"It forecasts too {word}, by {in_unit(abs(bias), limits)} on average."
    coverage = quality["coverage"]
    yield (
        f"{100 * coverage['value']:.1f} % of the intervals, which are"
        f" ± {in_unit(coverage['half_width'], limits)} on average, contain the correct value."
    )
    ratio = quality["mase"]
    yield f"Its mean absolute error is {ratio:.3g} times that of repeating the last season (MASE)."


def explain_predictions(quality: dict[str, Any]) -> Iterator[str]:
    """Yield possible reasons for a weak model that its predictions show."""
    if quality.get("spread_of_answers", 1) < FLAT:
        yield "The model gives nearly the same forecast for all held-out windows."


def explain_loss(training: dict[str, Any], best: float, epoch: int) -> Iterator[str]:
    """Yield whether the validation loss shows a model that learned nothing: not for forecasts.

    The gate `baseline_gain` does, which compares it with repeating the last season.
    """
    yield from ()
