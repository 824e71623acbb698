"""Save the usual distribution of inputs and predictions, from which the drift monitor measures."""

import numpy as np

from ..artifacts import REFERENCE
from ..monitoring.reference import fit_confidence_threshold, fit_reference, fit_whitening
from ..predictor import Predictor, entropy
from ..scope import load_params
from .splits import load_facts, load_split


def save_reference(shipped: Predictor) -> None:
    """Write `models/reference.json`.

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
