"""How a network learns one number, and the simplest model: the part that needs PyTorch."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from .answer import Head
from .keys import ProblemScope
from .losses import QUANTILE

Criterion = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def describe_width(head: Head) -> str:
    """Return how many outputs a network must have, in words."""
    return "the answer is one number"


def pinball_loss(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the loss of the quantile that the metric `pinball` measures."""
    missing = targets - scores
    return torch.maximum(QUANTILE * missing, (QUANTILE - 1) * missing).mean()


def choose_loss(limits: ProblemScope) -> Criterion:
    """Return the loss for the metric of scope.yaml.

    The Huber loss is the usual one: one wild target does not decide the fit.
    """
    return pinball_loss if limits.metric == "pinball" else functional.huber_loss


def simple_weights(targets: np.ndarray, head: Head, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights (1, inputs) and the score (1,) of the mean: targets are standardised."""
    return np.zeros((head.width, inputs)), np.zeros(head.width)
