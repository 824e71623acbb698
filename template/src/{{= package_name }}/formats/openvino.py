"""OpenVINO, for Intel's CPUs, GPUs and NPUs. It reads the ONNX file, and needs no PyTorch."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from ..artifacts import ONNX
from .format import Run

FILE = "model.xml"
ONE_THREAD = {
    "INFERENCE_NUM_THREADS": 1,
    "PERFORMANCE_HINT": "LATENCY",
    "INFERENCE_PRECISION_HINT": "f32",  # some CPUs would take bfloat16, unasked
}


def export(folder: Path) -> None:
    """Write `model.xml` and `model.bin`, in float32: the default, float16, would break parity."""
    openvino = _import_openvino()
    model = openvino.Core().read_model(ONNX)
    model.reshape([1, *model.input().partial_shape[1:]])
    openvino.save_model(model, folder / FILE, compress_to_fp16=False)


def load(folder: Path) -> Run:
    """Run it on one thread of the CPU, as every format is timed."""
    openvino = _import_openvino()
    request = openvino.compile_model(folder / FILE, "CPU", ONE_THREAD).create_infer_request()
    return lambda x: np.array(request.infer([x], share_inputs=True)[0])


def _import_openvino() -> Any:
    # It reports its use to Intel at import, if the package openvino_telemetry is installed.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino
