"""Metrics of sets of labels, with lower bounds.

`truth` holds the correct answers as `answer.encode` returns them, `outputs` what a model returned,
decoded; both are (n, labels). `limits` is the scope of the project. Each metric is one of every
label, averaged over the labels that occur.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..bounds import bootstrap_weights
from . import answer
from .answer import LINE, Answer, Head
from .by_label import METRICS as BY_LABEL
from .by_label import NOT_ZERO, Metric, count, draw_posterior, fit_threshold
from .keys import ProblemScope

LIMIT = "min_metric"  # key of scope.yaml
SIGN = 1  # higher values are better
BOUND = "lower_bound"  # key of a score
NAME = "score"
METRICS: dict[str, Metric] = BY_LABEL
CALIBRATION_BINS = 10  # usual; finer bins are noise in a window of 200
NAME_SHOWN = 16  # characters of a label in the name of a gate


def measure(
    truth: np.ndarray,
    outputs: np.ndarray,
    fp32: np.ndarray,
    slices: np.ndarray,
    head: Head,
    limits: ProblemScope,
) -> dict[str, Any]:
    """Score a model, in total, per slice and per label; compare it with the exported one (`fp32`).

    Slices in which no label occurs have no score.
    """
    how = head, limits
    has_labels = (name for name in np.unique(slices) if truth[slices == name].any())
    return {
        "score": score(truth, outputs, *how),
        "fp32": score(truth, fp32, *how),
        "slices": {
            str(name): score(truth[slices == name], outputs[slices == name], *how)
            for name in has_labels
        },
        "by_label": score_labels(truth, outputs, *how),
        "agreement": float(answer.agree(outputs, fp32, head, limits).mean()),
    }


def score(
    truth: np.ndarray, outputs: np.ndarray, head: Head, limits: ProblemScope
) -> dict[str, Any]:
    """Return the metric, its lower bound, and the lower bound of a perfect model (`ceiling`).

    If even the ceiling is below a limit, there are too few examples to prove any model.
    """
    occurs = truth.any(axis=0)
    if not occurs.any():
        return {"examples": len(truth), "value": math.nan, BOUND: math.nan, "ceiling": math.nan}
    bounds = {
        name: float(np.quantile(_draw(truth, each, limits).mean(axis=0), 1 - limits.confidence))
        for name, each in {BOUND: outputs, "ceiling": truth}.items()
    }
    return {"examples": len(truth), "value": _value(truth, outputs, limits)} | bounds


def score_labels(
    truth: np.ndarray, outputs: np.ndarray, head: Head, limits: ProblemScope
) -> dict[str, dict[str, float]]:
    """Return the metric and its lower bound of each label that occurs."""
    names = [head.labels[i] for i in np.flatnonzero(truth.any(axis=0))]
    if not names:
        return {}
    draws = _draw(truth, outputs, limits)
    lower = np.quantile(draws, 1 - limits.confidence, axis=1).tolist()
    values = METRICS[limits.metric](truth, outputs, np.ones((1, len(truth))))[0].tolist()
    counts = truth.sum(axis=0)[truth.any(axis=0)].astype(int).tolist()
    return {
        name: {"examples": n, "value": value, BOUND: bound}
        for name, n, value, bound in zip(names, counts, values, lower, strict=True)
    }


def _value(truth: np.ndarray, outputs: np.ndarray, limits: ProblemScope) -> float:
    if not truth.any():
        return math.nan
    return float(METRICS[limits.metric](truth, outputs, np.ones((1, len(truth)))).mean())


def _draw(
    truth: np.ndarray, outputs: np.ndarray, limits: ProblemScope, is_best: bool = False
) -> np.ndarray:
    return draw_posterior(limits.metric, truth, outputs, is_best=is_best)


def _paired(
    truth: np.ndarray, outputs: np.ndarray, other: np.ndarray, limits: ProblemScope
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the metric of two models on the same examples, with the one least in favour twice."""
    if not truth.any():
        return np.array([math.nan]), np.array([math.nan])
    extra = int((_loss(truth, outputs) - _loss(truth, other)).argmax())
    rows = np.append(np.arange(len(truth)), extra)
    metric = METRICS[limits.metric]
    drawn = [
        [metric(truth[rows], each[rows], weights).mean(axis=1) for each in (outputs, other)]
        for weights in bootstrap_weights(len(rows), 1000)
    ]
    first, second = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    return first, second


