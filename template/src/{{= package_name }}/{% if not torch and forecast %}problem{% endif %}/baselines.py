"""Simple models of forecasts, fitted by scikit-learn: the baseline."""

import numpy as np
from sklearn.linear_model import Ridge

from .answer import Head
from .keys import ProblemScope

Layer = tuple[np.ndarray, np.ndarray]  # weights (inputs, outputs) and biases (outputs,)


def fit_linear(x: np.ndarray, truth: np.ndarray, head: Head, limits: ProblemScope) -> Layer:
    """Fit a linear regression on windows (n, inputs), to standardised values (n, horizon)."""
    model = Ridge().fit(x, (truth - head.centre) / head.scale)
    return model.coef_.reshape(head.width, -1).T, np.reshape(model.intercept_, head.width)
