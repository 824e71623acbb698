"""A float ONNX file in, an int8 one out."""

from collections.abc import Iterator

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from .artifacts import ONNX, ONNX_INT8, write_report
from .featurize import load_split
from .scope import load_params


class _CalibrationSet(CalibrationDataReader):
    """Training examples, one at a time, that show the quantizer the usual ranges."""

    def __init__(self, x: np.ndarray) -> None:
        self._rows: Iterator[dict[str, np.ndarray]] = ({"x": row[None]} for row in x)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next input, or None at the end."""
        return next(self._rows, None)


def quantize() -> None:
    """Calibrate on training data only: the test split must stay unseen."""
    x, _, _ = load_split("train")
    calibration_set = _CalibrationSet(x[: load_params().calibration_examples])
    prepared = ONNX_INT8.with_suffix(".prepared")
    # Weights of seven bits: the sums of eight overflow on a CPU without VNNI, in silence.
    try:
        quant_pre_process(ONNX, prepared, skip_symbolic_shape=True)
        options = {"weight_type": QuantType.QInt8, "per_channel": True, "reduce_range": True}
        quantize_static(prepared, ONNX_INT8, calibration_set, **options)
    finally:
        prepared.unlink(missing_ok=True)
    sizes = {"fp32_mb": ONNX.stat().st_size / 1e6, "int8_mb": ONNX_INT8.stat().st_size / 1e6}
    write_report("quantize", sizes)
