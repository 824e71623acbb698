"""A checkpoint in, an ONNX file that gives the same answers out."""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .artifacts import ONNX, write_report
from .featurize import load_split
from .predictor import Predictor, softmax
from .train import load_checkpoint


def export() -> None:
    """Write the ONNX file, and measure on held-out examples how far it is from PyTorch."""
    model, checkpoint = load_checkpoint()
    x, _, _ = load_split("test")
    write_onnx(model, x[:2], checkpoint, ONNX)
    with torch.no_grad():
        expected = softmax(model(torch.from_numpy(x)).numpy())
    found = Predictor(ONNX).probabilities(x)
    difference = float(abs(found - expected).max())
    write_report("export", {"examples": len(x), "max_difference": difference})


def write_onnx(model: nn.Module, x: np.ndarray, checkpoint: dict[str, Any], path: Path) -> None:
    """Write a network that takes a batch of any size, and the facts of its checkpoint."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it reports that torchvision is absent
    warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")
    program = torch.onnx.export(
        model,
        (torch.from_numpy(x),),
        input_names=["x"],
        output_names=["logits"],
        dynamic_shapes=({0: "batch"},),
        dynamo=True,
        verbose=False,
    )
    assert program is not None  # noqa: S101 (only the legacy exporter returns None)
    for key in ("labels", "features_version", "trained_at"):
        program.model.metadata_props[key] = json.dumps(checkpoint[key])
    for node in program.model.graph:  # stack traces, with the paths of this machine
        node.metadata_props.clear()
    program.save(path)
