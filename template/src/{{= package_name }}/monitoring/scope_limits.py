"""The numbers of `scope.yaml` as gauges, so that a dashboard draws them and repeats none."""

from prometheus_client import REGISTRY, CollectorRegistry, Gauge

from ..scope import load_scope

BUCKET = "1 for the bucket of prediction_latency_seconds that ends at the promise"


def show_limits(registry: CollectorRegistry = REGISTRY) -> None:
    """Export each number, in the unit of its name."""
    scope = load_scope()
    limits = Gauge("scope_limit", "A number of scope.yaml", ["key"], registry=registry)
    for part in (scope, scope.watch, scope.fleet):
        for key, value in part or ():
            if isinstance(value, int | float):
                limits.labels(key).set(value)
    bucket = Gauge("promised_latency_bucket", BUCKET, ["le"], registry=registry)
    bucket.labels(str(scope.max_latency_p95_ms / 1000)).set(1)
