"""How a network learns numbers, and the simplest model: the part that needs PyTorch."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from .answer import Head
from .keys import ProblemScope
from .metrics import QUANTILE

Criterion = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def describe_width(head: Head) -> str:
    """Return how many outputs a network must have, in words."""
    return "the answer is one number"


def to_targets(truth: np.ndarray, head: Head) -> np.ndarray:
    """Return the correct answers in the form of `loss`: standardised, float32 (n, 1)."""
    return ((truth - head.centre) / head.scale).astype(np.float32)


def loss(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the Huber loss: one wild target does not decide the fit."""
    return functional.huber_loss(scores, targets)


def pinball_loss(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the loss of the quantile that the metric `pinball` measures."""
    missing = targets - scores
    return torch.maximum(QUANTILE * missing, (QUANTILE - 1) * missing).mean()


def choose_loss(limits: ProblemScope) -> Criterion:
    """Return the loss for the metric of scope.yaml."""
    return pinball_loss if limits.metric == "pinball" else loss


def distillation_loss(scores: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return the mean square of the difference: the student copies the teacher, not the targets."""
    return functional.mse_loss(scores, teacher)


def constant_scores(targets: np.ndarray, head: Head) -> np.ndarray:
    """Return scores (width,) of the mean of the training answers: targets are standardised."""
    return np.zeros(head.width, np.float32)
