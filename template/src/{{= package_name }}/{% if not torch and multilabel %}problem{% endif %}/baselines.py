"""Simple models of sets of labels, fitted by scikit-learn: the baseline."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from .answer import Head
from .keys import ProblemScope
from .simplest import simple_weights

Layer = tuple[np.ndarray, np.ndarray]  # weights (inputs, outputs) and biases (outputs,)


def fit_linear(x: np.ndarray, truth: np.ndarray, head: Head, limits: ProblemScope) -> Layer:
    """Fit a logistic regression for each label on features (n, inputs).

    A label that all training examples have, or none, keeps its share.
    """
    weight, bias = simple_weights(truth, head, x.shape[1])
    for i, has in enumerate(truth.T):
        if 0 < has.mean() < 1:
            model = LogisticRegression(max_iter=1000).fit(x, has)
            weight[i], bias[i] = model.coef_[0], model.intercept_[0]
    return weight.T, bias
