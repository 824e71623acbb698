"""Exports limits and prices as gauges, so that dashboards and alert rules contain no numbers."""

from prometheus_client import REGISTRY, CollectorRegistry, Gauge

from ..cost import PRICES, Prices
from ..scope import load_scope, read_yaml
from ..target.alert_limits import AlertLimits

# max_latency_p95_ms is a 95th percentile: 95 % of the predictions have to meet it.
IN_TIME = 0.95


def show_limits(registry: CollectorRegistry = REGISTRY) -> None:
    """Export each number of scope.yaml under its key, and the prices of prices.yaml."""
    scope = load_scope()
    limits = Gauge("scope_limit", "Limits of scope.yaml, by key", ["key"], registry=registry)
    sections = [part for _, part in scope if isinstance(part, AlertLimits)]
    for part in (scope, *sections):
        for key, value in part:
            if isinstance(value, int | float):
                limits.labels(key).set(value)
    about = "1 for the bucket of prediction_latency_seconds that ends at max_latency_p95_ms"
    # Histograms own the suffix `_bucket` by convention. Rules in use read this name.
    bucket = Gauge("promised_latency_bucket", about, ["le"], registry=registry)
    bucket.labels(scope.latency_bucket).set(1)
    if PRICES.exists():  # an image built without it still serves; LimitsMissing fires
        prices = read_yaml(PRICES, Prices)
        about = "Price of one more unit in this place, in USD per month"
        usd = Gauge("price_usd_month", about, ["place"], registry=registry)
        for place, price in prices.places.items():
            usd.labels(place).set(price.usd_month)
