"""Files that may be shipped in place of the exported one: each function writes one candidate.

Weights of int8 have seven bits: the sums of eight overflow on a CPU without VNNI, in silence.
"""

import io
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
    "reduce_range": True,
}
WITH_WEIGHTS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}


def fp32(path: Path) -> None:
    """Write the exported model, its weights inside."""
    onnx.save(onnx.load(ONNX), path)


def fp16(path: Path) -> None:
    """Halve every weight; what comes in and goes out stays float32."""
    onnx.save(convert_float_to_float16(onnx.load(ONNX), keep_io_types=True), path)


def int8_dynamic(path: Path) -> None:
    """Quantize weights now, and activations by the range that each input turns out to have."""
    model = _prepared(ONNX, path)
    del model.graph.value_info[:]  # shapes of weights that the quantizer is about to transpose
    quantize_dynamic(model, path, **INT8)


def int8_minmax(path: Path) -> None:
    """Quantize activations by the whole range that calibration showed."""
    static(ONNX, path)


def int8_entropy(path: Path) -> None:
    """Quantize activations by the range that keeps most information.

    Migacz 2017, "8-bit inference with TensorRT".
    """
    static(ONNX, path, CalibrationMethod.Entropy)


def int8_percentile(path: Path) -> None:
    """Quantize activations by the range without the rarest values.

    Wu et al. 2020, "Integer quantization for deep learning inference".
    """
    static(ONNX, path, CalibrationMethod.Percentile)


def int8_float_ends(path: Path) -> None:
    """Leave the first and the last layer, which quantizing often hurts most, in float32."""
    layers = [n.name for n in _prepared(ONNX, path).graph.node if n.op_type in WITH_WEIGHTS]
    static(ONNX, path, kept_float=[*layers[:1], *layers[-1:]])


CANDIDATES: dict[str, Callable[[Path], None]] = {
    "fp32": fp32,
    "fp16": fp16,
    "int8_dynamic": int8_dynamic,
    "int8_minmax": int8_minmax,
    "int8_entropy": int8_entropy,
    "int8_percentile": int8_percentile,
    "int8_float_ends": int8_float_ends,
}


class _CalibrationSet(CalibrationDataReader):
    """Training examples, one at a time, that show the quantizer the usual ranges."""

    def __init__(self, x: np.ndarray) -> None:
        self._rows: Iterator[dict[str, np.ndarray]] = ({"x": row[None]} for row in x)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next input, or None at the end."""
        return next(self._rows, None)


def static(
    source: Path,
    path: Path,
    method: CalibrationMethod = CalibrationMethod.MinMax,
    kept_float: Iterable[str] = (),
) -> None:
    """Quantize weights and activations, calibrated on training data: the rest stays unseen."""
    x, _, _ = load_split("train")
    calibration_set = _CalibrationSet(x[: load_params().calibration_examples])
    how = INT8 | {"calibrate_method": method, "nodes_to_exclude": list(kept_float)}
    with redirect_stdout(io.StringIO()):  # it prints what it is about to do
        quantize_static(_prepared(source, path), path, calibration_set, **how)


def _prepared(source: Path, path: Path) -> onnx.ModelProto:
    """Fold what can be folded, as the quantizers want it."""
    draft = path.with_suffix(".prepared")
    quant_pre_process(source, draft, skip_symbolic_shape=True)
    return onnx.load(draft)
