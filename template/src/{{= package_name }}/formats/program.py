"""The trained network as a program of operators, for the converters that start from PyTorch."""

import warnings
from typing import Any

import torch

from ..train import load_checkpoint


def program() -> torch.export.ExportedProgram:
    """Take one example, float32 (1, ...), to logits (1, labels): a phone answers one at a time."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")
    model, checkpoint = load_checkpoint()
    example = (torch.zeros(1, *checkpoint["input_shape"]),)
    plainer = {torch.ops.aten.adaptive_max_pool2d.default: _largest}
    exported = torch.export.export(model, example)
    known: torch.export.ExportedProgram = exported.run_decompositions(plainer)
    return known


def _largest(x: torch.Tensor, size: list[int]) -> Any:
    """Pool to one value by a maximum: the converters know no other adaptive maximum."""
    if set(size) != {1}:
        return NotImplemented
    largest = x.amax(dim=(-2, -1), keepdim=True)
    return largest, torch.zeros_like(largest, dtype=torch.int64)  # where it was, nobody asks
