"""Promised traffic, measured throughput and your price list in, US dollars a month out."""

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


def cost_usd_month(throughputs_per_s: dict[str, float], peak_requests_per_s: float) -> float:
    """Return the monthly cost of servers and devices that carry the peak as busy as planned."""
    prices, cost_usd = read_yaml(PRICES, Prices), 0.0
    for place, throughput_per_s in throughputs_per_s.items():
        price: Price = getattr(prices, place)
        needed = math.ceil(peak_requests_per_s / (throughput_per_s * prices.utilisation))
        cost_usd += max(needed, price.at_least) * price.usd_month
    return cost_usd
