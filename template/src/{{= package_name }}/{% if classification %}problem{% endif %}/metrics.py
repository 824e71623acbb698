"""Metrics of labels, with lower bounds.

`truth` holds the correct answers as `answer.encode` returns them, `outputs` what a model returned,
decoded. `limits` is the scope of the project.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..bounds import Metric, gain_lower_bound, lower_bound, posterior_quantile
from . import answer
from .answer import Answer, Head
from .keys import ProblemScope

LIMIT = "min_metric"  # key of scope.yaml
SIGN = 1  # higher values are better
BOUND = "lower_bound"  # key of a score
NAME = "score"
CALIBRATION_BINS = 10  # usual; finer bins are noise in a window of 200
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
    truth: np.ndarray,
    outputs: np.ndarray,
    fp32: np.ndarray,
    slices: np.ndarray,
    head: Head,
    limits: ProblemScope,
) -> dict[str, Any]:
    """Score a model, in total and per slice, and compare it with the exported one (`fp32`)."""
    how = head, limits
    return {
        "score": score(truth, outputs, *how),
        "fp32": score(truth, fp32, *how),
        "slices": {
            str(name): score(truth[slices == name], outputs[slices == name], *how)
            for name in np.unique(slices)
        },
        "agreement": float(answer.agree(outputs, fp32, head, limits).mean()),
    }


def score(
    truth: np.ndarray, outputs: np.ndarray, head: Head, limits: ProblemScope
) -> dict[str, Any]:
    """Return the metric, its lower bound, and the lower bound of a perfect model (`ceiling`).

    If even the ceiling is below a limit, there are too few examples to prove any model.
    """
    metric = METRICS[limits.metric]
    matrix = confusion(truth, outputs.argmax(1), head.width)
    return {
        "examples": len(truth),
        "value": float(metric(matrix)),
        "lower_bound": lower_bound(metric, matrix, limits.confidence),
        "ceiling": lower_bound(metric, confusion(truth, truth, head.width), limits.confidence),
    }


def measure_gain(
    truth: np.ndarray,
    outputs: np.ndarray,
    baseline: np.ndarray,
    head: Head,
    limits: ProblemScope,
) -> dict[str, float]:
    """Return the lower bound of the gain over a baseline: of the model, and of a perfect one."""
    metric, simple = METRICS[limits.metric], baseline.argmax(1)
    return {
        name: gain_lower_bound(metric, truth, best, simple, head.width, limits.confidence)
        for name, best in {"gain_lower_bound": outputs.argmax(1), "gain_ceiling": truth}.items()
    }


def drop_upper_bound(
    truth: np.ndarray,
    outputs: np.ndarray,
    fp32: np.ndarray,
    head: Head,
    limits: ProblemScope,
) -> float:
    """Return how much worse than `fp32` a model is at most."""
    best = outputs.argmax(1), fp32.argmax(1)
    gain = gain_lower_bound(METRICS[limits.metric], truth, *best, head.width, limits.confidence)
    return 0 - gain  # `-gain` would print -0


def drop(before: float, after: float, limits: ProblemScope) -> float:
    """Return how much worse a value of the metric is, in the unit of max_int8_drop."""
    return before - after


def allowed_wrong(limits: ProblemScope) -> float:
    """Return which share of the answers may be wrong, according to `answer.is_right`."""
    return 1 - limits.min_metric


def gain(value: float, baseline: float) -> float:
    """Return the gain of a value over that of a baseline, in the unit of min_gain_over_baseline."""
    return value - baseline


def more_gates(quality: dict[str, Any], by: str = BOUND) -> list[tuple[str, str, float, str]]:
    """Return further gates on the result of `measure`: id, name, measured value and key of each."""
    return []


def more_scores(quality: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the scores that these gates compare, by id: whose it is, and the score."""
    return {}


def tune(truth: np.ndarray, outputs: np.ndarray, head: Head, limits: ProblemScope) -> Head:
    """Return the head with what is fitted on the validation split: for labels, nothing."""
    return head


