"""Fit the made-up model that stands in until there is `task/model.onnx`: numbers."""

import numpy as np
from sklearn.neural_network import MLPRegressor

from .answer import Head
from .baselines import Layer

SAMPLE_ACTIVATION = "Identity"  # operator at the end of it
UNITS = 64


def fit_sample(x: np.ndarray, truth: np.ndarray, head: Head, seed: int) -> list[Layer]:
    """Fit a network of dense layers with ReLU between them; the last one returns answers."""
    targets = (truth - head.centre) / head.scale
    sizes = UNITS, UNITS
    model = MLPRegressor(hidden_layer_sizes=sizes, random_state=seed, early_stopping=True)
    model.fit(x, targets if head.width > 1 else targets.ravel())
    *layers, (weight, bias) = zip(model.coefs_, model.intercepts_, strict=True)
    return [*layers, (weight * head.scale, bias * head.scale + head.centre)]
