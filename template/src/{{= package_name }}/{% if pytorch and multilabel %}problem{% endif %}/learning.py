"""How a network learns sets of labels, and the simplest model: the part that needs PyTorch."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from .answer import Head
from .keys import ProblemScope

Criterion = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

RAREST = 1e-3  # share of a label in the simplest model: the logit of 0 is infinite


def describe_width(head: Head) -> str:
    """Return how many outputs a network must have, in words."""
    return f"the data has {head.width} labels ({', '.join(head.labels)})"


def to_targets(truth: np.ndarray, head: Head) -> np.ndarray:
    """Return the correct answers in the form of `loss`: 0 and 1, float32 (n, labels)."""
    return truth


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


def simple_weights(targets: np.ndarray, head: Head, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights (width, inputs) and scores (width,) of the shares of the labels."""
    shares = targets.mean(axis=0).clip(RAREST, 1 - RAREST)
    return np.zeros((head.width, inputs)), np.log(shares / (1 - shares))
