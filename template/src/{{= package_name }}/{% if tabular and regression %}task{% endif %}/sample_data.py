"""Made-up data: what the next purchase of a customer costs. Delete it once you have data."""

import json
from collections.abc import Iterator

import numpy as np

from ..examples import Example

MERCHANTS = {"electronics": 1.9, "fashion": 1.1, "games": 0.7, "groceries": 0.6, "travel": 2.6}


def sample_examples(n: int = 4000, seed: int = 0) -> Iterator[Example]:
    """Yield `n` purchases as JSON with their amount in USD, reproducible by `seed`."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        row, amount_usd = _purchase(rng)
        payload = json.dumps(row).encode()
        yield Example(f"sample-{seed}-{i:05}", payload, f"{amount_usd:.2f}", str(row["channel"]))


def _purchase(rng: np.random.Generator) -> tuple[dict[str, float | str], float]:
    usual_usd = _around(rng, 40, 0.4)
    merchant = sorted(MERCHANTS)[int(rng.integers(len(MERCHANTS)))]
    hour = rng.uniform(0, 24)
    items = int(1 + rng.poisson(1.5))
    days = _around(rng, 12, 0.6)
    is_online = rng.random() < 0.6
    # People spend more in the evening, and online more than in a shop if they buy several items.
    evening = 1 + 0.5 * np.exp(-((hour - 20) ** 2) / 8)
    basket = 1 + (0.35 if is_online else 0.15) * (items - 1)
    usual = usual_usd * MERCHANTS[merchant] * evening * basket
    amount_usd = usual * (1 + 0.2 * np.log(days / 12)) * _around(rng, 1, 0.08)
    row: dict[str, float | str] = {
        "usual_amount_usd": round(usual_usd, 2),
        "hour": round(hour, 2),
        "items": items,
        "days_since_last": round(days, 2),
        "account_age_days": round(_around(rng, 700, 0.7)),
        "merchant": merchant,
        "channel": "online" if is_online else "in_store",
    }
    return row, float(amount_usd)


def _around(rng: np.random.Generator, typical: float, scatter: float) -> float:
    """Draw a log-normal number; `scatter` is the deviation of its natural logarithm."""
    return float(typical * np.exp(rng.normal(0, scatter)))
