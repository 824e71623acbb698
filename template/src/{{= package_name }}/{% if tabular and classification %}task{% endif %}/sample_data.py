"""Made-up data: reviewed payments, some of them fraud. Delete it once you have data."""

import json
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..examples import Example

MERCHANTS = ["electronics", "fashion", "games", "groceries", "travel"]


class _Story(NamedTuple):
    """A kind of payment: typical values, around which payments scatter."""

    label: str
    share: float
    online: float  # probability
    night: float  # probability
    device_age_days: float
    phone_distance_km: float  # between phone and place of the payment
    payments_last_hour: float
    amount_ratio: float  # to the usual amount


# No single column is enough: each kind of fraud has legitimate twins that differ in one value.
STORIES = [
    _Story("fraud", 0.16, 0.98, 0.98, 1, 300, 1.5, 3.0),  # account taken over
    _Story("legitimate", 0.14, 0.98, 0.02, 1, 300, 1.5, 3.0),  # new phone
    _Story("legitimate", 0.14, 0.98, 0.98, 400, 300, 1.5, 3.0),  # awake at night
    _Story("fraud", 0.12, 0.98, 0.2, 200, 300, 12, 0.08),  # stolen number is tested
    _Story("legitimate", 0.1, 0.98, 0.2, 200, 300, 1.5, 0.08),  # small top-up
    _Story("legitimate", 0.1, 0.98, 0.2, 200, 300, 12, 3.0),  # shopping spree
    _Story("fraud", 0.12, 0.0, 0.3, 300, 300, 1.5, 1.5),  # copied card
    _Story("legitimate", 0.12, 0.0, 0.3, 300, 0.1, 1.5, 1.5),  # large purchase
]


def sample_examples(n: int = 4000, seed: int = 0) -> Iterator[Example]:
    """Yield `n` payments as JSON, 40 % of them `fraud`, reproducible by `seed`."""
    rng = np.random.default_rng(seed)
    shares = [story.share for story in STORIES]
    for i, k in enumerate(rng.choice(len(STORIES), n, p=shares)):
        row = _payment(rng, STORIES[k])
        payload = json.dumps(row).encode()
        yield Example(f"sample-{seed}-{i:05}", payload, STORIES[k].label, str(row["channel"]))


def _payment(rng: np.random.Generator, story: _Story) -> dict[str, float | str]:
    usual_usd = _around(rng, 40, 0.8)
    day = rng.uniform(7, 22)
    hour = rng.uniform(0, 5) if rng.random() < story.night else day
    return {
        "amount_usd": round(usual_usd * _around(rng, story.amount_ratio, 0.45), 2),
        "usual_amount_usd": round(usual_usd, 2),
        "hour": round(hour, 2),
        "device_age_days": round(_around(rng, story.device_age_days, 0.7), 2),
        "phone_distance_km": round(_around(rng, story.phone_distance_km, 0.8), 3),
        "payments_last_hour": int(rng.poisson(story.payments_last_hour)),
        "account_age_days": round(_around(rng, 700, 0.7)),
        "failed_logins_day": int(rng.poisson(0.4)),
        "merchant": MERCHANTS[int(rng.integers(len(MERCHANTS)))],
        "channel": "online" if rng.random() < story.online else "in_store",
    }


def _around(rng: np.random.Generator, typical: float, scatter: float) -> float:
    """Draw a log-normal number; `scatter` is the deviation of its natural logarithm."""
    return float(typical * np.exp(rng.normal(0, scatter)))
