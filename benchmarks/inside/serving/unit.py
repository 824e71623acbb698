"""CPU ms of each part of a prediction without a server, as JSON."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime
from scratch_detector.artifacts import SHIPPED
from scratch_detector.intake import take_in
from scratch_detector.predictor import Predictor
from scratch_detector.task.features import decode, features

TIMES, SLICES = 40, 15


def cpu_ms(action: Callable[[], object], examples: int = 1) -> float:
    """Return the median over several series of repetitions, which is robust to other load."""
    found = []
    for _ in range(SLICES + 1):
        start = time.process_time()
        for _ in range(TIMES):
            action()
        found.append(1000 * (time.process_time() - start) / TIMES / examples)
    return median(found[1:])


options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = onnxruntime.InferenceSession(SHIPPED.read_bytes(), options)
payload = Path(sys.argv[1]).read_bytes()
raw = decode(payload)
x1 = features(raw)[None]
x8 = np.repeat(x1, 8, axis=0)
parts = {
    "run_1": cpu_ms(lambda: session.run(["logits"], {"x": x1})),
    "run_8": cpu_ms(lambda: session.run(["logits"], {"x": x8}), 8),
    "decode_features": cpu_ms(lambda: features(decode(payload))),
    "contract": cpu_ms(lambda: take_in(payload)) - cpu_ms(lambda: decode(payload)),
}
print(json.dumps(parts | {"label": Predictor().predict(payload).answer["label"]}))
