"""Classification metrics, their lower bounds, and agreement with the exported model."""

from typing import Any

import numpy as np

from .bounds import Metric, lower_bound
from .scope import load_scope

NOT_ZERO = 1e-12  # avoids 0 / 0 for absent labels, whose result is dropped


def confusion(truth: np.ndarray, predicted: np.ndarray, label_count: int) -> np.ndarray:
    """Return counts, int64 (labels, labels): rows are the truth, columns the prediction."""
    counts = np.zeros((label_count, label_count), dtype=np.int64)
    np.add.at(counts, (truth, predicted), 1)
    return counts


def accuracy(matrix: np.ndarray) -> np.ndarray:
    """Share of correct predictions, for matrices (..., labels, labels)."""
    return np.asarray(_hits(matrix).sum(-1) / matrix.sum(axis=(-2, -1)))


def macro_recall(matrix: np.ndarray) -> np.ndarray:
    """Recall of each label, averaged over the labels present."""
    return _mean_over_present(_hits(matrix), matrix.sum(-1), matrix)


def macro_f1(matrix: np.ndarray) -> np.ndarray:
    """Harmonic mean of precision and recall of each label, averaged over the labels present."""
    return _mean_over_present(2 * _hits(matrix), matrix.sum(-1) + matrix.sum(-2), matrix)


def _hits(matrix: np.ndarray) -> np.ndarray:
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def _mean_over_present(part: np.ndarray, whole: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    present = matrix.sum(-1) > 0
    share = np.where(present, part / np.maximum(whole, NOT_ZERO), 0)
    return np.asarray(share.sum(-1) / np.maximum(present.sum(-1), 1))


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "macro_recall": macro_recall,
}


def measure(
    truth: np.ndarray, answers: np.ndarray, fp32: np.ndarray, slices: np.ndarray, label_count: int
) -> dict[str, Any]:
    """Score predictions, in total and per slice, and compare them with the exported model's.

    Arrays have one entry per example. `truth`, `answers` (the predictions) and `fp32` (those of the
    exported model) are integers below `label_count`; `slices` are names.
    """
    metric = METRICS[load_scope().metric]
    return {
        "score": score(metric, truth, answers, label_count),
        "fp32": score(metric, truth, fp32, label_count),
        "slices": {
            str(name): score(metric, truth[slices == name], answers[slices == name], label_count)
            for name in np.unique(slices)
        },
        "agreement": float((answers == fp32).mean()),
    }


def score(
    metric: Metric, truth: np.ndarray, answers: np.ndarray, label_count: int
) -> dict[str, Any]:
    """Return the metric, its lower bound, and the lower bound of a perfect model (`ceiling`).

    If even the ceiling is below a limit, there are too few examples to prove any model.
    """
    matrix = confusion(truth, answers, label_count)
    confidence = load_scope().confidence
    return {
        "examples": len(truth),
        "value": float(metric(matrix)),
        "lower_bound": lower_bound(metric, matrix, confidence),
        "ceiling": lower_bound(metric, confusion(truth, truth, label_count), confidence),
    }


def count_nonfinite(probabilities: np.ndarray) -> int:
    """Count rows that contain NaN or infinity."""
    return int((~np.isfinite(probabilities).all(axis=1)).sum())
