"""The status page: promises, error budgets, drift, labels, the model and its challenger."""

import json
import math
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..artifacts import RAW, REPORTS
from ..monitoring.scope_limits import IN_TIME
from ..releases.registry import RELEASES
from .champion import UNRELEASED, Served
from .promises import (
    STARTED_S,
    MetricsSnapshot,
    budget_left,
    check_promises,
    percent,
)
from .state import ServerState, state_of

MARKS = {"kept": "✓ kept", "broken": "✗ broken", "unsure": "? unsure", "waiting": "… no data yet"}
ANSWER_SIGNALS = ("label", "confidence", "entropy")
TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
router = APIRouter(include_in_schema=False)


class Bar(NamedTuple):
    """A row with a bar, which is full at a share of 1, and the value in words."""

    name: str
    share: float
    text: str
    is_broken: bool = False

    @property
    def width_percent(self) -> str:
        return f"{100 * min(max(self.share, 0), 1):.1f}"


@router.get("/status", response_class=HTMLResponse)
@router.get("/", response_class=HTMLResponse)
async def status(request: Request) -> str:
    """Show the metrics of this server to people."""
    state = state_of(request)
    served, scope, trial = state.served, state.scope, state.trial
    metrics = MetricsSnapshot()
    folder = REPORTS if served.release == UNRELEASED else RELEASES / served.release
    gates = {gate["id"]: gate["observed"] for gate in _read(folder / "gates.json", [])}
    fill = metrics.value("drift_window_fill_ratio")
    rules = trial.rules.items() if trial else ()
    return TEMPLATES.get_template("status.html").render(
        project=scope.project,
        since=_moment(STARTED_S),
        marks=MARKS,
        promises=check_promises(metrics, gates),
        budgets=_budgets(metrics, state),
        window=served.monitor.window.reference.window,
        window_filled=Bar("Window filled", fill, percent(fill, 0)),
        max_drift_score=scope.watch.max_drift_score,
        drift=_drift(metrics, scope.watch.max_drift_score),
        labels=_labels(metrics),
        model=_model(metrics, served, _read(folder / "manifest.json", {})),
        trial=trial,
        rules=[_with_alarm_line(name, rule.usage, 1) for name, rule in rules],
    )


def _with_alarm_line(name: str, value: float, limit: float) -> Bar:
    """Return a bar on which the limit is in the middle, so that values above it can be seen."""
    return Bar(name, value / limit / 2, f"{value:.2f}", value > limit)


def _budgets(metrics: MetricsSnapshot, state: ServerState) -> list[Bar]:
    late, asked, _ = metrics.count_late()
    failed, requests = metrics.count_failures()
    left = {
        "In time": budget_left(late, asked, IN_TIME),
        "Available": budget_left(failed, requests, state.scope.min_availability),
    }
    return [Bar(name, share, percent(share, 0), share < 0) for name, share in left.items()]


def _drift(metrics: MetricsSnapshot, limit: float) -> dict[str, list[Bar]]:
    """Return the signals by group; there are none until the window is full."""
    groups: dict[str, list[Bar]] = {"Input": [], "Embedding": [], "Prediction": []}
    for name, score in metrics.by_label("drift_score", "signal").items():
        group = "Embedding" if name.startswith("embedding_") else "Input"
        group = "Prediction" if name in ANSWER_SIGNALS else group
        if score >= 0:
            groups[group].append(_with_alarm_line(name, score, limit))
    return groups


def _labels(metrics: MetricsSnapshot) -> dict[str, str]:
    last_s = metrics.value("label_last_timestamp_seconds")
    error = metrics.value("calibration_error")
    joined = metrics.by_label("labels_total", "joined")
    slices = metrics.by_label("labelled_slice_quality", "slice").items()
    return (
        ({"Last label": _moment(last_s)} if last_s > 0 else {})
        | {
            "Joined": f"{joined.get('yes', 0):.0f} since the start",
            "Unknown requests": f"{joined.get('no', 0):.0f}",
            "Calibration error": "–" if math.isnan(error) else f"{error:.3f} (0 is honest)",
        }
        | {f"Slice {name}": f"{value:.3f}" for name, value in slices if value >= 0}
    )


def _model(metrics: MetricsSnapshot, served: Served, manifest: dict[str, Any]) -> dict[str, str]:
    predictions = metrics.by_label("predictions_total", "label").values()
    return {
        "Release": f"{served.release} {manifest.get('name', '')}",
        "SHA-256": served.sha256[:12],
        "Trained": _moment(metrics.value("model_trained_timestamp_seconds")),
        "Data, md5": manifest.get("data", {}).get(str(RAW), "not recorded, as it is no release"),
        "Predictions": f"{sum(predictions):.0f}",
    }


def _moment(seconds: float) -> str:
    """Format a Unix time, and how long ago it was."""
    ago_s = time.time() - seconds
    units = {"days": 86_400, "h": 3600, "min": 60, "s": 1}
    unit = next((unit for unit, length_s in units.items() if ago_s >= 2 * length_s), "s")
    moment = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
    return f"{moment} UTC, {ago_s / units[unit]:.0f} {unit} ago"


def _read(path: Path, default: Any) -> Any:
    """Read JSON; return the default if the file is missing or damaged."""
    with suppress(OSError, ValueError):
        return json.loads(path.read_text())
    return default
