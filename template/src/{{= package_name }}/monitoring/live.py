"""Live monitoring of a deployed model: the drift window as gauges, and the `monitor` command."""

import math
from collections import deque
from functools import partial
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import ArrayLike
from prometheus_client import Gauge

from ..artifacts import REFERENCE, refuse_other_labels
from ..predictor import Prediction, Predictor
from ..problem import answer
from ..scope import load_params, load_scope
from .drift import LiveWindow, Reference
from .scrape import metrics_age_s, metrics_url, read_metric

# Predictions that are counted together, because NumPy takes about as long for one as for many. All
# are counted before a score is read.
MAX_PENDING = 32
MAX_AGE_S = 60  # of a metrics file, which is written every 10 s while the model runs
DRIFT = Gauge("drift_score", "Drift score: PSI divided by its threshold", ["signal"])
ESTIMATED = Gauge(
    "estimated_accuracy",
    "Accuracy on the live window, estimated from the confidence; unreliable while inputs drift",
)
FILL = Gauge("drift_window_fill_ratio", "Share of the live window that is filled")
MODEL = Gauge("model_info", "Always 1; the label is the SHA-256 of the deployed model", ["sha256"])
TRAINED = Gauge(
    "model_trained_timestamp_seconds", "Unix time at which the deployed model was trained"
)


class Monitor:
    """The live window of one model; the reference is a file, or the verified bytes of one.

    Raises:
        SystemExit: the reference is missing or damaged, or is about other labels.
    """

    def __init__(self, predictor: Predictor, file: Path | bytes = REFERENCE) -> None:
        path = REFERENCE if isinstance(file, bytes) else file
        try:
            content = file if isinstance(file, bytes) else file.read_bytes()
            reference = Reference.model_validate_json(content)
        except (FileNotFoundError, ValueError):
            raise SystemExit(f"{path} is missing or damaged. Run `make model`.") from None
        if reference.labels:
            model = f"the model {predictor.sha256[:12]}"
            refuse_other_labels(model, predictor.head.names, path, reference.labels)
        self._window = LiveWindow(reference)
        self._predictor = predictor
        self._sure = deque[bool](maxlen=reference.window)
        self._pending: list[Prediction] = []
        self._lock = Lock()  # metrics may be read in another thread

    @property
    def window(self) -> LiveWindow:
        """The live window with all predictions so far."""
        with self._lock:
            self._count_pending()
        return self._window

    def show(self) -> None:
        """Export this window in the gauges of this process, replacing the previous model's."""
        DRIFT.clear()  # the previous model may have had other signals
        for signal in self.window.reference.signals:
            DRIFT.labels(signal).set_function(partial(self.drift_score, signal))
        FILL.set_function(lambda: self.window.fill)
        ESTIMATED.set_function(self.estimated_accuracy)
        MODEL.clear()
        MODEL.labels(self._predictor.sha256).set(1)
        TRAINED.set(self._predictor.trained_at)

    def observe(self, prediction: Prediction) -> None:
        """Count one prediction into the live window."""
        with self._lock:
            self._pending.append(prediction)
            if len(self._pending) >= MAX_PENDING:
                self._count_pending()

    def drift_score(self, signal: str) -> float:
        """Return the drift score of a signal: see `LiveWindow.score`."""
        return self.window.score(signal)

    def _count_pending(self) -> None:
        pending, self._pending = self._pending, []
        if not pending:
            return
        reference = self._window.reference
        signals: dict[str, ArrayLike] = {
            name: [prediction.facts.get(name, math.nan) for prediction in pending]
            for name in {name for prediction in pending for name in prediction.facts}
        }
        watched = answer.signals(np.stack([p.outputs for p in pending]), self._predictor.head)
        signals |= watched
        embeddings = [p.embedding for p in pending if p.embedding is not None]
        if reference.whitening and len(embeddings) == len(pending):  # a model has them, or has not
            signals |= reference.whitening.apply(np.stack(embeddings))
        self._window.add(signals, len(pending))
        if reference.sure_from is not None:
            self._sure.extend((watched["confidence"] >= reference.sure_from).tolist())

    def estimated_accuracy(self) -> float:
        """Return the share of predictions above a confidence threshold; NaN until full.

        On held-out data this share equals the accuracy: see `fit_confidence_threshold` in
        `problem/metrics.py`. It needs no labels. A model that is confidently wrong misleads it.
        """
        with self._lock:
            self._count_pending()
            sure = list(self._sure)
        is_full = len(sure) == self._sure.maxlen
        return sum(sure) / len(sure) if is_full else math.nan


def monitor() -> None:
    """Print the drift scores of the running model.

    Raises:
        SystemExit: there are no drift scores, or a signal exceeds `max_drift_score`.
    """
    if not (scores := read_metric("drift_score", "signal")):
        raise SystemExit(f"{metrics_url()} has no drift scores. Does it belong to this project?")
    limit = load_scope().watch.max_drift_score
    if (age_s := metrics_age_s()) is not None:
        print(f"{metrics_url()} was written {age_s:.0f} s ago.")
        if age_s > MAX_AGE_S:
            raise SystemExit("These metrics are old. Is the model running?")
    fill = read_metric("drift_window_fill_ratio", "").get("", 1.0)
    if fill < 1:
        window = load_params().drift_window
        print(f"no data yet, {fill * window:.0f} of {window} predictions")
        return
    for signal, score in sorted(scores.items(), key=lambda item: -item[1]):
        print(f"{'DRIFT' if score > limit else 'ok   '}  {signal:<24} {score:8.2f} <= {limit:g}")
    if moved := [signal for signal, score in scores.items() if score > limit]:
        raise SystemExit(f"Drift in {', '.join(moved)}. See docs/runbook.md#drift.")
