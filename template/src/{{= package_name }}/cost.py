"""Estimate the monthly cost from peak traffic, throughput and prices.yaml."""

import math
from pathlib import Path

from pydantic import BaseModel, Field

from .scope import read_yaml

PRICES = Path("prices.yaml")


class Price(BaseModel, frozen=True, extra="forbid"):
    """The price of one unit, and the smallest number of units."""

    usd_month: float = Field(ge=0)
    at_least: int = Field(ge=1)


class Prices(BaseModel, frozen=True, extra="allow"):
    """The price list: its date, its source, and a price for each place where a model runs."""

    __pydantic_extra__: dict[str, Price] = Field(init=False)

    as_of: str
    source: str
    utilisation: float = Field(gt=0, le=1)

    @property
    def places(self) -> dict[str, Price]:
        return self.__pydantic_extra__

    def price_of(self, place: str) -> Price:
        if place not in self.places:
            remedy = f"Add one, for example `{place}: {{usd_month: 5.0, at_least: 1}}`."
            raise SystemExit(f"{PRICES} has no price for {place!r}. {remedy}")
        return self.places[place]


def replicas(place: str, throughput_per_s: float, peak_requests_per_s: float) -> int:
    """Return how many units carry the peak at the planned utilisation."""
    prices = read_yaml(PRICES, Prices)
    needed = math.ceil(peak_requests_per_s / (throughput_per_s * prices.utilisation))
    return max(needed, prices.price_of(place).at_least)


def cost_usd_month(throughputs_per_s: dict[str, float], peak_requests_per_s: float) -> float:
    """Return the monthly cost of the units that carry the peak, in all places."""
    prices = read_yaml(PRICES, Prices)
    cost_usd = 0.0
    for place, throughput_per_s in throughputs_per_s.items():
        usd_month = prices.price_of(place).usd_month
        cost_usd += replicas(place, throughput_per_s, peak_requests_per_s) * usd_month
    return cost_usd
