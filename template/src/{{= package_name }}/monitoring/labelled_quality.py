"""Quality on labelled requests: predictions whose correct label has arrived."""

import math
from collections.abc import Iterable
from functools import partial

import numpy as np
from prometheus_client import Counter, Gauge

from ..bounds import posterior_quantile
from ..quality import METRICS, confusion
from ..scope import load_params, load_scope

QUALITY = Gauge("labelled_quality", "The metric of scope.yaml on the latest labelled requests")
AT_MOST = Gauge(
    "labelled_quality_at_most", "Upper bound of labelled_quality at the confidence of scope.yaml"
)
FILL = Gauge(
    "labelled_window_fill_ratio", "Share of the window of labelled requests that is filled"
)
CALIBRATION = Gauge(
    "calibration_error",
    "Calibration error of the confidence on labelled requests; 0 means perfectly calibrated",
)
BY_SLICE = Gauge("labelled_slice_quality", "labelled_quality of each slice", ["slice"])
LAST_LABEL = Gauge(
    "label_last_timestamp_seconds",
    "Unix time at which the latest label of a known request arrived",
)
LAST_LABEL.set(math.nan)
LABELS = Counter("labels_total", "Labels received, by whether their request is known", ["joined"])
BINS = 10  # usual for the expected calibration error; finer bins are noise in a window of 200
MAX_SLICES = 10  # each name that clients send adds a time series
OTHER = "other"  # for further slices
MIN_OF_SLICE = 20  # with fewer, one wrong prediction moves the metric by more than 5 %
Row = tuple[int, int, float, str]  # correct label, prediction, confidence, slice


class LabelledWindow:
    """The latest labelled predictions of one model: one row per request, in order of first label.

    The rows are those that the journal returns after a restart.
    """

    def __init__(self, labels: list[str]) -> None:
        self.labels = labels
        self._index = {label: i for i, label in enumerate(labels)}
        self._rows: dict[object, Row] = {}

    def add(
        self, truth: str, prediction: str, confidence: float, slice: str = "", id: object = None
    ) -> None:
        """Add the first label of a request. Without an id, each call is another request."""
        if prediction in self._index:
            # A label that only another model has, such as the challenger, is never predicted here.
            correct = self._index.get(truth, len(self._index))
            self._rows[id or object()] = (correct, self._index[prediction], confidence, slice)
        while len(self._rows) > load_params().labelled_window:
            del self._rows[next(iter(self._rows))]

    def correct(
        self, truth: str, prediction: str, confidence: float, slice: str, id: object
    ) -> None:
        """Replace the label of a request, if it is still in the window."""
        if id in self._rows:
            self.add(truth, prediction, confidence, slice, id)

    def clear(self) -> None:
        self._rows.clear()

    @property
    def fill(self) -> float:
        """Share of the window that is filled, 0 to 1."""
        return len(self._rows) / load_params().labelled_window

    def quality(self) -> float:
        """Return the metric of scope.yaml; NaN until the window is full."""
        return self._metric(self._rows.values()) if self.fill == 1 else math.nan

    def quality_of(self, slice: str) -> float:
        """Return the metric on one slice; NaN with fewer than `MIN_OF_SLICE` predictions."""
        rows = self._by_slice().get(slice, [])
        return self._metric(rows) if len(rows) >= MIN_OF_SLICE else math.nan

    def at_most(self) -> float:
        """Return the upper bound of the metric at the confidence of scope.yaml; NaN until full."""
        scope = load_scope()
        if self.fill < 1:
            return math.nan
        metric = METRICS[scope.metric]
        return posterior_quantile(metric, self._matrix(self._rows.values()), scope.confidence)

    def calibration_error(self) -> float:
        """Return the expected calibration error; NaN until the window is full.

        Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian binning".
        """
        if self.fill < 1:
            return math.nan
        truth, prediction, confidence, _ = (
            np.array(column) for column in zip(*self._rows.values(), strict=True)
        )
        bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
        gaps = np.bincount(bins, weights=(truth == prediction) - confidence, minlength=BINS)
        return float(np.abs(gaps).sum() / len(truth))

    def show(self) -> None:
        """Export this window in the gauges of this process."""
        FILL.set_function(lambda: self.fill)
        QUALITY.set_function(self.quality)
        AT_MOST.set_function(self.at_most)
        CALIBRATION.set_function(self.calibration_error)
        BY_SLICE.clear()
        for slice in self._by_slice():
            BY_SLICE.labels(slice).set_function(partial(self.quality_of, slice))

    def _by_slice(self) -> dict[str, list[Row]]:
        """Group the rows by slice; the slices after the first `MAX_SLICES` are one group."""
        groups: dict[str, list[Row]] = {}
        for row in self._rows.values():
            if slice := row[3]:
                is_shown = slice in groups or len(groups) < MAX_SLICES
                groups.setdefault(slice if is_shown else OTHER, []).append(row)
        return groups

    def _metric(self, rows: Iterable[Row]) -> float:
        return float(METRICS[load_scope().metric](self._matrix(rows)))

    def _matrix(self, rows: Iterable[Row]) -> np.ndarray:
        truth, prediction = (np.array(column) for column in list(zip(*rows, strict=True))[:2])
        return confusion(truth, prediction, max(len(self.labels), truth.max() + 1))
