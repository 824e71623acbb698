"""Has the world moved? A reference of what was usual, and a window of what came lately."""

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Mapping
from functools import cached_property

import numpy as np
from pydantic import BaseModel

BINS = 10
COMPONENTS = 6


class Signal(BaseModel, frozen=True):
    """One number per prediction: the edges of its bins, their usual shares, and the alarm lines.

    The last share is that of NaN: what is missing has a bin of its own. `cut_threshold` is the
    line of the two shares below and above an edge; a reference of an older release has none.
    """

    edges: list[float]
    shares: list[float]
    threshold: float
    cut_threshold: float = math.inf


class Whitening(BaseModel, frozen=True):
    """Where in an embedding (width,) most happens: `rows` is (width, components)."""

    rows: list[list[float]]
    centre: list[float]  # (components,)

    def apply(self, embeddings: np.ndarray) -> dict[str, np.ndarray]:
        """Return principal components, each in its usual spread, and their norm: float32.

        Embeddings are (width,) or (n, width), so that each signal is one number or (n,).
        """
        found = embeddings @ self._rows - self._centre
        named = {f"embedding_{i}": values for i, values in enumerate(found.T)}
        return named | {"embedding_norm": np.sqrt((found * found).sum(-1))}

    @cached_property
    def _rows(self) -> np.ndarray:
        return np.array(self.rows, np.float32)

    @cached_property
    def _centre(self) -> np.ndarray:
        return np.array(self.centre, np.float32)


class Reference(BaseModel, frozen=True):
    """What was usual when the model was trained."""

    window: int
    signals: dict[str, Signal]
    whitening: Whitening | None = None
    sure_from: float | None = None


def fit_whitening(embeddings: np.ndarray) -> Whitening:
    """Learn the first principal components of embeddings (examples, width)."""
    mean = embeddings.mean(0, dtype=np.float64)
    spread, directions = np.linalg.eigh(np.atleast_2d(np.cov(embeddings, rowvar=False)))
    kept = [i for i in range(len(spread)) if spread[i] > 1e-6 * spread[-1]][: -COMPONENTS - 1 : -1]
    rows = (directions[:, kept] / np.sqrt(spread[kept])).astype(np.float32)
    return Whitening(rows=rows.tolist(), centre=(mean @ rows).tolist())


def fit_reference(
    values: Mapping[str, np.ndarray], window: int, false_alarm_rate: float
) -> Reference:
    """Learn the usual distribution of each signal from float arrays of shape (examples,).

    Without drift, the population stability index of a full window is distributed like
    (1/window + 1/examples) times chi-squared (Yurdakul and Naranjo 2020), so each signal gets
    the thresholds at which the whole family raises false alarms at the given rate per window.
    All bins show what changes its shape; a mere shift shows better in two shares, at some cut.
    """
    signals, rate = {}, false_alarm_rate / len(values) / 2
    for name, usual in values.items():
        edges = _edges(usual[~np.isnan(usual)])
        bins = np.searchsorted(edges, usual, "right")
        bins[np.isnan(usual)] = len(edges) + 1
        counts = np.bincount(bins, minlength=len(edges) + 2)
        shares = (counts + 0.5) / (counts + 0.5).sum()
        freedom = max(1, int((counts > 0).sum()) - 1)
        noise = 1 / window + 1 / len(usual)
        signals[name] = Signal(
            edges=edges,
            shares=shares.tolist(),
            threshold=noise * _chi2_limit(rate, freedom),
            cut_threshold=noise * _chi2_limit(rate / (len(edges) + 1), 1),
        )
    return Reference(window=window, signals=signals)


def fit_sure_from(confidence: np.ndarray, right: np.ndarray) -> float:
    """Return the confidence that as large a share of held-out examples reaches as is right.

    Average thresholded confidence (Garg et al. 2022, "Leveraging unlabeled data to predict
    out-of-distribution performance"), from floats and bools of shape (examples,).
    """
    wrong = int((~right).sum())
    return float(np.sort(confidence)[min(wrong, len(right) - 1)])


def _edges(usual: np.ndarray) -> list[float]:
    """Cut at the quantiles; around each value, and outside all, when there are only a few."""
    seen = np.unique(usual)
    if len(seen) > 2 * BINS:
        cuts = np.quantile(usual, np.linspace(0, 1, BINS + 1)[1:-1])
        return [float(cut) for cut in np.unique(cuts)]
    if not len(seen):
        return []
    between = (seen[1:] + seen[:-1]) / 2
    margin = max(1e-6, abs(float(seen[-1])) * 1e-6)
    return [float(seen[0]) - margin, *map(float, between), float(seen[-1]) + margin]


def _chi2_limit(tail: float, freedom: int) -> float:
    """Return what chi-squared exceeds with this probability, by bisection.

    The tail is the series of Abramowitz and Stegun 1964, 26.4.4 and 26.4.5.
    """
    low, high, odd = 0.0, 1000.0, freedom % 2
    while high - low > 1e-6:
        half = (low + high) / 4
        above = math.erfc(math.sqrt(half)) if odd else math.exp(-half)
        for k in range(2 - odd, freedom, 2):
            above += half ** (k / 2) * math.exp(-half) / math.gamma(k / 2 + 1)
        low, high = (2 * half, high) if above > tail else (low, 2 * half)
    return low


class LiveWindow:
    """The last predictions, counted into the bins of the reference; constant time each."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self._rows: deque[list[int]] = deque()
        self._edges = {name: signal.edges for name, signal in reference.signals.items()}
        self._counts = {name: [0] * len(s.shares) for name, s in reference.signals.items()}

    @property
    def fill(self) -> float:
        """Share of the window that is filled, 0 to 1."""
        return len(self._rows) / self.reference.window

    def add(self, values: Mapping[str, float]) -> None:
        """Count one prediction in, and the oldest one out; always by the same thread.

        What is NaN, or not there, is missing.
        """
        bins = []
        for name, edges in self._edges.items():
            value = values.get(name, math.nan)
            bins.append(bisect_right(edges, value) if value == value else -1)
        self._rows.append(bins)
        for counts, i in zip(self._counts.values(), bins, strict=True):
            counts[i] += 1
        if len(self._rows) > self.reference.window:
            for counts, i in zip(self._counts.values(), self._rows.popleft(), strict=True):
                counts[i] -= 1

    def score(self, name: str) -> float:
        """Return PSI / threshold: 1.0 is the alarm line of every signal, NaN until full.

        The larger one of all bins, and of the two shares beside the cut that shows most.
        """
        if self.fill < 1:
            return math.nan
        signal, counts = self.reference.signals[name], self._counts[name].copy()
        total = sum(counts) + 0.5 * len(counts)
        psi = cut_psi = below_live = below_usual = 0.0
        for count, usual in zip(counts, signal.shares, strict=True):
            if below_usual:
                odds = below_live * (1 - below_usual) / (below_usual * (1 - below_live))
                cut_psi = max(cut_psi, (below_live - below_usual) * math.log(odds))
            live = (count + 0.5) / total
            psi += (live - usual) * math.log(live / usual)
            below_live += live
            below_usual += usual
        return max(psi / signal.threshold, cut_psi / signal.cut_threshold)
