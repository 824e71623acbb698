"""Loads a release for serving: verifies it, warms it up and creates its live windows."""

import json
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from prometheus_client import Counter, Gauge

from ..artifacts import REFERENCE, SHIPPED
from ..monitoring.labelled_quality import LabelledWindow
from ..monitoring.live import Monitor
from ..predictor import Predictor
from ..problem import words
from ..problem.answer import count_names
from ..releases.registry import UnfitRelease, read_rollout, verify_release
from .batching import LoadedModel, warm_up

UNRELEASED = "unreleased"
PREDICTIONS = Counter("predictions_total", "Predictions, by label", ["label"])
SAID = Counter(*words.SAID_COUNTER, ["label"]) if words.SAID_COUNTER else None
LAST_PREDICTION = Gauge(
    "prediction_last_timestamp_seconds",
    "Unix time of the latest prediction; 0 before the first",
)
log = logging.getLogger(__package__)


class Served(NamedTuple):
    """A loaded model, its live windows, its release id, and the reports of its release."""

    model: LoadedModel
    monitor: Monitor
    labelled: LabelledWindow
    release: str
    reports: Mapping[str, bytes] = MappingProxyType({})

    @property
    def sha256(self) -> str:
        return self.model.predictor.sha256

    def show(self) -> None:
        """Export the windows of this model in the gauges of this process."""
        self.monitor.show()
        self.labelled.show()
        # Start at zero: Prometheus' rate() misses the first increment of a counter it has never
        # seen.
        for name in count_names(self.model.predictor.head):
            PREDICTIONS.labels(name)
        if SAID:
            for name in self.model.predictor.head.names:
                SAID.labels(name)


def load_release(id: str) -> Served:
    """Load a release.

    Raises:
        UnfitRelease: it is missing or altered, or misses a limit.
        SystemExit: this runtime cannot run it.
    """
    release = verify_release(id)
    slices = json.loads(release.files["evaluate.json"]).get("slices", {})
    served = _load(release.model, release.reference, release.id, [*slices])
    reports = {name: content for name, content in release.files.items() if name != "model.onnx"}
    return served._replace(reports=reports)


def load_champion() -> Served:
    """Load the champion named in `releases/rollout.json`.

    Raises:
        SystemExit: it is missing or altered, or misses a limit; the message names the file.
    """
    try:
        return load_release(read_rollout().champion)
    except UnfitRelease as unfit:
        raise SystemExit(str(unfit)) from None


def load_latest() -> Served:
    """Load the latest model of the pipeline, even if it misses a limit, for trials and timing."""
    return _load(SHIPPED, REFERENCE, UNRELEASED)


def _load(
    model: Path | bytes, reference: Path | bytes, release: str, slices: Collection[str] = ()
) -> Served:
    predictor = Predictor(model)
    monitor = Monitor(predictor, reference)
    return Served(warm_up(predictor), monitor, LabelledWindow(predictor.head, slices), release)
