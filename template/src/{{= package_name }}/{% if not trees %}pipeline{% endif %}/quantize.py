"""Variants of the exported model. Each function writes one ONNX file."""

import io
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from ..artifacts import ONNX
from ..scope import load_params
from .splits import load_split

INT8: dict[str, Any] = {
    "weight_type": QuantType.QInt8,
    "per_channel": True,
    # 7-bit weights: with 8 bits, sums overflow silently on CPUs without VNNI.
    "reduce_range": True,
}
WITH_WEIGHTS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
# A node and a scale more take about as many bytes as they save on so few weights.
MIN_WEIGHTS = 100
TINY = np.finfo(np.float32).tiny  # avoids 0 / 0 for channels of zeros
NOT_TRIED: dict[str, dict[str, Any]] = {}  # variants without a file, and why


def variants() -> dict[str, Callable[[Path], None]]:
    """Return the functions that write a variant, by name."""
    made = (fp32, fp16, int8_weights, int8_dynamic, int8_minmax, int8_entropy, int8_percentile)
    return {write.__name__: write for write in (*made, int8_float_ends)}


def fp32(path: Path) -> None:
    """Write the exported model with its weights in the same file."""
    onnx.save(onnx.load(ONNX), path)


def fp16(path: Path) -> None:
    """Store and compute in float16; inputs and outputs stay float32."""
    onnx.save(convert_float_to_float16(onnx.load(ONNX), keep_io_types=True), path)


def int8_weights(path: Path) -> None:
    """Store weights in int8, with one scale per output channel; compute in float32.

    Outputs keep the resolution of float32, and no calibration is needed. `Predictor` lets the
    runtime decode the weights once, so that it is as fast as `fp32`.
    """
    model = _preprocess(ONNX, path)
    decoders = []
    for weights, axis in _find_weights(model.graph):
        name, values = weights.name, onnx.numpy_helper.to_array(weights)
        others = tuple(i for i in range(values.ndim) if i != axis)
        scale = np.maximum(np.abs(values).max(axis=others), TINY) / 127
        rounded = np.round(values / np.expand_dims(scale, others)).astype(np.int8)
        model.graph.initializer.remove(weights)
        parts = {f"{name}_int8": rounded, f"{name}_scale": scale.astype(np.float32)}
        for part, array in parts.items():
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, part))
        decoders.append(onnx.helper.make_node("DequantizeLinear", [*parts], [name], axis=axis))
    for decoder in decoders:
        model.graph.node.insert(0, decoder)
    onnx.save(model, path)


def _find_weights(graph: onnx.GraphProto) -> Iterator[tuple[onnx.TensorProto, int]]:
    """Yield large float32 matrices and kernels, and the axis of their output channels."""
    floats = {t.name: t for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT}
    for node in graph.node:
        weights = floats.pop(node.input[1], None) if node.op_type in WITH_WEIGHTS else None
        if weights is None or len(weights.dims) < 2 or math.prod(weights.dims) < MIN_WEIGHTS:
            continue
        is_transposed = any(a.name == "transB" and a.i for a in node.attribute)
        if node.op_type == "MatMul":
            yield weights, len(weights.dims) - 1
        else:
            yield weights, 0 if node.op_type == "Conv" or is_transposed else 1


def int8_dynamic(path: Path) -> None:
    """Quantize weights now, and activations at run time by the range of each batch."""
    model = _preprocess(ONNX, path)
    del model.graph.value_info[:]  # shapes of weights that the quantizer transposes
    quantize_dynamic(model, path, **INT8)


def int8_minmax(path: Path) -> None:
    """Quantize activations by their full range on calibration examples."""
    quantize_calibrated(ONNX, path)


def int8_entropy(path: Path) -> None:
    """Quantize activations by the range that loses the least information.

    Migacz 2017, "8-bit inference with TensorRT".
    """
    quantize_calibrated(ONNX, path, CalibrationMethod.Entropy)


def int8_percentile(path: Path) -> None:
    """Quantize activations by their range without outliers.

    Wu et al. 2020, "Integer quantization for deep learning inference".
    """
    quantize_calibrated(ONNX, path, CalibrationMethod.Percentile)


def int8_float_ends(path: Path) -> None:
    """Keep the first and the last layer in float32: quantization often hurts them most."""
    layers = [n.name for n in _preprocess(ONNX, path).graph.node if n.op_type in WITH_WEIGHTS]
    quantize_calibrated(ONNX, path, kept_float=[*layers[:1], *layers[-1:]])


class _CalibrationSet(CalibrationDataReader):
    """Feeds the training examples to the calibrator, one per call."""

    def __init__(self, x: np.ndarray) -> None:
        self._rows: Iterator[dict[str, np.ndarray]] = ({"x": row[None]} for row in x)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._rows, None)


def quantize_calibrated(
    source: Path,
    path: Path,
    method: CalibrationMethod = CalibrationMethod.MinMax,
    kept_float: Iterable[str] = (),
) -> None:
    """Quantize weights and activations, with activation ranges from training examples.

    Calibrating on the other splits would bias selection and evaluation. More examples
    (`calibration_examples` in `params.yaml`) cover rarer activations.
    """
    x, _, _ = load_split("train")
    calibration_set = _CalibrationSet(x[: load_params().calibration_examples])
    how = INT8 | {"calibrate_method": method, "nodes_to_exclude": list(kept_float)}
    with redirect_stdout(io.StringIO()):  # it prints progress
        quantize_static(_preprocess(source, path), path, calibration_set, **how)


def _preprocess(source: Path, path: Path) -> onnx.ModelProto:
    """Fold constants and infer shapes, which the quantizers require."""
    draft = path.with_suffix(".prepared")
    quant_pre_process(source, draft, skip_symbolic_shape=True)
    return onnx.load(draft)
