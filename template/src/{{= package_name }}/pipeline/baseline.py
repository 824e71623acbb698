"""The linear baseline as a model: `compress` ships it if the model is not better."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from ..artifacts import BASELINE, BASELINE_VARIANT, ONNX
from ..problem.answer import Head, decode
from ..problem.metrics import tune
from ..scope import load_scope
from .splits import load_split, read_head, require_head


def predict_baseline(x: np.ndarray) -> np.ndarray:
    """Return the decoded outputs of the baseline for features (n, ...)."""
    weight, bias = _read_weights()
    return decode(_score(x, weight, bias), _fit_head(weight, bias))


def write_baseline(path: Path) -> None:
    """Write the baseline as ONNX, with the inputs and the metadata of the exported model."""
    exported = onnx.load(ONNX)
    inputs, outputs = exported.graph.input[0], exported.graph.output[0]
    weight, bias = _read_weights()
    head = _fit_head(weight, bias)
    arrays = {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)}
    nodes = [
        helper.make_node("Flatten", [inputs.name], ["flat"]),
        helper.make_node("Gemm", ["flat", *arrays], [outputs.name], transB=1),
    ]
    output = helper.make_tensor_value_info(outputs.name, TensorProto.FLOAT, ["batch", head.width])
    weights = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, BASELINE_VARIANT, [inputs], [output], weights)
    model = helper.make_model(graph, opset_imports=exported.opset_import)
    model.ir_version = exported.ir_version
    known = {entry.key: entry.value for entry in exported.metadata_props}
    fitted = {name: json.dumps(value) for name, value in head.model_dump().items()}
    helper.set_model_props(model, known | fitted)
    onnx.save(model, path)


def _read_weights() -> tuple[np.ndarray, np.ndarray]:
    """Return the weights (width, inputs) and the bias (width,)."""
    with np.load(BASELINE) as linear:
        return linear["weight"], linear["bias"]


def _score(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return np.asarray(x.reshape(len(x), -1) @ weight.T + bias)


def _fit_head(weight: np.ndarray, bias: np.ndarray) -> Head:
    """Return the head, fitted on the validation split.

    `export` does the same for the model: both are compared at their best.
    """
    head = require_head(BASELINE, read_head(BASELINE))
    x, truth, _ = load_split("validation")
    return tune(truth, decode(_score(x, weight, bias), head), head, load_scope())
