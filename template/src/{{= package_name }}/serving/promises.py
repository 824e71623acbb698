"""Compares the limits of `scope.yaml` with the metrics of this server since its start.

Prometheus has the values for other periods and for all servers together.
"""

import math
import time
from collections.abc import Mapping
from typing import Literal, NamedTuple

from prometheus_client import REGISTRY

from ..monitoring.scope_limits import IN_TIME
from ..problem import metrics as problem_metrics
from ..problem import words
from ..schema import is_answer_signal
from ..scope import load_params, load_scope

STARTED_S = time.time()
RUNBOOK = "docs/runbook.md"
SERVER_RUNBOOK = "docs/runbook/server.md"
ROUNDING = 1e-9  # 1 - 0.999 is not quite 0.001
State = Literal["met", "missed", "unclear", "waiting"]


class LimitStatus(NamedTuple):
    """A limit and its current value, in words for the status page."""

    name: str
    state: State
    value: str
    limit: str
    runbook: str  # page#heading
    action: str  # the first thing to do if the limit is not met


class MetricsSnapshot:
    """The metrics of this process at one moment. A metric that does not exist is NaN."""

    def __init__(self) -> None:
        self._samples = [s for family in REGISTRY.collect() for s in family.samples]

    def value(self, name: str) -> float:
        """Return a metric without labels."""
        return next((s.value for s in self._samples if s.name == name), math.nan)

    def by_label(self, name: str, label: str) -> dict[str, float]:
        """Return a metric by the values of one label."""
        return {s.labels[label]: s.value for s in self._samples if s.name == name}

    def count_failures(self) -> tuple[float, float]:
        """Return the number of requests that failed with 5xx, and of all except those with 4xx."""
        refused = self.by_label("refusals_total", "status")
        failed = sum(n for status, n in refused.items() if status.startswith("5"))
        return failed, failed + sum(self.by_label("predictions_total", "label").values())

    def latency_counts(self) -> dict[float, float]:
        """Return the cumulative number of requests by their upper bound of latency in seconds."""
        buckets = self.by_label("prediction_latency_seconds_bucket", "le").items()
        return {float(bound): n for bound, n in buckets}

    def count_late(self) -> tuple[float, float]:
        """Return the number of requests above max_latency_p95_ms, and of all requests."""
        counts = self.latency_counts()
        total = counts[math.inf]
        return total - counts[load_scope().max_latency_p95_s], total

    def worst_drift(self) -> tuple[float, str]:
        """Return the largest drift score and its signal; NaN until the window is full."""
        scores = self.by_label("drift_score", "signal").items()
        return max(
            ((score, signal) for signal, score in scores if score >= 0), default=(math.nan, "")
        )

    def has_input_drift(self) -> bool:
        """Return whether the alert InputDrift would fire now."""
        limit = load_scope().watch.max_drift_score
        scores = self.by_label("drift_score", "signal").items()
        return any(score > limit for signal, score in scores if not is_answer_signal(signal))


def budget_left(bad: float, total: float, objective: float) -> float:
    """Return the unused share of an error budget: 1 is unused, below 0 is exhausted.

    The budget is a share of 1 - `objective` of all requests (Beyer et al. 2018, "The Site
    Reliability Workbook", chapter 5).
    """
    if not bad:
        return 1.0
    return 1 - bad / ((1 - objective) * total) if objective < 1 else -math.inf


def quantile(q: float, counts: Mapping[float, float]) -> float:
    """Estimate a quantile of a histogram like `histogram_quantile` of Prometheus.

    `counts` are cumulative, by upper bound in ascending order. Values are assumed to be evenly
    spread within a bucket. NaN without values, infinite above the last finite bound.
    """
    rank = q * max(counts.values())
    low = 0.0
    below = 0.0
    for bound, count in counts.items():
        if count >= rank > 0:
            return low + (bound - low) * (rank - below) / (count - below)
        low = bound
        below = count
    return math.nan


def check_limits(metrics: MetricsSnapshot, gates: Mapping[str, float]) -> list[LimitStatus]:
    """Compare each limit with its current value; `gates` are the values of the gates, by id."""
    scope = load_scope()
    size_mb, usd = (gates.get(gate, math.nan) for gate in ("model_size", "cost"))
    age_days = (time.time() - metrics.value("model_trained_timestamp_seconds")) / 86_400
    drift, signal = metrics.worst_drift()
    drift_alert = "predictiondrift" if is_answer_signal(signal) else "inputdrift"
    return [
        _latency(metrics),
        _availability(metrics),
        _quality(metrics),
        _at_most(
            "Drift",
            drift,
            f"{drift:.2f}",
            f"{scope.watch.max_drift_score:g}",
            f"{SERVER_RUNBOOK}#{drift_alert}",
            f"{signal} moved the most. Compare some recent inputs with older ones.",
        ),
        _at_most(
            "Model age",
            age_days,
            f"{age_days:.1f} days",
            f"{scope.watch.max_model_age_days:g} days",
            f"{SERVER_RUNBOOK}#modelstale",
            "Check why the last retraining failed, or retrain with recent data.",
        ),
        _at_most(
            "Model size",
            size_mb,
            f"{size_mb:.2g} MB",
            f"{scope.max_model_mb:g} MB",
            f"{RUNBOOK}#limits-not-met",
            "Release a smaller model. The runbook lists what to change.",
        ),
        _at_most(
            "Cost per month",
            usd,
            f"{usd:.0f} USD",
            f"{scope.max_cost_usd_month:g} USD",
            f"{SERVER_RUNBOOK}#costoverbudget",
            "Compare the planned traffic and the prices with the budget.",
        ),
    ]


