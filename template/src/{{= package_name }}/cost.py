"""Promised traffic, measured throughput and your price list in, US dollars a month out."""

import math
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from .scope import read_yaml

PRICES = Path("prices.yaml")


class _Price(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    usd_month: float = Field(ge=0)
    at_least: int = Field(ge=1)


class Prices(BaseModel):
    """What one more server or device costs, as of a date, from a source you name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    as_of: str
    source: str
    utilisation: float = Field(gt=0, le=1)
    server: _Price
    device: _Price


def load_prices() -> Prices:
    """Read the price list."""
    return read_yaml(PRICES, Prices)


def units(place: str, throughput_per_s: float, peak_requests_per_s: float) -> int:
    """Return how many servers or devices carry the peak and are not busier than planned."""
    prices = load_prices()
    needed = math.ceil(peak_requests_per_s / (throughput_per_s * prices.utilisation))
    return max(needed, _price(place).at_least)


def cost_usd_month(throughputs_per_s: dict[str, float], peak_requests_per_s: float) -> float:
    """Return the monthly cost of every place that has to carry the peak."""
    return sum(
        units(place, throughput, peak_requests_per_s) * _price(place).usd_month
        for place, throughput in throughputs_per_s.items()
    )


def _price(place: str) -> _Price:
    prices = load_prices()
    return {"server": prices.server, "device": prices.device}[place]
