"""Quality on labelled requests: predictions whose correct label has arrived."""

import math
from collections import Counter as Counts
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from prometheus_client import Counter, Gauge

from ..problem import words
from ..problem.answer import Answer, Head, from_journal, is_of, read
from ..problem.metrics import LabelledAnswers
from ..scope import load_params, load_scope

QUALITY = Gauge("labelled_quality", "The metric of scope.yaml on the latest labelled requests")
AT_BEST = Gauge(*words.AT_BEST_GAUGE)
FILL = Gauge(
    "labelled_window_fill_ratio", "Share of the window of labelled requests that is filled"
)
CALIBRATION = Gauge(*words.CALIBRATION_GAUGE)
BY_SLICE = Gauge("labelled_slice_quality", "labelled_quality of each slice", ["slice"])
LAST_LABEL = Gauge(
    "label_last_timestamp_seconds",
    "Unix time at which the latest label of a known request arrived",
)
LAST_LABEL.set(math.nan)
LABELS = Counter("labels_total", "Labels received, by whether their request is known", ["joined"])
MAX_SLICES = 10  # each name that clients send adds a time series
OTHER = "other"  # for further slices
MIN_OF_SLICE = 20  # with fewer, one wrong prediction moves the metric by more than 5 %
Row = tuple[Answer, Mapping[str, Any], str]  # correct answer, answer of the model, slice


class LabelledWindow:
    """The latest labelled predictions of one model: one row per request, in order of first label.

    The rows are those that the journal returns after a restart.
    """

    def __init__(self, head: Head, slices: Collection[str] = ()) -> None:
        self.head = head
        self._known = slices  # of the evaluation
        self._rows: dict[object, Row] = {}

    def add(
        self,
        truth: str,
        prediction: str,
        confidence: float | None,
        slice: str = "",
        id: object = None,
    ) -> None:
        """Add the first label of a request, as the journal has it.

        Without an id, each call is another request.
        """
        answer = from_journal(prediction, confidence)
        with suppress(ValueError):  # the file was damaged
            correct = read(truth)
            if is_of(answer, self.head):
                self._rows[id or object()] = (correct, answer, slice)
        while len(self._rows) > load_params().labelled_window:
            del self._rows[next(iter(self._rows))]

    def correct(
        self, truth: str, prediction: str, confidence: float | None, slice: str, id: object
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
        is_full = self.fill == 1
        return self._pairs(self._rows.values()).value(load_scope()) if is_full else math.nan

    def quality_of(self, slice: str) -> float:
        """Return the metric on one slice; NaN with fewer than `MIN_OF_SLICE` predictions."""
        rows = self._by_slice().get(slice, [])
        return self._pairs(rows).value(load_scope()) if len(rows) >= MIN_OF_SLICE else math.nan

    def at_best(self) -> float:
        """Return the best value that the metric has at the confidence of scope.yaml.

        NaN until the window is full.
        """
        if self.fill < 1:
            return math.nan
        return self._pairs(self._rows.values()).best_value(load_scope())

    def calibration(self) -> float:
        """Return how well the model knows how sure it is; NaN until the window is full."""
        if self.fill < 1:
            return math.nan
        return self._pairs(self._rows.values()).calibration(load_scope())

    def show(self) -> None:
        """Export this window in the gauges of this process."""
        FILL.set_function(lambda: self.fill)
        QUALITY.set_function(self.quality)
        AT_BEST.set_function(self.at_best)
        CALIBRATION.set_function(self.calibration)
        BY_SLICE.clear()
        for slice in self._by_slice():
            BY_SLICE.labels(slice).set_function(partial(self.quality_of, slice))

    def _by_slice(self) -> dict[str, list[Row]]:
        """Group the rows by slice; the slices after `MAX_SLICES` are one group.

        Slices of the evaluation come first, then those with most rows: a client that invents names
        displaces neither.
        """
        counts = Counts(row[2] for row in self._rows.values() if row[2])
        ordered = sorted(counts, key=lambda name: (name not in self._known, -counts[name]))
        shown = set(ordered[:MAX_SLICES])
        groups: dict[str, list[Row]] = {}
        for row in self._rows.values():
            if slice := row[2]:
                groups.setdefault(slice if slice in shown else OTHER, []).append(row)
        return groups

    def _pairs(self, rows: Collection[Row]) -> LabelledAnswers:
        return LabelledAnswers([(truth, answer) for truth, answer, _ in rows], self.head)
