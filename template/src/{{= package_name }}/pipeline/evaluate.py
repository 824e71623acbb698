"""Measure the exported model, the shipped file and the baseline on the test split."""

import numpy as np

from ..artifacts import BASELINE, ONNX, SHIPPED, write_report
from ..bounds import gain_lower_bound
from ..predictor import Predictor
from ..quality import METRICS, confusion, count_nonfinite, measure, score
from ..scope import load_scope
from .reference import save_reference
from .splits import load_data_sha256, load_split, require_labels


def evaluate() -> None:
    """Write `reports/evaluate.json` and the drift reference."""
    scope, shipped, exported = load_scope(), Predictor(), Predictor(ONNX)
    require_labels(ONNX, exported.labels)
    metric, n = METRICS[scope.metric], len(require_labels(SHIPPED, shipped.labels))
    x, truth, slices = load_split("test")
    fp32 = exported.probabilities(x).argmax(1)
    probabilities = shipped.probabilities(x)
    predicted = probabilities.argmax(1)
    simple = _baseline(x)
    gains = {
        name: gain_lower_bound(metric, truth, best, simple, n, scope.confidence)
        for name, best in {"gain_lower_bound": predicted, "gain_ceiling": truth}.items()
    }
    report = measure(truth, predicted, fp32, slices, n) | {
        "model_sha256": shipped.sha256,
        "data_sha256": load_data_sha256(),
        "metric": scope.metric,
        "labels": shipped.labels,
        "confusion": confusion(truth, predicted, n).tolist(),
        "baseline": score(metric, truth, simple, n) | gains,
        "nonfinite_answers": count_nonfinite(probabilities),
    }
    write_report("evaluate", report)
    save_reference(shipped)


def _baseline(x: np.ndarray) -> np.ndarray:
    with np.load(BASELINE) as linear:
        require_labels(BASELINE, linear.get("labels"))
        scores = x.reshape(len(x), -1) @ linear["weight"].T + linear["bias"]
    return np.asarray(scores.argmax(1))
