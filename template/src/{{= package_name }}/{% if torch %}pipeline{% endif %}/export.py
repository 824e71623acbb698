"""Export the trained model to ONNX, and compare its answers with PyTorch's."""

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
from ..predictor import Predictor
from ..problem.answer import Head, decode
from .onnx_file import measure, tune_head
from .splits import load_split
from .train import load_checkpoint


def export() -> None:
    """Write the ONNX file, and compare both models on held-out examples."""
    model, checkpoint = load_checkpoint()
    x, _, _ = load_split("test")
    write_onnx(model, x[:2], checkpoint, ONNX)
    tune_head()
    exported = Predictor(ONNX)
    with torch.no_grad():
        expected = decode(model(torch.from_numpy(x)).numpy(), exported.head)
    write_report("export", measure(exported, x, expected))


def write_onnx(model: nn.Module, x: np.ndarray, checkpoint: dict[str, Any], path: Path) -> None:
    """Write a network with a dynamic batch size, and the metadata of its checkpoint."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision is missing
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
    for key in (*Head.model_fields, "features_version", "trained_at"):
        program.model.metadata_props[key] = json.dumps(checkpoint[key])
    for node in program.model.graph:  # stack traces contain paths of this machine
        node.metadata_props.clear()
    _show_embedding(program.model.graph)
    program.save(path)


def _show_embedding(graph: ir.Graph) -> None:
    """Add the input of the last linear layer, (n, width), as output `embedding`.

    Networks that do not end in a linear layer stay unchanged.
    """
    node = graph.outputs[0].producer()
    while node and node.op_type not in ("Gemm", "MatMul"):
        node = node.inputs[0].producer() if node.inputs and node.inputs[0] else None
    embedding = node.inputs[0] if node else None
    if embedding is None or embedding.producer() is None or len(embedding.shape or ()) != 2:
        return
    for value in (value for node in graph for value in node.outputs):
        if value.name == "embedding":  # the exporter's name for the output of `nn.Embedding`
            value.name = "embedding_"
    embedding.name = "embedding"
    graph.outputs.append(embedding)
