"""Made-up data: payments, and which flags reviewers set. Delete it once you have data."""

import json
from collections.abc import Iterator

import numpy as np

from ..examples import Example
from ..problem.answer import Answer, write

MERCHANTS = ["electronics", "fashion", "games", "groceries", "travel"]
# Each flag needs two facts together, and each fact also occurs alone. By flag: its facts, and the
# probabilities of both, of the first one alone and of the second one alone.
FLAGS = {
    "card_testing": (("many_payments", "small_amount"), (0.2, 0.2, 0.2)),
    "stolen_card": (("far_away", "large_amount"), (0.25, 0.2, 0.2)),
    "takeover": (("new_device", "failed_logins"), (0.3, 0.2, 0.2)),
}


def sample_examples(n: int = 4000, seed: int = 0) -> Iterator[Example]:
    """Yield `n` payments as JSON with the flags of each, reproducible by `seed`."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        flags, facts = list[str](), set[str]()
        for flag, (pair, shares) in FLAGS.items():
            draw = int(np.searchsorted(np.cumsum(shares), rng.random(), side="right"))
            facts |= {0: set(pair), 1: {pair[0]}, 2: {pair[1]}}.get(draw, set())
            flags += [flag] if draw == 0 else []
        row = _payment(rng, facts)
        label = write(Answer(labels=flags))
        payload = json.dumps(row).encode()
        yield Example(f"sample-{seed}-{i:05}", payload, label, str(row["channel"]))


def _payment(rng: np.random.Generator, facts: set[str]) -> dict[str, float | str]:
    usual_usd = _around(rng, 40, 0.6)
    small, large = "small_amount" in facts, "large_amount" in facts
    day = rng.uniform(7, 22)
    return {
        "smallest_amount_usd": round(_around(rng, 0.8 if small else 15, 0.5), 2),
        "largest_amount_usd": round(usual_usd * _around(rng, 9 if large else 1.2, 0.35), 2),
        "usual_amount_usd": round(usual_usd, 2),
        "hour": round(day, 2),
        "device_age_days": round(_around(rng, 1 if "new_device" in facts else 300, 0.7), 2),
        "phone_distance_km": round(_around(rng, 300 if "far_away" in facts else 2, 0.8), 3),
        "payments_last_hour": int(rng.poisson(14 if "many_payments" in facts else 1)),
        "failed_logins_day": int(rng.poisson(9 if "failed_logins" in facts else 0.4)),
        "account_age_days": round(_around(rng, 700, 0.7)),
        "merchant": MERCHANTS[int(rng.integers(len(MERCHANTS)))],
        "channel": "online" if rng.random() < 0.6 else "in_store",
    }


def _around(rng: np.random.Generator, typical: float, scatter: float) -> float:
    """Draw a log-normal number; `scatter` is the deviation of its natural logarithm."""
    return float(typical * np.exp(rng.normal(0, scatter)))
