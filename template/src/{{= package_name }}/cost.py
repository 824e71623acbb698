"""Estimate the monthly cost from peak traffic, throughput and prices.yaml."""

import math
from pathlib import Path

from pydantic import BaseModel, Field

from .scope import read_yaml

PRICES = Path("prices.yaml")


class Price(BaseModel, frozen=True, extra="forbid"):
    """What one more server or device costs, and how many there are at least."""

    usd_month: float = Field(ge=0)
    at_least: int = Field(ge=1)


class Prices(BaseModel, frozen=True, extra="forbid"):
    """The price list, as of a date, from a source you name."""

    as_of: str
    source: str
    utilisation: float = Field(gt=0, le=1)
    server: Price
    device: Price


def replicas(place: str, throughput_per_s: float, peak_requests_per_s: float) -> int:
    """Return how many servers or devices carry the peak when each is as busy as planned."""
    prices = read_yaml(PRICES, Prices)
    price: Price = getattr(prices, place)
    needed = math.ceil(peak_requests_per_s / (throughput_per_s * prices.utilisation))
    return max(needed, price.at_least)


def cost_usd_month(throughputs_per_s: dict[str, float], peak_requests_per_s: float) -> float:
    """Return the monthly cost of the servers and devices that carry the peak."""
    prices = read_yaml(PRICES, Prices)
    cost_usd = 0.0
    for place, throughput_per_s in throughputs_per_s.items():
        price: Price = getattr(prices, place)
        cost_usd += replicas(place, throughput_per_s, peak_requests_per_s) * price.usd_month
    return cost_usd
