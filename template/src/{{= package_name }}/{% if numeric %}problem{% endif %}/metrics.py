"""Errors of numbers, with upper bounds.

`truth` holds the correct answers as `answer.encode` returns them, `outputs` what a model returned,
decoded; both are float64 (n, width). `limits` is the scope of the project. `losses.py` has the
metrics, and says which examples are independent.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from . import answer
from .answer import Answer, Head
from .evidence import evidence as evidence
from .keys import ProblemScope
from .losses import METRICS as METRICS
from .losses import bound_share, count_independent, draw_ratio

LIMIT = "max_error"  # key of scope.yaml
SIGN = -1  # lower values are better
BOUND = "upper_bound"  # key of a score
NAME = "error"
NOT_ZERO = 1e-12  # avoids 0 / 0


def measure(
    truth: np.ndarray,
    outputs: np.ndarray,
    fp32: np.ndarray,
    slices: np.ndarray,
    head: Head,
    limits: ProblemScope,
) -> dict[str, Any]:
    """Score a model, in total and per slice, and compare it with the exported one (`fp32`)."""
    inside = np.abs(truth - outputs) <= answer.half_widths(outputs, head)
    lower, upper = bound_share(inside, limits.confidence)
    return {
        "score": score(truth, outputs, head, limits),
        "fp32": score(truth, fp32, head, limits),
        "slices": {
            str(name): score(truth[slices == name], outputs[slices == name], head, limits)
            for name in np.unique(slices)
        },
        "agreement": float(answer.agree(outputs, fp32, head, limits).mean()),
        "coverage": {
            "value": float(inside.mean()),
            "lower_bound": lower,
            "upper_bound": upper,
            "half_width": float(answer.half_widths(outputs, head).mean()),
        },
    }


def score(
    truth: np.ndarray, outputs: np.ndarray, head: Head, limits: ProblemScope
) -> dict[str, Any]:
    """Return the metric and its upper bound.

    The bound adds one example as bad as the worst one: a few good answers are not certainty.
    """
    losses, sizes = _parts(truth, outputs, head, limits)
    draws = draw_ratio([losses], sizes, worst=losses)[0]
    return {
        "examples": len(truth),
        "value": float(losses.sum() / max(sizes.sum(), NOT_ZERO)),
        "upper_bound": float(np.quantile(draws, limits.confidence)),
    }


def _parts(
    truth: np.ndarray, outputs: np.ndarray, head: Head, limits: ProblemScope
) -> tuple[np.ndarray, np.ndarray]:
    loss, size = METRICS[limits.metric]
    return loss(truth, outputs, head), size(truth, outputs, head)


def _paired(
    truth: np.ndarray, outputs: np.ndarray, other: np.ndarray, head: Head, limits: ProblemScope
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the metric of two models on the same examples, with the one least in favour twice."""
    losses, sizes = _parts(truth, outputs, head, limits)
    others = _parts(truth, other, head, limits)[0]
    first, second = draw_ratio([losses, others], sizes, worst=losses - others)
    return first, second


def measure_gain(
    truth: np.ndarray, outputs: np.ndarray, baseline: np.ndarray, head: Head, limits: ProblemScope
) -> dict[str, float]:
    """Return the lower bound of the share of the baseline's error that the model removes."""
    model, simple = _paired(truth, outputs, baseline, head, limits)
    gains = 1 - model / np.maximum(simple, NOT_ZERO)
    return {"gain_lower_bound": float(np.quantile(gains, 1 - limits.confidence))}


def drop_upper_bound(
    truth: np.ndarray, outputs: np.ndarray, fp32: np.ndarray, head: Head, limits: ProblemScope
) -> float:
    """Return how much worse than `fp32` a model is at most, as a share of `max_error`."""
    model, exported = _paired(truth, outputs, fp32, head, limits)
    return float(np.quantile(model - exported, limits.confidence) / limits.max_error)


def drop(before: float, after: float, limits: ProblemScope) -> float:
    """Return how much worse a value of the metric is, in the unit of max_int8_drop."""
    return (after - before) / limits.max_error


def allowed_wrong(limits: ProblemScope) -> float:
    """Return which share of the answers may be wrong, according to `answer.is_right`."""
    return 1 - limits.min_coverage


