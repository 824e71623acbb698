"""Answers of a network to the validation split: how good, and how like the exported model's."""

from typing import Any

import numpy as np

from ..bounds import METRICS, gain_lower_bound, share_lower_bound
from ..predictor import Predictor
from ..quality import judge
from ..scope import Scope
from .footprint import Network
from .splits import load_split

BATCH = 32  # examples that are answered alone, and together


def compared(candidate: Network, exported: Predictor, scope: Scope) -> dict[str, Any]:
    """Return what a candidate is held to, but for its size and its time."""
    x, truth, slices = load_split("validation")
    chances, wanted = candidate.probabilities(x), exported.probabilities(x)
    answers, fp32 = chances.argmax(1), wanted.argmax(1)
    n, metric, sure = len(exported.labels), METRICS[scope.metric], scope.confidence
    return judge(truth, answers, fp32, slices, n) | {
        # Bounds, as what is like the exported model by luck would break on the test split.
        "same_lower_bound": share_lower_bound(answers == fp32, sure),
        "drop_upper_bound": 0 - gain_lower_bound(metric, truth, answers, fp32, n, sure),
        "max_difference": float(abs(chances - wanted).max()),
        "batch_gap": _batch_gap(candidate, x[:BATCH]),
    }


def _batch_gap(candidate: Network, x: np.ndarray) -> float:
    """Return by how much a probability depends on who else is in the batch.

    Dynamic quantization takes one range for the whole batch.
    """
    alone = np.concatenate([candidate.probabilities(row[None]) for row in x])
    return float(np.abs(candidate.probabilities(x) - alone).max())
