"""What the outputs of a given model mean: scores or probabilities, and of which labels."""

from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple

import numpy as np

from ..refusal import Refusal
from .answer import TINY, Head, decode

ACTIVATIONS = ("none", "softmax", "sigmoid")
IS_ONE = 1e-3  # how far the sum of probabilities may be from 1; float16 is off by up to 5e-4
SAMPLE_ACTIVATION = "Softmax"  # operator at the end of the made-up model
Step = tuple[str, np.ndarray | None]  # an ONNX operator, and its second input


class Meaning(NamedTuple):
    """How to turn raw outputs (n, outputs) into logits (n, labels)."""

    activation: str
    outputs: int
    order: list[int]  # for each label of the project, its place in the model


def find_meaning(
    raw: np.ndarray, last: str, given: ModuleType, listed: Sequence[str], head: Head
) -> Meaning:
    """Derive the meaning from examples of raw outputs, and from what task/given.py says.

    `last` is the last operator of the graph, and `listed` are the labels in the file's metadata.

    Raises:
        Refusal: the labels or the activation are unknown, or contradict the file.
    """
    order = _find_order(list(given.LABELS or listed), head)
    width = raw.shape[1]
    if width != len(order) and not (width == 1 and len(order) == 2):
        rule = f"one output per label: {', '.join(head.labels)}"
        raise Refusal("outputs of the model", width, rule, len(order))
    return Meaning(_find_activation(raw, last, given.ACTIVATION), width, order)


def _find_order(names: list[str], head: Head) -> list[int]:
    example = head.labels[::-1]
    if not names:
        rule = f"the labels in the order of the model's outputs; schema.yaml has {head.labels}"
        raise Refusal("LABELS in task/given.py", names, rule, example)
    if sorted(names) != sorted(head.labels):
        lacking, unknown = set(head.labels) - set(names), set(names) - set(head.labels)
        rule = "each label of schema.yaml once"
        rule += f", but {sorted(lacking)} are missing" if lacking else ""
        rule += f", and the data has no {sorted(unknown)}" if unknown else ""
        raise Refusal("LABELS in task/given.py", names, rule, example)
    return [names.index(label) for label in head.labels]


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


def expect(raw: np.ndarray, meaning: Meaning, head: Head) -> np.ndarray:
    """Return the probabilities (n, labels) that raw outputs of the given file stand for."""
    raw = raw.astype(np.float64)
    if meaning.activation == "none":
        raw = decode(np.hstack([0 * raw, raw]) if meaning.outputs == 1 else raw, head)
    elif meaning.outputs == 1:
        raw = np.hstack([1 - raw, raw])
    shares = raw[:, meaning.order]
    probabilities: np.ndarray = shares / shares.sum(axis=1, keepdims=True)
    return probabilities


def undone(meaning: Meaning) -> str:
    """Return the operator to remove from the end of the graph: its inputs are logits."""
    is_one_sigmoid = meaning.activation == "sigmoid" and meaning.outputs == 1
    return {"softmax": "Softmax"}.get(meaning.activation, "Sigmoid" if is_one_sigmoid else "")


def steps(meaning: Meaning, head: Head, *, is_undone: bool) -> list[Step]:
    """Return the operators that turn what the graph returns now into logits.

    Without an activation in the file, its int8 variants keep the precision of probabilities.
    """
    is_logits = is_undone or meaning.activation == "none"
    made: list[Step] = []
    if meaning.outputs == 1:
        made.append(("Mul", np.array([[0, 1] if is_logits else [-1, 1]], np.float32)))
        made += [] if is_logits else [("Add", np.array([[1, 0]], np.float32))]
    if not is_logits:
        made += [("Max", np.array(TINY, np.float32)), ("Log", None)]
    if meaning.order != sorted(meaning.order):
        made.append(("Gather", np.array(meaning.order, np.int64)))
    return made
