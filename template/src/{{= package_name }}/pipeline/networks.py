"""Check the networks of task/model.py before they are trained."""

import numpy as np
import torch
from torch import nn


@torch.no_grad()
def check_outputs(
    model: nn.Module, x: np.ndarray, labels: list[str], builder: str = "build_model"
) -> None:
    """Run two examples, and compare the shape of the output with the number of labels.

    Raises:
        SystemExit: the model does not return one logit per label.
    """
    model.eval()
    shape = tuple(model(torch.from_numpy(x[:2])).shape)
    if shape[1:] != (len(labels),):
        found = f"{shape[1]} outputs" if len(shape) == 2 else f"outputs of shape {shape[1:]}"
        names = ", ".join(labels)
        raise SystemExit(
            f"{builder} in task/model.py returns a network with {found}, but the data has"
            f" {len(labels)} labels ({names}). End it in `nn.Linear(..., classes)`."
        )
