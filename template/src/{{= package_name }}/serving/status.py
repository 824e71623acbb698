"""The status page, for people: promises beside now, budgets, drift, labels, model, challenger."""

import json
import math
import time
from contextlib import suppress
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from ..artifacts import RAW, REPORTS
from ..monitoring.scope_limits import IN_TIME
from ..releases.registry import RELEASES
from ..scope import load_scope
from .canary import Trial
from .champion import UNRELEASED, Served
from .promises import STARTED_S, Numbers, Promise, budget_left, percent, promises

MARKS = {"kept": "✓ kept", "broken": "✗ broken", "unsure": "? unsure", "waiting": "… no data yet"}
router = APIRouter(include_in_schema=False)


@router.get("/status", response_class=HTMLResponse)
@router.get("/", response_class=HTMLResponse)
async def status(request: Request) -> str:
    """Show the numbers of `/metrics` to people."""
    served: Served = request.app.state.served
    numbers, page = Numbers(), files(__package__).joinpath("status.html").read_text()
    folder = REPORTS if served.release == UNRELEASED else RELEASES / served.release
    judged = {gate["id"]: gate["observed"] for gate in _read(folder / "gates.json", [])}
    found = promises(numbers, judged)
    broken = ", ".join(promise.name for promise in found if promise.state == "broken")
    kept = sum(promise.state == "kept" for promise in found)
    fine = f"✓ {kept} of {len(found)} promises are kept, none is broken"
    return Template(page).substitute(
        project=escape(load_scope().project),
        state="broken" if broken else "kept",
        verdict=f"✗ Broken: {broken}" if broken else fine,
        since=_moment(STARTED_S),
        promises="".join(map(_card, found)),
        budgets=_budgets(numbers),
        drift=_drift(numbers, served.monitor.window.reference.window),
        labels=_labels(numbers),
        model=_model(numbers, served, _read(folder / "manifest.json", {})),
        challenger=_challenger(request.app.state.trial),
    )


def _card(promise: Promise) -> str:
    name, state, now, promised, runbook = promise
    more = f"<p>What to do: <code>docs/runbook.md#{runbook}</code></p>" if state == "broken" else ""
    head = f'<div><h3>{name}</h3><b class="mark">{MARKS[state]}</b></div><p><b>{now}</b></p>'
    return f'<li class="{state}">{head}<p>{promised}</p>{more}</li>\n'


def _bar(name: str, share: float, text: str, broken: bool = False, line: str = "") -> str:
    """Write one row: a bar that is full at a share of 1, and the same in words."""
    bar = f'<i class="track {line}"><i style="width:{100 * min(max(share, 0), 1):.1f}%"></i></i>'
    state, said = ("broken", f"{text} ✗") if broken else ("kept", text)
    return f'<li class="{state}"><span>{escape(name)}</span>{bar}<b>{said}</b></li>\n'


def _budgets(numbers: Numbers) -> str:
    late, asked, _ = numbers.late()
    failed, requests = numbers.failed()
    left = {
        "In time": budget_left(late, asked, IN_TIME),
        "Available": budget_left(failed, requests, load_scope().min_availability),
    }
    return "".join(_bar(n, share, percent(share, 0), share < 0) for n, share in left.items())


def _drift(numbers: Numbers, window: int) -> str:
    """Write how full the window is and, once it is, each signal; an alarm line is at half a bar."""
    fill = numbers.one("drift_window_fill_ratio")
    limit = load_scope().watch.max_drift_score
    groups = dict.fromkeys(("Input", "Embedding", "Prediction"), "")
    for name, score in numbers.by("drift_score", "signal").items():
        group = "Embedding" if name.startswith("embedding_") else "Input"
        group = "Prediction" if name in ("label", "confidence", "entropy") else group
        if score >= 0:
            row = _bar(name, score / limit / 2, f"{score:.2f}", score > limit, "line")
            groups[group] += row
    head = f"<p>The last {window} predictions, against those at training;"
    head += f' <span class="line"></span> is the alarm line, {limit:.2f}.</p>\n'
    head += f'<ul class="bars">{_bar("Window filled", fill, percent(fill, 0))}</ul>\n'
    return head + "".join(
        f'<h3>{g}</h3><ul class="bars">{r}</ul>\n' for g, r in groups.items() if r
    )


def _labels(numbers: Numbers) -> str:
    last_s, error = (
        numbers.one(name) for name in ("label_last_timestamp_seconds", "calibration_error")
    )
    joined = numbers.by("labels_total", "joined")
    slices = numbers.by("labelled_slice_quality", "slice").items()
    return _facts(
        ({"Last label": _moment(last_s)} if last_s > 0 else {})
        | {
            "Joined": f"{joined.get('yes', 0):.0f} since the start",
            "Unknown requests": f"{joined.get('no', 0):.0f}",
            "Calibration error": "–" if math.isnan(error) else f"{error:.3f} (0 is honest)",
        }
        | {f"Slice {name}": f"{value:.3f}" for name, value in slices if value >= 0}
    )


def _model(numbers: Numbers, served: Served, manifest: dict[str, Any]) -> str:
    data = manifest.get("data", {}).get(str(RAW), "not recorded, as it is no release")
    return _facts(
        {
            "Release": f"{served.release} {manifest.get('name', '')}",
            "SHA-256": served.model.predictor.sha256[:12],
            "Trained": _moment(numbers.one("model_trained_timestamp_seconds")),
            "Data, md5": data,
            "Predictions": f"{sum(numbers.by('predictions_total', 'label').values()):.0f}",
        }
    )


def _challenger(trial: Trial | None) -> str:
    if not trial:
        return "<p>None is tried.</p>"
    said = f"may answer {trial.share:.0%} of the requests"
    said = f"✗ halted by the rule for {trial.halted_by}" if trial.halted_by else said
    rules = [(name, rule.strain) for name, rule in trial.rules.items()]
    bars = "".join(_bar(n, s / 2, f"{s:.2f}", s > 1, "line") for n, s in rules)
    return f'<p>{trial.challenger.release} {said}.</p>\n<ul class="bars">{bars}</ul>'


def _facts(facts: dict[str, str]) -> str:
    rows = (f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>\n" for k, v in facts.items())
    return f"<dl>{''.join(rows)}</dl>"


def _moment(seconds: float) -> str:
    """Write a Unix time, and how long ago that was."""
    gone_s, said = time.time() - seconds, f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
    units = {"days": 86_400, "h": 3600, "min": 60, "s": 1}
    unit = next((unit for unit, length_s in units.items() if gone_s >= 2 * length_s), "s")
    return f"{said} UTC, {gone_s / units[unit]:.0f} {unit} ago"


def _read(path: Path, otherwise: Any) -> Any:
    """Read JSON; what this model has none of is told otherwise."""
    with suppress(OSError, ValueError):
        return json.loads(path.read_text())
    return otherwise
