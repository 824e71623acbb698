"""Rows of the report: values, their positions on bars, and their limits."""

from itertools import groupby
from typing import Any

import numpy as np

from ..gates import Gate, gate
from ..problem import metrics
from .meanings import PARTS, Meaning, meaning_of
from .pages import format_number

SLICES_SHOWN = 12
Row = dict[str, Any]


def list_gates(gates: list[Gate]) -> dict[str, list[Row]]:
    """Return the rows of the page, grouped by part of the project."""
    rows = [(meaning_of(gate.id), gate) for gate in gates]
    rows.sort(key=lambda row: PARTS.index(row[0].part))
    return {
        part: [_describe_gate(*row) for row in group]
        for part, group in groupby(rows, key=lambda row: row[0].part)
    }


def _describe_gate(meaning: Meaning, gate: Gate) -> Row:
    at_least = gate.comparison == ">="
    none_allowed = gate.limit == 0 and not at_least
    # The limit is a mark on a bar from 0 to 1, or to a little more than the limit.
    end = 1.0 if at_least and gate.limit <= 1 else 1.25 * abs(gate.limit)
    start = min(0.0, gate.limit)
    return {
        "gate": gate,
        "meaning": meaning,
        "margin": _margin(gate),
        "width": None if none_allowed else _percent(gate.observed, start, end),
        "mark": _percent(gate.limit, start, end),
        "limit": "none allowed"
        if none_allowed
        else f"{'at least' if at_least else 'at most'} {format_number(gate.limit)}",
    }


def _margin(gate: Gate) -> str:
    """Return how far the value is from its limit."""
    gap = gate.observed - gate.limit
    if not np.isfinite(gap):
        return "cannot be compared"
    if gate.comparison == "<=" and gate.limit > 0 and gate.observed >= 0:
        return f"{100 * gate.observed / gate.limit:,.0f} % of the limit"
    if gate.limit == 0 and gate.comparison == "<=":
        return ""
    if gap == 0:
        return "exactly at the limit"
    return f"{format_number(abs(gap))} {'above' if gap > 0 else 'below'} the limit"


def _percent(value: float, start: float, end: float) -> float:
    """Return where a value is on a bar, in percent of its length."""
    if not np.isfinite(value) or end <= start:
        return 0.0
    return round(100 * min(max((value - start) / (end - start), 0), 1), 1)


def list_slices(quality: Row) -> Row:
    """Return all examples, then the slices, weakest first, on a scale that shows differences."""
    bound = metrics.BOUND
    slices = sorted(quality["slices"].items(), key=lambda item: metrics.SIGN * item[1][bound])
    shown = [("All examples", quality["score"]), *slices[:SLICES_SHOWN]]
    keys = [metrics.LIMIT] + [f"{metrics.LIMIT}, max_slice_gap"] * len(slices)
    gates = [
        gate("", name, score[bound], key) for (name, score), key in zip(shown, keys, strict=False)
    ]
    start, end = _scale([each.limit for each in gates], [each.observed for each in gates])
    rows = [
        {
            "name": name,
            "score": score,
            "bound": score[bound],
            "limit": each.limit,
            "is_met": each.passed,
            "dark": _percent(min(score[bound], score["value"]), start, end),
            "light": _percent(max(score[bound], score["value"]), start, end),
            "mark": _percent(each.limit, start, end),
        }
        for (name, score), each in zip(shown, gates, strict=True)
    ]
    hidden = len(slices) - len(slices[:SLICES_SHOWN])
    return {"rows": rows, "start": start, "end": end, "hidden": hidden}


def _scale(limits: list[float], bounds: list[float]) -> tuple[float, float]:
    """Return the ends of the bars: up to 1 for scores, from 0 for errors."""
    finite = [*limits, *filter(np.isfinite, bounds)]
    if metrics.SIGN > 0:
        return max(0.0, np.floor(10 * min(finite) - 0.5) / 10), 1.0
    return 0.0, 1.1 * max(finite)


def list_variants(rows: dict[str, Row], shipped: str | None) -> list[Row]:
    """Return the variants from the smallest to the largest; those that failed come last."""
    largest_mb = max((row["size_mb"] for row in rows.values() if "size_mb" in row), default=1)
    described = [
        {
            "name": name,
            "row": row,
            "is_shipped": name == shipped,
            "width": _percent(row.get("size_mb", 0), 0, largest_mb),
            "missed": ", ".join(row.get("broken", [])),
            "reason": row.get("failed") or row.get("not_run") or "",
        }
        for name, row in rows.items()
    ]
    return sorted(described, key=lambda each: each["row"].get("size_mb", np.inf))
