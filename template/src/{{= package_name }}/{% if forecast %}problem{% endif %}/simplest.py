"""The simplest model: repeat the last season."""

import numpy as np

from .answer import Head


def simple_weights(truth: np.ndarray, head: Head, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights (horizon, inputs) and biases (horizon,) that repeat the last season.

    Inputs and scores have the same scale.
    """
    steps = np.arange(head.width)
    weight = np.zeros((head.width, inputs))
    weight[steps, inputs - head.season + steps % head.season] = 1
    return weight, np.zeros(head.width)
