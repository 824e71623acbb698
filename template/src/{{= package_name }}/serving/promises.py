"""Compares the promises of `scope.yaml` with the metrics of this server since it started.

For other periods, ask Prometheus.
"""

import math
import time
from collections.abc import Mapping
from typing import Literal, NamedTuple

from prometheus_client import REGISTRY

from ..monitoring.scope_limits import IN_TIME
from ..scope import load_params, load_scope

STARTED_S = time.time()
RUNBOOK = "docs/runbook/server.md"
ROUNDING = 1e-9  # 1 - 0.999 is not quite 0.001
State = Literal["kept", "broken", "unsure", "waiting"]


class Promise(NamedTuple):
    """A promise: its state, the current value, the promised one, its heading in a runbook."""

    name: str
    state: State
    now: str
    promised: str
    runbook: str


class MetricsSnapshot:
    """The metrics of this process at one moment; a metric that does not exist is NaN."""

    def __init__(self) -> None:
        self._samples = [s for family in REGISTRY.collect() for s in family.samples]

    def value(self, name: str) -> float:
        """Return a metric without labels."""
        return next((s.value for s in self._samples if s.name == name), math.nan)

    def by_label(self, name: str, label: str) -> dict[str, float]:
        """Return a metric by the values of one label."""
        return {s.labels[label]: s.value for s in self._samples if s.name == name}

    def count_failures(self) -> tuple[float, float]:
        """Return how many requests failed with 5xx, and of how many, without those with 4xx."""
        refused = self.by_label("refusals_total", "status")
        failed = sum(n for status, n in refused.items() if status.startswith("5"))
        return failed, failed + sum(self.by_label("predictions_total", "label").values())

    def count_late(self) -> tuple[float, float, float]:
        """Return how many requests took longer than promised, of how many, and the p95 in ms."""
        buckets = self.by_label("prediction_latency_seconds_bucket", "le").items()
        counts = {float(bound): n for bound, n in buckets}
        asked = counts[math.inf]
        in_time = counts[load_scope().max_latency_p95_s]
        return asked - in_time, asked, 1000 * quantile(IN_TIME, counts)


def budget_left(bad: float, total: float, objective: float) -> float:
    """Return the share of an error budget that is left: 1 is untouched, below 0 is overspent.

    1 - `objective` of `total` requests may be `bad` (Beyer et al. 2018, "The Site Reliability
    Workbook", chapter 5).
    """
    if not bad:
        return 1.0
    return 1 - bad / ((1 - objective) * total) if objective < 1 else -math.inf


def quantile(q: float, counts: Mapping[float, float]) -> float:
    """Estimate a quantile, in the unit of the bounds, as Prometheus' `histogram_quantile` does.

    `counts` are cumulative, by their upper bounds in ascending order; values are assumed to be
    evenly spread between two bounds. NaN without values, infinite above the last finite bound.
    """
    wanted = q * max(counts.values())
    low = 0.0
    below = 0.0
    for bound, count in counts.items():
        if count >= wanted > 0:
            return low + (bound - low) * (wanted - below) / (count - below)
        low = bound
        below = count
    return math.nan


def check_promises(metrics: MetricsSnapshot, gates: Mapping[str, float]) -> list[Promise]:
    """Compare each promise with its current value; `gates` has what the gates measured, by id."""
    scope = load_scope()
    watch = scope.watch
    late, asked, p95_ms = metrics.count_late()
    failed, requests = metrics.count_failures()
    p95 = f"about {p95_ms:.3g} ms" if p95_ms < math.inf else "far above it"
    in_time = f"{100 * IN_TIME:g} % within {scope.max_latency_p95_ms:g} ms"
    in_time += f"; p95 is {p95}" if asked else ""
    answered = f"at least {100 * scope.min_availability:g} %"
    answered += f"; {failed:,.0f} of {requests:,.0f} failed"
    age_days = (time.time() - metrics.value("model_trained_timestamp_seconds")) / 86_400
    scores = [score for score in metrics.by_label("drift_score", "signal").values() if score >= 0]
    drift = max(scores, default=math.nan)
    size_mb, usd = (gates.get(gate, math.nan) for gate in ("model_size", "cost"))
    return [
        _share("In time", late, asked, IN_TIME, in_time, f"{RUNBOOK}#latency"),
        _share("Available", failed, requests, scope.min_availability, answered, f"{RUNBOOK}#availability"),
        _quality(metrics),
        _within("Worst drift", drift, ".2f", watch.max_drift_score, "", "docs/runbook.md#drift"),
        _within("Model age", age_days, ".1f", watch.max_model_age_days, " days", f"{RUNBOOK}#stale-model"),
        _within("Model size", size_mb, ".2g", scope.max_model_mb, " MB", "docs/runbook.md#limits-not-met"),
        _within("Cost a month", usd, ".0f", scope.max_cost_usd_month, " USD", f"{RUNBOOK}#cost"),
    ]


def _share(
    name: str, bad: float, total: float, objective: float, promised: str, runbook: str
) -> Promise:
    """Check a share of bad requests; unsure while a single one is more than the share allows."""
    if not total:
        return Promise(name, "waiting", "–", promised, runbook)
    allowed = (1 - objective) * total + ROUNDING
    state: State
    if bad <= allowed:
        state = "kept"
    elif allowed >= 1 or objective == 1:
        state = "broken"
    else:
        state = "unsure"
    return Promise(name, state, percent(1 - bad / total, 2), promised, runbook)


def _within(name: str, value: float, form: str, limit: float, unit: str, runbook: str) -> Promise:
    promised = f"at most {limit:g}{unit}"
    if math.isnan(value):
        return Promise(name, "waiting", "–", promised, runbook)
    state: State = "kept" if value <= limit else "broken"
    return Promise(name, state, f"{value:{form}}{unit}", promised, runbook)


def _quality(metrics: MetricsSnapshot) -> Promise:
    """Check the quality on labelled requests: broken if chance does not explain it."""
    scope = load_scope()
    wanted = load_params().labelled_window
    name = f"Quality ({scope.metric})"
    floor = f"at least {scope.min_metric:g}"
    value = metrics.value("labelled_quality")
    highest = metrics.value("labelled_quality_at_most")
    if not math.isnan(value):
        state: State
        if highest < scope.min_metric:
            state = "broken"
        elif value >= scope.min_metric:
            state = "kept"
        else:
            state = "unsure"
        sure = f"; {100 * scope.confidence:g} % sure that it is at most {highest:.3f}"
        return Promise(name, state, f"{value:.3f}", floor + sure, f"{RUNBOOK}#quality")
    came = f"; {wanted * metrics.value('labelled_window_fill_ratio'):.0f} of {wanted} labels came"
    guess = metrics.value("estimated_accuracy")
    if math.isnan(guess):
        return Promise(name, "waiting", "–", floor + came, f"{RUNBOOK}#quality")
    return Promise(name, "waiting", f"≈ {guess:.3f}", f"{floor}{came}: estimated", f"{RUNBOOK}#quality")


def percent(share: float, digits: int) -> str:
    """Format a share, rounded down: anything less than all is never 100 %."""
    if math.isinf(share):
        return "none"
    floor = math.floor(round(share * 10 ** (2 + digits), 6)) / 10**digits
    return f"{floor:.{digits}f} %".replace("-", "−")
