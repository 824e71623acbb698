"""A release that can answer: verified, loaded and warm."""

import logging
from pathlib import Path
from typing import NamedTuple

from prometheus_client import Counter

from ..artifacts import REFERENCE, SHIPPED
from ..monitoring.labelled_quality import LabelledWindow
from ..monitoring.live import Monitor
from ..predictor import Predictor
from ..releases.registry import UnfitRelease, read_rollout, verify_release
from .warm import Warm

UNRELEASED = "unreleased"
PREDICTIONS = Counter("predictions_total", "Answers given", ["label"])
log = logging.getLogger(__package__)


class Served(NamedTuple):
    """What answers: a warm model, its live windows, and the release that it is from."""

    model: Warm
    monitor: Monitor
    labelled: LabelledWindow
    release: str

    def show(self) -> None:
        """Export the windows as the gauges of the process: this is what answers."""
        self.monitor.show()
        self.labelled.show()
        for label in self.model.predictor.labels:  # at 0 from the start: a rate knows no first time
            PREDICTIONS.labels(label)


def loaded(id: str) -> Served:
    """Load a release.

    Raises:
        UnfitRelease: it is missing, altered or not good enough.
        SystemExit: this runtime cannot run it.
    """
    release = verify_release(id)
    return _warm(release.folder / "model.onnx", release.folder / "reference.json", release.id)


def released() -> Served:
    """Load the champion.

    Raises:
        SystemExit: it is missing, altered or unfit; the file and what to do are named.
    """
    try:
        return loaded(read_rollout().champion)
    except UnfitRelease as unfit:
        raise SystemExit(str(unfit)) from None


def unreleased() -> Served:
    """Load the model that was made last, whatever the gates say: to time it, or to try it."""
    return _warm(SHIPPED, REFERENCE, UNRELEASED)


def _warm(model: Path, reference: Path, release: str) -> Served:
    predictor = Predictor(model)
    monitor, labelled = Monitor(predictor, reference), LabelledWindow(predictor.labels)
    return Served(Warm.up(predictor), monitor, labelled, release)
