"""Measure the exported model, the shipped file and the baseline on the test split."""

from ..artifacts import BASELINE_VARIANT, ONNX, SHIPPED, write_report
from ..predictor import Predictor
from ..problem.metrics import count_nonfinite, evidence, measure, measure_gain, score
from ..scope import load_scope
from .baseline import predict_baseline
from .reference import save_reference
from .splits import load_data_sha256, load_split, require_head


def evaluate() -> None:
    """Write `reports/evaluate.json` and the drift reference."""
    scope, shipped, exported = load_scope(), Predictor(), Predictor(ONNX)
    require_head(ONNX, exported.head)
    require_head(SHIPPED, shipped.head)
    if shipped.candidate == BASELINE_VARIANT:  # compression did not change it
        exported = shipped
    x, truth, slices = load_split("test")
    head, outputs, simple = shipped.head, shipped.outputs(x), predict_baseline(x)
    report = measure(truth, outputs, exported.outputs(x), slices, head, scope) | {
        "model_sha256": shipped.sha256,
        "data_sha256": load_data_sha256(),
        "metric": scope.metric,
        **evidence(truth, outputs, head),
        "baseline": score(truth, simple, head, scope)
        | measure_gain(truth, outputs, simple, head, scope),
        "nonfinite_answers": count_nonfinite(outputs),
    }
    write_report("evaluate", report)
    save_reference(shipped)
