"""When the server or its model needs somebody: rules over what `/metrics` shows."""

from ..cost import PRICES, Prices
from ..scope import Scope, read_yaml
from .burn import budget
from .due import retrain_due
from .rules import Rule, alert

IN_TIME = 0.95  # of the answers: what a p95 promises
DOWN_S, STEADY_S, COSTLY_S = 120, 300, 3600
PREDICTED = "label|confidence|entropy"  # signals of the answers; the others are of the inputs
FAILED = '(sum(rate(refusals_total{status=~"5.."}[w])) or vector(0))'
ANSWERED = "(sum(rate(predictions_total[w])) or vector(0))"
LATENCY = "prediction_latency_seconds"
MOVED = '{{ $labels.signal }} is at {{ $value | printf "%.1f" }} of its alarm line.'


def rules(scope: Scope) -> list[Rule]:
    """Return the alerts about the server, by whoever watches it.

    Raises:
        Refusal: an alert about a promise could never fire.
    """
    watch, promise_s = scope.watch, scope.max_latency_p95_ms / 1000
    idle, old_s = f"{watch.max_idle_s:.0f}s", 86400 * watch.max_model_age_days
    drifts = f"> {watch.max_drift_score}"
    return [
        *budget(
            "availability",
            "min_availability",
            scope.min_availability,
            f"{FAILED} / (\n  {FAILED}\n  + {ANSWERED}\n)",
            "availability",
        ),
        *budget(
            "latency",
            "max_latency_p95_ms",
            IN_TIME,
            f'1 - sum(rate({LATENCY}_bucket{{le="{promise_s}"}}[w]))\n'
            f"/ sum(rate({LATENCY}_count[w]))",
            "latency",
        ),
        alert(
            "InputDrift",
            f'max by (signal) (drift_score{{signal!~"{PREDICTED}"}}) {drifts}',
            "ticket",
            f"Inputs moved: {MOVED}",
            "drift",
            STEADY_S,
        ),
        alert(
            "PredictionDrift",
            f'max by (signal) (drift_score{{signal=~"{PREDICTED}"}}) {drifts}',
            "ticket",
            f"Answers moved: {MOVED}",
            "drift",
            STEADY_S,
        ),
        alert(
            "QualityBelowPromise",
            f"labelled_quality_at_most < {scope.min_metric}",
            "ticket",
            'On labelled requests, the promised metric is {{ $value | printf "%.3f" }} at most.',
            "quality",
            STEADY_S,
        ),
        alert(
            "ModelStale",
            f"time() - model_trained_timestamp_seconds > {old_s}",
            "ticket",
            "The model was trained {{ $value | humanizeDuration }} ago.",
            "stale-model",
            STEADY_S,
        ),
        alert(
            "NoPredictions",
            f"sum(increase(predictions_total[{idle}])) == 0\n"
            f'and on() up{{job="server"}} offset {idle}',  # as long as that it has been watched
            "ticket",
            f"Nobody was answered for {idle}.",
            "no-predictions",
        ),
        alert(
            "ServerDown",
            'up{job="server"} == 0 or absent(up{job="server"})',
            "page",
            "A server shows nothing to Prometheus.",
            "server-down",
            DOWN_S,
        ),
        alert(
            "CostOverBudget",
            f"{_usd_month(scope)} > {scope.max_cost_usd_month}",
            "ticket",
            'A month of what runs now costs {{ $value | printf "%.0f" }} USD.',
            "cost",
            COSTLY_S,
        ),
        alert(
            "ChallengerHalted",
            "min by (release) (challenger_share_ratio) == 0",
            "ticket",
            "{{ $labels.release }} broke a rule for challengers, and answers no more.",
            "challenger",
        ),
        retrain_due(
            watch, "server", "InputDrift", "PredictionDrift", "QualityBelowPromise", "ModelStale"
        ),
    ]


def _usd_month(scope: Scope) -> str:
    prices = read_yaml(PRICES, Prices)
    servers = f'sum(up{{job="server"}}) * {prices.server.usd_month}'
    devices = f"(count(device_info) or vector(0)) * {prices.device.usd_month}"
    return f"{servers} + {devices}" if scope.fleet else servers
