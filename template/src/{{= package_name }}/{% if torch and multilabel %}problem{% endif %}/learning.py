"""How a network learns sets of labels: the part that needs PyTorch."""

from collections.abc import Callable

import torch
from torch.nn import functional

from .keys import ProblemScope

Criterion = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def loss(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the binary cross-entropy of logits (n, labels), averaged over the labels."""
    return functional.binary_cross_entropy_with_logits(scores, targets)


def choose_loss(limits: ProblemScope) -> Criterion:
    """Return the loss for the metric of scope.yaml: for labels, the same for each."""
    return loss


def distillation_loss(scores: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return the binary cross-entropy with the teacher's probabilities as targets.

    It does not know the correct answers: `min_int8_agreement` limits how often the student may
    disagree.
    """
    return functional.binary_cross_entropy_with_logits(scores, teacher.sigmoid())
