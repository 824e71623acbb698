"""The trained network as an exported program, for converters that start from PyTorch."""

import warnings
from typing import Any, cast

import torch

from ..pipeline.train import load_checkpoint


def export_program() -> torch.export.ExportedProgram:
    """Export for a batch of one: float32 (1, ...) to raw outputs (1, width)."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")
    model, checkpoint = load_checkpoint()
    example = (torch.zeros(1, *checkpoint["input_shape"]),)
    aten = torch.ops.aten
    pools = (aten.adaptive_max_pool1d, aten.adaptive_max_pool2d, aten.adaptive_max_pool3d)
    exported = torch.export.export(model, example)
    decomposed = exported.run_decompositions({pool.default: _max_pool_to_one for pool in pools})
    return cast(torch.export.ExportedProgram, decomposed)


def _max_pool_to_one(x: torch.Tensor, size: list[int]) -> Any:
    """Replace adaptive max-pooling to size 1 by a maximum, which every converter supports."""
    if set(size) != {1}:
        return NotImplemented  # the converter then reports the operator
    largest = x.amax(dim=tuple(range(-len(size), 0)), keepdim=True)
    indices = torch.zeros_like(largest, dtype=torch.int64)  # second output of the operator, unused
    return largest, indices
