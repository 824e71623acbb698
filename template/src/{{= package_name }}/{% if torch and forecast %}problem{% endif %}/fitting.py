"""How a network learns forecasts: the part that needs PyTorch."""

from collections.abc import Callable

import torch
from torch.nn import functional

from .keys import ProblemScope

Criterion = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def choose_loss(limits: ProblemScope) -> Criterion:
    """Return the mean absolute error, which all metrics are made of."""
    return functional.l1_loss
