"""Fit the made-up model that stands in until there is `task/model.onnx`: labels."""

import numpy as np
from sklearn.neural_network import MLPClassifier

from .answer import Head
from .baselines import Layer, widen

SAMPLE_ACTIVATION = "Softmax"  # operator at the end of it
UNITS = 64
DECAY = 0.3  # the sample has noisy examples


def fit_sample(x: np.ndarray, truth: np.ndarray, head: Head, seed: int) -> list[Layer]:
    """Fit a network of dense layers with ReLU between them; the last one returns logits."""
    model = MLPClassifier((UNITS, UNITS), alpha=DECAY, random_state=seed, early_stopping=True)
    model.fit(x, truth)
    *layers, last = zip(model.coefs_, model.intercepts_, strict=True)
    return [*layers, widen(last, model.classes_, head)]
