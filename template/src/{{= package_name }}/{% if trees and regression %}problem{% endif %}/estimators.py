"""What estimators learn and return for numbers: the number itself, in the unit of the answers."""

from typing import Any

import numpy as np

from ..refusal import Refusal
from .answer import Head
from .outputs import Meaning

XGBOOST = "XGBRegressor"
MODEL = "the model of task/model.py"


def to_targets(truth: np.ndarray, head: Head) -> np.ndarray:
    """Return the correct answers as `fit` takes them: numbers (n,)."""
    return np.asarray(truth[:, 0])


def list_classes(model: Any, stated: list[str]) -> list[str]:
    """Return the names of the outputs of a finished model: a number has none."""
    return []


def list_fitted(model: Any, head: Head) -> list[str]:
    """Return the names of the outputs of a model that was fitted here: a number has none.

    Raises:
        Refusal: it is a classifier.
    """
    if hasattr(model, "predict_proba"):
        raise Refusal(MODEL, type(model).__name__, "a regressor", "LGBMRegressor")
    return []


def predict(model: Any, x: np.ndarray) -> np.ndarray:
    """Return numbers (n, outputs)."""
    return np.asarray(model.predict(x), np.float64).reshape(len(x), -1)


def find_meaning(raw: np.ndarray, classes: list[str], head: Head) -> Meaning:
    """Check the outputs.

    Raises:
        Refusal: there are several per example.
    """
    if raw.shape[1] != 1:
        raise Refusal(f"outputs of {MODEL}", raw.shape[1], "one number per input", 1)
    return Meaning()
