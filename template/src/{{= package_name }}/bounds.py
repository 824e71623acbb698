"""The numbers a scope can name, from a confusion matrix, with what chance could do to them."""

from collections.abc import Callable

import numpy as np

DRAWS = 4000  # enough for two stable decimals of a 95 % bound
Metric = Callable[[np.ndarray], np.ndarray]


def confusion(truth: np.ndarray, predicted: np.ndarray, n: int) -> np.ndarray:
    """Count pairs, int64 (n, n): rows are the truth, columns the prediction."""
    counts = np.zeros((n, n), dtype=np.int64)
    np.add.at(counts, (truth, predicted), 1)
    return counts


def accuracy(matrix: np.ndarray) -> np.ndarray:
    """Share of examples that are right, for matrices (..., n, n)."""
    return np.asarray(_hits(matrix).sum(-1) / matrix.sum(axis=(-2, -1)))


def macro_recall(matrix: np.ndarray) -> np.ndarray:
    """Share of each label that was found, averaged over the labels present."""
    return _mean_over_present(_hits(matrix), matrix.sum(-1), matrix)


def macro_f1(matrix: np.ndarray) -> np.ndarray:
    """Harmonic mean of precision and recall of each label, averaged over those present."""
    return _mean_over_present(2 * _hits(matrix), matrix.sum(-1) + matrix.sum(-2), matrix)


def _hits(matrix: np.ndarray) -> np.ndarray:
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def _mean_over_present(part: np.ndarray, whole: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    present = matrix.sum(-1) > 0
    share = np.where(present, part / np.maximum(whole, 1e-12), 0)
    return np.asarray(share.sum(-1) / np.maximum(present.sum(-1), 1))


METRICS = {"accuracy": accuracy, "macro_f1": macro_f1, "macro_recall": macro_recall}


def lower_bound(metric: Metric, matrix: np.ndarray, confidence: float) -> float:
    """Return what the metric is at least, with this confidence, given so few examples."""
    return bound(metric, matrix, 1 - confidence)


def bound(metric: Metric, matrix: np.ndarray, share: float) -> float:
    """Return the value that the true metric is below with this probability.

    The counts have a Dirichlet posterior with a prior of one example in all, so that 30 right
    answers out of 30 are not mistaken for certainty (Goutte and Gaussier 2005, "A probabilistic
    interpretation of precision, recall and F-score").
    """
    present = np.broadcast_to(matrix.sum(1, keepdims=True) > 0, matrix.shape)
    counts = (matrix + present / present.sum()).ravel()  # a label nobody has stays absent
    draws = np.random.default_rng(0).dirichlet(counts, DRAWS) * matrix.sum()
    scores = metric(draws.reshape(-1, *matrix.shape))
    return float(np.quantile(scores, share))


def share_lower_bound(hits: np.ndarray, confidence: float) -> float:
    """Return what the share of hits, bool (examples,), is at least; all for all, however few.

    Bayesian bootstrap (Rubin 1981), as below.
    """
    found, missed = int(hits.sum()), int((~hits).sum())
    if not found or not missed:
        return float(not missed)
    draws = np.random.default_rng(0).beta(found, missed, DRAWS)
    return float(np.quantile(draws, 1 - confidence))


def gain_lower_bound(
    metric: Metric,
    truth: np.ndarray,
    answers: np.ndarray,
    baseline: np.ndarray,
    n: int,
    confidence: float,
) -> float:
    """Return by how much `answers` beat `baseline` at least, on the same examples.

    All three are integer labels, shape (examples,). Paired Bayesian bootstrap (Rubin 1981).
    """
    triples = np.stack([truth, answers, baseline])
    cells, counts = np.unique(triples, axis=1, return_counts=True)
    draws = np.random.default_rng(0).dirichlet(counts, DRAWS) * counts.sum()
    scores = []
    for predicted in cells[1:]:
        matrices = np.zeros((DRAWS, n * n))
        for cell, column in enumerate(cells[0] * n + predicted):
            matrices[:, column] += draws[:, cell]
        scores.append(metric(matrices.reshape(DRAWS, n, n)))
    return float(np.quantile(scores[0] - scores[1], 1 - confidence))
