"""What estimators learn and return for labels: probabilities, in an order of their own."""

from typing import Any

import numpy as np

from ..refusal import Refusal
from .answer import Head
from .order import find_order
from .outputs import Meaning

XGBOOST = "XGBClassifier"
IS_ONE = 1e-3  # how far the sum of probabilities may be from 1
MODEL = "the model of task/model.py"


def to_targets(truth: np.ndarray, head: Head) -> np.ndarray:
    """Return the correct answers as `fit` takes them: indices of labels."""
    return truth


def list_classes(model: Any, stated: list[str]) -> list[str]:
    """Return the names of the outputs of a finished model; empty if it only has numbers."""
    classes = list(getattr(model, "classes_", []))
    return stated or [str(name) for name in classes if isinstance(name, str)]


def list_fitted(model: Any, head: Head) -> list[str]:
    """Return the names of the outputs of a model that was fitted here.

    Raises:
        Refusal: it is not a classifier, or a label has no training example.
    """
    if not hasattr(model, "predict_proba"):
        rule = "a classifier with `predict_proba`"
        raise Refusal(MODEL, type(model).__name__, rule, "LGBMClassifier")
    names = [head.labels[int(i)] for i in model.classes_]
    if len(names) < head.width:
        rule = f"each label ({', '.join(head.labels)}); change `split` in schema.yaml"
        raise Refusal("labels of the training examples", names, rule, head.labels)
    return names


def predict(model: Any, x: np.ndarray) -> np.ndarray:
    """Return probabilities (n, outputs). A LightGBM booster for two labels returns one of them."""
    if hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(x))
    raw = np.asarray(model.predict(x)).reshape(len(x), -1)
    return np.hstack([1 - raw, raw]) if raw.shape[1] == 1 else raw


def find_meaning(raw: np.ndarray, classes: list[str], head: Head) -> Meaning:
    """Check the outputs, and compare their names with the labels of the project.

    Raises:
        Refusal: they are not probabilities of these labels.
    """
    if raw.shape[1] != head.width:
        rule = f"one per label: {', '.join(head.labels)}"
        raise Refusal(f"outputs of {MODEL}", raw.shape[1], rule, head.width)
    if raw.min() < 0 or np.abs(raw.sum(axis=1) - 1).max() > IS_ONE:
        rule = "probabilities whose sum is 1; is it a model of numbers?"
        raise Refusal(f"outputs of {MODEL}", raw[0].tolist(), rule, [0.2, 0.8])
    order = find_order(classes, head, "LABELS in task/model.py")
    return Meaning("softmax", raw.shape[1], order)
