"""How a network learns numbers: the part that needs PyTorch. `fitting.py` has the rest."""

import torch
from torch.nn import functional

from .fitting import Criterion as Criterion
from .fitting import choose_loss as choose_loss


def distillation_loss(scores: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return the mean square of the difference: the student copies the teacher, not the targets."""
    return functional.mse_loss(scores, teacher)
