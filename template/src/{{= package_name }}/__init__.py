"""The pipeline from raw examples to a monitored model that meets the limits in `scope.yaml`."""

import os

# Before onnxruntime is imported: it sends usage data to its makers by default.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
