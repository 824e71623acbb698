"""Complete and measure models/model.onnx, whichever stage wrote it."""

import json
from typing import Any

import numpy as np
import onnx

from ..artifacts import ONNX
from ..predictor import Predictor
from ..problem.answer import difference
from ..problem.metrics import count_nonfinite, tune
from ..scope import load_scope
from .splits import load_split


def tune_head() -> None:
    """Fit what the head needs from the outputs of the model, on the validation split."""
    exported = Predictor(ONNX)
    x, truth, _ = load_split("validation")
    head = tune(truth, exported.outputs(x), exported.head, load_scope())
    if head != exported.head:
        model = onnx.load(ONNX)
        known = {entry.key: entry.value for entry in model.metadata_props}
        tuned = {name: json.dumps(value) for name, value in head.model_dump().items()}
        onnx.helper.set_model_props(model, known | tuned)
        onnx.save(model, ONNX)


def measure(exported: Predictor, x: np.ndarray, expected: np.ndarray) -> dict[str, Any]:
    """Compare the answers for features `x` with those of the original model, and count weights."""
    outputs = exported.outputs(x)
    arrays = [onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(ONNX).graph.initializer]
    weights = [array for array in arrays if array.dtype.kind == "f"]
    return {
        "examples": len(x),
        "max_difference": difference(outputs, expected, exported.head),
        "weights": sum(array.size for array in weights),
        "nonfinite_weights": sum(int((~np.isfinite(array)).sum()) for array in weights),
        "nonfinite_answers": count_nonfinite(outputs),
    }
