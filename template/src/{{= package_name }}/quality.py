"""Answers in, how good they are and how like the exported model's out."""

from typing import Any

import numpy as np

from .bounds import METRICS, Metric, confusion, lower_bound
from .scope import load_scope


def judge(
    truth: np.ndarray, answers: np.ndarray, fp32: np.ndarray, slices: np.ndarray, n: int
) -> dict[str, Any]:
    """Score answers, as a whole and slice by slice, and compare them with the exported model's.

    All four have one entry for each example: of n labels the right one, the answer, the exported
    model's answer; and the name of the slice.
    """
    metric = METRICS[load_scope().metric]
    return {
        "score": score(metric, truth, answers, n),
        "fp32": score(metric, truth, fp32, n),
        "slices": {
            str(name): score(metric, truth[slices == name], answers[slices == name], n)
            for name in np.unique(slices)
        },
        "agreement": float((answers == fp32).mean()),
    }


def score(metric: Metric, truth: np.ndarray, answers: np.ndarray, n: int) -> dict[str, Any]:
    """Return the metric of n labels, what it is at least, and on how many examples."""
    matrix = confusion(truth, answers, n)
    bound = lower_bound(metric, matrix, load_scope().confidence)
    return {"examples": len(truth), "value": float(metric(matrix)), "lower_bound": bound}
