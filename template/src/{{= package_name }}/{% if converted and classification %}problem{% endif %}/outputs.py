"""What the outputs of a given model mean: scores or probabilities, and of which labels."""

from typing import NamedTuple

import numpy as np

from .answer import TINY, Head, decode

Step = tuple[str, np.ndarray | None]  # an ONNX operator, and its second input


class Meaning(NamedTuple):
    """How to turn raw outputs (n, outputs) into logits (n, labels)."""

    activation: str
    outputs: int
    order: list[int]  # for each label of the project, its place in the model


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
