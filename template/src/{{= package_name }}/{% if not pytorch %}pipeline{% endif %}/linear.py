"""Fit the baseline that the model has to beat."""

from typing import Any

import numpy as np

from ..artifacts import BASELINE
from ..problem.answer import Head
from ..problem.baselines import constant, fit_linear
from ..scope import load_scope
from .splits import load_split


def write_baseline(head: Head) -> None:
    """Fit the baseline of `scope.yaml`: an answer that is always the same, or a linear model."""
    x, truth, _ = load_split("train")
    flat, limits = x.reshape(len(x), -1), load_scope()
    if limits.baseline == "linear":
        weight, bias = fit_linear(flat, truth, head, limits)
    else:
        weight, bias = constant(flat, truth, head)
    known: dict[str, Any] = head.model_dump() | {"weight": weight.T, "bias": bias}
    np.savez(BASELINE, **known)
