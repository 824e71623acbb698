"""Find out what the outputs of a given model mean: scores or probabilities, and of which labels."""

from collections.abc import Sequence

import numpy as np

from ..refusal import Refusal
from .answer import Head
from .order import find_order
from .outputs import Meaning

FIELD = "LABELS in task/given.py"
ACTIVATIONS = ("none", "sigmoid")
ROUNDING = 1e-3  # of float16


def find_meaning(
    raw: np.ndarray, last: str, names: Sequence[str], activation: str, head: Head
) -> Meaning:
    """Derive the meaning from examples of raw outputs, and from what task/given.py says.

    `last` is the last operator of the graph, `names` are the labels in the order of its outputs,
    and `activation` is empty if it is not stated.

    Raises:
        Refusal: the labels or the activation are unknown, or contradict the file.
    """
    order = find_order(list(names), head, FIELD)
    if raw.shape[1] != len(order):
        rule = f"one output per label: {', '.join(head.labels)}"
        raise Refusal("outputs of the model", raw.shape[1], rule, len(order))
    return Meaning(_find_activation(raw, last, activation), order)


def _find_activation(raw: np.ndarray, last: str, stated: str) -> str:
    field = "ACTIVATION in task/given.py"
    if stated and stated not in ACTIVATIONS:
        raise Refusal(field, stated, f"one of {', '.join(ACTIVATIONS)}, or empty", "sigmoid")
    is_share = bool(np.all((raw >= 0) & (raw <= 1 + ROUNDING)))
    if stated == "sigmoid" and not is_share:
        rule = "another one: outputs of this model are not all between 0 and 1"
        raise Refusal(field, stated, rule, "none")
    if last == "Softmax":
        rule = "none or a sigmoid: with a softmax, labels exclude each other"
        raise Refusal("activation of the model", last, rule, "sigmoid")
    if stated or not is_share:
        return stated or "none"
    if last == "Sigmoid":
        return "sigmoid"
    rule = "what they are: all outputs are between 0 and 1"
    raise Refusal(field, stated, rule, "sigmoid")
