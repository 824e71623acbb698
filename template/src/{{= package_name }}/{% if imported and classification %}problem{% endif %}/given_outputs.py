"""Find out what the outputs of a given model mean: scores or probabilities, and of which labels."""

from collections.abc import Sequence

import numpy as np

from ..refusal import Refusal
from .answer import Head
from .order import find_order
from .outputs import Meaning

FIELD = "LABELS in task/given.py"
ACTIVATIONS = ("none", "softmax", "sigmoid")
IS_ONE = 1e-3  # how far the sum of probabilities may be from 1; float16 is off by up to 5e-4


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
    width = raw.shape[1]
    if width != len(order) and not (width == 1 and len(order) == 2):
        rule = f"one output per label: {', '.join(head.labels)}"
        raise Refusal("outputs of the model", width, rule, len(order))
    return Meaning(_find_activation(raw, last, activation), width, order)


def _find_activation(raw: np.ndarray, last: str, stated: str) -> str:
    field, width = "ACTIVATION in task/given.py", raw.shape[1]
    if stated and stated not in ACTIVATIONS:
        raise Refusal(field, stated, f"one of {', '.join(ACTIVATIONS)}, or empty", "softmax")
    is_share = bool(np.all((raw >= 0) & (raw <= 1 + IS_ONE)))
    is_softmax = is_share and width > 1 and bool(np.all(np.abs(raw.sum(axis=1) - 1) < IS_ONE))
    if stated == "softmax" and not is_softmax:
        rule = "another one: outputs of this model are not probabilities whose sum is 1"
        raise Refusal(field, stated, rule, "none")
    if stated == "sigmoid" and not is_share:
        rule = "another one: outputs of this model are not all between 0 and 1"
        raise Refusal(field, stated, rule, "none")
    if stated == "none" and is_softmax:
        rule = "softmax: outputs of this model are probabilities whose sum is 1"
        raise Refusal(field, stated, rule, "softmax")
    if stated or is_softmax or not is_share:
        return stated or ("softmax" if is_softmax else "none")
    if last == "Sigmoid":
        return "sigmoid"
    rule = "what they are: all outputs are between 0 and 1, but their sum is not 1"
    raise Refusal(field, stated, rule, "sigmoid")
