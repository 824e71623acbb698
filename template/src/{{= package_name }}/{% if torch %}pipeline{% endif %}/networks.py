"""Check the networks of task/model.py before they are trained."""

import numpy as np
import torch
from torch import nn

from ..problem.answer import Head
from ..problem.targets import describe_width


@torch.no_grad()
def check_outputs(
    model: nn.Module, x: np.ndarray, head: Head, builder: str = "build_model"
) -> None:
    """Run two examples, and compare the shape of the output with the width of the head.

    Raises:
        SystemExit: the model does not return as many outputs.
    """
    model.eval()
    shape = tuple(model(torch.from_numpy(x[:2])).shape)
    if shape[1:] != (head.width,):
        found = f"{shape[1]} outputs" if len(shape) == 2 else f"outputs of shape {shape[1:]}"
        raise SystemExit(
            f"{builder} in task/model.py returns a network with {found}, but"
            f" {describe_width(head)}. End it in `nn.Linear(..., classes)`."
        )
