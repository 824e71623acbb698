"""The metrics of forecasts. Windows that follow each other overlap: they are not independent.

Bounds resample blocks of consecutive examples (Künsch 1989, "The jackknife and the bootstrap for
general stationary observations"): `ingest` writes them series by series, in the order of time.
"""

from collections.abc import Callable

import numpy as np

from ..bounds import bootstrap_ratio
from .answer import Head

# Two horizons: windows further apart share no value. Simulated with 1, 8 and 20 series, a horizon
# of 7, errors that are independent or have an autocorrelation of 0.8, and normal or heavy tails
# (t with 3 degrees of freedom): upper bounds at 95 % held in 82 to 100 % of samples, and in 44 to
# 91 % if each window counted as independent.
HORIZONS_PER_BLOCK = 2
MIN_BLOCKS = 10  # with fewer, a bootstrap says little; blocks are then shorter
# Each metric is a ratio of two means: the loss of each value, and its weight, float64 (n, horizon).
Loss = Callable[[np.ndarray, np.ndarray, Head], np.ndarray]


def _absolute(truth: np.ndarray, outputs: np.ndarray, head: Head) -> np.ndarray:
    return np.asarray(np.abs(outputs - truth))


def _scaled(truth: np.ndarray, outputs: np.ndarray, head: Head) -> np.ndarray:
    """Hyndman and Koehler 2006, "Another look at measures of forecast accuracy".

    One scale for all series: answers do not say of which series they are.
    """
    return _absolute(truth, outputs, head) / head.naive_error


def _one(truth: np.ndarray, outputs: np.ndarray, head: Head) -> np.ndarray:
    return np.ones_like(truth)


def _size(truth: np.ndarray, outputs: np.ndarray, head: Head) -> np.ndarray:
    return np.asarray(np.abs(truth))


METRICS: dict[str, tuple[Loss, Loss]] = {
    "wape": (_absolute, _size),
    "mase": (_scaled, _one),
    "mae": (_absolute, _one),
}


def draw_ratio(losses: list[np.ndarray], sizes: np.ndarray, worst: np.ndarray) -> np.ndarray:
    """Draw the mean of each array of losses divided by the mean of `sizes`: (arrays, draws).

    The block with the largest sum of `worst` counts twice.
    """
    sums = [_sum_blocks(each) for each in losses]
    return bootstrap_ratio(sums, _sum_blocks(sizes), extra=int(_sum_blocks(worst).argmax()))


def bound_share(hits: np.ndarray, confidence: float) -> tuple[float, float]:
    """Return the lower and the upper bound of the share of hits, bool (n, horizon).

    The lower one adds a block as bad as the worst, with at least one miss: no miss in few blocks is
    not certainty. The upper one adds the best block.
    """
    misses, sizes = _sum_blocks(~hits), _sum_blocks(np.ones_like(hits))
    bounds = []
    for extra, q in ((max(misses.max(), 1.0), confidence), (misses.min(), 1 - confidence)):
        more = [np.append(misses, extra)], np.append(sizes, sizes.mean())
        draws = bootstrap_ratio(*more, extra=len(misses))[0]
        bounds.append(1 - float(np.quantile(draws, q)))
    return bounds[0], bounds[1]


def count_independent(outputs: np.ndarray) -> float:
    """Return how many independent examples there are: one per horizon."""
    n, horizon = outputs.shape
    return max(1.0, float(n / horizon))


def _sum_blocks(values: np.ndarray) -> np.ndarray:
    """Sum values (n, horizon) over blocks of consecutive examples: float64 (blocks,)."""
    n, horizon = values.shape
    blocks = max(n // (HORIZONS_PER_BLOCK * horizon), min(n, MIN_BLOCKS))
    starts = np.linspace(0, n, blocks, endpoint=False).astype(int)
    return np.asarray(np.add.reduceat(values.sum(axis=1, dtype=np.float64), starts))
