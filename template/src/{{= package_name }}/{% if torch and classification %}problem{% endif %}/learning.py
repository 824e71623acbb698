"""How a network learns labels: the part that needs PyTorch."""

from collections.abc import Callable

import torch
from torch.nn import functional

from .keys import ProblemScope

Criterion = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

# Divides the logits of both networks: the student also learns how the teacher ranks wrong labels.
# Hinton et al. found 2.5 to 4 best for small students.
TEMPERATURE = 4.0


def loss(scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of logits (n, labels)."""
    return functional.cross_entropy(scores, targets)


def choose_loss(limits: ProblemScope) -> Criterion:
    """Return the loss for the metric of scope.yaml: for labels, the same for each."""
    return loss


def distillation_loss(scores: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of softened logits (n, labels); the square keeps the scale of the gradient.

    Soft targets as in Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a neural
    network", without labels: `min_int8_agreement` limits how often the student may disagree.
    """
    targets = (teacher / TEMPERATURE).softmax(dim=1)
    return TEMPERATURE**2 * functional.cross_entropy(scores / TEMPERATURE, targets)
