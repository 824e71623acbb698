"""Fit the baseline that the model has to beat."""

from typing import Any

import numpy as np

from ..artifacts import BASELINE
from ..problem.answer import Head
from ..problem.baselines import fit_linear
from ..problem.simplest import simple_weights
from ..scope import load_scope
from .splits import load_split


def write_baseline(head: Head) -> None:
    """Fit the baseline of `scope.yaml`: the simplest model of its kind, or a linear one."""
    x, truth, _ = load_split("train")
    flat, limits = x.reshape(len(x), -1), load_scope()
    if limits.baseline == "linear":
        columns, bias = fit_linear(flat, truth, head, limits)
        weight = columns.T
    else:
        weight, bias = simple_weights(truth, head, flat.shape[1])
    known: dict[str, Any] = head.model_dump() | {"weight": weight, "bias": bias}
    np.savez(BASELINE, **known)
