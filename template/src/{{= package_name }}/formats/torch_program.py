"""The trained network as a program of operators, for the converters that start from PyTorch."""

import warnings
from typing import Any, cast

import torch

from ..pipeline.train import load_checkpoint


def program() -> torch.export.ExportedProgram:
    """Take one example, float32 (1, ...), to logits (1, labels): a phone answers one at a time."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")
    model, checkpoint = load_checkpoint()
    example = (torch.zeros(1, *checkpoint["input_shape"]),)
    aten = torch.ops.aten
    pools = aten.adaptive_max_pool1d, aten.adaptive_max_pool2d, aten.adaptive_max_pool3d
    exported = torch.export.export(model, example)
    plainer = exported.run_decompositions({pool.default: _largest for pool in pools})
    return cast(torch.export.ExportedProgram, plainer)


def _largest(x: torch.Tensor, size: list[int]) -> Any:
    """Pool to one value by a maximum: the converters know no other adaptive maximum."""
    if set(size) != {1}:
        return NotImplemented
    largest = x.amax(dim=tuple(range(-len(size), 0)), keepdim=True)
    return largest, torch.zeros_like(largest, dtype=torch.int64)  # where it was, nobody asks
