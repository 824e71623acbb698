"""The metrics of numbers. All examples are independent."""

from collections.abc import Callable

import numpy as np

from ..bounds import bootstrap_ratio, share_bounds
from .answer import Head

QUANTILE = 0.9  # of `pinball`: too little costs nine times as much as too much
NOT_ZERO = 1e-12  # avoids 0 / 0
# Each metric is a ratio of two means: the loss of each example, and its weight.
Loss = Callable[[np.ndarray, np.ndarray, Head], np.ndarray]


def _absolute(truth: np.ndarray, outputs: np.ndarray, head: Head) -> np.ndarray:
    return np.asarray(np.abs(outputs - truth)[:, 0])


def _relative(truth: np.ndarray, outputs: np.ndarray, head: Head) -> np.ndarray:
    sizes = np.maximum(_size(truth, outputs, head), NOT_ZERO)
    return np.asarray(_absolute(truth, outputs, head) / sizes)


def _pinball(truth: np.ndarray, outputs: np.ndarray, head: Head) -> np.ndarray:
    """Koenker and Bassett 1978, "Regression quantiles"."""
    missing = (truth - outputs)[:, 0]
    return np.asarray(np.maximum(QUANTILE * missing, (QUANTILE - 1) * missing))


def _one(truth: np.ndarray, outputs: np.ndarray, head: Head) -> np.ndarray:
    return np.ones(len(truth))


def _size(truth: np.ndarray, outputs: np.ndarray, head: Head) -> np.ndarray:
    return np.asarray(np.abs(truth[:, 0]))


METRICS: dict[str, tuple[Loss, Loss]] = {
    "mae": (_absolute, _one),
    "wape": (_absolute, _size),
    "mape": (_relative, _one),
    "pinball": (_pinball, _one),
}


def draw_ratio(losses: list[np.ndarray], sizes: np.ndarray, worst: np.ndarray) -> np.ndarray:
    """Draw the mean of each array of losses divided by the mean of `sizes`: (arrays, draws).

    The example with the largest value of `worst` counts twice.
    """
    return bootstrap_ratio(losses, sizes, extra=int(worst.argmax()))


def bound_share(hits: np.ndarray, confidence: float) -> tuple[float, float]:
    """Return the lower and the upper bound of the share of hits, bool (n, 1)."""
    return share_bounds(hits[:, 0], confidence)


def count_independent(outputs: np.ndarray) -> float:
    """Return how many independent examples there are."""
    return float(len(outputs))
