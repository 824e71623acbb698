"""Pictures of the quality of forecasts, for the report."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .picture import Picture

SIZE_IN = (4.2, 3)


def draw(quality: Mapping[str, Any], colours: Mapping[str, str]) -> list[Picture]:
    """Return the pictures of `reports/evaluate.json`."""
    return [
        Picture(
            "forecast",
            "Forecast against truth",
            "Mean of all held-out windows for each step ahead: the forecast (line), its interval"
            " (area), and the correct values (dots).",
            figure=_draw_forecast(quality, colours),
        ),
        Picture(
            "steps",
            "Error by step",
            "Mean absolute error for each step ahead, and the mean error with its sign (dotted).",
            figure=_draw_errors(quality, colours),
        ),
    ]


def _columns(quality: Mapping[str, Any], *names: str) -> list[np.ndarray]:
    return [np.array([row[name] for row in quality["by_step"]]) for name in names]


def _draw_forecast(quality: Mapping[str, Any], colours: Mapping[str, str]) -> Figure:
    steps, truth, answers, half = _columns(quality, "step", "truth", "answer", "half_width")
    figure = Figure(figsize=SIZE_IN, layout="constrained")
    axes = figure.subplots()
    axes.fill_between(steps, answers - half, answers + half, color=colours["good"], alpha=0.2)
    axes.plot(steps, answers, color=colours["good"])
    axes.plot(steps, truth, "o", color=colours["text"], markersize=4)
    axes.set(xlabel="step ahead", ylabel="mean value")
    return figure


def _draw_errors(quality: Mapping[str, Any], colours: Mapping[str, str]) -> Figure:
    steps, errors, bias = _columns(quality, "step", "error", "bias")
    figure = Figure(figsize=SIZE_IN, layout="constrained")
    axes = figure.subplots()
    axes.plot(steps, errors, "o-", color=colours["good"])
    axes.plot(steps, bias, ":", color=colours["soft"])
    axes.axhline(0, color=colours["soft"], linewidth=0.5)
    axes.set(xlabel="step ahead", ylabel="error")
    return figure
