"""What `compress` chose from, as a picture."""

from itertools import cycle
from typing import Any

from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from ..artifacts import REPORTS, read_report
from ..scope import load_scope


def measured() -> dict[str, Any]:
    """Return the evidence on every candidate of `compress`, and on what `make formats` wrote."""
    formats = {path.stem: read_report(path.stem) for path in sorted(REPORTS.glob("format_*"))}
    by_name = {name.removeprefix("format_"): row for name, row in formats.items()}
    return dict(read_report("compress")["candidates"]) | by_name


def pareto() -> Figure:
    """Draw size, metric and their limits: small is left, good is up, slow is bright."""
    scope, evidence = load_scope(), read_report("compress")
    rows = {name: row for name, row in measured().items() if "latency_p95_ms" in row}
    p95_ms = [row["latency_p95_ms"] for row in rows.values()]
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes, speed = figure.subplots(), LogNorm(min(p95_ms), max(p95_ms))
    for (name, row), marker in zip(rows.items(), cycle("os^v<>DPXhd"), strict=False):
        words = " (shipped)" if name == evidence["shipped"] else " (refused)" * bool(row["broken"])
        x, y, ms = row["size_mb"], row["score"]["value"], row["latency_p95_ms"]
        axes.scatter(x, y, c=ms, norm=speed, marker=marker, alpha=0.7, label=name + words)
    label = f"p95 ms of the network (promised: {scope.max_latency_p95_ms:g})"
    figure.colorbar(ScalarMappable(speed), ax=axes, label=label)
    axes.axvline(scope.max_model_mb, color="#b3261e", linestyle="--", label="max_model_mb")
    axes.axhline(scope.min_metric, color="#b3261e", linestyle=":", label="min_metric")
    axes.set(
        xlabel="MB", ylabel=f"{scope.metric}, validation split", title="Candidates", xscale="log"
    )
    figure.legend(loc="outside left upper")
    return figure
