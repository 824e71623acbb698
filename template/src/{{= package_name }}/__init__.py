"""From raw examples to monitored predictions; `scope.yaml` says what is good enough."""

import os

# onnxruntime reports usage to its makers unless told otherwise before it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