def fit_confidence_threshold(truth: np.ndarray, outputs: np.ndarray) -> float | None:
    """Return a threshold: the share of held-out examples above it equals the accuracy.

    The share of live predictions above it estimates the accuracy without labels: average
    thresholded confidence (Garg et al. 2022, "Leveraging unlabeled data to predict
    out-of-distribution performance").
    """
    wrong = int((outputs.argmax(1) != truth).sum())
    return float(np.sort(outputs.max(1))[min(wrong, len(truth) - 1)])


def count_nonfinite(outputs: np.ndarray) -> int:
    """Count rows that contain NaN or infinity."""
    return int((~np.isfinite(outputs).all(axis=1)).sum())


def evidence(truth: np.ndarray, outputs: np.ndarray, head: Head) -> dict[str, Any]:
    """Return what the report shows of the answers: the confusion matrix."""
    counts = confusion(truth, outputs.argmax(1), head.width)
    return {"labels": head.labels, "confusion": counts.tolist()}


def align(outputs: np.ndarray, head: Head, new: Head) -> np.ndarray:
    """Return outputs of a model in the order of another one's labels.

    The last column is for labels that only the first model has.
    """
    columns = [new.labels.index(label) if label in new.labels else -1 for label in head.labels]
    aligned = np.full((len(outputs), new.width + 1), -1.0, outputs.dtype)
    for column, place in enumerate(columns):
        aligned[:, place] = np.maximum(aligned[:, place], outputs[:, column])
    return aligned


def compare(
    truth: np.ndarray,
    new: np.ndarray,
    old: np.ndarray,
    head: Head,
    limits: ProblemScope,
) -> tuple[float, float, float, float]:
    """Return the metric of an old and a new model, and the interval of the gain.

    `old` is aligned with the labels of `new`.
    """
    metric, n = METRICS[limits.metric], head.width + 1
    answers, before = new.argmax(1), old.argmax(1)
    values = [float(metric(confusion(truth, found, n))) for found in (before, answers)]
    # As a prior, each model is right once per label where the other is wrong: a single additional
    # hit must not decide.
    labels = np.unique(truth)
    wrong = (labels + 1) % n
    truth = np.concatenate([truth, labels, labels])
    answers, before = (
        np.concatenate([answers, labels, wrong]),
        np.concatenate([before, wrong, labels]),
    )
    at_least = gain_lower_bound(metric, truth, answers, before, n, limits.confidence)
    at_most = -gain_lower_bound(metric, truth, before, answers, n, limits.confidence)
    return values[0], values[1], at_least, at_most


class LabelledAnswers:
    """Answers of a model whose correct answers have arrived; `rows` are pairs of both."""

    def __init__(self, rows: Sequence[tuple[Answer, Mapping[str, Any]]], head: Head) -> None:
        index = {label: i for i, label in enumerate(head.labels)}
        # A label that only another model has, such as the challenger, is never predicted here.
        truth = [index.get(right.label, head.width) for right, _ in rows]
        self._truth = np.array(truth)
        self._predicted = np.array([index[said["label"]] for _, said in rows])
        self._confidence = np.array([said["confidence"] for _, said in rows])
        self._matrix = confusion(self._truth, self._predicted, max(head.width, max(truth) + 1))

    def value(self, limits: ProblemScope) -> float:
        """Return the metric."""
        return float(METRICS[limits.metric](self._matrix))

    def best_value(self, limits: ProblemScope) -> float:
        """Return the best value that the metric has at the confidence of scope.yaml."""
        return posterior_quantile(METRICS[limits.metric], self._matrix, limits.confidence)

    def calibration(self, limits: ProblemScope) -> float:
        """Return the expected calibration error of the confidence.

        Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian binning".
        """
        bins = np.minimum((self._confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
        gaps = (self._truth == self._predicted) - self._confidence
        total = np.abs(np.bincount(bins, weights=gaps, minlength=CALIBRATION_BINS)).sum()
        return float(total / len(self._truth))
