"""Loads a release for serving: verified, warmed up, with live windows of its own."""

import logging
from pathlib import Path
from typing import NamedTuple

from prometheus_client import Counter, Gauge

from ..artifacts import REFERENCE, SHIPPED
from ..monitoring.labelled_quality import LabelledWindow
from ..monitoring.live import Monitor
from ..predictor import Predictor
from ..releases.registry import UnfitRelease, read_rollout, verify_release
from .batching import LoadedModel, warm_up

UNRELEASED = "unreleased"
PREDICTIONS = Counter("predictions_total", "Answers, by label", ["label"])
LAST_PREDICTION = Gauge(
    "prediction_last_timestamp_seconds",
    "Time of the last answer, in seconds since 1970; 0 before it",
)
log = logging.getLogger(__package__)


class Served(NamedTuple):
    """A model that can answer, its live windows, and the id of its release."""

    model: LoadedModel
    monitor: Monitor
    labelled: LabelledWindow
    release: str

    @property
    def sha256(self) -> str:
        return self.model.predictor.sha256

    def show(self) -> None:
        """Export the windows of this model as the gauges of the process."""
        self.monitor.show()
        self.labelled.show()
        # Start at zero: Prometheus' rate() misses the first increment of a counter it has never
        # seen.
        for label in self.model.predictor.labels:
            PREDICTIONS.labels(label)


def load_release(id: str) -> Served:
    """Load a release.

    Raises:
        UnfitRelease: it is missing, altered or not good enough.
        SystemExit: this runtime cannot run it.
    """
    release = verify_release(id)
    return _load(release.folder / "model.onnx", release.folder / "reference.json", release.id)


def load_champion() -> Served:
    """Load the release that `releases/rollout.json` names.

    Raises:
        SystemExit: it is missing, altered or not good enough; the file and the remedy are named.
    """
    try:
        return load_release(read_rollout().champion)
    except UnfitRelease as unfit:
        raise SystemExit(str(unfit)) from None


def load_latest() -> Served:
    """Load the latest model of the pipeline, even if it breaks a gate: to try or to time it."""
    return _load(SHIPPED, REFERENCE, UNRELEASED)


def _load(model: Path, reference: Path, release: str) -> Served:
    predictor = Predictor(model)
    monitor = Monitor(predictor, reference)
    return Served(warm_up(predictor), monitor, LabelledWindow(predictor.labels), release)
