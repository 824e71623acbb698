"""The metrics of single labels, and their distribution given the examples."""

from collections.abc import Callable

import numpy as np

from ..bounds import DRAWS, bootstrap_weights
from .answer import LINE

NOT_ZERO = 1e-12  # avoids 0 / 0
PRIOR = 1.0  # examples: the weight of what was not seen, as in `bounds.posterior_quantile`
RANKED_DRAWS = 1000  # of metrics that sort: the 5 % quantile is off by 0.07 standard deviations
# Below this number, the model card mentions it: the bound of `mean_ap` is cautious for good models,
# but held in only 77 to 93 % of simulated samples for models that rank hardly better than chance.
RANKED_EXAMPLES = 200
# A threshold near 0 or 1 would follow single examples; its logit would move all scores.
EXTREME = 0.02
# Weighted metrics of the labels that occur: truth (n, labels), outputs, weights (draws, n) to
# (draws, labels).
Metric = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def count(truth: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Return the examples of each label that are hit, false, missed or neither: (labels, 4)."""
    is_given, is_said = truth > LINE, outputs >= LINE
    cells = [is_given & is_said, ~is_given & is_said, is_given & ~is_said, ~is_given & ~is_said]
    return np.stack([cell.sum(axis=0) for cell in cells], axis=1)


def f1(truth: np.ndarray, outputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the F1 score of each label that occurs."""
    occurs = truth.any(axis=0)
    is_given = (truth[:, occurs] > LINE).astype(np.float64)
    is_said = (outputs[:, occurs] >= LINE).astype(np.float64)
    hits, total = weights @ (is_given * is_said), weights @ (is_given + is_said)
    return np.asarray(2 * hits / np.maximum(total, NOT_ZERO))


def average_precision(truth: np.ndarray, outputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the average precision of each label that occurs. It needs no thresholds.

    The mean precision at the rank of each example that has the label. Equal scores share a rank.
    """
    values = []
    for column in np.flatnonzero(truth.any(axis=0)):
        scores, is_given = outputs[:, column], truth[:, column] > LINE
        values.append(_average_precision(scores, is_given, weights))
    return np.stack(values, axis=1)


def _average_precision(scores: np.ndarray, is_given: np.ndarray, weights: np.ndarray) -> np.ndarray:
    order = np.argsort(-scores)
    ranked = scores[order]
    # The precision of an example counts all that have its score.
    last = np.searchsorted(-ranked, -ranked, side="right") - 1
    sorted_weights = weights[:, order]
    given = sorted_weights * is_given[order]
    precision = np.cumsum(given, axis=1) / np.maximum(np.cumsum(sorted_weights, axis=1), NOT_ZERO)
    total = np.maximum(given.sum(axis=1), NOT_ZERO)
    return np.asarray((precision[:, last] * given).sum(axis=1) / total)


METRICS: dict[str, Metric] = {"macro_f1": f1, "mean_ap": average_precision}


def draw_posterior(
    metric: str, truth: np.ndarray, outputs: np.ndarray, *, is_best: bool = False
) -> np.ndarray:
    """Draw the metric of each label that occurs: (labels, draws).

    A prior weighs one example per label, so that 30 of 30 are not certainty. `is_best`: for a bound
    from above, the prior speaks for the model.
    """
    if metric == "macro_f1":
        return _draw_f1(truth, outputs)
    return _draw_ranked(truth, outputs, is_best)


def _draw_f1(truth: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """The four counts of a label have a Dirichlet posterior."""
    rng = np.random.default_rng(0)
    drawn = []
    for counts in count(truth, outputs)[truth.any(axis=0)]:
        shares = rng.dirichlet(counts + PRIOR / len(counts), DRAWS)
        hits, false, missed, _ = shares.T
        drawn.append(2 * hits / np.maximum(2 * hits + false + missed, NOT_ZERO))
    return np.stack(drawn)


def _draw_ranked(truth: np.ndarray, outputs: np.ndarray, is_best: bool) -> np.ndarray:
    """Bayesian bootstrap, with an example ranked last that has the label, and the opposite."""
    rng = np.random.default_rng(1)
    columns = np.flatnonzero(truth.any(axis=0))
    drawn: list[list[np.ndarray]] = [[] for _ in columns]
    extreme = np.array([np.inf, -np.inf])
    for weights in bootstrap_weights(len(truth), RANKED_DRAWS):
        for column, values in zip(columns, drawn, strict=True):
            prior = rng.gamma(PRIOR / 2, size=(len(weights), 2))
            is_given = np.append(truth[:, column] > LINE, [is_best, not is_best])
            scores = np.append(outputs[:, column], extreme)
            values.append(_average_precision(scores, is_given, np.hstack([weights, prior])))
    return np.stack([np.concatenate(values) for values in drawn])


def fit_threshold(is_given: np.ndarray, scores: np.ndarray) -> float:
    """Return the threshold of one label, from whether it is right, (n,), and its scores, (n,)."""
    if not is_given.any() or not np.isfinite(scores).all():
        return LINE  # a gate rejects such data, or such a model
    order = np.argsort(-scores)
    ranked = scores[order]
    f1 = 2 * np.cumsum(is_given[order]) / (np.arange(1, len(ranked) + 1) + is_given.sum())
    below = np.append(ranked[1:], 0.0)
    f1[ranked == below] = 0  # equal scores are on the same side
    best = int(f1.argmax())
    middle = (float(ranked[best]) + float(below[best])) / 2
    return min(max(middle, EXTREME), 1 - EXTREME)
