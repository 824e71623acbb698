"""OpenVINO, for Intel CPUs, GPUs and NPUs. It reads the ONNX file and needs no PyTorch."""

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
    "INFERENCE_PRECISION_HINT": "f32",  # the default is bfloat16 on some CPUs
}


def export(folder: Path) -> None:
    """Write `model.xml` and `model.bin` in float32: float16, the default, would fail parity."""
    openvino = _import_openvino()
    model = openvino.Core().read_model(ONNX)
    model.reshape([1, *model.input().partial_shape[1:]])
    openvino.save_model(model, folder / FILE, compress_to_fp16=False)


def load(folder: Path) -> Run:
    """Run the file on one CPU thread, like all formats."""
    openvino = _import_openvino()
    request = openvino.compile_model(folder / FILE, "CPU", ONE_THREAD).create_infer_request()
    return lambda x: np.array(request.infer([x], share_inputs=True)[0])


def _import_openvino() -> Any:
    # At import it reports usage to Intel if openvino_telemetry is installed.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino
