"""The evidence as one self-contained page for people: gates, and what they judged in pictures."""

import io
from html import escape

import numpy as np
from matplotlib.figure import Figure

from ..artifacts import REPORTS, read_report
from ..gates import Gate, verdicts
from ..scope import load_scope
from .pareto import pareto

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto }}
td, th {{ padding: 0.2rem 0.8rem; text-align: left }} .broken {{ color: #b3261e; font-weight: 700 }}
svg {{ width: 48%; min-width: 20rem; height: auto }}
</style><h1>{title}</h1>
<table><tr><th>Promise<th>Measured<th>Limit<th>Verdict<th>Where</tr>{rows}</table>{figures}</html>
"""


def report() -> None:
    """Write `reports/report.html`."""
    title = escape(f"{load_scope().project}: promised and measured")
    rows = "".join(map(_row, verdicts()))
    figures = "".join(map(_svg, (_confusion(), _curve(), pareto())))
    (REPORTS / "report.html").write_text(PAGE.format(title=title, rows=rows, figures=figures))


def _row(gate: Gate) -> str:
    kind, word = ("kept", "pass") if gate.passed else ("broken", "FAIL")
    limit = f"{gate.comparison} {gate.limit:g}"
    cells = map(escape, (gate.name, f"{gate.observed:.4g}", limit, word, gate.where))
    return f'<tr class="{kind}"><td>' + "<td>".join(cells) + "</tr>"


def _confusion() -> Figure:
    """How often each label got each answer."""
    quality = read_report("evaluate")
    labels, counts = quality["labels"], np.array(quality["confusion"])
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts / counts.sum(1, keepdims=True), cmap="Greens", vmin=0, vmax=1.5)
    for (row, column), count in np.ndenumerate(counts):
        axes.text(column, row, f"{count}", ha="center", va="center")
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="answer of the shipped model", ylabel="label", title="Held-out examples")
    return figure


def _curve() -> Figure:
    """How training went."""
    curve = read_report("train")["curve"]
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, losses in curve.items():
        axes.plot(range(1, len(losses) + 1), losses, marker="o", label=name.replace("_", " "))
    axes.set(xlabel="epoch", ylabel="cross-entropy", title="Training", yscale="log")
    axes.legend()
    return figure


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue().partition("<!DOCTYPE")[2].partition(">")[2]
