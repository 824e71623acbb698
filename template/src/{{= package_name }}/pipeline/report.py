"""Write `reports/report.html`: limits, quality, variants and training on one page.

The page has no scripts and loads nothing. `report.html` sets its colours, light and dark; figures
are drawn with the light ones, which are then replaced by the variables of the page.
"""

import io
import re
from datetime import UTC, datetime
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from ..artifacts import BASELINE_VARIANT, REPORTS, list_conversions, read_report
from ..framework import MODEL_REPORT
from ..gates import verdicts
from ..problem import metrics, pictures, words
from ..problem.picture import Picture
from ..scope import load_scope
from ..target.keys import CHEAPEST_BY
from .pages import fill
from .rows import list_gates, list_slices, list_variants
from .summary import (
    describe_commit,
    findings,
    headline,
    identity,
    is_sample,
    optional_report,
    purpose,
)

TEXT, SOFT, BORDER = "#1d2522", "#5b6661", "#e1e5e2"
GOOD, BAD = "#2f7d5b", "#b3372f"
PALETTE = {"text": TEXT, "soft": SOFT, "good": GOOD, "bad": BAD}
COLOURS = {TEXT: "text", SOFT: "soft", BORDER: "border", GOOD: "kept", BAD: "broken"}
STYLE: dict[Any, Any] = {  # matplotlib types its keys as literals
    "svg.fonttype": "none",  # text that can be selected, in the font of the page
    "svg.hashsalt": "report",
    "text.parse_math": False,  # a label may contain dollar signs
    "font.size": 9,
    "text.color": TEXT,
    "axes.edgecolor": BORDER,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
SVG_TAG, SVG_ID = re.compile("<[^>]+>"), re.compile(r'(\bid="|href="#|url\(#)')
WIDTH_IN = 4.2  # on a phone, text of 9 pt is then still 11 px high
LABELS_WITH_COUNTS = 12  # of a confusion matrix: counts of more labels would overlap
NAME_LENGTH = 16
COSTS = {  # what a target pays for: the name of the axis, and the limit
    "size_mb": ("MB", "max_model_mb"),
    "latency_p50_ms": ("median time of one prediction, ms", "max_latency_p95_ms"),
}


def report() -> None:
    """Write the page from the reports of the other stages."""
    scope = load_scope()
    gates = verdicts()
    quality, made = read_report("evaluate"), optional_report(MODEL_REPORT)
    shipped = read_report("compress")["shipped"]
    with rc_context(STYLE):
        figures = {
            "variants": _draw("variants", _draw_variants()),
            "losses": _draw("losses", _draw_losses()) if "curve" in made else "",
        }
        drawn = [
            picture._asdict() | {"svg": _draw(picture.id, picture.figure or _draw_counts(picture))}
            for picture in pictures.draw(quality, PALETTE)
        ]
    page = fill(
        "report.html",
        scope=scope,
        purpose=purpose(quality),
        headline=headline(gates),
        all_met=all(gate.passed for gate in gates),
        findings=findings(quality),
        is_sample=is_sample(),
        model=identity(),
        parameters=None if shipped == BASELINE_VARIANT else made.get("parameters"),
        commit=describe_commit(),
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        parts=list_gates(gates),
        quality=quality,
        slices=list_slices(quality),
        slices_explained=words.SLICES.format(confidence=f"{100 * scope.confidence:g} %"),
        hidden_slices=words.HIDDEN_SLICES,
        pictures=drawn,
        variants=list_variants(read_variants(), shipped),
        figures=figures,
        cheapest="smallest" if CHEAPEST_BY == "size_mb" else "fastest",
    )
    (REPORTS / "report.html").write_text(page, encoding="utf-8")


def read_variants() -> dict[str, Any]:
    """Return the measurements of every variant of `compress`, and of the converted models."""
    measured = [each for each in list_conversions() if (REPORTS / f"{each.report}.json").exists()]
    rows = {each.report.partition("_")[2]: read_report(*each) for each in measured}
    return dict(read_report("compress")["candidates"]) | rows


@np.errstate(invalid="ignore")  # a label without a held-out example has no shares
def _draw_counts(picture: Picture) -> Figure:
    rows, labels = ([_shorten(name) for name in names] for names in picture.names)
    counts = np.array(picture.counts)
    width = max(WIDTH_IN, 1.2 + 0.22 * len(labels))
    # The scale ends at 1.5, above every share: dark numbers stay legible on the darkest green.
    figure = Figure(figsize=(width, 0.72 * width), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts / counts.sum(1, keepdims=True), cmap="Greens", vmin=0, vmax=1.5)
    for (row, column), count in np.ndenumerate(counts):
        if len(labels) <= LABELS_WITH_COUNTS:
            axes.text(column, row, f"{count}", ha="center", va="center")
    axes.set_xticks(range(len(labels)), labels, rotation=45 if len(labels) > 3 else 0)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.set(xlabel=picture.axes[0], ylabel=picture.axes[1])
    return figure


def _draw_losses() -> Figure:
    training = read_report("train")
    figure = Figure(figsize=(WIDTH_IN, 3), layout="constrained")
    axes = figure.subplots()
    for (name, losses), colour in zip(training["curve"].items(), (SOFT, GOOD), strict=False):
        epochs = range(1, len(losses) + 1)
        axes.plot(epochs, losses, color=colour, label=name.replace("_", " "))
    if best := training.get("best_epoch"):
        axes.axvline(best, color=TEXT, linestyle=":", linewidth=1, label=f"kept: epoch {best}")
    axes.set(xlabel="epoch", ylabel=words.LOSS_NAME)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    return figure


def _draw_variants() -> Figure:
    """Draw the metric over what the target pays for: variants further left are cheaper."""
    scope, (cost, cost_limit) = load_scope(), COSTS[CHEAPEST_BY]
    shipped = read_report("compress")["shipped"]
    rows = {name: row for name, row in read_variants().items() if "latency_p95_ms" in row}
    figure = Figure(figsize=(WIDTH_IN, 3), layout="constrained")
    axes = figure.subplots()
    for row in rows.values():
        point = row[CHEAPEST_BY], row["score"]["value"]
        colour = BAD if row["broken"] else SOFT
        axes.scatter(*point, s=26, color=colour, marker="s" if row["broken"] else "o", alpha=0.6)
    if shipped in rows:
        row = rows[shipped]
        point = row[CHEAPEST_BY], row["score"]["value"]
        look: dict[str, Any] = {"color": BAD if row["broken"] else GOOD, "zorder": 3}
        axes.scatter(*point, s=110, marker="s" if row["broken"] else "o", **look)
        place: dict[str, Any] = {"xytext": (0, 9), "textcoords": "offset points", "ha": "center"}
        axes.annotate(shipped, point, weight="bold", **place, **look)
    axes.set_xscale("log")
    limit = getattr(scope, cost_limit)
    if rows and limit < 2 * max(row[CHEAPEST_BY] for row in rows.values()):
        axes.axvline(limit, color=BAD, linestyle="--", linewidth=1)
    axes.axhline(getattr(scope, metrics.LIMIT), color=BAD, linestyle="--", linewidth=1)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(0.25, 0.25)
    axes.set(xlabel=cost, ylabel=f"{scope.metric}, validation split")
    return figure


def _shorten(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…"


def _draw(name: str, figure: Figure) -> str:
    """Return the figure in the colours of the page, with ids that no other figure has."""
    svg = SVG_TAG.sub(lambda tag: SVG_ID.sub(rf"\1{name}-", tag[0]), _svg(figure))
    for colour, variable in COLOURS.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return svg


def _svg(figure: Figure) -> str:
    """Return the figure as an element of a page; matplotlib escapes the text in it."""
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
    )
    return buffer.getvalue().partition("<!DOCTYPE")[2].partition(">")[2]
