"""Draw the evidence as one self-contained page: gates, and what they judge in pictures."""

import io
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from ..artifacts import REPORTS, list_conversions, read_report
from ..gates import verdicts
from ..scope import load_scope
from .pages import fill


def report() -> None:
    """Write `reports/report.html`."""
    title = f"{load_scope().project}: promised and measured"
    figures = [_svg(figure) for figure in (_draw_confusion(), _draw_losses(), _draw_variants())]
    page = fill("report.html", title=title, gates=verdicts(), figures=figures)
    (REPORTS / "report.html").write_text(page)


def read_variants() -> dict[str, Any]:
    """Return the evidence on every variant of `compress`, and on models converted so far."""
    measured = [each for each in list_conversions() if (REPORTS / f"{each.report}.json").exists()]
    rows = {each.report.partition("_")[2]: read_report(*each) for each in measured}
    return dict(read_report("compress")["candidates"]) | rows


def _draw_confusion() -> Figure:
    quality = read_report("evaluate")
    labels, counts = quality["labels"], np.array(quality["confusion"])
    # The scale ends at 1.5, above every share: black numbers stay legible on the darkest green.
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts / counts.sum(1, keepdims=True), cmap="Greens", vmin=0, vmax=1.5)
    for (row, column), count in np.ndenumerate(counts):
        axes.text(column, row, f"{count}", ha="center", va="center")
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="answer of the shipped model", ylabel="label", title="Held-out examples")
    return figure


def _draw_losses() -> Figure:
    curve = read_report("train")["curve"]
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, losses in curve.items():
        axes.plot(range(1, len(losses) + 1), losses, marker="o", label=name.replace("_", " "))
    axes.set(xlabel="epoch", ylabel="cross-entropy", title="Training", yscale="log")
    axes.legend()
    return figure


def _draw_variants() -> Figure:
    """Draw size, metric and their limits: small is left, good is up, slow is bright."""
    scope = load_scope()
    evidence = read_report("compress")
    rows = {name: row for name, row in read_variants().items() if "latency_p95_ms" in row}
    p95_ms = [row["latency_p95_ms"] for row in rows.values()]
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots()
    speed = LogNorm(min(p95_ms), max(p95_ms))
    for (name, row), marker in zip(rows.items(), cycle("os^v<>DPXhd"), strict=False):
        refused = " (refused)" if row["broken"] else ""
        words = " (shipped)" if name == evidence["shipped"] else refused
        x = row["size_mb"]
        y = row["score"]["value"]
        ms = row["latency_p95_ms"]
        axes.scatter(x, y, c=ms, norm=speed, marker=marker, alpha=0.7, label=name + words)
    label = f"p95 ms of the network (promised: {scope.max_latency_p95_ms:g})"
    figure.colorbar(ScalarMappable(speed), ax=axes, label=label)
    axes.axvline(scope.max_model_mb, color="#b3261e", linestyle="--", label="max_model_mb")
    axes.axhline(scope.min_metric, color="#b3261e", linestyle=":", label="min_metric")
    axes.set(
        xlabel="MB", ylabel=f"{scope.metric}, validation split", title="Variants", xscale="log"
    )
    figure.legend(loc="outside left upper")
    return figure


def _svg(figure: Figure) -> str:
    """Return the figure as an element of a page; matplotlib escapes the text in it."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue().partition("<!DOCTYPE")[2].partition(">")[2]
