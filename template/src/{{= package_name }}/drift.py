"""Has the world moved? A reference of what was usual, and a window of what came lately."""

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Mapping
from statistics import NormalDist

import numpy as np
from pydantic import BaseModel

BINS = 10


class Signal(BaseModel, frozen=True):
    """One number per prediction: the edges of its bins, their usual shares, and the alarm line."""

    edges: list[float]
    shares: list[float]
    threshold: float


class Reference(BaseModel, frozen=True):
    """What was usual when the model was trained."""

    window: int
    signals: dict[str, Signal]


def fit_reference(
    values: Mapping[str, np.ndarray], window: int, false_alarm_rate: float
) -> Reference:
    """Learn the usual distribution of each signal from float arrays of shape (examples,).

    Without drift, the population stability index of a full window is distributed like
    (1/window + 1/examples) times chi-squared (Yurdakul and Naranjo 2020), so each signal gets
    the threshold at which the whole family raises false alarms at the given rate per window.
    """
    signals = {}
    for name, usual in values.items():
        edges = _edges(usual)
        counts = np.bincount(np.searchsorted(edges, usual, "right"), minlength=len(edges) + 1)
        shares = (counts + 0.5) / (counts + 0.5).sum()
        freedom = max(1, int((counts > 0).sum()) - 1)
        noise = 1 / window + 1 / len(usual)
        limit = noise * _chi2_quantile(1 - false_alarm_rate / len(values), freedom)
        signals[name] = Signal(edges=edges, shares=shares.tolist(), threshold=limit)
    return Reference(window=window, signals=signals)


def _edges(usual: np.ndarray) -> list[float]:
    """Cut at the quantiles; around each value, and outside all, when there are only a few."""
    seen = np.unique(usual)
    if len(seen) > 2 * BINS:
        cuts = np.quantile(usual, np.linspace(0, 1, BINS + 1)[1:-1])
        return [float(cut) for cut in np.unique(cuts)]
    between = (seen[1:] + seen[:-1]) / 2
    margin = max(1e-6, abs(float(seen[-1])) * 1e-6)
    return [float(seen[0]) - margin, *map(float, between), float(seen[-1]) + margin]


def _chi2_quantile(q: float, freedom: int) -> float:
    """Approximate within 1 % for the tails used here (Wilson and Hilferty 1931)."""
    spread = 2 / (9 * freedom)
    return float(freedom * (1 - spread + NormalDist().inv_cdf(q) * math.sqrt(spread)) ** 3)


class LiveWindow:
    """The last predictions, counted into the bins of the reference; constant time each."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self._rows: deque[list[int]] = deque()
        self._counts = {name: [0] * len(s.shares) for name, s in reference.signals.items()}

    @property
    def fill(self) -> float:
        """Share of the window that is filled, 0 to 1."""
        return len(self._rows) / self.reference.window

    def add(self, values: Mapping[str, float]) -> None:
        """Count one prediction in, and the oldest one out."""
        bins = [bisect_right(s.edges, values[n]) for n, s in self.reference.signals.items()]
        self._rows.append(bins)
        for counts, i in zip(self._counts.values(), bins, strict=True):
            counts[i] += 1
        if len(self._rows) > self.reference.window:
            for counts, i in zip(self._counts.values(), self._rows.popleft(), strict=True):
                counts[i] -= 1

    def score(self, name: str) -> float:
        """Return PSI / threshold: 1.0 is the alarm line of every signal, NaN until full."""
        if self.fill < 1:
            return math.nan
        signal, counts = self.reference.signals[name], self._counts[name]
        total = sum(counts) + 0.5 * len(counts)
        live = [(count + 0.5) / total for count in counts]
        psi = sum((q - p) * math.log(q / p) for q, p in zip(live, signal.shares, strict=True))
        return psi / signal.threshold
