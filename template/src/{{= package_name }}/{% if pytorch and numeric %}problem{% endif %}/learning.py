"""How a network learns numbers: the part that needs PyTorch. `fitting.py` has the rest."""

import numpy as np
import torch
from torch.nn import functional

from .answer import Head
from .fitting import Criterion as Criterion
from .fitting import choose_loss as choose_loss
from .fitting import describe_width as describe_width
from .fitting import simple_weights as simple_weights


def to_targets(truth: np.ndarray, head: Head) -> np.ndarray:
    """Return the correct answers in the form of the loss: standardised, float32 (n, width)."""
    return ((truth - head.centre) / head.scale).astype(np.float32)


def distillation_loss(scores: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return the mean square of the difference: the student copies the teacher, not the targets."""
    return functional.mse_loss(scores, teacher)
