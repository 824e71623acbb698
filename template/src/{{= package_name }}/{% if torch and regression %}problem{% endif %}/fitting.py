"""How a network learns one number: the part that needs PyTorch."""

from collections.abc import Callable

import torch
from torch.nn import functional

from .keys import ProblemScope
from .losses import QUANTILE

Criterion = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def pinball_loss(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the loss of the quantile that the metric `pinball` measures."""
    missing = targets - scores
    return torch.maximum(QUANTILE * missing, (QUANTILE - 1) * missing).mean()


def choose_loss(limits: ProblemScope) -> Criterion:
    """Return the loss for the metric of scope.yaml.

    The Huber loss is the usual one: one wild target does not decide the fit.
    """
    return pinball_loss if limits.metric == "pinball" else functional.huber_loss
