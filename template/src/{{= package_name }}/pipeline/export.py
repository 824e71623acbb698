"""A checkpoint in, an ONNX file that gives the same answers out."""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnxscript import ir
from torch import nn

from ..artifacts import ONNX, write_report
from ..predictor import Predictor, softmax
from .splits import load_split
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
    _show_embedding(program.model.graph)
    program.save(path)


def _show_embedding(graph: ir.Graph) -> None:
    """Make what the last linear layer takes, (n, width), an output `embedding` of the file.

    It is computed anyway. A network that ends otherwise stays as it is.
    """
    node = graph.outputs[0].producer()
    while node and node.op_type not in ("Gemm", "MatMul"):
        node = node.inputs[0].producer() if node.inputs and node.inputs[0] else None
    seen = node.inputs[0] if node else None
    if seen is None or seen.producer() is None or len(seen.shape or ()) != 2:
        return
    for value in (value for node in graph for value in node.outputs):
        if value.name == "embedding":  # so the exporter calls what `nn.Embedding` returns
            value.name = "embedding_"
    seen.name = "embedding"
    graph.outputs.append(seen)
