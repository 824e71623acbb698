"""Measure the exported model, the shipped file and the baseline on the test split."""

import numpy as np

from ..artifacts import BASELINE, ONNX, REFERENCE, write_report
from ..bounds import gain_lower_bound
from ..monitoring.reference import fit_confidence_threshold, fit_reference, fit_whitening
from ..predictor import Predictor, entropy
from ..quality import METRICS, confusion, count_nonfinite, measure, score
from ..scope import load_params, load_scope
from .splits import load_facts, load_split


def evaluate() -> None:
    """Score the exported model, the shipped file and the baseline; save the reference for drift."""
    scope, shipped = load_scope(), Predictor()
    metric, n = METRICS[scope.metric], len(shipped.labels)
    x, truth, slices = load_split("test")
    fp32 = Predictor(ONNX).probabilities(x).argmax(1)
    probabilities = shipped.probabilities(x)
    answers = probabilities.argmax(1)
    simple = _baseline(x)
    gains = {
        name: gain_lower_bound(metric, truth, best, simple, n, scope.confidence)
        for name, best in {"gain_lower_bound": answers, "gain_ceiling": truth}.items()
    }
    report = measure(truth, answers, fp32, slices, n) | {
        "model_sha256": shipped.sha256,
        "metric": scope.metric,
        "labels": shipped.labels,
        "confusion": confusion(truth, answers, n).tolist(),
        "baseline": score(metric, truth, simple, n) | gains,
        "nonfinite_answers": count_nonfinite(probabilities),
    }
    write_report("evaluate", report)
    _save_reference(shipped)


def _baseline(x: np.ndarray) -> np.ndarray:
    with np.load(BASELINE) as linear:
        scores = x.reshape(len(x), -1) @ linear["weight"].T + linear["bias"]
    answers: np.ndarray = scores.argmax(1)
    return answers


def _save_reference(shipped: Predictor) -> None:
    """Save the usual distribution of inputs and predictions, for the drift monitor.

    Facts come from the training split; predictions from the other two, because a model is more
    confident on examples that it was trained on.
    """
    params, held_out = load_params(), [load_split(split)[:2] for split in ("validation", "test")]
    x, truth = (np.concatenate(arrays) for arrays in zip(*held_out, strict=True))
    probabilities, embedding = shipped.run(x)
    confidence, answers = probabilities.max(1), probabilities.argmax(1)
    signals = load_facts("train") | {"confidence": confidence, "entropy": entropy(probabilities)}
    signals["label"] = answers.astype(np.float64)
    _, trained_on = shipped.run(load_split("train")[0])
    whitening = None if trained_on is None else fit_whitening(trained_on)
    if whitening and embedding is not None:
        signals |= whitening.apply(embedding)
    reference = fit_reference(signals, params.drift_window, params.drift_false_alarm_rate)
    threshold = fit_confidence_threshold(confidence, answers == truth)
    more = {"whitening": whitening, "sure_from": threshold}
    REFERENCE.write_text(reference.model_copy(update=more).model_dump_json() + "\n")
