"""Simple models of numbers, fitted by scikit-learn: the baseline."""

import numpy as np
from sklearn.linear_model import Ridge

from .answer import Head
from .keys import ProblemScope
from .losses import QUANTILE

Layer = tuple[np.ndarray, np.ndarray]  # weights (inputs, outputs) and biases (outputs,)


def fit_linear(x: np.ndarray, truth: np.ndarray, head: Head, limits: ProblemScope) -> Layer:
    """Fit a linear regression on features (n, inputs), to standardised answers.

    For the metric `pinball`, it is shifted to the quantile that this metric measures.
    """
    targets = (truth[:, 0] - head.centre) / head.scale
    model = Ridge().fit(x, targets)
    is_quantile = limits.metric == "pinball"
    shift = np.quantile(targets - model.predict(x), QUANTILE) if is_quantile else 0
    return model.coef_[:, None], np.array([model.intercept_ + shift])