def _loss(truth: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Return how wrong each example is: labels that are wrong, then the scores."""
    wrong = ((outputs >= LINE) != (truth > LINE)).sum(axis=1)
    return np.asarray(wrong + np.abs(outputs - truth).mean(axis=1))


def measure_gain(
    truth: np.ndarray, outputs: np.ndarray, baseline: np.ndarray, head: Head, limits: ProblemScope
) -> dict[str, float]:
    """Return the lower bound of the gain over a baseline: of the model, and of a perfect one."""
    return {
        name: _gain_quantile(truth, each, baseline, limits)
        for name, each in {"gain_lower_bound": outputs, "gain_ceiling": truth}.items()
    }


def _gain_quantile(
    truth: np.ndarray, outputs: np.ndarray, other: np.ndarray, limits: ProblemScope
) -> float:
    model, before = _paired(truth, outputs, other, limits)
    return float(np.quantile(model - before, 1 - limits.confidence))


def drop_upper_bound(
    truth: np.ndarray, outputs: np.ndarray, fp32: np.ndarray, head: Head, limits: ProblemScope
) -> float:
    """Return how much worse than `fp32` a model is at most."""
    return 0 - _gain_quantile(truth, outputs, fp32, limits)  # `-gain` would print -0


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
    worst = _worst_label(quality, by)
    observed = quality["by_label"][worst][by] if worst else math.nan
    name = f"worst label: {worst[:NAME_SHOWN]}, {by.replace('_', ' ')}"
    return [("worst_label", name, observed, "min_metric, max_label_gap")]


def more_scores(quality: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the scores that these gates compare, by id: whose it is, and the score."""
    worst = _worst_label(quality, BOUND)
    return {"worst_label": (f"label {worst}", quality["by_label"][worst])} if worst else {}


def _worst_label(quality: dict[str, Any], by: str) -> str:
    labels = quality.get("by_label", {})
    return min(labels, key=lambda name: float(labels[name][by]), default="")


def tune(truth: np.ndarray, outputs: np.ndarray, head: Head, limits: ProblemScope) -> Head:
    """Return the head with a threshold for each label, fitted on the validation split.

    `outputs` are of a head without thresholds. Each threshold is the middle between the two scores
    where the F1 score of the label is highest; that is the best choice for any metric of F1 scores
    (Lipton, Elkan and Naryanaswamy 2014, "Optimal thresholding of classifiers to maximize F1
    measure").
    """
    columns = zip(truth.T, outputs.T, strict=True)
    thresholds = [fit_threshold(is_given > LINE, scores) for is_given, scores in columns]
    return head.model_copy(update={"thresholds": thresholds})


def fit_confidence_threshold(truth: np.ndarray, outputs: np.ndarray) -> float | None:
    """Return a threshold: the share of held-out examples above it equals that of right sets.

    The share of live predictions above it estimates how many sets are right without labels: average
    thresholded confidence (Garg et al. 2022, "Leveraging unlabeled data to predict
    out-of-distribution performance"). A set is as sure as its least sure label.
    """
    wrong = int(((outputs >= LINE) != (truth > LINE)).any(axis=1).sum())
    return float(np.sort(answer.find_confidence(outputs))[min(wrong, len(truth) - 1)])


def count_nonfinite(outputs: np.ndarray) -> int:
    """Count rows that contain NaN or infinity."""
    return int((~np.isfinite(outputs).all(axis=1)).sum())


def evidence(truth: np.ndarray, outputs: np.ndarray, head: Head) -> dict[str, Any]:
    """Return what the report shows of the answers: how often each label was hit or missed."""
    kinds = ("hit", "false", "missed", "neither")
    counts = count(truth, outputs).astype(int).tolist()
    right = ((outputs >= LINE) == (truth > LINE)).all(axis=1)
    return {
        "labels": head.labels,
        "thresholds": head.thresholds,
        "right_sets": int(right.sum()),
        "counts": {
            name: dict(zip(kinds, row, strict=True))
            for name, row in zip(head.labels, counts, strict=True)
        },
    }


def align(outputs: np.ndarray, head: Head, new: Head) -> np.ndarray:
    """Return outputs of a model in the order of another one's labels.

    A model never gives a label that it lacks.
    """
    aligned = np.zeros((len(outputs), new.width), outputs.dtype)
    for place, name in enumerate(new.labels):
        if name in head.labels:
            aligned[:, place] = outputs[:, head.labels.index(name)]
    return aligned


def compare(
    truth: np.ndarray, new: np.ndarray, old: np.ndarray, head: Head, limits: ProblemScope
) -> tuple[float, float, float, float]:
    """Return the metric of an old and a new model, and the interval of the gain.

    `old` is aligned with the labels of `new`. Each bound counts the example twice that speaks most
    against it: one example must not decide.
    """
    values = [_value(truth, outputs, limits) for outputs in (old, new)]
    at_least = _gain_quantile(truth, new, old, limits)
    return values[0], values[1], at_least, -_gain_quantile(truth, old, new, limits)


class LabelledAnswers:
    """Answers of a model whose correct answers have arrived; `rows` are pairs of both."""

    def __init__(self, rows: Sequence[tuple[Answer, Mapping[str, Any]]], head: Head) -> None:
        # A label that only another model has, such as the challenger, is never predicted here.
        others = {label for right, _ in rows for label in right.labels} - set(head.labels)
        known = Head(labels=[*head.labels, *sorted(others)])
        self._head = head
        self._truth = answer.encode([right for right, _ in rows], known)
        self._outputs = np.zeros_like(self._truth)
        for row, (_, said) in zip(self._outputs, rows, strict=True):
            row[: head.width] = [said["scores"][label] for label in head.labels]

    def value(self, limits: ProblemScope) -> float:
        """Return the metric; NaN if no answer has a label."""
        return _value(self._truth, self._outputs, limits)

    def best_value(self, limits: ProblemScope) -> float:
        """Return the best value that the metric has at the confidence of scope.yaml."""
        if not self._truth.any():
            return math.nan
        draws = _draw(self._truth, self._outputs, limits, is_best=True)
        return float(np.quantile(draws.mean(axis=0), limits.confidence))

    def calibration(self, limits: ProblemScope) -> float:
        """Return the expected calibration error of the probabilities of all labels.

        Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian binning". The
        thresholds are taken out of the scores again.
        """
        scores = self._outputs[:, : self._head.width].astype(np.float64)
        odds = np.exp(self._head.offsets) * scores / np.maximum(1 - scores, NOT_ZERO)
        chances = (odds / (1 + odds)).ravel()
        bins = np.minimum((chances * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
        gaps = self._truth[:, : self._head.width].ravel() - chances
        total = np.abs(np.bincount(bins, weights=gaps, minlength=CALIBRATION_BINS)).sum()
        return float(total / max(len(gaps), 1))
