"""Pictures of the quality of numbers, for the report."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from .picture import Picture

SIZE_IN = (4.2, 3)


def draw(quality: Mapping[str, Any], colours: Mapping[str, str]) -> list[Picture]:
    """Return the pictures of `reports/evaluate.json`."""
    ends = [f"{value:.3g}" for value in quality["edges"]]
    names = [f"{low} to {high}" for low, high in zip(ends, ends[1:], strict=False)]
    return [
        Picture(
            "answers",
            "Answer against truth",
            "Held-out examples by tenth of the correct answer and range of the model's answer. In a"
            " perfect model, all are on the diagonal.",
            counts=quality["counts"],
            names=(names, names),
            axes=("answer of the model", "correct answer"),
        ),
        Picture(
            "tenths",
            "Error by size of the answer",
            "Mean absolute error for each tenth of the correct answers, and the mean error with its"
            " sign (dotted).",
            figure=_draw_tenths(quality, colours),
        ),
        Picture(
            "calibration",
            "Calibration",
            "Mean correct answer for each tenth of the model's answers. Below the line, the model"
            " answers too much.",
            figure=_draw_calibration(quality, colours),
        ),
    ]


def _draw_tenths(quality: Mapping[str, Any], colours: Mapping[str, str]) -> Figure:
    rows = quality["by_truth"]
    middles = [(row["from"] + row["to"]) / 2 for row in rows]
    figure = Figure(figsize=SIZE_IN, layout="constrained")
    axes = figure.subplots()
    axes.plot(middles, [row["error"] for row in rows], "o-", color=colours["good"])
    axes.plot(middles, [row["bias"] for row in rows], ":", color=colours["soft"])
    axes.axhline(0, color=colours["soft"], linewidth=0.5)
    axes.set(xlabel="correct answer", ylabel="error")
    return figure


def _draw_calibration(quality: Mapping[str, Any], colours: Mapping[str, str]) -> Figure:
    answers = [row["answer"] for row in quality["by_answer"]]
    figure = Figure(figsize=SIZE_IN, layout="constrained")
    axes = figure.subplots()
    axes.plot(answers, answers, color=colours["soft"], linewidth=1)
    axes.plot(answers, [row["truth"] for row in quality["by_answer"]], "o", color=colours["good"])
    axes.set(xlabel="answer of the model", ylabel="mean correct answer")
    return figure
