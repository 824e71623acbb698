"""Drift monitoring: a reference from training, and a sliding window over live predictions.

A signal is one number per prediction: an input feature such as the brightness, the confidence, the
entropy, or a principal component of the embedding. The window counts each value into the bins of
the reference, in constant time; the drift score compares the two histograms.
`pipeline/reference.py` fits the reference.
"""

import math
from collections import deque
from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel

from ..schema import EMBEDDING_SIGNAL


class Signal(BaseModel, frozen=True):
    """Histogram of one signal in the reference data, and the thresholds for live histograms.

    `shares` has one more entry than there are bins: the last one counts missing values (NaN).
    `cut_threshold` applies to histograms with two bins, below and above one of the edges.
    References from before version 0.3.0 do not have it.
    """

    edges: list[float]
    shares: list[float]
    threshold: float
    cut_threshold: float = math.inf


class Whitening(BaseModel, frozen=True):
    """Projection of an embedding onto its first principal components, each with unit variance."""

    rows: list[list[float]]  # (width, components)
    centre: list[float]  # (components,)

    def apply(self, embeddings: np.ndarray) -> dict[str, np.ndarray]:
        """Return `embedding_0` ... and `embedding_norm`, float32.

        Embeddings of shape (width,) give scalars, embeddings of shape (n, width) arrays (n,).
        """
        components = embeddings @ self._rows - self._centre
        signals = {f"{EMBEDDING_SIGNAL}{i}": values for i, values in enumerate(components.T)}
        signals[f"{EMBEDDING_SIGNAL}norm"] = np.sqrt((components * components).sum(-1))
        return signals

    @cached_property
    def _rows(self) -> np.ndarray:
        return np.array(self.rows, np.float32)

    @cached_property
    def _centre(self) -> np.ndarray:
        return np.array(self.centre, np.float32)


class Reference(BaseModel, frozen=True):
    """Histograms of all signals in the reference data, saved with the model."""

    window: int
    signals: dict[str, Signal]
    whitening: Whitening | None = None
    sure_from: float | None = None  # see `pipeline/reference.py`
    labels: list[str] = []  # of the model, in its order; empty before version 0.5.0


class LiveWindow:
    """Histograms of the last `reference.window` predictions."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self._rows: deque[list[int]] = deque()
        self._edges = {name: np.array(s.edges) for name, s in reference.signals.items()}
        self._counts = {name: [0] * len(s.shares) for name, s in reference.signals.items()}

    @property
    def fill(self) -> float:
        """Share of the window that is filled, 0 to 1."""
        return len(self._rows) / self.reference.window

    def add(self, values: Mapping[str, ArrayLike], n: int = 1) -> None:
        """Add n predictions, in their order, and drop the oldest. Not thread-safe.

        Each value has shape (n,). A signal that is absent or not finite counts as missing.
        """
        bins = np.full((n, len(self._edges)), -1)  # the last count is for missing values
        for i, (name, edges) in enumerate(self._edges.items()):
            if name in values:
                signal = np.reshape(values[name], n)
                found = np.searchsorted(edges, signal, side="right")
                bins[:, i] = np.where(np.isfinite(signal), found, -1)
        for row in bins.tolist():
            self._rows.append(row)
            for counts, bin in zip(self._counts.values(), row, strict=True):
                counts[bin] += 1
            if len(self._rows) > self.reference.window:
                for counts, bin in zip(self._counts.values(), self._rows.popleft(), strict=True):
                    counts[bin] -= 1

    def score(self, name: str) -> float:
        """Return the drift score of a signal: 1.0 is its threshold. NaN until the window is full.

        The score is the larger of two population stability indices (PSI), each divided by its
        threshold: one over all bins, one over two bins split where the live and the reference
        histogram differ most.
        """
        if self.fill < 1:
            return math.nan
        signal = self.reference.signals[name]
        counts = self._counts[name].copy()  # another thread may add a prediction meanwhile
        # Half a count per bin keeps the logarithms finite; the reference does the same.
        total = sum(counts) + 0.5 * len(counts)
        psi = cut_psi = 0.0
        live_below = reference_below = 0.0
        for count, reference_share in zip(counts, signal.shares, strict=True):
            if reference_below:
                odds_live = live_below / (1 - live_below)
                odds_reference = reference_below / (1 - reference_below)
                log_ratio = math.log(odds_live / odds_reference)
                cut_psi = max(cut_psi, (live_below - reference_below) * log_ratio)
            live_share = (count + 0.5) / total
            psi += (live_share - reference_share) * math.log(live_share / reference_share)
            live_below += live_share
            reference_below += reference_share
        return max(psi / signal.threshold, cut_psi / signal.cut_threshold)
