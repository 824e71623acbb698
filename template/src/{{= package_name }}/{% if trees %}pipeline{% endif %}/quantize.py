"""Variants of the exported model: float32 alone.

ONNX has no int8 or float16 operators for trees and for the linear models of scikit-learn.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx

from ..artifacts import ONNX

NOT_TRIED: dict[str, dict[str, Any]] = {
    "int8": {"not_run": "does not apply: thresholds of trees stay float32"}
}


def fp32(path: Path) -> None:
    """Write the exported model."""
    onnx.save(onnx.load(ONNX), path)


def variants() -> dict[str, Callable[[Path], None]]:
    """Return the functions that write a variant, by name."""
    return {"fp32": fp32}
