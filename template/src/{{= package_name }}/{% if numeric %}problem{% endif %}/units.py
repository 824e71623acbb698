"""Numbers with their unit, in sentences."""

from typing import Any

from .keys import RELATIVE, ProblemScope


def metric_text(value: float, limits: ProblemScope) -> str:
    """Return a value of the metric with its unit."""
    return show(value) if limits.metric in RELATIVE else in_unit(value, limits)


def in_unit(value: float, limits: ProblemScope) -> str:
    return f"{show(value)} {limits.answer_unit}".strip()


def show(value: float) -> str:
    return f"{value:.4g}".replace("-", "−", 1)


def describe_range(noun: str, data: dict[str, Any]) -> str:
    """Return the range of numbers in the data, from `reports/ingest.json`."""
    spread = data["answers"]
    return (
        f"{noun}: {spread['smallest']:g} to {spread['largest']:g}, half of them between"
        f" {spread['quarter']:g} and {spread['three_quarters']:g}."
    )