def gain(value: float, baseline: float) -> float:
    """Return the gain of a value over that of a baseline, in the unit of min_gain_over_baseline."""
    return 1 - value / baseline if baseline > 0 else math.nan


def more_gates(quality: dict[str, Any], by: str = BOUND) -> list[tuple[str, str, float, str]]:
    """Return further gates on the result of `measure`: id, name, measured value and key of each.

    There are none by value, for the validation split: the intervals were fitted on it.
    """
    if by != BOUND:
        return []
    coverage = quality.get("coverage", {}).get("lower_bound", math.nan)
    return [("coverage", "answers inside intervals, lower bound", coverage, "min_coverage")]


def more_scores(quality: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the scores that these gates compare, by id: whose it is, and the score."""
    return {}


def tune(truth: np.ndarray, outputs: np.ndarray, head: Head, limits: ProblemScope) -> Head:
    """Return the head with an interval for each number, fitted on the validation split.

    Split conformal prediction (Vovk, Gammerman and Shafer 2005, "Algorithmic learning in a random
    world"). The intervals aim at half the misses that `min_coverage` allows, and reach the aim with
    the confidence of scope.yaml: the split is small, and the best epoch was chosen on it.
    """
    errors = np.sort(np.abs(truth - outputs) / answer.interval_unit(outputs, head), axis=0)
    n, aim = len(errors), 1 - (1 - limits.min_coverage) / 2
    # The rank is a quantile of the binomial distribution, here as a normal one.
    deviation = math.sqrt(aim * (1 - aim) / count_independent(outputs))
    share = aim + NormalDist().inv_cdf(limits.confidence) * deviation
    rank = min(n, math.ceil(n * share) + 1)
    return answer.with_intervals(head, errors[rank - 1])


def fit_confidence_threshold(truth: np.ndarray, outputs: np.ndarray) -> float | None:
    """Return None: the error cannot be estimated from numbers alone, without labels."""
    return None


def count_nonfinite(outputs: np.ndarray) -> int:
    """Count rows that contain NaN or infinity."""
    return int((~np.isfinite(outputs).all(axis=1)).sum())


def align(outputs: np.ndarray, head: Head, new: Head) -> np.ndarray:
    """Return outputs of a model in the form of another one's: numbers have the same unit."""
    return outputs


def compare(
    truth: np.ndarray, new: np.ndarray, old: np.ndarray, head: Head, limits: ProblemScope
) -> tuple[float, float, float, float]:
    """Return the metric of an old and a new model, and the interval of the gain.

    Each bound counts the example twice that speaks most against it: one example must not decide.
    """
    values = [score(truth, outputs, head, limits)["value"] for outputs in (old, new)]
    model, before = _paired(truth, new, old, head, limits)
    at_least = float(np.quantile(before - model, 1 - limits.confidence))
    before, model = _paired(truth, old, new, head, limits)
    at_most = float(np.quantile(before - model, limits.confidence))
    return values[0], values[1], at_least, at_most


class LabelledAnswers:
    """Answers of a model whose correct answers have arrived; `rows` are pairs of both."""

    def __init__(self, rows: Sequence[tuple[Answer, Mapping[str, Any]]], head: Head) -> None:
        truth = answer.encode([right for right, _ in rows], head)
        outputs, low, high = answer.from_answers([said for _, said in rows])
        self._examples = truth, outputs, head
        self._is_inside = (low <= truth) & (truth <= high)

    def value(self, limits: ProblemScope) -> float:
        """Return the metric."""
        losses, sizes = _parts(*self._examples, limits)
        return float(losses.sum() / max(sizes.sum(), NOT_ZERO))

    def best_value(self, limits: ProblemScope) -> float:
        """Return the best value that the metric has at the confidence of scope.yaml."""
        losses, sizes = _parts(*self._examples, limits)
        draws = draw_ratio([losses], sizes, worst=-losses)[0]
        return float(np.quantile(draws, 1 - limits.confidence))

    def calibration(self, limits: ProblemScope) -> float:
        """Return the upper bound of the share of correct answers inside their interval."""
        return bound_share(self._is_inside, limits.confidence)[1]
