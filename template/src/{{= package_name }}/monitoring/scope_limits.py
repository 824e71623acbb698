"""Exports limits and prices as gauges, so that dashboards and alert rules contain no numbers."""

from prometheus_client import REGISTRY, CollectorRegistry, Gauge
from pydantic import BaseModel

from ..cost import PRICES, Price, Prices
from ..scope import load_scope, read_yaml

# max_latency_p95_ms is a 95th percentile: 95 % of the predictions have to meet it.
IN_TIME = 0.95


def show_limits(registry: CollectorRegistry = REGISTRY) -> None:
    """Export each number of scope.yaml under its key, and the prices of prices.yaml."""
    scope = load_scope()
    limits = Gauge("scope_limit", "Limits of scope.yaml, by key", ["key"], registry=registry)
    for section in (scope, *(value for _, value in scope if isinstance(value, BaseModel))):
        for key, value in section:
            if isinstance(value, int | float):
                limits.labels(key).set(value)
    about = "1 for the bucket of prediction_latency_seconds that ends at max_latency_p95_ms"
    bucket = Gauge("promised_latency_bucket", about, ["le"], registry=registry)
    bucket.labels(scope.latency_bucket).set(1)
    if PRICES.exists():  # the alert LimitsMissing reports an image without it
        about = "USD per month for one more of this kind, from prices.yaml"
        usd = Gauge("price_usd_month", about, ["place"], registry=registry)
        for place, price in read_yaml(PRICES, Prices):
            if isinstance(price, Price):
                usd.labels(place).set(price.usd_month)
