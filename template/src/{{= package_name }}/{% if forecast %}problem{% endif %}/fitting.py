"""How a network learns forecasts, and the simplest model: the part that needs PyTorch."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from .answer import Head
from .keys import ProblemScope

Criterion = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def describe_width(head: Head) -> str:
    """Return how many outputs a network must have, in words."""
    return f"`horizon` in schema.yaml is {head.width}"


def choose_loss(limits: ProblemScope) -> Criterion:
    """Return the mean absolute error, which all metrics are made of."""
    return functional.l1_loss


def simple_weights(targets: np.ndarray, head: Head, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights (horizon, inputs) and biases (horizon,) that repeat the last season.

    Inputs and scores have the same scale.
    """
    steps = np.arange(head.width)
    weight = np.zeros((head.width, inputs))
    weight[steps, inputs - head.season + steps % head.season] = 1
    return weight, np.zeros(head.width)
