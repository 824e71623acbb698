"""The status page: limits, error budgets, drift, labels, the model and its challenger.

The runbook is served under its path in the repository, so that the page can link to it.
"""

import asyncio
import json
import math
import re
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..artifacts import RAW, REPORTS
from ..monitoring.scope_limits import IN_TIME
from ..problem import words
from ..schema import EMBEDDING_SIGNAL, is_answer_signal
from .champion import UNRELEASED, Served
from .promises import (
    RUNBOOK,
    SERVER_RUNBOOK,
    STARTED_S,
    LimitStatus,
    MetricsSnapshot,
    budget_left,
    check_limits,
    percent,
)
from .state import ServerState, state_of

MARKS = {"met": "✓ met", "missed": "✗ not met", "unclear": "? unclear", "waiting": "… no data yet"}
CHECK_EVERY_S = 60  # precision of the times on the page; a check costs as much as a scrape
TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
router = APIRouter(include_in_schema=False)


class Bar(NamedTuple):
    """A row with a bar, which is full at a share of 1, and a text."""

    name: str
    share: float
    text: str
    is_missed: bool = False

    @property
    def width_percent(self) -> str:
        return f"{100 * min(max(self.share, 0), 1):.1f}"


@router.get("/status", response_class=HTMLResponse)
@router.get("/", response_class=HTMLResponse)
async def status(request: Request) -> str:
    """Show the metrics of this server."""
    state = state_of(request)
    served, scope, trial = state.served, state.scope, state.trial
    metrics = MetricsSnapshot()
    limits = compare_limits(state, metrics)
    fill = metrics.value("drift_window_fill_ratio")
    rules = trial.rules.items() if trial else ()
    return TEMPLATES.get_template("status.html").render(
        project=scope.project,
        started=_moment(STARTED_S),
        marks=MARKS,
        limits=limits,
        since={name: _moment(seconds) for name, seconds in state.missed_since_s.items()},
        pages=[page for page in (RUNBOOK, SERVER_RUNBOOK) if Path(page).exists()],
        budgets=_budgets(metrics, state),
        window=served.monitor.window.reference.window,
        window_filled=Bar("Window filled", fill, percent(fill, 0)),
        max_drift_score=scope.watch.max_drift_score,
        drift=_drift(metrics, scope.watch.max_drift_score),
        labels=_labels(metrics),
        model=_model(metrics, served),
        trial=trial,
        rules=[_with_limit_line(name, rule.usage, 1) for name, rule in rules],
    )


@router.get(f"/{RUNBOOK}", response_class=HTMLResponse)
async def runbook() -> str:
    """Show the general runbook."""
    return _runbook(Path(RUNBOOK))


@router.get(f"/{SERVER_RUNBOOK}", response_class=HTMLResponse)
async def server_runbook() -> str:
    """Show the runbook of the server."""
    return _runbook(Path(SERVER_RUNBOOK))


def _runbook(page: Path) -> str:
    """Render the sections of a runbook, each with the id by which GitHub would link to it."""
    try:
        title, *parts = re.split(r"(?m)^##? (.+)$", page.read_text())[1:]
    except OSError:
        raise HTTPException(404, f"{page} is not in this image") from None
    sections = [
        (re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-"), heading, text.strip())
        for heading, text in zip(parts[1::2], parts[2::2], strict=True)
    ]
    template = TEMPLATES.get_template("runbook.html")
    return template.render(title=title, introduction=parts[0].strip(), sections=sections)


def compare_limits(state: ServerState, metrics: MetricsSnapshot) -> list[LimitStatus]:
    """Compare all limits, and record since when each has not been met."""
    rows = _read_report(state.served, "gates.json", [])
    gates = {gate["id"]: gate["observed"] for gate in rows}
    limits = check_limits(metrics, gates)
    now_s, since_s = time.time(), state.missed_since_s
    missed = [limit.name for limit in limits if limit.state == "missed"]
    state.missed_since_s = {name: since_s.get(name, now_s) for name in missed}
    return limits


async def watch_limits(state: ServerState) -> None:
    """Compare the limits every `CHECK_EVERY_S`, until cancelled."""
    while True:
        await asyncio.sleep(CHECK_EVERY_S)
        compare_limits(state, MetricsSnapshot())


def _with_limit_line(name: str, value: float, limit: float) -> Bar:
    """Return a bar with the limit in the middle, so that values above it are visible."""
    return Bar(name, value / limit / 2, f"{value:.2f}", value > limit)


def _budgets(metrics: MetricsSnapshot, state: ServerState) -> list[Bar]:
    late, total = metrics.count_late()
    failed, requests = metrics.count_failures()
    left = {
        "Latency": budget_left(late, total, IN_TIME),
        "Availability": budget_left(failed, requests, state.scope.min_availability),
    }
    return [Bar(name, share, percent(share, 0), share < 0) for name, share in left.items()]


def _drift(metrics: MetricsSnapshot, limit: float) -> dict[str, list[Bar]]:
    """Return the signals by group. They have no score until the window is full."""
    groups: dict[str, list[Bar]] = {"Input": [], "Embedding": [], "Prediction": []}
    for name, score in metrics.by_label("drift_score", "signal").items():
        group = "Embedding" if name.startswith(EMBEDDING_SIGNAL) else "Input"
        group = "Prediction" if is_answer_signal(name) else group
        if score >= 0:
            groups[group].append(_with_limit_line(name, score, limit))
    return groups


def _labels(metrics: MetricsSnapshot) -> dict[str, str]:
    last_s = metrics.value("label_last_timestamp_seconds")
    error = metrics.value(words.CALIBRATION_GAUGE[0])
    joined = metrics.by_label("labels_total", "joined")
    slices = metrics.by_label("labelled_slice_quality", "slice").items()
    return (
        ({"Last label": _moment(last_s)} if last_s > 0 else {})
        | {
            "Matched to a request": f"{joined.get('yes', 0):.0f} since start",
            "Unknown request": f"{joined.get('no', 0):.0f}",
            words.CALIBRATION_ROW: "–" if math.isnan(error) else words.format_calibration(error),
        }
        | {f"Slice {name}": words.format_value(value) for name, value in slices if value >= 0}
    )


def _model(metrics: MetricsSnapshot, served: Served) -> dict[str, str]:
    manifest = _read_report(served, "manifest.json", {})
    predictions = metrics.by_label("predictions_total", "label").values()
    return {
        "Release": f"{served.release} {manifest.get('name', '')}",
        "SHA-256": served.sha256[:12],
        "Trained": _moment(metrics.value("model_trained_timestamp_seconds")),
        "Data (MD5)": manifest.get("data", {}).get(str(RAW), "not recorded: unreleased model"),
        "Predictions": f"{sum(predictions):.0f}",
    }


def _moment(seconds: float) -> str:
    """Format a Unix time, and how long ago it was."""
    ago_s = time.time() - seconds
    units = {"days": 86_400, "h": 3600, "min": 60, "s": 1}
    unit = next((unit for unit, length_s in units.items() if ago_s >= 2 * length_s), "s")
    moment = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
    return f"{moment} UTC ({ago_s / units[unit]:.0f} {unit} ago)"


def _read_report(served: Served, name: str, default: Any) -> Any:
    """Read JSON of the release, or of the pipeline; the default if it is missing or damaged."""
    with suppress(OSError, ValueError):
        if served.release == UNRELEASED:
            return json.loads((REPORTS / name).read_bytes())
        return json.loads(served.reports.get(name, b""))
    return default
