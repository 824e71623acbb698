"""Paths of what the pipeline stages write."""

import json
from pathlib import Path
from typing import Any

RAW = Path("data/raw")  # payloads and their labels, in a few Parquet shards
FEATURES = Path("data/features.npz")  # what the model sees, and the split of each example
CHECKPOINT = Path("models/model.pt")
BASELINE = Path("models/baseline.npz")  # the simple model that the network has to beat
ONNX = Path("models/model.onnx")
SHIPPED = Path("models/shipped.onnx")  # the candidate that `compress` chose
ONNX_INT8 = SHIPPED  # its name in 0.2: code of yours may have it, and old lines merge
REFERENCE = Path("models/reference.json")  # what inputs looked like at training
REPORTS = Path("reports")


def write_report(name: str, content: dict[str, Any]) -> None:
    """Leave evidence for the gates in `reports/<name>.json`."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    (REPORTS / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")


def read_report(name: str) -> dict[str, Any]:
    """Read the evidence a stage left.

    Raises:
        SystemExit: the report is missing or is not JSON; the stage to run is named.
    """
    path = REPORTS / f"{name}.json"
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f"{path} is missing or damaged ({error}). Run {name} first.") from None
    return content
