"""What was promised beside what is so now, by the numbers of `/metrics` since this server started.

For any other time, ask Prometheus.
"""

import math
import time
from collections.abc import Mapping
from typing import Literal, NamedTuple

from prometheus_client import REGISTRY

from ..monitoring.scope_limits import IN_TIME
from ..scope import load_params, load_scope

STARTED_S = time.time()
NEARLY_0 = 1e-9  # 1 - 0.999 is not quite 0.001
State = Literal["kept", "broken", "unsure", "waiting"]


class Promise(NamedTuple):
    """A promise: its state, what is so now, what was promised, a heading of docs/runbook.md."""

    name: str
    state: State
    now: str
    promised: str
    runbook: str


class Numbers:
    """What `/metrics` says at this moment; a number that it does not have is NaN."""

    def __init__(self) -> None:
        self._samples = [s for family in REGISTRY.collect() for s in family.samples]

    def one(self, name: str) -> float:
        """Return a metric without labels."""
        return next((s.value for s in self._samples if s.name == name), math.nan)

    def by(self, name: str, label: str) -> dict[str, float]:
        """Return a metric by the values of one label."""
        return {s.labels[label]: s.value for s in self._samples if s.name == name}

    def failed(self) -> tuple[float, float]:
        """Return how many requests failed by no fault of the client (5xx), and of how many."""
        refused = self.by("refusals_total", "status")
        failed = sum(n for status, n in refused.items() if status.startswith("5"))
        return failed, failed + sum(self.by("predictions_total", "label").values())

    def late(self) -> tuple[float, float, float]:
        """Return how many requests were later than promised, of how many, and the p95 in ms."""
        found = self.by("prediction_latency_seconds_bucket", "le").items()
        counts = {float(bound): n for bound, n in found}
        asked, in_time = counts[math.inf], counts[load_scope().max_latency_p95_ms / 1000]
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

    `counts` are cumulative, by their upper bounds in ascending order; between two bounds, all
    values are taken to be as likely. NaN without any, infinite above the last finite bound.
    """
    low, below, wanted = 0.0, 0.0, q * max(counts.values())
    for bound, count in counts.items():
        if count >= wanted > 0:
            return low + (bound - low) * (wanted - below) / (count - below)
        low, below = bound, count
    return math.nan


def promises(numbers: Numbers, judged: Mapping[str, float]) -> list[Promise]:
    """Hold each promise against now; `judged` is what the gates saw of this model, by gate."""
    scope, watch = load_scope(), load_scope().watch
    (late, asked, p95_ms), (failed, requests) = numbers.late(), numbers.failed()
    p95 = f"about {p95_ms:.3g} ms" if p95_ms < math.inf else "far above it"
    in_time = f"{100 * IN_TIME:g} % within {scope.max_latency_p95_ms:g} ms"
    in_time += f"; p95 is {p95}" if asked else ""
    answered = f"at least {100 * scope.min_availability:g} %"
    answered += f"; {failed:,.0f} of {requests:,.0f} failed"
    age_days = (time.time() - numbers.one("model_trained_timestamp_seconds")) / 86_400
    scores = [score for score in numbers.by("drift_score", "signal").values() if score >= 0]
    drift = max(scores, default=math.nan)
    size_mb, usd = (judged.get(gate, math.nan) for gate in ("model_size", "cost"))
    return [
        _share("In time", late, asked, IN_TIME, in_time, "latency"),
        _share("Available", failed, requests, scope.min_availability, answered, "availability"),
        _quality(numbers),
        _within("Worst drift", drift, ".2f", watch.max_drift_score, "", "drift"),
        _within("Model age", age_days, ".1f", watch.max_model_age_days, " days", "stale-model"),
        _within("Model size", size_mb, ".2g", scope.max_model_mb, " MB", "broken-promise"),
        _within("Cost a month", usd, ".0f", scope.max_cost_usd_month, " USD", "cost"),
    ]


def _share(
    name: str, bad: float, total: float, objective: float, promised: str, runbook: str
) -> Promise:
    """Hold a share against its objective; unsure while one bad request is more than it allows."""
    if not total:
        return Promise(name, "waiting", "–", promised, runbook)
    allowed = (1 - objective) * total + NEARLY_0
    state: State = "broken" if allowed >= 1 or objective == 1 else "unsure"
    state = "kept" if bad <= allowed else state
    return Promise(name, state, percent(1 - bad / total, 2), promised, runbook)


def _within(name: str, value: float, form: str, limit: float, unit: str, runbook: str) -> Promise:
    promised = f"at most {limit:g}{unit}"
    if math.isnan(value):
        return Promise(name, "waiting", "–", promised, runbook)
    state: State = "kept" if value <= limit else "broken"
    return Promise(name, state, f"{value:{form}}{unit}", promised, runbook)


def _quality(numbers: Numbers) -> Promise:
    """Quality on labelled requests: broken where chance does not explain it."""
    scope, wanted = load_scope(), load_params().labelled_window
    name, floor = f"Quality ({scope.metric})", f"at least {scope.min_metric:g}"
    value, highest = numbers.one("labelled_quality"), numbers.one("labelled_quality_at_most")
    if not math.isnan(value):
        state: State = "kept" if value >= scope.min_metric else "unsure"
        state = "broken" if highest < scope.min_metric else state
        sure = f"; {100 * scope.confidence:g} % sure that it is at most {highest:.3f}"
        return Promise(name, state, f"{value:.3f}", floor + sure, "quality")
    came = f"; {wanted * numbers.one('labelled_window_fill_ratio'):.0f} of {wanted} labels came"
    guess = numbers.one("estimated_accuracy")
    if math.isnan(guess):
        return Promise(name, "waiting", "–", floor + came, "quality")
    return Promise(name, "waiting", f"≈ {guess:.3f}", f"{floor}{came}: estimated", "quality")


def percent(share: float, digits: int) -> str:
    """Write a share, rounded down: what is not all of it is never 100 %."""
    if math.isinf(share):
        return "none"
    floor = math.floor(round(share * 10 ** (2 + digits), 6)) / 10**digits
    return f"{floor:.{digits}f} %".replace("-", "−")
