"""The answers of the baseline that the network has to beat."""

import numpy as np

from ..artifacts import BASELINE
from ..problem.answer import decode
from ..problem.metrics import tune
from ..scope import load_scope
from .splits import load_split, read_head, require_head


def predict_baseline(x: np.ndarray) -> np.ndarray:
    """Return the decoded outputs of the baseline for features (n, ...).

    Its head is fitted on the validation split, as `export` does for the network: both are compared
    at their best.
    """
    head = require_head(BASELINE, read_head(BASELINE))
    validation_x, truth, _ = load_split("validation")
    tuned = tune(truth, decode(_scores(validation_x), head), head, load_scope())
    return decode(_scores(x), tuned)


def _scores(x: np.ndarray) -> np.ndarray:
    with np.load(BASELINE) as linear:
        scores: np.ndarray = x.reshape(len(x), -1) @ linear["weight"].T + linear["bias"]
    return scores
