"""Made-up data: what shops sell per day. Delete it once you have data."""

from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np

from ..examples import Example
from ..schema import load_schema
from ..tables.series import Series
from ..tables.windows import cut_windows
from .dataset import to_example

SHOPS = 8
DAYS = 728
START = date(2024, 1, 1)
WEEK = np.array([0.85, 0.8, 0.9, 1.0, 1.25, 1.45, 0.75])  # from Monday


def sample_examples(days: int = DAYS, seed: int = 0) -> Iterator[Example]:
    """Yield windows of the sales of `SHOPS` shops, reproducible by `seed`."""
    rng = np.random.default_rng(seed)
    series = [_shop(f"shop-{number + 1}", days, rng) for number in range(SHOPS)]
    for window in cut_windows(series, load_schema()):
        yield to_example(window)


def _shop(name: str, days: int, rng: np.random.Generator) -> Series:
    time = np.arange(days)
    level = 60 * np.exp(rng.normal(0, 0.6))
    trend = 1 + rng.uniform(-0.1, 0.3) * time / 365
    week = np.resize(WEEK * np.exp(rng.normal(0, 0.08, 7)), days)
    # A good day is often followed by another one.
    mood = np.zeros(days)
    for day in range(1, days):
        mood[day] = 0.6 * mood[day - 1] + rng.normal(0, 0.07)
    noise = np.exp(mood + rng.normal(0, 0.06, days))
    sales = np.round(level * trend * week * noise)
    texts = [(START + timedelta(days=int(day))).isoformat() for day in time]
    return Series(name, texts, time.astype(float), sales, [name] * days)