def _latency(metrics: MetricsSnapshot) -> LimitStatus:
    late, total = metrics.count_late()
    counts = metrics.latency_counts()
    p95_s = quantile(IN_TIME, counts)
    largest_s = max(bound for bound in counts if bound < math.inf)
    p95 = f"about {1000 * p95_s:.3g}" if p95_s < math.inf else f"above {1000 * largest_s:g}"
    limit = f"at least {100 * IN_TIME:g} % within {load_scope().max_latency_p95_ms:g} ms"
    return _share(
        "Latency",
        late,
        total,
        IN_TIME,
        f"{limit}; p95 now: {p95} ms" if total else limit,
        f"{SERVER_RUNBOOK}#latencybudgetburn",
        "Check the load of this machine. Roll back if the release is new, or add servers.",
    )


def _availability(metrics: MetricsSnapshot) -> LimitStatus:
    failed, total = metrics.count_failures()
    objective = load_scope().min_availability
    limit = f"at least {100 * objective:g} %"
    return _share(
        "Availability",
        failed,
        total,
        objective,
        f"{limit}; {failed:,.0f} of {total:,.0f} failed" if total else limit,
        f"{SERVER_RUNBOOK}#availabilitybudgetburn",
        "Status 500: read the log, and roll back if the release is new. Status 503: add servers.",
    )


def _share(
    name: str, bad: float, total: float, objective: float, limit: str, runbook: str, action: str
) -> LimitStatus:
    """Compare a share of bad requests; unclear while the budget is less than one request."""
    if not total:
        return LimitStatus(name, "waiting", "–", limit, runbook, action)
    allowed = (1 - objective) * total + ROUNDING
    state: State
    if bad <= allowed:
        state = "met"
    elif allowed >= 1 or objective == 1:
        state = "missed"
    else:
        state = "unclear"
    return LimitStatus(name, state, percent(1 - bad / total, 2), limit, runbook, action)


def _at_most(
    name: str, number: float, value: str, limit: str, runbook: str, action: str
) -> LimitStatus:
    """Compare a number with the number at the start of `limit`."""
    limit_text = f"at most {limit}"
    if math.isnan(number):
        return LimitStatus(name, "waiting", "–", limit_text, runbook, action)
    state: State = "met" if number <= float(limit.split()[0]) else "missed"
    return LimitStatus(name, state, value, limit_text, runbook, action)


def _quality(metrics: MetricsSnapshot) -> LimitStatus:
    """Compare the metric on labelled requests; missed only if chance does not explain it."""
    scope = load_scope()
    window = load_params().labelled_window
    name = f"Quality ({scope.metric})"
    promised = getattr(scope, problem_metrics.LIMIT)
    limit = f"{words.AT_LEAST} {promised:g}"
    runbook = f"{SERVER_RUNBOOK}#qualitybelowpromise"
    action = "Check the labels. Roll back if the release is new, or label more and retrain."
    quality = metrics.value("labelled_quality")
    best = metrics.value(words.AT_BEST_GAUGE[0])
    if not math.isnan(quality):
        state: State
        sign = problem_metrics.SIGN
        if sign * best < sign * promised:
            state = "missed"
        elif sign * quality >= sign * promised:
            state = "met"
        else:
            state = "unclear"
        sure = f"{100 * scope.confidence:g} % confidence"
        limit += f"; {words.AT_BEST} ({sure}): {words.format_value(best)}"
        return LimitStatus(name, state, words.format_value(quality), limit, runbook, action)
    labels = window * metrics.value("labelled_window_fill_ratio")
    limit += f"; {labels:.0f} of {window} labels"
    estimate = metrics.value("estimated_accuracy")
    if metrics.has_input_drift():
        value, limit = "–", f"{limit}; not estimated while inputs drift"
    elif math.isnan(estimate):
        value = "–"
    else:
        value, limit = f"≈ {estimate:.3f}", f"{limit}; {words.ESTIMATE}"
    return LimitStatus(name, "waiting", value, limit, runbook, action)


def percent(share: float, digits: int) -> str:
    """Format a share, rounded down, so that 100 % means all."""
    if math.isinf(share):
        return "none"
    floor = math.floor(round(share * 10 ** (2 + digits), 6)) / 10**digits
    return f"{floor:.{digits}f} %".replace("-", "−")
