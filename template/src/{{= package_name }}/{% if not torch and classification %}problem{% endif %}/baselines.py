"""Simple models of labels, fitted by scikit-learn: the baseline."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from .answer import Head
from .keys import ProblemScope

Layer = tuple[np.ndarray, np.ndarray]  # weights (inputs, outputs) and biases (outputs,)
ABSENT = -30.0  # logit of a label without a training example


def fit_linear(x: np.ndarray, truth: np.ndarray, head: Head, limits: ProblemScope) -> Layer:
    """Fit a logistic regression on features (n, inputs); `truth` are indices of labels."""
    model = LogisticRegression(max_iter=1000).fit(x, truth)
    return widen((model.coef_.T, model.intercept_), model.classes_, head)


def widen(layer: Layer, found: np.ndarray, head: Head) -> Layer:
    """Return a layer with one output per label: scikit-learn has one output for two labels."""
    weight, bias = layer
    wide = np.zeros((len(weight), head.width)), np.full(head.width, ABSENT)
    wide[1][found] = 0
    rows = found[1:] if len(bias) == 1 else found
    wide[0][:, rows], wide[1][rows] = weight, bias
    return wide
